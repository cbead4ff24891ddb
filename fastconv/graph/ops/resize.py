"""Resize and Upsample: one axis after the other, each a weighted sum of a few picked lines.

An output line at place o stands at a place p of the input, which the coordinate mode tells;
"nearest" picks one line, "linear" weighs the two around p, "cubic" the four.
"""

from __future__ import annotations

import math
from functools import reduce

import numpy as np

from fastconv._engine import elementwise, resample

from ..ir import Node
from ._entry import FLOATS, Kernel, copy_into, in_memory_order, integers, inverse, operator

# Place in the input of output places o; n, m are the sizes of input and output.
_COORDINATES = {
    "half_pixel": lambda o, scale, n, m: (o + 0.5) / scale - 0.5,
    "pytorch_half_pixel": lambda o, scale, n, m: (o + 0.5) / scale - 0.5 if m > 1 else 0 * o,
    # scale * n is the result's size before it was rounded down
    "align_corners": lambda o, scale, n, m: o * ((n - 1) / (scale * n - 1)) if m > 1 else 0 * o,
    "asymmetric": lambda o, scale, n, m: o / scale,
}
_NEAREST = {
    "round_prefer_floor": lambda p: np.ceil(p - 0.5),
    "round_prefer_ceil": lambda p: np.floor(p + 0.5),
    "floor": np.floor,
    "ceil": np.ceil,
}
# By these and a whole number as scale, each line comes so often.
_REPEATING = {
    (coordinates, nearest)
    for coordinates in ("half_pixel", "pytorch_half_pixel")
    for nearest in ("round_prefer_floor", "round_prefer_ceil")
} | {("asymmetric", "floor")}
_NOT_NATIVE = ("antialias", "exclude_outside", "axes")


@operator("Upsample", dtypes=FLOATS, arrays=(0,))
def upsample(node: Node) -> Kernel:
    """Upsample, Resize's forerunner."""
    mode = node.attributes.get("mode", "nearest")

    def kernel(x, scales=None):
        scales = node.attributes.get("scales") if scales is None else scales
        return _resize(x, np.ravel(scales), None, mode, "asymmetric", "floor", -0.75)

    return kernel


@operator("Resize", dtypes=FLOATS, arrays=(0,))
def resize(node: Node) -> Kernel | None:
    """Resize by scales or to sizes."""
    get = node.attributes.get
    old = node.version < 11
    coordinates = "asymmetric" if old else get("coordinate_transformation_mode", "half_pixel")
    nearest = "floor" if old else get("nearest_mode", "round_prefer_floor")
    policy = get("keep_aspect_ratio_policy", "stretch")
    if coordinates not in _COORDINATES or any(map(get, _NOT_NATIVE)) or policy != "stretch":
        return None
    mode, steepness = get("mode", "nearest"), get("cubic_coeff_a", -0.75)

    def kernel(x, roi=None, scales=None, sizes=None):
        scales = roi if old else scales
        given = None if scales is None or scales.size == 0 else np.ravel(scales)
        sizes = None if sizes is None or sizes.size == 0 else integers(sizes)
        return _resize(x, given, sizes, mode, coordinates, nearest, steepness)

    return kernel


def _resize(x, scales, sizes, mode, coordinates, nearest, steepness):
    if x.size == 0:
        return NotImplemented
    if sizes is None:
        sizes = tuple(math.floor(n * s) for n, s in zip(x.shape, scales, strict=True))
    else:
        scales = tuple(m / n for n, m in zip(x.shape, sizes, strict=True))
    # the lines of the longest steps first, so that those picked are long pieces of memory
    order = in_memory_order(x)
    x = x.transpose(order)
    repeats = []  # of each axis: how often each line comes in a row, 0 where that differs
    for axis, place in enumerate(order):
        n, m, scale = x.shape[axis], sizes[place], float(scales[place])
        if n == m and scale == 1:
            repeats.append(1)
            continue
        whole = mode == "nearest" and not m % n and m == n * scale
        repeats.append(m // n if whole and (coordinates, nearest) in _REPEATING else 0)
    if all(repeats):
        x = _repeated(x, repeats)
    else:
        for axis, place in enumerate(order):
            n, m, scale = x.shape[axis], sizes[place], float(scales[place])
            if repeats[axis] != 1:
                places = _COORDINATES[coordinates](np.arange(m, dtype=np.float64), scale, n, m)
                x = _weigh(x, axis, *_taps(places, n, mode, nearest, steepness))
    return x.transpose(inverse(order))


def _taps(places, n, mode, nearest, steepness):
    """Which of n lines an output line is made of, and their weights: two arrays (lines, taps)."""
    if mode == "nearest":
        lines, weights = _NEAREST[nearest](places)[:, None], np.ones((len(places), 1))
    else:
        first = np.floor(places)
        offset = places - first
        taps = _linear(offset) if mode == "linear" else _cubic(offset, steepness)
        lines = np.stack([first + tap for tap, _ in taps], 1)
        weights = np.stack([weight for _, weight in taps], 1)
    return np.clip(lines, 0, n - 1).astype(np.intp), weights  # lines beyond the ends repeat


def _repeated(x, repeats):
    """Each line of every axis so many times."""
    result = elementwise.empty([n * r for n, r in zip(x.shape, repeats, strict=True)], x.dtype)
    apart = [size for pair in zip(x.shape, repeats, strict=True) for size in pair]
    copy_into(result.reshape(apart), x.reshape([s for n in x.shape for s in (n, 1)]))
    return result


# Shorter lines are picked by NumPy.
_SHORT_LINE = 4


def _weigh(x, axis, lines, weights):
    """Sums of lines, each with its weight."""
    shape = (*x.shape[:axis], len(lines), *x.shape[axis + 1 :])
    inner = math.prod(shape[axis + 1 :])
    if inner < _SHORT_LINE:
        parts = (np.take(x, lines[:, tap], axis) * weights[:, tap].astype(x.dtype).reshape(
            -1, *(1,) * (x.ndim - axis - 1)) for tap in range(lines.shape[1]))
        return reduce(np.add, parts)
    source = np.ascontiguousarray(x).reshape(math.prod(x.shape[:axis]), x.shape[axis], inner)
    result = elementwise.empty(shape, x.dtype)
    resample.weigh(source, lines * source.strides[1], np.ascontiguousarray(weights),
                   result.reshape(-1, len(lines), inner))
    return result


def _linear(t):
    return (0, 1 - t), (1, t)


def _cubic(t, a):
    """Keys' kernel ("Cubic convolution interpolation", 1981) with steepness a."""

    def near(d):
        return ((a + 2) * d - (a + 3)) * d * d + 1

    def far(d):
        return ((a * d - 5 * a) * d + 8 * a) * d - 4 * a

    return (-1, far(1 + t)), (0, near(t)), (1, near(1 - t)), (2, far(2 - t))
