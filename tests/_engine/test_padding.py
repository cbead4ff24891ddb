"""Taps of implicit GEMM that meet padding: left out without moving a bit, unless zeros count.

A tile of pixels whose kernel rows lie wholly above or below the input does not multiply them. The
result must be that of an input with real zeros around it, to the last bit; and where a weight is
infinite or NaN its products with the padding's zeros are NaN, as in the reference.
"""

import numpy as np
import pytest

import fastconv
from fastconv import reference

pytestmark = pytest.mark.every_isa

# x (N, C, H, W), weight (K, C/groups, R, S), and stride, padding, dilation, groups of the call
CASES = {
    "rows_of_a_small_plane": ((1, 64, 7, 7), (64, 64, 3, 3), 1, 1, 1, 1),
    "chains_within_a_tap": ((1, 600, 5, 6), (33, 600, 3, 3), 1, 1, 1, 1),
    "several_chains": ((2, 96, 7, 9), (80, 96, 5, 5), 1, 2, 1, 1),
    "wide_dilation": ((1, 32, 17, 17), (48, 32, 3, 3), 1, 8, 8, 1),
    "no_tap_inside": ((1, 32, 2, 2), (32, 32, 3, 3), 1, 5, 1, 1),
    "stride": ((1, 40, 9, 8), (20, 40, 3, 3), 2, 1, 1, 1),
    "groups": ((1, 64, 6, 6), (64, 32, 3, 3), 1, 1, 1, 2),
    "kernel_rows_as_runs": ((1, 3, 8, 40), (64, 3, 5, 5), 1, 2, 1, 1),
}


def operands(case, layout, dtype):
    """x, x with zeros around it, weight, and the call's settings without padding."""
    x_shape, w_shape, stride, padding, dilation, groups = CASES[case]
    rng = np.random.default_rng(5)
    x = rng.standard_normal(x_shape).astype(dtype)
    weight = rng.standard_normal(w_shape).astype(dtype)
    framed = np.pad(x, ((0, 0), (0, 0), (padding, padding), (padding, padding)))
    if layout == "NHWC":
        x, framed = (np.ascontiguousarray(np.moveaxis(a, 1, -1)) for a in (x, framed))
    settings = {"stride": stride, "dilation": dilation, "groups": groups, "layout": layout}
    return x, framed, weight, settings, padding


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("layout", ["NCHW", "NHWC"])
@pytest.mark.parametrize("algorithm", ["im2col", "direct"])
@pytest.mark.parametrize("case", CASES)
def test_same_bits_as_zeros_around_the_input(case, algorithm, layout, dtype):
    x, framed, weight, settings, padding = operands(case, layout, dtype)
    bias = np.linspace(-1, 1, len(weight)).astype(dtype)
    settings.update(algorithm=algorithm, activation="relu")
    y = fastconv.conv2d(x, weight, bias, padding=padding, **settings)
    np.testing.assert_array_equal(y, fastconv.conv2d(framed, weight, bias, **settings))


@pytest.mark.parametrize("value", [np.inf, -np.inf, np.nan])
@pytest.mark.parametrize("layout", ["NCHW", "NHWC"])
@pytest.mark.parametrize("case", CASES)
def test_weights_that_are_not_finite_meet_the_zeros(case, layout, value):
    x, _, weight, settings, padding = operands(case, layout, np.float32)
    weight[len(weight) // 2, 0, 0, 0] = value  # its row lies in the padding of the first pixels
    y = fastconv.conv2d(x, weight, padding=padding, algorithm="im2col", **settings)
    with np.errstate(invalid="ignore"):
        expected = reference.conv2d(x.astype(np.float64), weight, padding=padding, **settings)
    channel = len(weight) // 2
    index = (slice(None), channel) if layout == "NCHW" else (..., channel)
    np.testing.assert_array_equal(np.isnan(y), np.isnan(expected))
    assert np.isnan(y[index]).any()
    assert np.isfinite(np.delete(y, channel, 1 if layout == "NCHW" else -1)).all()


def test_3d_slices():
    """Whole slices outside the input are left out, too."""
    rng = np.random.default_rng(6)
    x = rng.standard_normal((1, 32, 3, 5, 4)).astype(np.float32)
    weight = rng.standard_normal((32, 32, 3, 3, 3)).astype(np.float32)
    framed = np.pad(x, ((0, 0), (0, 0), (1, 1), (1, 1), (1, 1)))
    y = fastconv.conv3d(x, weight, padding=1, algorithm="im2col")
    np.testing.assert_array_equal(y, fastconv.conv3d(framed, weight, algorithm="im2col"))
