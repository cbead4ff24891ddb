"""The demonstration's experiments: real pictures in; results, times and pictures out.

Every convolution runs with each algorithm that can do it, against the float64 reference for its
error and against NumPy's fastest form (reference.conv2d_blas) for its speed. Photographs come with
scikit-image and handwritten digits with scikit-learn, so nothing is downloaded.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import NamedTuple

import numpy as np

import fastconv
from fastconv.cli import _kernels as kernels
from fastconv.cli._measure import Effort, max_error, race
from fastconv.plot import Picture, direction_colours, grey_levels, mosaic, signed_levels

ALGORITHMS = ("direct", "im2col", "winograd")


class Result(NamedTuple):
    """How one algorithm did beside NumPy, or why it could not; the error is relative to max|y|."""

    name: str
    seconds: float = 0.0
    numpy_seconds: float = 0.0
    error: float = 0.0
    refused: str | None = None

    @property
    def faster(self) -> float:
        """How many times faster than NumPy."""
        return self.numpy_seconds / self.seconds

    @property
    def error_text(self) -> str:
        """The error for a table; a plain 0 where there is none at all."""
        return f"{self.error:.1e}" if self.error else "0"


class Outcome(NamedTuple):
    """What was computed, which algorithm "auto" takes (if there is a choice), how each one did."""

    work: str
    chosen: str | None
    results: tuple[Result, ...]

    @property
    def able(self) -> tuple[Result, ...]:
        """Results of those that could do the work."""
        return tuple(result for result in self.results if result.refused is None)

    @property
    def best(self) -> Result:
        """What a plain call gives; the first where there is no choice."""
        chosen = (result for result in self.results if result.name == self.chosen)
        return next(chosen, self.results[0])


class Experiment(NamedTuple):
    """One experiment, done: what it was, the call that did it, numbers, what there is to see."""

    title: str
    story: str
    code: str
    outcome: Outcome
    pictures: tuple[Picture, ...]

    @property
    def claim(self) -> str:
        """Time and speed of what a plain call gives, in words."""
        best = self.outcome.best
        return f"{best.seconds * 1e3:.2f} ms, {best.faster:.1f} times as fast as NumPy"


def blur(effort: Effort) -> Experiment:
    """Smooth a photograph with a Gaussian."""
    from skimage import data

    photo = data.camera()
    y, outcome = _convolve(_unit(photo)[None], kernels.gaussian(15, 3.0), effort)
    return Experiment(
        "Blur",
        "A Gaussian bell slides over a photograph of one channel; every pixel becomes the "
        "weighted mean of the 225 around it.",
        "blurred = fastconv.conv2d(photo, bell)",
        outcome,
        (Picture(photo, "photograph, 512 x 512"), Picture(grey_levels(y[0], 0, 1), "blurred")),
    )


def edges(effort: Effort) -> Experiment:
    """Find edges with Sobel's two derivatives."""
    from skimage import data

    photo = data.coins()
    y, outcome = _convolve(_unit(photo)[None], kernels.sobel(), effort)
    right, down = y
    strength = np.hypot(right, down) / 0.25
    return Experiment(
        "Edges",
        "Sobel's two 3x3 derivatives in one call. Brightness is the slope, colour its direction.",
        "right, down = fastconv.conv2d(photo[None], sobel)",
        outcome,
        (
            Picture(photo, "Greek coins, 303 x 384"),
            Picture(direction_colours(np.arctan2(down, right), strength), "slope and direction"),
        ),
    )


def directions(effort: Effort) -> Experiment:
    """Find the direction of fur with a bank of Gabor filters."""
    from skimage import data

    photo = data.chelsea()
    count = 8
    bank = kernels.gabor_bank(15, count, wavelength=6.0, sigma=3.0)
    y, outcome = _convolve(_unit(photo).mean(axis=-1)[None], bank, effort)
    energy = np.hypot(y[:count], y[count:])
    angle = energy.argmax(axis=0) * np.pi / count
    strength = energy.max(axis=0)
    tiles = [signed_levels(kernel) for kernel in bank[:, 0]]
    return Experiment(
        "Directions",
        "Sixteen Gabor filters, each a wave under a bell, as in the visual cortex: line and edge "
        "in eight directions. Every pixel takes the colour of the direction that answers loudest.",
        "answers = fastconv.conv2d(photo[None], gabor_bank)",
        outcome,
        (
            Picture(photo, "Chelsea the cat, 300 x 451"),
            Picture(mosaic(tiles, 4), "the 16 filters"),
            Picture(direction_colours(angle, strength / np.quantile(strength, 0.98)), "direction"),
        ),
    )


def first_layer(effort: Effort) -> Experiment:
    """Run the first layer of an AlexNet-like network, with filters made by formula."""
    photo, x = _astronaut()
    bank = kernels.first_layer()
    y, outcome = _convolve(x, bank, effort, stride=4)
    maps = np.maximum(y, 0)
    return Experiment(
        "First layer of a network",
        "The shape of AlexNet's first layer: 96 filters of 11x11 on three colours, at stride 4. "
        "The filters are not learned but made by formula, after those it learned: Gabor filters "
        "for light, and opponent colours. Below are their answers, cut off at zero.",
        "maps = fastconv.relu(fastconv.conv2d(x, filters, stride=4))",
        outcome,
        (
            Picture(photo, "Eileen Collins, 227 x 227"),
            Picture(mosaic(_filter_tiles(bank), 12), "the 96 filters"),
            Picture(mosaic(_map_tiles(maps), 12), "their 96 maps, 55 x 55"),
        ),
    )


def deep_layer(effort: Effort) -> Experiment:
    """Run a 3x3 layer with many channels on the maps of the first."""
    _, x = _astronaut()
    maps = fastconv.relu(fastconv.conv2d(x, kernels.first_layer(), stride=4))
    pooled = fastconv.max_pool2d(maps, 3, 2)
    random = np.random.default_rng(0)
    scale = np.float32(np.sqrt(2 / (96 * 9)))
    weight = random.standard_normal((256, 96, 3, 3), dtype=np.float32) * scale
    y, outcome = _convolve(pooled, weight, effort, padding=1)
    tiles = _map_tiles(np.maximum(y[:48], 0))
    return Experiment(
        "A layer deeper in",
        "The 96 maps, max-pooled to 27 x 27, under 256 filters of 3x3: the commonest layer there "
        "is. Its weights are random (He's scale, fixed seed). Winograd's method does with fewer "
        "than half of the multiplications.",
        "y = fastconv.conv2d(fastconv.max_pool2d(maps, 3, 2), weight, padding=1)",
        outcome,
        (Picture(mosaic(tiles, 16), "48 of the 256 maps, 27 x 27"),),
    )


def pools(effort: Effort) -> Experiment:
    """Pool a colour photograph, channels last, by mean and by maximum."""
    from skimage import data

    photo = data.coffee()
    x, window = _unit(photo), 10
    reference = fastconv.reference
    ours = {
        "max pool": partial(fastconv.max_pool2d, x, window, layout="NHWC"),
        "average pool": partial(fastconv.avg_pool2d, x, window, layout="NHWC"),
    }
    numpy = {
        "max pool": partial(reference.max_pool2d, x, window, layout="NHWC"),
        "average pool": partial(reference.avg_pool2d, x, window, layout="NHWC"),
    }
    wide = x.astype(np.float64)
    exact = {
        "max pool": reference.max_pool2d(wide, window, layout="NHWC"),
        "average pool": reference.avg_pool2d(wide, window, layout="NHWC"),
    }
    pooled = {name: call() for name, call in ours.items()}
    errors = {name: max_error(pooled[name], exact[name]) for name in ours}
    results = [
        result
        for name, call in ours.items()
        for result in _race_numpy({name: call}, errors, numpy[name], effort)
    ]
    outcome = Outcome(f"400x600x3, {window}x{window} s{window}", None, tuple(results))
    return Experiment(
        "Pools",
        "A colour photograph as it comes, channels last, in windows of 10 x 10: the mean is a "
        "small picture, the maximum what a network keeps.",
        'fastconv.max_pool2d(photo, 10, layout="NHWC")',
        outcome,
        (
            Picture(photo, "coffee, 400 x 600"),
            Picture(grey_levels(pooled["average pool"], 0, 1), "mean of 10 x 10"),
            Picture(grey_levels(pooled["max pool"], 0, 1), "maximum of 10 x 10"),
        ),
    )


def digits(effort: Effort) -> Experiment:
    """Look for strokes in all handwritten digits at once."""
    from sklearn.datasets import load_digits

    digits = load_digits()
    x = (digits.images / 16).astype(np.float32)[:, None]
    y, outcome = _convolve(x, kernels.digit_strokes(), effort, padding=1)
    maps = np.maximum(y, 0)
    pooled = fastconv.max_pool2d(maps, 2)
    one_each = [int(np.flatnonzero(digits.target == digit)[0]) for digit in range(10)]
    strong = float(maps[one_each].max())
    shown = [grey_levels(maps[one_each, k], 0, strong) for k in range(8)]
    small = [grey_levels(pooled[one_each, k], 0, strong) for k in range(8)]
    ink = 255 - grey_levels(x[:, 0], 0, 1)
    return Experiment(
        "Handwritten digits",
        "All 1,797 digits in one call, eight filters that answer to the edge of a stroke from "
        "eight sides, ReLU, and a 2x2 max pool.",
        "maps = fastconv.relu(fastconv.conv2d(digits, strokes, padding=1))",
        outcome,
        (
            Picture(mosaic(ink[:120], 15), "120 of 1,797 digits, 8 x 8"),
            Picture(
                mosaic(np.concatenate([ink[one_each], *shown]), 10),
                "0 to 9, and their eight maps below",
            ),
            Picture(mosaic(np.concatenate(small), 10), "the maps pooled to 4 x 4"),
        ),
    )


EXPERIMENTS: tuple[Callable[[Effort], Experiment], ...] = (
    blur,
    edges,
    directions,
    first_layer,
    deep_layer,
    pools,
    digits,
)


def _unit(photo: np.ndarray) -> np.ndarray:
    """Bring a uint8 photograph to float32 between 0 and 1."""
    return photo.astype(np.float32) / np.float32(255)


def _astronaut() -> tuple[np.ndarray, np.ndarray]:
    """Portrait of 227x227 pixels, and the same as network input: (3, 227, 227) around zero."""
    from skimage import data

    half = fastconv.avg_pool2d(_unit(data.astronaut()[:454, :454]), 2, layout="NHWC")
    return grey_levels(half, 0, 1), np.ascontiguousarray(np.moveaxis(half - 0.5, -1, 0))


def _filter_tiles(weight: np.ndarray) -> list[np.ndarray]:
    return [signed_levels(np.moveaxis(filters, 0, -1)) for filters in weight]


def _map_tiles(maps: np.ndarray) -> list[np.ndarray]:
    """Each map on its own scale, since some filters always answer louder than others."""
    return [grey_levels(one, 0, float(np.quantile(one, 0.98)) or 1.0) for one in maps]


def _convolve(
    x: np.ndarray, weight: np.ndarray, effort: Effort, stride: int = 1, padding: int = 0
) -> tuple[np.ndarray, Outcome]:
    """Convolve with every algorithm; return the result of the chosen one, and how each one did."""
    from fastconv.functional.conv import prepare_conv

    how = {"stride": stride, "padding": padding}
    exact = fastconv.reference.conv2d(x.astype(np.float64), weight.astype(np.float64), **how)
    numpy = partial(fastconv.reference.conv2d_blas, x, weight, **how)
    plan = fastconv.explain_conv2d(x.shape, weight.shape, precision="high", **how)
    made, calls, refused = {}, {}, []
    for algorithm in ALGORITHMS:
        try:
            layer = prepare_conv(weight, algorithm=algorithm, precision="high", **how)
            made[algorithm] = layer(x)
        except ValueError as error:
            refused.append(Result(algorithm, refused=str(error)))
        else:
            calls[algorithm] = partial(layer, x)
    errors = {algorithm: max_error(y, exact) for algorithm, y in made.items()}
    size = "x".join(map(str, x.shape))
    steps = f" s{stride}" * (stride > 1) + f" p{padding}" * (padding > 0)
    work = f"{size} -> {len(weight)}, {weight.shape[2]}x{weight.shape[3]}{steps}"
    results = (*_race_numpy(calls, errors, numpy, effort), *refused)
    return made[plan.algorithm], Outcome(work, plan.algorithm, results)


def _race_numpy(
    calls: Mapping[str, Callable[[], np.ndarray]],
    errors: Mapping[str, float],
    numpy: Callable[[], np.ndarray],
    effort: Effort,
) -> list[Result]:
    numpy()  # its first call pays for what later ones find ready
    best = race({**calls, "numpy": numpy}, effort)
    return [Result(name, best[name], best["numpy"], errors[name]) for name in calls]
