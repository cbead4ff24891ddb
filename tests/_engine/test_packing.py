"""Weights of a single call: packed by the tasks that multiply by them, or read where they lie.

Whoever packs them, and in however large a block, the products are the same ones in the same order:
a function must give the bits of a layer that holds its weights packed, for any number of threads.
"""

import numpy as np
import pytest

import fastconv
from fastconv.functional._convolve import plan_call
from fastconv.functional.conv import prepare_conv

pytestmark = pytest.mark.every_isa

# x (N, C, H, W), weight (K, C/groups, R, S), settings: channels, weights a channel and panels that
# fill no block, and the algorithm that takes a single call's weights as they are.
CASES = {
    "im2col, a tap a chain": ((1, 520, 5, 6), (150, 520, 3, 3), {"padding": 1}, "im2col"),
    "im2col, taps of a chain": ((1, 37, 7, 7), (83, 37, 3, 3), {"padding": 1}, "im2col"),
    "im2col, groups": ((1, 42, 6, 6), (45, 14, 3, 2), {"groups": 3}, "im2col"),
    "im2col, few weights": ((1, 3, 4, 4), (130, 3, 1, 1), {}, "im2col"),
    "runs": ((1, 3, 9, 20), (70, 3, 3, 3), {"padding": 1}, "direct"),
    "pointwise": ((2, 530, 7, 7), (29, 530, 1, 1), {}, "direct"),
    "pointwise, groups": ((1, 66, 9, 9), (39, 22, 1, 1), {"groups": 3}, "direct"),
    "winograd": ((1, 83, 13, 13), (150, 83, 3, 3), {"padding": 1}, "winograd"),
    "winograd, 5x5": ((1, 40, 9, 8), (70, 40, 5, 5), {"padding": 2}, "winograd"),
    "winograd, one axis": ((1, 33, 6, 30), (90, 33, 1, 3), {}, "winograd"),
    "winograd, groups": ((1, 64, 8, 8), (150, 32, 3, 3), {"groups": 2}, "winograd"),
}


def operands(case, layout, dtype):
    x_shape, w_shape, settings, algorithm = CASES[case]
    rng = np.random.default_rng(11)
    x = rng.standard_normal(x_shape).astype(dtype)
    if layout == "NHWC":
        x = np.ascontiguousarray(np.moveaxis(x, 1, -1))
    weight = rng.standard_normal(w_shape).astype(dtype)
    return x, weight, {**settings, "layout": layout, "algorithm": algorithm}


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("layout", ["NCHW", "NHWC"])
@pytest.mark.parametrize("case", CASES)
def test_a_single_call_has_the_bits_of_packed_weights(case, layout, dtype, threads):
    x, weight, settings = operands(case, layout, dtype)
    wanted = prepare_conv(weight, **settings)(x)
    for count in (1, 2, 5):
        threads(count)
        np.testing.assert_array_equal(fastconv.conv2d(x, weight, **settings), wanted)


@pytest.mark.parametrize("layout", ["NCHW", "NHWC"])
@pytest.mark.parametrize("case", ["im2col, a tap a chain", "winograd"])
def test_a_thread_of_a_single_call_has_room_for_a_part_of_the_weights(case, layout, threads):
    """More than with packed weights, less than for all: the calls above pack as they run."""
    threads(1)
    x, weight, settings = operands(case, layout, "float32")
    arguments = (1, settings["padding"], 1, 1, layout, settings["algorithm"], None)
    # im2col by tiles packs for all threads together
    precision = "high" if settings["algorithm"] == "winograd" else "highest"
    once, often = (
        plan_call("conv2d", x, weight, precision, arguments, packed=packed)
        for packed in (False, True)
    )
    assert 0 < once.workspace_bytes - often.workspace_bytes < once.packed_bytes


def test_infinite_weights_of_a_single_call_meet_the_padding(threads):
    """Rows in the padding are left out unless a weight of the panel at hand is not finite."""
    x, weight, settings = operands("im2col, a tap a chain", "NCHW", "float32")
    weight[70, 3, 0, 1] = np.inf
    wanted = prepare_conv(weight, **settings)(x)
    assert np.isnan(wanted[0, 70, 0]).all()
    for count in (1, 2):
        threads(count)
        np.testing.assert_array_equal(fastconv.conv2d(x, weight, **settings), wanted)
