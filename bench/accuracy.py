"""Print docs/accuracy.md's table: errors of every way to convolve, against float64.

    python bench/accuracy.py                        # at the best level of vectors
    FASTCONV_ISA=amx python bench/accuracy.py       # with the ways by tiles

Each column is a kind of data, each row a way; an entry is max and rms of |y - y64|, in units of
1e-7 of the largest conv(|x|, |w|), the scale of the promises. Two layers are run, 3x3 of 256 -> 32
channels on 14x14 pixels and 1x1 of 2048 -> 32 on 10x10, and the larger error of both is shown.
"""

from importlib.util import find_spec

import numpy as np

import fastconv
from fastconv import plan, reference
from fastconv._engine import dispatch
from fastconv.functional import _convolve
from fastconv.functional._cache import BoundedCache

LAYERS = {
    "3x3": ((1, 256, 14, 14), (32, 256, 3, 3), {"padding": 1}),
    "1x1": ((1, 2048, 10, 10), (32, 2048, 1, 1), {}),
}


def normal(rng, x_shape, weight_shape):
    """Both normal."""
    return rng.standard_normal(x_shape), rng.standard_normal(weight_shape)


def rectified(rng, x_shape, weight_shape):
    """x as after a ReLU, normal weights."""
    return np.maximum(rng.standard_normal(x_shape), 0), rng.standard_normal(weight_shape)


def wide(rng, x_shape, weight_shape):
    """Normal numbers times powers of ten from -3 to 3, both."""
    return tuple(
        rng.standard_normal(shape) * 10.0 ** rng.uniform(-3, 3, shape)
        for shape in (x_shape, weight_shape)
    )


def cancelling(rng, x_shape, weight_shape):
    """Pairs of channels with nearly equal x and opposite weights: sums are 1e-3 of their terms."""
    x = np.repeat(rng.standard_normal((x_shape[0], x_shape[1] // 2, *x_shape[2:])), 2, axis=1)
    weight = np.repeat(rng.standard_normal((weight_shape[0], weight_shape[1] // 2,
                                            *weight_shape[2:])), 2, axis=1)
    weight[:, 1::2] *= -1
    return x * (1 + 1e-3 * rng.standard_normal(x_shape)), weight


def constant(rng, x_shape, weight_shape):
    """Two constants of which bfloat16 halves leave the most: every term errs alike."""
    value = 1 + 2.0**-8 - 2.0**-15 + 2.0**-17 - 2.0**-21
    return np.full(x_shape, value), np.full(weight_shape, value)


KINDS = {"normal": normal, "ReLU-like": rectified, "wide range": wide, "cancelling": cancelling,
         "constant": constant}


def forced(choice):
    """A way of ours, whatever the plan would choose."""

    def run(x, weight, arguments):
        chosen, plan.choose = plan.choose, lambda *_, **__: choice
        _convolve._calls = BoundedCache(8)
        try:
            return fastconv.conv2d(x, weight, **arguments)
        finally:
            plan.choose = chosen

    return run


def of_numpy(x, weight, arguments):
    """im2col and one matrix product of BLAS."""
    return reference.conv2d(x, weight, **arguments)


def of_torch(x, weight, arguments):
    """PyTorch's convolution of float32."""
    import torch

    with torch.inference_mode():
        return torch.conv2d(torch.from_numpy(x), torch.from_numpy(weight), **arguments).numpy()


def ways():
    """Name, layers it can run and the function, of each way."""
    both, three = ("3x3", "1x1"), ("3x3",)
    yield "NumPy, im2col and BLAS", both, of_numpy
    if find_spec("torch"):
        yield "PyTorch", both, of_torch
    yield "highest: direct, planes", three, forced(plan.Choice("direct", "planes", 0, ""))
    yield "highest: direct, 1x1", ("1x1",), forced(plan.Choice("direct", "pointwise", 0, ""))
    yield "highest: im2col", both, forced(plan.Choice("im2col", "pointers", 0, ""))
    for tile in (2, 4):
        form = f"F({tile},3)"
        yield f"high: Winograd {form}", three, forced(plan.Choice("winograd", form, tile, ""))
    if dispatch.has_tiles():
        for precision, form in (("high", "3 bfloat16"), ("medium", "bfloat16")):
            yield f"{precision}: tiles, {form}", both, forced(plan.Choice("im2col", form, 0, ""))


def errors(make, layers, run):
    """Largest max and rms error over layers, relative to the largest sum of magnitudes."""
    worst = np.zeros(2)
    for name in layers:
        x_shape, weight_shape, arguments = LAYERS[name]
        operands = make(np.random.default_rng(2), x_shape, weight_shape)
        x, weight = (np.ascontiguousarray(a, np.float32) for a in operands)
        exact = reference.conv2d(x.astype(float), weight.astype(float), **arguments)
        size = reference.conv2d(abs(x).astype(float), abs(weight).astype(float), **arguments)
        error = abs(run(x, weight, arguments) - exact) / size.max()
        worst = np.maximum(worst, (error.max(), np.sqrt((error**2).mean())))
    return worst * 1e7


def shown(error):
    """Two digits at least."""
    return f"{error:,.0f}" if error >= 10 else f"{error:.1f}" if error >= 1 else f"{error:.2g}"


def main():
    """Print the table."""
    print("| |", " | ".join(KINDS), "|")
    print("| --- |", " | ".join("---" for _ in KINDS), "|")
    for name, layers, run in ways():
        cells = [errors(make, layers, run) for make in KINDS.values()]
        print(f"| {name} |", " | ".join(" / ".join(map(shown, cell)) for cell in cells), "|")


if __name__ == "__main__":
    main()
