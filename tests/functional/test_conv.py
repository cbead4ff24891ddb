"""Convolutions in one, two and three dimensions: every algorithm, type, layout against the oracle.

The table holds the shapes at which engines go wrong: edges of tiles, single pixels, more blocks
and stripes than one, sums of several chains. It runs at every instruction-set level.
"""

import numpy as np
import pytest

import fastconv
from fastconv import reference
from fastconv._engine import dispatch
from fastconv.functional.activation import prelu
from fastconv.reference.activation import apply_activation

pytestmark = pytest.mark.every_isa

DTYPES = ("float32", "float64")
ALGORITHMS = ("direct", "im2col", "winograd")
LAYOUTS = {1: ("NCW", "NWC"), 2: ("NCHW", "NHWC"), 3: ("NCDHW", "NDHWC")}

# name: shape of x (channels first), shape of weight, options. The op follows from weight.
CASES = {
    "1x1": ((2, 5, 7, 9), (33, 5, 1, 1), {}),
    "1x1, one pixel": ((1, 70, 1, 1), (70, 70, 1, 1), {}),
    "1x1, stride 2": ((2, 9, 8, 11), (6, 9, 1, 1), {"stride": 2}),
    "1x1, stride 2, wide": ((1, 35, 5, 67), (6, 35, 1, 1), {"stride": 2}),
    "1x1, padded": ((1, 4, 3, 5), (6, 4, 1, 1), {"padding": 1}),
    "one window": ((1, 3, 3, 3), (4, 3, 3, 3), {}),
    "3x3": ((1, 17, 13, 19), (50, 17, 3, 3), {"padding": 1}),
    "3x3, even": ((2, 32, 12, 12), (64, 32, 3, 3), {"padding": 1}),
    "3x3, unpadded": ((1, 20, 9, 8), (18, 20, 3, 3), {}),
    "3x3, thin picture": ((1, 16, 2, 40), (16, 16, 3, 3), {"padding": 1}),
    "3x3, many blocks": ((2, 8, 40, 150), (20, 8, 3, 3), {"padding": 1}),
    "3x3, odd rows": ((1, 24, 35, 35), (40, 24, 3, 3), {"padding": 1}),
    "3x3, many panels": ((1, 12, 6, 7), (300, 12, 3, 3), {"padding": 1}),
    "3x3, batch": ((9, 16, 5, 5), (16, 16, 3, 3), {"padding": 1}),
    "1x3": ((1, 18, 9, 14), (20, 18, 1, 3), {"padding": (0, 1)}),
    "3x1": ((1, 18, 14, 9), (20, 18, 3, 1), {"padding": (1, 0)}),
    "wide": ((1, 3, 1, 2000), (5, 3, 1, 7), {"padding": (0, 3)}),
    "tall": ((1, 3, 2000, 1), (5, 3, 7, 1), {"padding": (3, 0)}),
    "wide 3x3": ((1, 16, 1, 2000), (16, 16, 3, 3), {"padding": 1}),
    "long sums": ((1, 70, 6, 6), (9, 70, 5, 5), {}),
    "more channels than a chain": ((1, 600, 3, 4), (9, 600, 2, 2), {}),
    "first layer": ((1, 3, 31, 33), (24, 3, 7, 7), {"stride": 2, "padding": 3}),
    "large window": ((1, 3, 39, 40), (16, 3, 11, 11), {"stride": 4}),
    "stride beyond kernel": ((1, 4, 17, 19), (6, 4, 2, 2), {"stride": (5, 3)}),
    "dilated": ((1, 6, 21, 22), (7, 6, 3, 3), {"dilation": (2, 3), "padding": (2, 3)}),
    "dilated rows": ((1, 6, 21, 22), (7, 6, 3, 2), {"dilation": (3, 1), "stride": (2, 1)}),
    "same": ((1, 6, 14, 15), (7, 6, 4, 3), {"padding": "same", "stride": 3}),
    "valid": ((1, 6, 14, 15), (7, 6, 4, 3), {"padding": "valid"}),
    "uneven padding": ((1, 6, 8, 9), (7, 6, 3, 3), {"padding": ((0, 3), (4, 1))}),
    "padding beyond kernel": ((1, 5, 4, 3), (7, 5, 2, 2), {"padding": 6}),
    "groups": ((2, 12, 9, 10), (18, 4, 3, 3), {"groups": 3, "padding": 1}),
    "wide groups": ((1, 40, 8, 9), (66, 20, 3, 3), {"groups": 2, "padding": 1}),
    "depthwise": ((2, 37, 12, 13), (37, 1, 3, 3), {"groups": 37, "padding": 1}),
    "depthwise, stride 2": ((1, 20, 12, 13), (20, 1, 5, 5), {"groups": 20, "stride": 2}),
    "depthwise, dilated": ((1, 20, 12, 13), (20, 1, 3, 3), {"groups": 20, "dilation": 2}),
    "depthwise, multiplier": ((1, 10, 12, 13), (30, 1, 3, 3), {"groups": 10}),
    "pairs of channels": ((1, 24, 9, 10), (24, 2, 3, 3), {"groups": 12, "padding": 1}),
    "one channel": ((1, 1, 50, 60), (1, 1, 5, 5), {"padding": 2}),
    "one channel in": ((8, 1, 28, 28), (6, 1, 5, 5), {"padding": 2}),
    "one channel out": ((1, 30, 11, 12), (1, 30, 3, 3), {"padding": 1}),
    "signals": ((2, 20, 53), (24, 20, 3), {"padding": 1}),
    "signals, stride 3": ((2, 7, 53), (9, 7, 5), {"stride": 3, "padding": 2}),
    "long signal": ((1, 1, 5000), (1, 1, 31), {}),
    "volumes": ((1, 5, 6, 7, 8), (6, 5, 3, 2, 3), {"stride": (1, 2, 1), "padding": (1, 0, 1)}),
    "volumes, flat kernel": ((1, 17, 3, 9, 10), (20, 17, 1, 3, 3), {"padding": (0, 1, 1)}),
    "volumes, depthwise": ((1, 6, 5, 6, 7), (6, 1, 3, 3, 3), {"groups": 6, "padding": 1}),
    "no picture": ((0, 5, 7, 9), (4, 5, 3, 3), {}),
    "no batch axis": ((5, 7, 9), (4, 5, 3, 3), {"padding": 1}),
}


def fits_winograd(weight_shape, options):
    kernel = tuple(k for k in weight_shape[2:] if k > 1)
    flat = len(weight_shape) < 5 or weight_shape[2] == 1
    return options.get("stride", 1) == 1 and flat and kernel in ((3, 3), (3,), (5, 5), (5,))


RUNS = [
    pytest.param(name, algorithm, id=f"{name}-{algorithm}")
    for name, (_, weight_shape, options) in CASES.items()
    for algorithm in ALGORITHMS
    if algorithm != "winograd" or fits_winograd(weight_shape, options)
]


def operands(name, channels_last, dtype, rng):
    """The op of a case, its operands and its options."""
    x_shape, weight_shape, options = CASES[name]
    nd = len(weight_shape) - 2
    x = rng.standard_normal(x_shape).astype(dtype)
    if channels_last:
        x = np.ascontiguousarray(np.moveaxis(x, -nd - 1, -1))
    weight = rng.standard_normal(weight_shape).astype(dtype)
    return f"conv{nd}d", x, weight, {**options, "layout": LAYOUTS[nd][channels_last]}


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("channels_last", [False, True], ids=["first", "last"])
@pytest.mark.parametrize(("name", "algorithm"), RUNS)
def test_algorithm(name, algorithm, channels_last, dtype, check_conv, rng):
    op, x, weight, options = operands(name, channels_last, dtype, rng)
    y = check_conv(op, x, weight, engine={"algorithm": algorithm}, **options)
    assert y.flags.c_contiguous
    assert y.flags.writeable
    assert y.ctypes.data % 64 == 0


@pytest.mark.parametrize("channels_last", [False, True], ids=["first", "last"])
@pytest.mark.parametrize("name", CASES)
def test_auto(name, channels_last, check_conv, rng):
    op, x, weight, options = operands(name, channels_last, "float32", rng)
    check_conv(op, x, weight, **options)
    check_conv(op, x, weight, engine={"precision": "highest"}, **options)


@pytest.mark.parametrize("algorithm", ALGORITHMS)
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("channels_last", [False, True], ids=["first", "last"])
@pytest.mark.parametrize("name", ["3x3", "3x3, batch", "1x3", "signals", "volumes, flat kernel"])
def test_bias_and_residual(name, channels_last, dtype, algorithm, check_conv, rng):
    op, x, weight, options = operands(name, channels_last, dtype, rng)
    plain = getattr(fastconv, op)(x, weight, algorithm=algorithm, **options)
    bias = rng.standard_normal(len(weight)).astype(dtype)
    residual = rng.standard_normal(plain.shape).astype(dtype)
    engine = {"algorithm": algorithm}
    check_conv(op, x, weight, bias, engine=engine, **options)
    check_conv(op, x, weight, residual=residual, engine=engine, **options)
    check_conv(op, x, weight, bias, residual=residual, engine=engine, **options)


@pytest.mark.parametrize("algorithm", ["direct", "im2col"])
@pytest.mark.parametrize("channels_last", [False, True], ids=["first", "last"])
@pytest.mark.parametrize("name", ["depthwise", "depthwise, multiplier", "one channel in", "groups"])
def test_bias_and_residual_of_groups(name, channels_last, algorithm, check_conv, rng):
    op, x, weight, options = operands(name, channels_last, "float32", rng)
    plain = getattr(fastconv, op)(x, weight, algorithm=algorithm, **options)
    bias, residual = rng.standard_normal(len(weight)), rng.standard_normal(plain.shape)
    bias, residual = bias.astype("float32"), residual.astype("float32")
    check_conv(op, x, weight, bias, residual=residual, engine={"algorithm": algorithm}, **options)


ACTIVATIONS = [
    "relu", "relu6", "leaky_relu", ("leaky_relu", 0.3), ("leaky_relu", -1.5), ("clip", -0.5, 2),
    ("clip", -np.inf, 1), "sigmoid", "tanh", "silu", "hardsigmoid", "hardswish",
]  # fmt: skip


@pytest.mark.parametrize("algorithm", ALGORITHMS)
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("activation", ACTIVATIONS, ids=str)
def test_activation(activation, dtype, algorithm, rng):
    """It acts on the very sums that come out without it."""
    for name in ("3x3", "signals"):
        for channels_last in (False, True):
            op, x, weight, options = operands(name, channels_last, dtype, rng)
            run = getattr(fastconv, op)
            options["bias"] = rng.standard_normal(len(weight)).astype(dtype)
            options["algorithm"] = algorithm
            sums = run(x, weight / 8, **options)
            y = run(x, weight / 8, activation=activation, **options)
            wanted = apply_activation(sums.astype(np.longdouble), activation)
            tolerance = 8 * np.finfo(dtype).eps
            np.testing.assert_allclose(y, wanted, rtol=tolerance, atol=tolerance / 4)


@pytest.mark.parametrize("channels_last", [False, True], ids=["first", "last"])
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("activation", [None, *ACTIVATIONS], ids=str)
def test_activation_of_extreme_values(activation, dtype, channels_last):
    """NaN, infinities, zeros of both signs, the smallest and the largest numbers."""
    limits = np.finfo(dtype)
    values = [np.nan, np.inf, -np.inf, 0.0, -0.0, limits.max, limits.min, limits.tiny, 1e-6, -1e-6,
              88.0, -88.0, 104.0, -104.0, 709.0, -709.0, 746.0, -746.0, 3.0, -3.0, 6.0, 0.25]
    x = np.array(values * 2, dtype).reshape((1, -1, 1, 2) if channels_last else (1, 2, -1, 1))
    identity = np.eye(2, dtype=dtype)[:, :, None, None]
    layout = LAYOUTS[2][channels_last]
    # One channel at a time: the other one's 0 * inf would be NaN.
    for channel in range(2):
        part = np.take(x, [channel], axis=-1 if channels_last else 1)
        one = identity[:1, :1]
        y = fastconv.conv2d(part, one, layout=layout, algorithm="im2col", activation=activation)
        with np.errstate(over="ignore", invalid="ignore"):
            wanted = apply_activation(part.astype(np.longdouble), activation).astype(dtype)
        # Beside x a sigmoid counts as zero once it is no normal number any more.
        np.testing.assert_allclose(y, wanted, rtol=8 * limits.eps, atol=1024 * limits.tiny)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("channels_last", [False, True], ids=["first", "last"])
@pytest.mark.parametrize(("name", "algorithm"), RUNS)
def test_slopes_in_the_store(name, algorithm, channels_last, dtype, rng):
    """The very numbers of `prelu` behind a convolution, wherever its sums leave."""
    _, x, weight, options = operands(name, channels_last, dtype, rng)
    if x.size:
        x.flat[[0, x.size // 3, x.size // 2]] = np.nan, np.inf, -np.inf
    bias, slopes = rng.standard_normal((2, len(weight))).astype(dtype)
    slopes[0] = 0
    options["algorithm"] = algorithm
    plain = fastconv.prepare_conv(weight, bias, **options)
    sloped = fastconv.prepare_conv(weight, bias, activation=("prelu", slopes), **options)
    residual = rng.standard_normal(plain(x).shape).astype(dtype)
    for given in (None, residual):
        wanted = prelu(plain(x, given), slopes, layout=options["layout"])
        np.testing.assert_array_equal(sloped(x, given), wanted)


# ---------------------------------------------------------------- types and axes


@pytest.mark.parametrize(
    ("x_dtype", "weight_dtype", "y_dtype"),
    [
        ("uint8", "float32", "float32"), ("uint8", "int8", "float32"), ("bool", "int16", "float32"),
        ("float16", "float16", "float32"), ("float32", "float64", "float64"),
        ("int32", "float32", "float64"), ("int64", "int64", "float64"), (">f4", "<f4", "float32"),
        (">i2", ">f8", "float64"),
    ],
)  # fmt: skip
def test_result_type(x_dtype, weight_dtype, y_dtype, check_conv, rng):
    x = rng.integers(0, 2, (1, 3, 6, 7)).astype(x_dtype)
    weight = rng.integers(0, 2, (4, 3, 3, 3)).astype(weight_dtype)
    assert check_conv("conv2d", x, weight).dtype == y_dtype


def test_sums_of_integers_are_exact(rng):
    """Neither operand floats: the choice of algorithm leaves Winograd out."""
    x = rng.integers(-128, 128, (1, 64, 56, 56), np.int8)
    weight = rng.integers(-128, 128, (64, 64, 3, 3), np.int8) // 16
    y = fastconv.conv2d(x, weight, padding=1)
    assert y.dtype == np.float32
    np.testing.assert_array_equal(y, reference.conv2d(x.astype(float), weight, padding=1))


def test_exactness_does_not_depend_on_earlier_calls(rng):
    """A floating x that equals the integers' may be planned otherwise, before and after them."""
    x = rng.integers(-128, 128, (1, 64, 57, 56), np.int8)
    weight = rng.integers(-8, 8, (64, 64, 3, 3), np.int8)
    exact = reference.conv2d(x.astype(float), weight, padding=1)
    fast = fastconv.conv2d(x.astype("float32"), weight, padding=1)
    # tiles multiply such small integers exactly, too
    assert (fast != exact).any() or dispatch.has_tiles()
    for _ in range(2):
        np.testing.assert_array_equal(fastconv.conv2d(x, weight, padding=1), exact)
        np.testing.assert_array_equal(fastconv.conv2d(x.astype("float32"), weight, padding=1), fast)


def test_lists_and_scalars():
    x = [[1, 2, 3], [4, 5, 6]]
    y = fastconv.conv2d(x, [[1.0, -1.0]], padding=[0, 0], stride=np.int64(1))
    np.testing.assert_array_equal(y, [[-1, -1], [-1, -1]])
    assert y.shape == (2, 2)


def test_planes(check_conv, rng):
    """x and weight without batch and channel axes, in each dimension and either layout."""
    for nd, shapes in {1: ((9,), (3,)), 2: ((9, 8), (3, 4)), 3: ((5, 6, 7), (2, 3, 2))}.items():
        x, weight = (rng.standard_normal(shape) for shape in shapes)
        for layout in LAYOUTS[nd]:
            y = check_conv(f"conv{nd}d", x, weight, padding=1, layout=layout)
            assert y.ndim == nd


def test_a_subclass_of_ndarray_is_an_array(rng):
    x = rng.standard_normal((1, 3, 6, 6)).astype("float32")
    weight = rng.standard_normal((4, 3, 3, 3)).astype("float32")
    y = fastconv.conv2d(x.view(np.recarray), weight.view(np.recarray))
    assert type(y) is np.ndarray
    np.testing.assert_array_equal(y, fastconv.conv2d(x, weight))


# ---------------------------------------------------------------- prepared convolutions


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_prepared_convolution_takes_any_input(algorithm, rng):
    """One op, many sizes, memory orders, batches: always what the function gives."""
    weight = rng.standard_normal((20, 18, 3, 3)).astype("float32")
    bias = rng.standard_normal(20).astype("float32")
    options = {"padding": 1, "algorithm": algorithm, "activation": "relu"}
    op = fastconv.prepare_conv(weight, bias, **options)
    for shape in ((1, 18, 9, 9), (3, 18, 4, 30), (18, 12, 5), (2, 18, 1, 1), (1, 18, 9, 9)):
        x = rng.standard_normal(shape).astype("float32")
        wanted = fastconv.conv2d(x, weight, bias, **options)
        np.testing.assert_array_equal(op(x), wanted)
        np.testing.assert_array_equal(op(np.asfortranarray(x)), wanted)
        out = np.empty_like(wanted)
        assert op(x, residual=wanted, out=out) is out
        again = fastconv.conv2d(x, weight, bias, residual=wanted, **options)
        np.testing.assert_array_equal(out, again)


@pytest.mark.parametrize("layout", ["NCHW", "NHWC"])
def test_prepared_convolution_chooses_for_itself(layout, rng):
    """Weights packed once may make another algorithm pay; the result is as good."""
    weight = rng.standard_normal((64, 64, 3, 3)).astype("float32")
    op = fastconv.prepare_conv(weight, layout=layout)
    for size in (5, 14, 40):
        shape = (1, 64, size, size) if layout == "NCHW" else (1, size, size, 64)
        x = rng.standard_normal(shape).astype("float32")
        wanted = fastconv.conv2d(x, weight, layout=layout, algorithm="direct")
        np.testing.assert_allclose(op(x), wanted, rtol=0, atol=1e-3)


def test_prepared_convolution_takes_both_types(check_conv, rng):
    """The weights are packed once for each compute type, not cast from one to the other."""
    weight = rng.standard_normal((20, 18, 3, 3))
    op = fastconv.prepare_conv(weight.astype("float32"), algorithm="im2col")
    x = rng.standard_normal((1, 18, 9, 9))
    for dtype in ("float32", "float64", "float32"):
        wanted = fastconv.conv2d(x.astype(dtype), weight.astype("float32"), algorithm="im2col")
        assert wanted.dtype == dtype
        np.testing.assert_array_equal(op(x.astype(dtype)), wanted, strict=True)
