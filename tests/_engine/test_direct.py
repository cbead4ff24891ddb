"""Direct convolution against the float64 reference: planes and depthwise, every stride and size.

Which form runs is read from the plan where a test means one: planes take contiguous pixels (or
anything), depthwise takes one channel a group with contiguous channels. The pointwise form has a
file of its own, test_pointwise.py.
"""

import itertools

import numpy as np
import pytest

import fastconv
from fastconv import reference
from fastconv._engine import depthwise, direct, dispatch
from fastconv.functional.conv import conv1d, conv2d, conv3d

pytestmark = pytest.mark.every_isa

# |error| over the sum of magnitudes, elementwise
BOUND = {"float32": 2e-6, "float64": 1e-14}
DTYPES = sorted(BOUND)
LANES = dispatch.lanes()


def normal(*shape, dtype="float64", seed=0):
    return np.random.default_rng([seed, *shape]).standard_normal(shape).astype(dtype)


def channels_last(x):
    """The same array, its channels side by side in memory."""
    return np.moveaxis(np.moveaxis(x, 1, -1).copy(), -1, 1)


def check(conv, x, weight, bias=None, algorithm="direct", **options):
    """Convolve directly and hold every element to its bound; the result."""
    y = conv(x, weight, bias, algorithm=algorithm, **options)
    oracle = getattr(reference, conv.__name__)
    options = {k: v for k, v in options.items() if k not in ("out", "activation")}
    wide = [a if a is None else a.astype("float64") for a in (x, weight, bias)]
    residual = options.pop("residual", None)
    exact = oracle(*wide, **options)
    sizes = oracle(*[a if a is None else abs(a) for a in wide], **options)
    if residual is not None:
        exact, sizes = exact + residual, sizes + abs(residual)
    assert y.dtype == x.dtype
    assert y.shape == exact.shape
    error = abs(y - exact)
    assert (error <= BOUND[str(x.dtype)] * sizes).all(), (error / (sizes + 1e-300)).max()
    return y


def form_of(x, weight, **options):
    return fastconv.explain_conv2d(x, weight, algorithm="direct", **options).form


# ---- planes in place ----------------------------------------------------------------------------

SQUARES = [(3, 1), (3, 2), (5, 1)]  # size and stride of the kernels that are read in place


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("size, stride", SQUARES)
def test_every_width_of_a_small_square_kernel(size, stride, dtype):
    """Tails of every length, before and behind whole vectors and whole tiles."""
    for width in range(1, 9 * LANES + 2, max(1, LANES // 5)):
        x, weight = normal(1, 3, 6, width, dtype=dtype), normal(3, 1, size, size, dtype=dtype)
        check(conv2d, x, weight, groups=3, stride=stride, padding=size // 2)


@pytest.mark.parametrize("size, stride", SQUARES)
@pytest.mark.parametrize("before", [0, 1, 3, LANES, LANES + 1, 3 * LANES])
@pytest.mark.parametrize("after", [0, 2, 2 * LANES + 1])
def test_padding_of_a_small_square_kernel(before, after, size, stride):
    """Also windows that lie outside as a whole, on every side."""
    for width in (5, 4 * LANES + 1, 5 * LANES):
        shapes = ((2, 2, 5, width), (2, 1, size, size), (2,))
        x, weight, bias = (normal(*shape, dtype="float32") for shape in shapes)
        padding = ((before, after), (before, after))
        check(conv2d, x, weight, bias, groups=2, stride=stride, padding=padding)


@pytest.mark.parametrize("size, stride", SQUARES)
@pytest.mark.parametrize("width", [LANES - 1, 2 * LANES + 3, 6 * LANES])
def test_what_leaves_a_small_square_kernel(width, size, stride):
    """Residual, activation and a result with gaps take the tile's general way out."""
    x, weight = normal(1, 2, 9, width, dtype="float32"), normal(2, 1, size, size, dtype="float32")
    options = {"groups": 2, "stride": stride, "padding": size // 2}
    shape = conv2d(x, weight, algorithm="direct", **options).shape
    check(conv2d, x, weight, residual=normal(*shape, dtype="float32", seed=1), **options)
    out = np.zeros((*shape[:-1], 2 * shape[-1]), np.float32)[..., ::2]
    check(conv2d, x, weight, out=out, **options)
    assert np.array_equal(
        conv2d(x, weight, algorithm="direct", activation="relu", **options),
        np.maximum(conv2d(x, weight, algorithm="direct", **options), 0),
    )


# ---- planes -------------------------------------------------------------------------------------

# channels in, out, groups; image; kernel; options
PLANES = [
    ((1, 1, 1), (40, 70), (5, 5), {"padding": 2}),
    ((1, 1, 1), (1, 1), (1, 1), {}),
    ((1, 1, 1), (33, 200), (3, 3), {}),
    ((1, 6, 1), (28, 28), (5, 5), {"padding": 2}),
    ((1, 2, 1), (17, 45), (3, 4), {"stride": (2, 1)}),
    ((1, 3, 1), (19, 31), (7, 7), {"stride": 2, "padding": 3}),
    ((3, 2, 1), (24, 24), (3, 3), {"dilation": 2}),
    ((3, 1, 1), (30, 30), (3, 3), {"dilation": (3, 2), "stride": 2, "padding": 3}),
    ((2, 2, 1), (50, 40), (3, 3), {"dilation": (4, 1), "stride": (6, 1), "padding": 4}),
    ((1, 13, 1), (9, 9), (3, 3), {"padding": 1}),
    ((8, 8, 8), (14, 14), (3, 3), {"padding": 1}),
    ((8, 16, 8), (15, 16), (3, 3), {"padding": 1, "stride": 2}),
    ((6, 6, 6), (20, 17), (5, 5), {"padding": 2}),
    ((10, 5, 5), (20, 33), (3, 3), {"padding": ((0, 2), (3, 1))}),
    ((40, 3, 1), (11, 12), (3, 3), {"padding": "same"}),
    ((300, 2, 1), (5, 7), (1, 1), {}),
    ((1, 1, 1), (8, 700), (2, 600), {}),
    ((1, 1, 1), (70, 70), (40, 40), {"padding": 10}),
    ((1, 1, 1), (5, 3000), (1, 3), {"dilation": (1, 1200)}),
    ((1, 1, 1), (9, 2100), (3, 3), {"stride": (1, 13)}),
    ((2, 4, 2), (16, 16), (3, 3), {"padding": 9}),
]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("channels", "image", "kernel", "options"), PLANES)
def test_planes(channels, image, kernel, options, dtype):
    c, k, groups = channels
    x = normal(2, c, *image, dtype=dtype)
    weight = normal(k, c // groups, *kernel, dtype=dtype)
    check(conv2d, x, weight, normal(k, dtype=dtype), groups=groups, **options)


def test_planes_are_what_single_planes_take():
    assert form_of((1, 1, 64, 64), (1, 1, 5, 5)) == "planes"
    assert form_of((1, 8, 64, 64), (8, 1, 3, 3), groups=8) == "planes"


@pytest.mark.parametrize("width", range(1, 4 * LANES + 3))
def test_every_width(width):
    x, weight = normal(1, 1, 6, width + 2, dtype="float32"), normal(1, 1, 3, 3, dtype="float32")
    check(conv2d, x, weight)


@pytest.mark.parametrize("height", range(1, 19))
@pytest.mark.parametrize("k", range(1, 8))
def test_every_height_and_channel_count(height, k):
    x = normal(1, 1, height + 2, LANES + 4, dtype="float32")
    check(conv2d, x, normal(k, 1, 3, 3, dtype="float32"))
    check(conv2d, x[..., :9], normal(k, 1, 3, 3, dtype="float32"))


@pytest.mark.parametrize("stride", [1, 2, 3])
@pytest.mark.parametrize("dilation", [1, 2, 3])
@pytest.mark.parametrize("kernel", [1, 2, 3, 5])
@pytest.mark.parametrize("padding", [0, 1, 4])
def test_stride_dilation_kernel_and_padding(stride, dilation, kernel, padding):
    x = normal(1, 2, 21, 22, dtype="float32")
    weight = normal(2, 1, kernel, kernel, dtype="float32")
    options = {"stride": stride, "dilation": dilation, "padding": padding, "groups": 2}
    alike = check(conv2d, x, weight, **options)
    assert np.allclose(check(conv2d, channels_last(x), weight, **options), alike, atol=1e-4)


def test_one_and_three_axes():
    x, weight = normal(2, 1, 2000, dtype="float32"), normal(3, 1, 65, dtype="float32")
    check(conv1d, x, weight, padding=32)
    check(conv1d, normal(1, 1, 40), normal(1, 1, 7), stride=3, dilation=2, padding=6)
    x, weight = normal(1, 2, 6, 9, 40, dtype="float32"), normal(4, 1, 3, 2, 3, dtype="float32")
    check(conv3d, x, weight, groups=2, padding=1, stride=(2, 1, 1), dilation=(1, 2, 1))
    check(conv3d, normal(1, 9, 5, 6, 7), normal(9, 1, 3, 3, 3), groups=9, padding=2)


# ---- few input channels of planes, whose copied rows many output channels share -----------------

# channels in, out, groups; image; kernel; options
SHARED = [
    ((3, 64, 1), (12, 70), (3, 3), {"padding": 1}),
    ((3, 64, 1), (23, 127), (7, 7), {"padding": 3, "stride": 2}),
    ((3, 19, 1), (14, 40), (5, 5), {"padding": ((0, 3), (4, 1)), "stride": (3, 1)}),
    ((4, 10, 1), (13, 33), (3, 3), {"padding": 2, "dilation": 2}),
    ((2, 11, 1), (15, 64), (3, 2), {"dilation": (3, 2), "stride": (2, 3), "padding": 4}),
    ((12, 22, 2), (9, 48), (3, 3), {"padding": 1}),
    ((7, 5, 1), (10, 90), (6, 7), {}),
    ((3, 6, 1), (70, 1100), (1, 3), {}),
    ((1, 23, 1), (30, 64), (24, 25), {"padding": 3}),
]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("channels", "image", "kernel", "options"), SHARED)
def test_shared_rows(channels, image, kernel, options, dtype):
    """Also sums of several chains, and what leaves by the general way out."""
    c, k, groups = channels
    few = c // groups < dispatch.lanes(dtype)
    x, weight = normal(2, c, *image, dtype=dtype), normal(k, c // groups, *kernel, dtype=dtype)
    options = {"groups": groups, **options}
    with fastconv.precision("highest"):
        form = fastconv.explain_conv2d(x.shape, weight.shape, dtype=dtype, **options).form
        assert form == "planes" or not few
        y = check(conv2d, x, weight, normal(k, dtype=dtype), algorithm="auto", **options)
        residual = normal(*y.shape, dtype=dtype)
        check(conv2d, x, weight, residual=residual, algorithm="auto", **options)


@pytest.mark.parametrize("k", [4, 5, 6, 8, 13])
def test_every_width_of_shared_rows(k):
    """Tails of every length, in rows of one tile, of several even ones, and below each other."""
    weight, bias = normal(k, 3, 3, 3, dtype="float32"), normal(k, dtype="float32")
    wide = normal(1, 3, 7, 9 * LANES + 3, dtype="float32")
    whole = check(conv2d, wide, weight, bias, algorithm="auto")
    for width in range(1, 9 * LANES + 1, max(1, LANES // 5)):
        y = conv2d(wide[..., : width + 2], weight, bias)
        shape, wanted = wide[..., : width + 2].shape, whole[..., :width]
        if fastconv.explain_conv2d(shape, weight.shape).form == "planes":
            assert np.array_equal(y, wanted)
        else:
            assert np.allclose(y, wanted, atol=2e-5)


@pytest.mark.parametrize("k", [6, 16])
def test_not_a_number_and_infinity_among_shared_rows(k):
    x, weight = normal(1, 3, 12, 50, dtype="float32"), normal(k, 3, 3, 3, dtype="float32")
    x[0, 0, 3, 4], x[0, 2, 8, 20], x[0, 1, 0, 49] = np.nan, np.inf, -np.inf
    weight[-1, 0, 0, 2] = np.inf
    assert fastconv.explain_conv2d(x.shape, weight.shape, padding=(2, 1)).form == "planes"
    with np.errstate(invalid="ignore"):
        expected = reference.conv2d(x, weight, padding=(2, 1))
    y = conv2d(x, weight, padding=(2, 1))
    assert np.array_equal(np.isnan(y), np.isnan(expected))
    assert np.array_equal(y[np.isinf(y)], expected[np.isinf(expected)])


# ---- depthwise on channels-last memory ----------------------------------------------------------

DEPTHWISE = [
    (LANES, (9, 9), (3, 3), {"padding": 1}),
    (1 + 2 * LANES, (12, 20), (3, 3), {"padding": 1}),
    (5 * LANES, (7, 7), (3, 3), {"padding": 1, "stride": 2}),
    (4 * LANES + 5, (8, 31), (5, 5), {"padding": 2, "stride": 2}),
    (2 * LANES, (6, 6), (7, 7), {"padding": 4, "dilation": 2}),
    (2 * LANES, (5, 4), (3, 3), {"padding": 8}),
    (LANES + 1, (30, 40), (25, 30), {"padding": 5}),
    (2, (40, 50), (3, 3), {}),
    (3, (20, 67), (5, 5), {"padding": 2}),
    (3, (20, 67), (5, 5), {"padding": 2, "stride": 2}),
    (7, (5, 5), (3, 3), {"padding": 1}),
    (24, (9, 11), (3, 3), {"padding": ((1, 0), (0, 3)), "dilation": (1, 2)}),
    (LANES, (3, 700), (2, 600), {}),
]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("channels", "image", "kernel", "options"), DEPTHWISE)
def test_depthwise(channels, image, kernel, options, dtype):
    x = channels_last(normal(2, channels, *image, dtype=dtype))
    weight = normal(channels, 1, *kernel, dtype=dtype)
    bias = normal(channels, dtype=dtype)
    y = check(conv2d, x, weight, bias, groups=channels, **options)
    out = channels_last(np.empty_like(y))
    check(conv2d, x, weight, bias, groups=channels, out=out, **options)
    assert np.array_equal(out, y)


@pytest.mark.parametrize("size, stride", [(3, 1), (3, 2), (5, 1), (5, 2), (11, 1), (31, 1)])
def test_depthwise_windows_that_share_taps(size, stride):
    """Tiles of every number of pixels; each gives the bits of one pixel at a time."""
    channels, pixels = 3 * LANES - 1, 9
    weight = normal(channels, 1, size, size, dtype="float32")
    x = channels_last(normal(1, channels, size + 1, stride * (pixels - 1) + size, dtype="float32"))
    for width in range(1, pixels + 1):
        part = x[..., : stride * (width - 1) + size]
        y = check(conv2d, part, weight, groups=channels, stride=stride)
        for column in range(width):
            window = part[..., stride * column : stride * column + size]
            alone = conv2d(window, weight, groups=channels, stride=stride, algorithm="direct")
            assert np.array_equal(y[..., column : column + 1], alone)


@pytest.mark.parametrize("channels", [3, 2 * LANES + 1])
@pytest.mark.parametrize("padding", [(1, 1), (2, 0), (0, 9), (9, 9)])
@pytest.mark.parametrize("width", [*range(1, 12), 27])
def test_depthwise_ends_of_a_row(width, padding, channels):
    """Nothing outside the input is read, however far the windows reach beyond it."""
    weight, bias = normal(channels, 1, 1, 5, dtype="float32"), normal(channels, dtype="float32")
    memory = np.full((1, 2, width + 2, channels), np.nan, "float32")
    x = memory[:, :, 1:-1]
    x[:] = normal(*x.shape, dtype="float32")
    options = {"groups": channels, "layout": "NHWC"}
    whole = check(conv2d, x, weight, bias, padding=((0, 0), (4, 9)), **options)
    assert np.isfinite(whole).all()
    if width + sum(padding) >= 5:
        y = check(conv2d, x, weight, bias, padding=((0, 0), padding), **options)
        backwards = check(conv2d, x[:, :, ::-1], weight[..., ::-1], bias,
                          padding=((0, 0), padding[::-1]), **options)
        assert np.allclose(backwards[:, :, ::-1], y, rtol=1e-5, atol=1e-5)


def test_depthwise_residual_in_the_result():
    """Pixels that two tiles make would add it twice."""
    for channels in (3, 5, 2 * LANES):
        x = normal(1, 5, 29, channels, dtype="float32")
        weight = normal(channels, 1, 1, 3, dtype="float32")
        options = {"groups": channels, "layout": "NHWC", "algorithm": "direct"}
        y = conv2d(x, weight, **options)
        residual = normal(*y.shape, dtype="float32")
        expected = conv2d(x, weight, residual=residual, **options)
        assert np.allclose(expected, y + residual, atol=1e-5)
        conv2d(x, weight, residual=residual, out=residual, **options)
        assert np.array_equal(residual, expected)


def test_depthwise_of_one_repeated_column():
    x = np.broadcast_to(normal(1, 6, 1, 48, dtype="float32"), (1, 6, 9, 48))
    check(conv2d, x, normal(48, 1, 3, 3, dtype="float32"), groups=48, padding=1, layout="NHWC")


def test_depthwise_is_what_channels_last_memory_takes():
    assert form_of((1, 8, 8, 64), (64, 1, 3, 3), groups=64, layout="NHWC") == "depthwise"


@pytest.mark.parametrize("channels", range(1, 2 * LANES + 2))
@pytest.mark.parametrize("width", [1, 2, 5, 14, 19])
def test_every_channel_count(channels, width):
    x = normal(1, 4, width + 2, channels, dtype="float32")
    weight = normal(channels, 1, 3, 3, dtype="float32")
    check(conv2d, x, weight, normal(channels, dtype="float32"), groups=channels, layout="NHWC")


def test_multiplier_and_channels_that_are_apart():
    x = normal(1, 9, 10, 12, dtype="float32")
    check(conv2d, x, normal(24, 1, 3, 3, dtype="float32"), groups=12, layout="NHWC")
    check(conv2d, x[..., ::2], normal(6, 1, 3, 3, dtype="float32"), groups=6, layout="NHWC")


# ---- memory, epilogue ---------------------------------------------------------------------------


def orders(shape, dtype):
    """Writable arrays of a shape (N, C, H, W) whose elements lie every which way."""
    n, c, h, w = shape
    yield np.empty(shape, dtype)
    yield channels_last(np.empty(shape, dtype))
    yield np.empty((n, c, h, 2 * w), dtype)[..., ::-2]
    yield np.empty((n, c + 3, h + 1, w + 5), dtype)[:, 1:-2, 1:, 2:-3]
    yield np.moveaxis(np.empty((n, h, w, c + 4), dtype)[..., 1:-3], -1, 1)
    yield np.empty(shape[::-1], dtype).T


@pytest.mark.parametrize("groups", [1, 4])
@pytest.mark.parametrize("activation", [None, "relu", "hardswish"])
def test_any_strides_in_and_out(groups, activation):
    values = normal(2, 4, 11, 23, dtype="float32")
    weight = normal(4, 4 // groups, 3, 3, dtype="float32")
    bias, added = normal(4, dtype="float32"), normal(2, 4, 11, 23, dtype="float32", seed=1)
    options = {"padding": 1, "groups": groups, "activation": activation}
    wide = [a.astype("float64") for a in (values, weight, bias)]
    expected = reference.conv2d(*wide, residual=added.astype("float64"), **options)
    shape = values.shape
    for x, residual, out in itertools.product(*[list(orders(shape, "float32")) for _ in range(3)]):
        x[...], residual[...] = values, added
        whole = out
        while whole.base is not None:
            whole = whole.base
        whole[...] = 7
        conv2d(x, weight, bias, residual=residual, out=out, algorithm="direct", **options)
        assert np.allclose(out, expected, atol=2e-5)
        out[...] = 7
        assert (whole == 7).all()


# ---- promises -----------------------------------------------------------------------------------

SHAPES = [
    ((2, 1, 90, 300), (1, 1, 5, 5), {"padding": 2}),
    ((1, 70, 40, 30), (70, 1, 3, 3), {"groups": 70, "padding": 1}),
    ((1, 70, 40, 30), (5, 70, 5, 5), {"padding": 2}),
    ((1, 1, 100, 100), (3, 1, 31, 31), {"dilation": 2}),
    ((1, 3, 64, 112), (64, 3, 3, 3), {"padding": 1}),
    ((1, 6, 64, 128), (40, 3, 3, 3), {"padding": 1, "stride": 2, "groups": 2}),
]


@pytest.mark.parametrize("last", [False, True])
@pytest.mark.parametrize(("x_shape", "weight_shape", "options"), SHAPES)
def test_threads_change_no_bit(x_shape, weight_shape, options, last):
    x, weight = normal(*x_shape, dtype="float32"), normal(*weight_shape, dtype="float32")
    x = channels_last(x) if last else x
    before = fastconv.get_num_threads()
    try:
        results = []
        for threads in (1, 2, 3, 7):
            fastconv.set_num_threads(threads)
            results.append(conv2d(x, weight, algorithm="direct", **options))
    finally:
        fastconv.set_num_threads(before)
    assert all(np.array_equal(result, results[0]) for result in results)


@pytest.mark.parametrize("last", [False, True])
def test_a_part_has_the_bits_of_the_whole(last):
    x, weight = normal(1, 5, 40, 90, dtype="float32"), normal(5, 1, 3, 3, dtype="float32")
    x = channels_last(x) if last else x
    whole = conv2d(x, weight, groups=5, algorithm="direct")
    for top, left in itertools.product(range(0, 30, 7), range(0, 70, 11)):
        part = x[:, :, top : top + 9, left : left + 14]
        y = conv2d(part, weight, groups=5, algorithm="direct")
        assert np.array_equal(y, whole[:, :, top : top + 7, left : left + 12])


@pytest.mark.parametrize(("x_shape", "weight_shape", "options"), SHAPES)
def test_a_picture_alone_has_the_bits_it_has_in_a_batch(x_shape, weight_shape, options):
    x = normal(3, *x_shape[1:], dtype="float32")
    weight = normal(*weight_shape, dtype="float32")
    whole = conv2d(x, weight, algorithm="direct", **options)
    assert np.array_equal(conv2d(x[1:2], weight, algorithm="direct", **options), whole[1:2])


def test_bits_do_not_depend_on_the_size_of_the_picture():
    x, weight = normal(1, 90, 30, 70, dtype="float32"), normal(7, 90, 1, 2, dtype="float32")
    options = {"stride": (5, 1), "algorithm": "direct"}
    whole = conv2d(x, weight, **options)
    assert np.array_equal(conv2d(x[..., :11, :9], weight, **options), whole[..., :3, :8])


@pytest.mark.parametrize("last", [False, True])
@pytest.mark.parametrize("channels", [1, 3, 2 * LANES])
def test_not_a_number_and_infinity_go_where_the_reference_puts_them(channels, last):
    x = normal(1, channels, 12, 50, dtype="float32")
    weight = normal(channels, 1, 3, 3, dtype="float32")
    x[0, 0, 3, 4], x[0, -1, 8, 20], x[0, 0, 0, 49] = np.nan, np.inf, -np.inf
    # an infinite weight meets the zeros of the padding: NaN, as in any other sum
    weight[-1, 0, 0, 2] = np.inf
    options = {"padding": (2, 1), "groups": channels}
    with np.errstate(invalid="ignore"):
        expected = reference.conv2d(x, weight, **options)
    y = conv2d(channels_last(x) if last else x, weight, algorithm="direct", **options)
    assert np.array_equal(np.isnan(y), np.isnan(expected))
    assert np.array_equal(y[np.isinf(y)], expected[np.isinf(expected)])


def test_long_sums_keep_their_digits():
    x = abs(normal(1, 1, 400, 64, dtype="float32"))
    weight = abs(normal(1, 1, 400, 30, dtype="float32"))
    y = conv2d(x, weight, algorithm="direct").astype("float64")
    exact = reference.conv2d(x.astype("float64"), weight.astype("float64"))
    assert (abs(y - exact) / exact).max() <= 1e-6


def test_tiles_are_named():
    planes, pixels = direct.planes_tile(), depthwise.depthwise_tile()
    assert planes == f"1x4x{int(planes.split()[0].split('x')[2])} (channels x rows x columns)"
    assert direct.planes_tile(np.dtype("float64"), 64).startswith("6x1x")
    assert pixels.endswith(f"x{2 * LANES} (pixels x channels)")


def test_agrees_with_torch():
    torch = pytest.importorskip("torch", reason="needs torch: pip install fastconv[bench]")
    x, weight = normal(2, 12, 30, 41, dtype="float32"), normal(12, 1, 5, 3, dtype="float32")
    options = {"stride": (1, 2), "padding": (2, 3), "dilation": (2, 1), "groups": 12}
    expected = torch.nn.functional.conv2d(*map(torch.from_numpy, (x, weight)), **options).numpy()
    assert np.allclose(conv2d(x, weight, algorithm="direct", **options), expected, atol=2e-5)
    y = conv2d(channels_last(x), weight, algorithm="direct", **options)
    assert np.allclose(y, expected, atol=2e-5)


def test_whatever_hypothesis_finds():
    hypothesis = pytest.importorskip("hypothesis", reason="needs hypothesis: fastconv[test]")
    some = hypothesis.strategies

    @hypothesis.settings(deadline=None, max_examples=150, derandomize=True, database=None)
    @hypothesis.given(data=some.data())
    def fuzz(data):
        def draw(*range_):
            return data.draw(some.integers(*range_))

        groups = draw(1, 5)
        c, k = groups * draw(1, 4), groups * draw(1, 8)
        kernel, dilation = (draw(1, 6), draw(1, 9)), (draw(1, 4), draw(1, 4))
        padding = tuple((draw(0, 5), draw(0, 5)) for _ in range(2))
        stride = (draw(1, 4), draw(1, 4))
        size = [
            max(1, d * (n - 1) + 1 - sum(p)) + extra
            for n, d, p, extra in zip(
                kernel, dilation, padding, (draw(0, 20), draw(0, 80)), strict=True
            )
        ]
        dtype = data.draw(some.sampled_from(DTYPES))
        x, weight = normal(2, c, *size, dtype=dtype), normal(k, c // groups, *kernel, dtype=dtype)
        if data.draw(some.booleans()):
            x = channels_last(x)
        check(conv2d, x, weight, normal(k, dtype=dtype), stride=stride, padding=padding,
              dilation=dilation, groups=groups)  # fmt: skip

    fuzz()
