"""The input gradient's shorter way for few channels of small pictures, wherever it is taken."""

import numpy as np
import pytest

import fastconv
from fastconv import grad
from fastconv._engine.input_gradient import InputGradient
from fastconv.functional._check import conv_geometry
from fastconv.grad import _convolutions
from fastconv.reference import grad as exact

# (N, C, H, W), (K, C / groups, R, S), padding, dilation, groups
CASES = {
    "lenet": ((4, 6, 14, 14), (16, 6, 5, 5), 0, 1, 1),
    "one": ((1, 1, 5, 5), (2, 1, 5, 5), 0, 1, 1),
    "flat": ((3, 2, 7, 9), (40, 2, 7, 3), (0, 1), 1, 1),
    "dilated": ((2, 3, 13, 12), (7, 3, 3, 3), ((1, 0), (0, 2)), (3, 2), 1),
    "groups": ((2, 6, 10, 10), (12, 2, 5, 5), 0, 1, 3),
    "long": ((2, 3, 9, 9), (150, 3, 7, 7), 1, 1, 1),  # chains in several parts
    "tall": ((2, 1, 20, 3), (3, 1, 12, 3), 0, 1, 1),
}


def operands(case, dtype, layout):
    x_shape, weight_shape, padding, dilation, groups = CASES[case]
    geometry = conv_geometry(
        "test", 2, x_shape, weight_shape, 1, padding, dilation, groups, "NCHW"
    )
    rng = np.random.default_rng(3)
    weight = rng.standard_normal(weight_shape).astype(dtype)
    dy = rng.standard_normal(geometry.out_shape).astype(dtype)
    options = {"padding": padding, "dilation": dilation, "groups": groups, "layout": layout}
    if layout == "NHWC":
        n, c, h, w = x_shape
        x_shape, dy = (n, h, w, c), np.ascontiguousarray(np.moveaxis(dy, 1, -1))
    return x_shape, weight, dy, options


@pytest.fixture
def taken(monkeypatch):
    """Which signatures took the shorter way."""
    seen = []

    class Watched(InputGradient):
        def run(self, weight, dy):
            seen.append(dy.shape)
            return super().run(weight, dy)

    monkeypatch.setattr(_convolutions, "InputGradient", Watched)
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
    assert taken, "the case is meant for the shorter way"
    same_for_any_threads(lambda: grad.conv2d_input(x_shape, weight, dy, **options))


def test_any_memory(taken, close, memory):
    x_shape, weight, dy, options = operands("lenet", "float32", "NCHW")
    wanted = grad.conv2d_input(x_shape, weight, dy, **options)
    for order in sorted(memory.ALL):
        other = grad.conv2d_input(
            x_shape, memory.lay(weight, order), memory.lay(dy, order), **options
        )
        np.testing.assert_array_equal(other, wanted)
    assert len(taken) == 1 + len(memory.ALL)


def test_a_picture_alone(taken):
    x_shape, weight, dy, options = operands("lenet", "float64", "NCHW")
    whole = grad.conv2d_input(x_shape, weight, dy, **options)
    one = grad.conv2d_input(x_shape[1:], weight, dy[2], **options)
    np.testing.assert_array_equal(one, whole[2])
    assert len(taken) == 2


def test_no_pictures(taken):
    assert grad.conv2d_input((0, 6, 14, 14), np.ones((16, 6, 5, 5)), np.ones((0, 16, 10, 10))).shape
    assert not taken


def test_denormals_are_kept_where_highest(taken):
    tiny = np.float32(1e-39)
    dy = np.zeros((1, 16, 10, 10), np.float32)
    dy[0, 0, 0, 0] = tiny
    weight = np.ones((16, 6, 5, 5), np.float32)
    with fastconv.precision("highest"):
        assert grad.conv2d_input((1, 6, 14, 14), weight, dy)[0, 0, 0, 0] == tiny
    assert grad.conv2d_input((1, 6, 14, 14), weight, dy)[0, 0, 0, 0] == 0
    assert len(taken) == 2
