"""The input gradient's shorter ways, wherever they are taken.

From few channels of small pictures to any, and from many channels to a few. Which pay depends on
the width of vectors; the cases are meant for the widest.
"""

import numpy as np
import pytest

import fastconv
from fastconv import grad
from fastconv._engine import dispatch
from fastconv._engine.input_gradient import InputGradient
from fastconv._engine.overlap_gradient import OverlapGradient
from fastconv.functional._check import conv_geometry
from fastconv.grad import _convolutions
from fastconv.reference import grad as exact

SMALL, OVERLAP = InputGradient, OverlapGradient
# (N, C, H, W), (K, C / groups, R, S), stride, padding, dilation, groups
CASES = {
    "lenet": (SMALL, (4, 6, 14, 14), (16, 6, 5, 5), 1, 0, 1, 1),
    "one": (SMALL, (1, 1, 5, 5), (2, 1, 5, 5), 1, 0, 1, 1),
    "flat": (SMALL, (3, 2, 7, 9), (40, 2, 7, 3), 1, (0, 1), 1, 1),
    "dilated": (SMALL, (2, 3, 13, 12), (7, 3, 3, 3), 1, ((1, 0), (0, 2)), (3, 2), 1),
    "groups": (SMALL, (2, 6, 10, 10), (12, 2, 5, 5), 1, 0, 1, 3),
    "long": (SMALL, (2, 3, 9, 9), (150, 3, 7, 7), 1, 1, 1, 1),  # chains in several parts
    "tall": (SMALL, (2, 1, 20, 3), (3, 1, 12, 3), 1, 0, 1, 1),
    "first": (OVERLAP, (2, 3, 61, 44), (64, 3, 7, 7), 2, 3, 1, 1),
    "blocks": (OVERLAP, (1, 3, 20, 431), (17, 3, 5, 5), 2, (2, 1), 1, 1),  # of a line's pixels
    "seams": (OVERLAP, (1, 2, 99, 20), (16, 2, 11, 9), (1, 2), (5, 0), (2, 1), 1),
    "gaps": (OVERLAP, (2, 4, 50, 41), (24, 4, 3, 3), 4, ((1, 0), (0, 2)), 1, 1),
    "cropped": (OVERLAP, (1, 3, 40, 30), (32, 3, 8, 8), 3, ((7, 6), (2, 7)), 1, 1),
    "chains": (OVERLAP, (1, 3, 12, 15), (1100, 3, 4, 4), 2, 1, 1, 1),
    "wide": (OVERLAP, (1, 7, 9, 23), (30, 7, 3, 11), (3, 2), 0, 1, 1),
    "row": (OVERLAP, (2, 1, 1, 301), (40, 1, 1, 64), (1, 5), (0, 30), 1, 1),
}


def check_ways(taken, *expected):
    if dispatch.vector_isa() == "avx512":
        assert [way for way, _ in taken] == list(expected)


def operands(case, dtype, layout):
    _, x_shape, weight_shape, stride, padding, dilation, groups = CASES[case]
    geometry = conv_geometry(
        "test", 2, x_shape, weight_shape, stride, padding, dilation, groups, "NCHW"
    )
    rng = np.random.default_rng(3)
    weight = rng.standard_normal(weight_shape).astype(dtype)
    dy = rng.standard_normal(geometry.out_shape).astype(dtype)
    options = {"stride": stride, "padding": padding, "dilation": dilation, "groups": groups}
    options["layout"] = layout
    if layout == "NHWC":
        n, c, h, w = x_shape
        x_shape, dy = (n, h, w, c), np.ascontiguousarray(np.moveaxis(dy, 1, -1))
    return x_shape, weight, dy, options


@pytest.fixture
def taken(monkeypatch):
    """Which signatures took a shorter way, and which."""
    seen = []

    def watch(way):
        class Watched(way):
            def run(self, weight, dy):
                seen.append((way, dy.shape))
                return super().run(weight, dy)

        monkeypatch.setattr(_convolutions, way.__name__, Watched)

    watch(SMALL)
    watch(OVERLAP)
    _convolutions._planned_inputs.clear()
    yield seen
    _convolutions._planned_inputs.clear()


@pytest.mark.parametrize("layout", ["NCHW", "NHWC"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("case", CASES)
def test_equals_the_reference(case, dtype, layout, taken, close, same_for_any_threads):
    x_shape, weight, dy, options = operands(case, dtype, layout)
    wide = weight.astype(np.float64), dy.astype(np.float64)
    wanted = exact.conv_input(x_shape, *wide, **options)
    close(grad.conv2d_input(x_shape, weight, dy, **options), wanted, np.dtype(dtype))
    check_ways(taken, CASES[case][0])
    same_for_any_threads(lambda: grad.conv2d_input(x_shape, weight, dy, **options))


@pytest.mark.parametrize("case", ["lenet", "first"])
def test_any_memory(case, taken, close, memory):
    x_shape, weight, dy, options = operands(case, "float32", "NCHW")
    wanted = grad.conv2d_input(x_shape, weight, dy, **options)
    for order in sorted(memory.ALL):
        other = grad.conv2d_input(
            x_shape, memory.lay(weight, order), memory.lay(dy, order), **options
        )
        np.testing.assert_array_equal(other, wanted)
    check_ways(taken, *[CASES[case][0]] * (1 + len(memory.ALL)))


def test_layouts_give_the_same_bits(taken):
    x_shape, weight, dy, options = operands("first", "float32", "NHWC")
    last = grad.conv2d_input(x_shape, weight, dy, **options)
    n, h, w, c = x_shape
    first = grad.conv2d_input(
        (n, c, h, w), weight, np.moveaxis(dy, -1, 1), **{**options, "layout": "NCHW"}
    )
    np.testing.assert_array_equal(np.moveaxis(last, -1, 1), first)
    check_ways(taken, OVERLAP, OVERLAP)


@pytest.mark.parametrize("case", ["lenet", "first"])
def test_a_picture_alone(case, taken):
    x_shape, weight, dy, options = operands(case, "float64", "NCHW")
    whole = grad.conv2d_input(x_shape, weight, dy, **options)
    one = grad.conv2d_input(x_shape[1:], weight, dy[1], **options)
    np.testing.assert_allclose(one, whole[1], rtol=0, atol=1e-12)  # its bands may be others
    check_ways(taken, CASES[case][0], CASES[case][0])


def test_no_pictures(taken):
    assert grad.conv2d_input((0, 6, 14, 14), np.ones((16, 6, 5, 5)), np.ones((0, 16, 10, 10))).shape
    assert not taken


@pytest.mark.parametrize("stride", [1, 2])
def test_denormals_are_kept_where_highest(stride, taken):
    tiny = np.float32(1e-39)
    size = 9 * stride + 5
    x_shape, dy = (1, 6, size, size), np.zeros((1, 16, 10, 10), np.float32)
    dy[0, 0, 0, 0] = tiny
    weight = np.ones((16, 6, 5, 5), np.float32)
    with fastconv.precision("highest"):
        assert grad.conv2d_input(x_shape, weight, dy, stride)[0, 0, 0, 0] == tiny
    assert grad.conv2d_input(x_shape, weight, dy, stride)[0, 0, 0, 0] == 0
    check_ways(taken, *[(SMALL, OVERLAP)[stride - 1]] * 2)


def test_numbers_that_are_not_finite_stay_in_their_window(taken):
    x_shape, weight, dy, options = operands("first", "float32", "NCHW")
    plain = grad.conv2d_input(x_shape, weight, dy, **options)
    dy[0, 5, 9, 4] = np.nan
    dy[1, 0, 30, 21] = np.inf
    spoilt = ~np.isfinite(grad.conv2d_input(x_shape, weight, dy, **options))
    window = np.zeros_like(spoilt)
    window[0, :, 15:22, 5:12] = window[1, :, 57:61, 39:44] = True
    np.testing.assert_array_equal(spoilt, window)
    assert np.isfinite(plain).all()
    check_ways(taken, OVERLAP, OVERLAP)
