"""Transposed convolutions: phases, croppings and every option against the oracle, and adjointness.

Each phase of the output is a convolution of its own, so the table has strides below, at and above
the kernel, dilations that share factors with the stride, phases without any tap, and crops deeper
than the kernel.
"""

import numpy as np
import pytest

import fastconv

pytestmark = pytest.mark.every_isa

DTYPES = ("float32", "float64")
LAYOUTS = {1: ("NCW", "NWC"), 2: ("NCHW", "NHWC"), 3: ("NCDHW", "NDHWC")}

# name: shape of x (channels first), shape of weight, options
CASES = {
    "stride 1": ((2, 18, 9, 11), (18, 20, 3, 3), {"padding": 1}),
    "stride 2": ((2, 9, 8, 7), (9, 17, 3, 3), {"stride": 2, "padding": 1}),
    "output padding": ((2, 9, 8, 7), (9, 17, 3, 3), {"stride": 2, "padding": 1,
                                                     "output_padding": 1}),
    "even kernel": ((1, 6, 8, 7), (6, 5, 4, 4), {"stride": 2, "padding": 1}),
    "stride is kernel": ((1, 6, 8, 7), (6, 5, 2, 2), {"stride": 2}),
    "stride beyond kernel": ((1, 6, 5, 7), (6, 5, 2, 1), {"stride": (3, 4)}),
    "phases of 3x3": ((1, 18, 7, 9), (18, 20, 6, 6), {"stride": 2, "padding": 2}),
    "dilation 2, stride 2": ((1, 6, 8, 7), (6, 5, 3, 3), {"stride": 2, "dilation": 2}),
    "dilation 3, stride 2": ((1, 6, 8, 7), (6, 5, 3, 2), {"stride": 2, "dilation": 3,
                                                          "output_padding": (2, 1)}),
    "dilation 4, stride 6": ((1, 3, 4, 5), (3, 5, 3, 4), {"stride": 6, "dilation": 4}),
    "1x1": ((2, 6, 8, 7), (6, 5, 1, 1), {"stride": 2}),
    "one pixel": ((1, 7, 1, 1), (7, 5, 4, 4), {}),
    "cropped deep": ((1, 6, 9, 9), (6, 5, 3, 3), {"padding": 5}),
    "cropped unevenly": ((1, 6, 8, 7), (6, 5, 3, 3), {"stride": 2, "padding": ((2, 0), (1, 4))}),
    "valid": ((1, 6, 8, 7), (6, 5, 3, 3), {"padding": "valid"}),
    "groups": ((2, 12, 6, 7), (12, 4, 3, 3), {"groups": 3, "stride": 2}),
    "depthwise": ((1, 20, 6, 7), (20, 1, 4, 4), {"groups": 20, "stride": 2, "padding": 1}),
    "one channel": ((1, 1, 30, 31), (1, 1, 5, 5), {"stride": 2, "padding": 2}),
    "signals": ((2, 6, 21), (6, 5, 5), {"stride": 3, "padding": 1, "output_padding": 2}),
    "volumes": ((1, 4, 3, 4, 5), (4, 5, 3, 2, 4), {"stride": (1, 2, 3), "padding": (1, 0, 2)}),
    "no picture": ((0, 6, 5, 5), (6, 5, 3, 3), {"stride": 2}),
    "no batch axis": ((6, 5, 5), (6, 5, 3, 3), {"stride": 2}),
    "more than a block": ((1, 12, 30, 51), (12, 8, 4, 4), {"stride": 2, "padding": 1}),
}  # fmt: skip


def operands(name, channels_last, dtype, rng):
    x_shape, weight_shape, options = CASES[name]
    nd = len(weight_shape) - 2
    x = rng.standard_normal(x_shape).astype(dtype)
    if channels_last:
        x = np.ascontiguousarray(np.moveaxis(x, -nd - 1, -1))
    weight = rng.standard_normal(weight_shape).astype(dtype)
    bias = rng.standard_normal(weight_shape[1] * options.get("groups", 1)).astype(dtype)
    options = {**options, "layout": LAYOUTS[nd][channels_last]}
    return f"conv_transpose{nd}d", x, weight, bias, options


@pytest.mark.parametrize("algorithm", ["auto", "direct", "im2col"])
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("channels_last", [False, True], ids=["first", "last"])
@pytest.mark.parametrize("name", CASES)
def test_algorithm(name, channels_last, dtype, algorithm, check_conv, rng):
    op, x, weight, bias, options = operands(name, channels_last, dtype, rng)
    engine = {"algorithm": algorithm}
    y = check_conv(op, x, weight, engine=engine, **options)
    residual = rng.standard_normal(y.shape).astype(dtype)
    check_conv(op, x, weight, bias, residual=residual, engine=engine, **options)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("channels_last", [False, True], ids=["first", "last"])
@pytest.mark.parametrize("name", ["stride 1", "phases of 3x3"])
def test_winograd_where_every_phase_is_three_wide(name, channels_last, dtype, check_conv, rng):
    op, x, weight, bias, options = operands(name, channels_last, dtype, rng)
    check_conv(op, x, weight, bias, engine={"algorithm": "winograd"}, **options)


@pytest.mark.parametrize("channels_last", [False, True], ids=["first", "last"])
@pytest.mark.parametrize("name", ["stride beyond kernel", "output padding", "depthwise", "signals"])
def test_orders_in_memory(name, channels_last, check_conv, memory, rng):
    """Phases are written through strided views; gaps, and cells beside `out`, stay untouched."""
    op, x, weight, bias, options = operands(name, channels_last, "float32", rng)
    wanted = getattr(fastconv, op)(x, weight, bias, **options)
    for order in memory.WRITABLE:
        arrays = (memory.lay(array, order) for array in (x, weight, bias))
        out = memory.lay(np.full_like(wanted, -1), order)
        residual = memory.lay(np.flip(wanted), order)
        check_conv(op, *arrays, residual=residual, out=out, **options)
        if order in ("cropped", "sliced"):
            assert np.isnan(out.base).sum() == out.base.size - out.size


@pytest.mark.parametrize("name", ["stride beyond kernel", "stride 2"])
def test_activation_acts_on_every_phase(name, rng):
    """Also on those that no tap reaches: there the result is activation(bias)."""
    op, x, weight, bias, options = operands(name, False, "float32", rng)
    sums = getattr(fastconv, op)(x, weight, bias, **options)
    y = getattr(fastconv, op)(x, weight, bias, activation=("leaky_relu", 0.5), **options)
    np.testing.assert_array_equal(y, np.where(sums > 0, sums, sums / 2))


def test_it_is_the_adjoint_of_the_convolution(rng):
    """<conv(x), y> = <x, conv_transpose(y)> with the same weight, padding and stride."""
    x, weight = rng.standard_normal((2, 6, 13, 15)), rng.standard_normal((8, 3, 3, 4))
    options = {"stride": (2, 3), "padding": (1, 2), "groups": 2}
    y = fastconv.conv2d(x, weight, **options)
    cotangent = rng.standard_normal(y.shape)
    back = fastconv.conv_transpose2d(cotangent, weight, output_padding=(0, 0), **options)
    assert back.shape == x.shape
    np.testing.assert_allclose(np.vdot(y, cotangent), np.vdot(x, back), rtol=1e-12)


def test_prepared(rng):
    x, weight = rng.standard_normal((2, 6, 9, 8)), rng.standard_normal((6, 5, 3, 3))
    options = {"stride": 2, "padding": 1, "output_padding": 1, "activation": "relu"}
    op = fastconv.prepare_conv(weight, np.arange(5.0), transposed=True, **options)
    for part in (x, x[:1], x[0], x[:, :, ::2, ::-1]):
        wanted = fastconv.conv_transpose2d(part, weight, np.arange(5.0), **options)
        np.testing.assert_array_equal(op(part), wanted)


def test_planes(check_conv, rng):
    """An x and a weight without channels are one channel each."""
    x, weight = rng.standard_normal((7, 6)), rng.standard_normal((3, 2))
    for options in ({}, {"stride": 2, "padding": 1, "output_padding": 1}, {"dilation": (2, 1)}):
        check_conv("conv_transpose2d", x, weight, **options)
