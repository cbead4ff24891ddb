"""Convolutions: the three algorithms and both NumPy forms on the layers of known networks.

The layers are those of the race: some from each network, chosen for what makes them hard. Weights
are packed beforehand, as layers hold them. Left out, because it would take more than its share
of the time: NumPy's readable form above 0.3 GFLOP. Left out, because there is no such thing:
winograd for strides and for windows of one pixel, and where a group has a few channels only.
"""

from functools import lru_cache, partial

import pytest

from fastconv import reference, shapes
from fastconv.cli.bench import REFERENCE_FLOPS, operands, oracle
from fastconv.functional.conv import prepare_conv

SLOW_FLOPS = 300_000_000


def contestants(layer):
    """Names of those who take part in a layer."""
    yield from ("direct", "im2col")
    if layer.kernel_height == 3 and layer.stride == layer.groups == 1:
        yield "winograd"
    if layer.flops <= SLOW_FLOPS:
        yield "numpy"
    yield "numpy_blas"


@lru_cache(maxsize=1)  # the cases of a layer come one after the other
def problem(layer):
    """Return x, weight, bias and the result in float64."""
    arrays = operands(layer, "NCHW")
    return *arrays, oracle(layer, "NCHW", *arrays, REFERENCE_FLOPS)


def prepared(algorithm, layer, x, weight, bias):
    return partial(prepare_conv(weight, bias, **layer.call, algorithm=algorithm), x)


def numpy_form(function, layer, x, weight, bias):
    return partial(function, x, weight, bias, **layer.call)


CALLS = {
    "direct": partial(prepared, "direct"),
    "im2col": partial(prepared, "im2col"),
    "winograd": partial(prepared, "winograd"),
    "numpy": partial(numpy_form, reference.conv2d),
    "numpy_blas": partial(numpy_form, reference.conv2d_blas),
}
CASES = [
    pytest.param(layer, name, id=f"{layer.name}-{name}")
    for layer in shapes.load("race")
    for name in contestants(layer)
]


@pytest.mark.parametrize("layer, name", CASES)
def test_conv(layer, name, contest):
    *arrays, expected = problem(layer)
    call = CALLS[name](layer, *arrays)
    contest(f"{layer.name}: {layer}", call, expected, layer.flops)
