"""Prepared convolutions of changing sizes: calls that follow from an earlier one."""

import numpy as np
import pytest

import fastconv
from fastconv.functional import _convolve

CASES = [
    (1, "NWC", {"stride": 2, "padding": ((1, 2),)}),
    (1, "NCW", {"dilation": 3, "activation": "relu"}),
    (2, "NHWC", {"padding": 1, "activation": ("clip", 0.0, 1.0)}),
    (2, "NCHW", {"stride": (2, 1), "padding": (0, 2), "groups": 2}),
    (2, "NHWC", {"padding": "same", "stride": 2}),
    (3, "NDHWC", {"padding": (1, 0, 1)}),
]


def prepare(nd, layout, arguments, precision="high"):
    """The same convolution each time, from 4 to 6 channels, by 3-wide kernels."""
    rng = np.random.default_rng(3)
    shape = (6, 4 // arguments.get("groups", 1), *(3,) * nd)
    weight, bias = rng.standard_normal(shape), rng.standard_normal(6)
    return fastconv.prepare_conv(weight.astype(np.float32), bias.astype(np.float32), layout=layout,
                                 precision=precision, **arguments)


def picture(rng, layout, batch, *space):
    shape = (batch, *space, 4) if layout.endswith("C") else (batch, 4, *space)
    return rng.standard_normal(shape).astype(np.float32)


@pytest.fixture
def checked(monkeypatch):
    """The operations of calls whose arguments were checked."""
    seen, convert = [], _convolve._convert_and_run

    def convert_and_run(op, *rest):
        seen.append(op)
        return convert(op, *rest)

    monkeypatch.setattr(_convolve, "_convert_and_run", convert_and_run)
    monkeypatch.setattr(_convolve, "_calls", _convolve.BoundedCache(512))
    return seen


@pytest.mark.parametrize("precision", ["highest", "high"])
@pytest.mark.parametrize(("nd", "layout", "arguments"), CASES)
def test_other_sizes_give_what_they_give_alone(nd, layout, arguments, precision, rng, checked):
    op = prepare(nd, layout, arguments, precision)
    op(picture(rng, layout, 1, *(9,) * nd))
    for batch, size in ((1, 11), (3, 9), (2, 8)):
        x = picture(rng, layout, batch, *range(size, size + nd))
        checked.clear()
        assert op.result_shape(x.shape) == (result := op(x)).shape
        places, others = (np.empty((*result.shape[:-1], 2 * result.shape[-1]), np.float32)[..., ::2]
                          for _ in range(2))
        assert op(x, residual=result, out=places) is places
        assert not checked or arguments["padding"] == "same"
        _convolve._calls.clear()
        alone = prepare(nd, layout, arguments, precision)
        assert op.explain(x) == alone.explain(x)
        np.testing.assert_array_equal(result, alone(x))
        np.testing.assert_array_equal(places, alone(x, residual=result, out=others))


def test_a_precision_has_its_own_calls(rng, checked):
    op = prepare(2, "NHWC", {"padding": 1}, precision=None)
    op(picture(rng, "NHWC", 1, 9, 9))
    x = picture(rng, "NHWC", 1, 10, 10)
    with fastconv.precision("highest"):
        checked.clear()
        result = op(x)
        assert checked
        np.testing.assert_array_equal(result, prepare(2, "NHWC", {"padding": 1}, "highest")(x))


@pytest.mark.parametrize(("shape", "error"), [
    ((1, 8, 8, 3), "weight expects 4 input channels"), ((1, 2, 8, 4), "a kernel of 3x3"),
    ((1, 0, 8, 4), "no axis of size 0"), ((8, 8), "x must have 4 axes"),
])
def test_what_does_not_fit_is_an_error(shape, error, rng):
    op = prepare(2, "NHWC", {})
    op(picture(rng, "NHWC", 1, 9, 9))
    with pytest.raises(ValueError, match=f"^conv2d: .*{error}"):
        op(np.ones(shape, np.float32))
    with pytest.raises(ValueError, match=f"^conv2d: .*{error}"):
        op.result_shape(shape)


@pytest.mark.parametrize("name", ["residual", "out"])
def test_other_operands_must_fit_the_new_size(name, rng):
    op = prepare(2, "NHWC", {})
    small = op(picture(rng, "NHWC", 1, 9, 9))
    with pytest.raises(ValueError, match=f"^conv2d: {name} must have shape"):
        op(picture(rng, "NHWC", 1, 10, 10), **{name: small})
    with pytest.raises(TypeError, match="^conv2d: out must have dtype"):
        op(picture(rng, "NHWC", 1, 9, 10), out=np.empty((1, 7, 8, 6)))


@pytest.mark.parametrize("x", [
    np.ones((1, 10, 10, 4)), np.ones((1, 10, 10, 4), int), np.ones((0, 10, 10, 4), np.float32),
    np.ones((10, 10, 4), np.float32), np.ones((1, 20, 20, 4), np.float32)[:, ::2, ::-2],
    np.frombuffer(bytes(1) + np.ones(400, np.float32).tobytes(), np.float32, 400, 1).reshape(
        1, 10, 10, 4),
], ids=["double", "integers", "no picture", "no batch", "strided", "misaligned"])
def test_any_array_behind_another_size(x, rng):
    op = prepare(2, "NHWC", {"padding": 1})
    op(picture(rng, "NHWC", 1, 9, 9))
    result, alone = op(x), prepare(2, "NHWC", {"padding": 1})(np.ascontiguousarray(x))
    assert result.dtype == alone.dtype
    np.testing.assert_array_equal(result, alone)
