"""Weights that stay in registers: windows of a few input channels, channels last.

How many weights a level keeps decides which windows take this form and in how many passes, so the
tests ask for that; other windows take another form and must be right too.
"""

import numpy as np
import pytest

import fastconv
from fastconv import reference
from fastconv._engine import dispatch, stationary
from fastconv.functional.conv import conv2d, prepare_conv
from fastconv.reference.activation import apply_activation

pytestmark = pytest.mark.every_isa

DTYPES = ["float32", "float64"]
LANES = dispatch.lanes()
STRICT = {"precision": "highest"}


def normal(*shape, dtype="float32", seed=0):
    return np.random.default_rng([seed, *shape]).standard_normal(shape).astype(dtype)


def form_of(x, weight, **options):
    return fastconv.explain_conv2d(x, weight, layout="NHWC", **options).form


def is_kept(rows, width, channels, dtype):
    """Whether channels are few, and a window takes one pass, or two or three of many weights."""
    held, run = stationary.stationary_weights(dtype), width * channels
    if run > held or (channels == 1 and rows * width == 1):
        return False
    once = min(5, held // run)
    return rows <= (3 * once if once * run >= 16 else once)


def test_which_convolutions_keep_their_weights():
    image = (1, 40, 40, 3)
    assert form_of(image, (LANES, 3, 1, 3)) == "stationary"
    assert form_of(image, (32, 3, 1, 3), stride=2, padding=1) == "stationary"
    assert form_of(image, (33, 3, 1, 3)) != "stationary"
    assert form_of(image, (LANES, 3, 1, 3), dilation=(2, 1)) == "stationary"
    assert form_of(image, (LANES, 3, 1, 3), dilation=(1, 2)) != "stationary"
    assert form_of(image, (LANES, 3, 11, 11)) != "stationary"
    assert form_of(image, (LANES, 3, 1, 3), algorithm="direct") == "rows"
    assert form_of((1, 40, 40, 1), (LANES, 1, 3, 3)) == "stationary"
    plan = fastconv.explain_conv2d((1, 3, 40, 40), (LANES, 3, 1, 3))
    assert plan.form != "stationary"


def test_tile_is_named():
    plan = fastconv.explain_conv2d((1, 40, 40, 3), (LANES, 3, 1, 3), layout="NHWC")
    assert plan.tile == f"1x9x{LANES} (kernel rows x run x channels)"


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("rows", [1, 2, 3, 4, 5, 6, 9, 13])
def test_every_run(rows, dtype, check_conv):
    """Windows of every size that a level keeps, and of some that it does not."""
    for channels in (1, 2, 3):
        for width in range(1, stationary.stationary_weights(dtype) // channels + 2):
            x = normal(1, rows + 2, width + 4, channels, dtype=dtype)
            weight = normal(LANES, channels, rows, width, dtype=dtype)
            if is_kept(rows, width, channels, dtype):
                assert form_of(x.shape, weight.shape, dtype=dtype) == "stationary"
            check_conv("conv2d", x, weight, padding=(1, 2), layout="NHWC", engine=STRICT)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("options", [{}, {"stride": 2}, {"padding": 1}, {"stride": (1, 3)}])
def test_one_to_one(options, dtype, check_conv):
    """Pictures whose rows follow each other, and others; input channels in one part or two."""
    held = stationary.stationary_weights(dtype)
    for channels in (2, held // 2, held, 2 * held - held % 2, 2 * held + 1):
        x = normal(2, 6, 7, channels, dtype=dtype)
        for out in (LANES, 31):
            weight = normal(out, channels, 1, 1, dtype=dtype)
            if channels <= held or (held >= 16 and channels == 2 * held - 2):
                assert form_of(x.shape, weight.shape, dtype=dtype, **options) == "stationary"
            check_conv("conv2d", x, weight, layout="NHWC", engine=STRICT, **options)
            check_conv("conv2d", x[:, :-1], weight, layout="NHWC", engine=STRICT, **options)
            check_conv("conv2d", x[:, :, :-1], weight, layout="NHWC", engine=STRICT, **options)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("kernel", [(1, 1), (3, 1)])
@pytest.mark.parametrize("group_out", [LANES + 1, 28])
def test_groups(group_out, kernel, dtype, check_conv):
    """Kernels one pixel wide; groups too many for one vector, or that would share it."""
    for group_in in (3, 6, 17, 2 * stationary.stationary_weights(dtype) - 2):
        x = normal(2, 5, 8, 3 * group_in, dtype=dtype)
        weight = normal(3 * group_out, group_in, *kernel, dtype=dtype)
        bias = normal(3 * group_out, dtype=dtype)
        for padding in (0, (1, 2)):
            options = {"groups": 3, "padding": padding, "layout": "NHWC"}
            if group_in == 3 and group_out > dispatch.lanes(dtype):
                assert form_of(x.shape, weight.shape, dtype=dtype, groups=3) == "stationary"
            y = check_conv("conv2d", x, weight, bias, engine=STRICT, **options)
            check_conv("conv2d", x[:, :, ::2], weight, bias, engine=STRICT, **options)
            apart = np.empty(y.shape[:3] + (2 * y.shape[3],), dtype)[..., ::2]
            check_conv("conv2d", x, weight, bias, out=apart, engine=STRICT, **options)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("channels", [LANES - 3, LANES, LANES + 1, 2 * LANES, 31])
@pytest.mark.parametrize("stride", [1, 2, (3, 1)])
@pytest.mark.parametrize("padding", [0, 1, ((0, 3), (4, 0)), ((5, 1), (1, 6))])
def test_sides_and_vectors(padding, stride, channels, dtype, check_conv):
    """Nothing beside the input is read, nothing beside the result is written."""
    memory = np.full((2, 7, 19, 3), np.nan, dtype)
    x = memory[:, :, 2:-3]
    x[...] = normal(*x.shape, dtype=dtype)
    weight, bias = normal(channels, 3, 3, 3, dtype=dtype), normal(channels, dtype=dtype)
    options = {"padding": padding, "stride": stride, "layout": "NHWC"}
    y = check_conv("conv2d", x, weight, bias, engine=STRICT, **options)
    beside = np.full([n + 2 for n in y.shape], 7, dtype)
    out = beside[1:-1, 1:-1, 1:-1, 1:-1]
    conv2d(x, weight, bias, out=out, precision="highest", **options)
    assert np.array_equal(out, y)
    out[...] = 7
    assert (beside == 7).all()


@pytest.mark.parametrize("kernel", [(3, 3), (9, 9)])
@pytest.mark.parametrize("activation", [None, "relu", ("clip", -0.5, 1), "hardswish", "tanh"])
def test_epilogue(activation, kernel):
    x, weight = normal(2, 14, 70, 1), normal(LANES + 5, 1, *kernel)
    bias = normal(LANES + 5)
    options = {"padding": 2, "layout": "NHWC"}
    sums = conv2d(x, weight, **options)
    residual = normal(*sums.shape)
    y = conv2d(x, weight, bias, residual=residual, activation=activation, **options)
    expected = apply_activation(sums + bias + residual, activation)
    assert np.allclose(y, expected, rtol=1e-5, atol=1e-5)
    conv2d(x, weight, bias, residual=residual, activation=activation, out=residual, **options)
    assert np.array_equal(residual, y)


def test_long_rows_in_pieces(check_conv):
    x, weight = normal(1, 3, 3000, 2), normal(31, 2, 2, 3)
    check_conv("conv2d", x, weight, layout="NHWC", engine=STRICT)
    check_conv("conv1d", x[0], weight[:, :, 0], layout="NWC", stride=2, padding=1, engine=STRICT)


def test_depth(check_conv):
    x, weight = normal(1, 5, 6, 9, 2), normal(LANES, 2, 2, 2, 2)
    check_conv("conv3d", x, weight, padding=1, dilation=(2, 1, 1), layout="NDHWC", engine=STRICT)


@pytest.mark.parametrize("memory", ["a picture's three of four channels", "every second pixel",
                                    "backwards", "planes", "a result whose channels are apart"])
def test_other_memory(memory, check_conv):
    """Whatever lies otherwise is another form's, or is read as it lies."""
    x, weight = normal(1, 10, 12, 4), normal(LANES, 3, 3, 3)
    views = {
        "a picture's three of four channels": x[..., :3],
        "every second pixel": np.repeat(x[..., :3], 2, axis=2)[:, :, ::2],
        "backwards": x[:, ::-1, ::-1, :3],
        "planes": np.moveaxis(normal(1, 3, 10, 12), 1, -1),
    }
    out = None
    if memory not in views:
        out = np.empty((1, LANES, 10, 12), "float32").transpose(0, 2, 3, 1)
    check_conv("conv2d", views.get(memory, x[..., :3].copy()), weight, padding=1, layout="NHWC",
               out=out, engine=STRICT)


def test_not_finite():
    """NaN and infinity reach exactly the windows that hold them; padding multiplies weights."""
    x, weight = normal(1, 9, 30, 3), normal(LANES, 3, 3, 3)
    x[0, 4, 0, 1], x[0, 8, 29, 0], x[0, 0, 13, 2] = np.nan, np.inf, -np.inf
    weight[1, 0, 0, 0] = np.inf
    with np.errstate(invalid="ignore"):
        expected = reference.conv2d(x, weight, padding=1, layout="NHWC")
    y = conv2d(x, weight, padding=1, layout="NHWC")
    assert np.array_equal(np.isnan(y), np.isnan(expected))
    assert np.array_equal(y[np.isinf(y)], expected[np.isinf(expected)])


def test_same_bits_for_any_threads_and_batch():
    x, weight = normal(3, 37, 90, 3), normal(24, 3, 3, 3)
    threads, results = fastconv.get_num_threads(), []
    try:
        for count in (1, 2, 3, 7):
            fastconv.set_num_threads(count)
            results.append(conv2d(x, weight, padding=1, layout="NHWC"))
            results.append(prepare_conv(weight, padding=1, layout="NHWC")(x))
    finally:
        fastconv.set_num_threads(threads)
    alone = np.concatenate([conv2d(one[None], weight, padding=1, layout="NHWC") for one in x])
    assert all(np.array_equal(alone, result) for result in results)


@pytest.mark.parametrize("channels, kernel, stride", [(8, 1, 7), (3, 2, 9), (1, 3, 16)])
def test_strips_are_bounded(channels, kernel, stride, check_conv):
    """Many pictures leave tasks of many rows, strides make their strips wide: they are cut."""
    x = np.repeat(normal(40, 90, 400, channels), 2, axis=2)[:, :, ::2]
    weight = normal(LANES, channels, 1, kernel)
    options = {"stride": stride, "padding": kernel // 2, "layout": "NHWC"}
    op = prepare_conv(weight, **options)
    check_conv("conv2d", x[:2], weight, engine=STRICT, **options)
    op(x)
    assert op.explain(x).form == "stationary"
    assert op.explain(x).workspace_bytes <= 300 << 10
