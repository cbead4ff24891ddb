"""1x1 convolution of planes: the pointwise form, against the reference and against implicit GEMM.

Both add the same chains in the same order, so besides the bounds on errors there is a sharper
test: not one bit may differ from algorithm="im2col".
"""

import itertools

import numpy as np
import pytest

import fastconv
from fastconv._engine import dispatch, pointwise
from fastconv.functional.conv import conv1d, conv2d, conv3d

pytestmark = pytest.mark.every_isa

DTYPES = ["float32", "float64"]
LANES = dispatch.lanes()


@pytest.fixture(autouse=True)
def by_vectors():
    """"high" may take tiles for these, which have bits of their own."""
    with fastconv.precision("highest" if dispatch.has_tiles() else "high"):
        yield


def normal(*shape, dtype="float32", seed=0):
    return np.random.default_rng([seed, *shape]).standard_normal(shape).astype(dtype)


def assert_same_bits(conv, x, weight, bias=None, **options):
    """The direct result, after it was found equal to implicit GEMM's."""
    y = conv(x, weight, bias, algorithm="direct", **options)
    options.pop("out", None)
    if dispatch.has_tiles(y.dtype):
        options["precision"] = "highest"  # implicit GEMM by vectors, then
    np.testing.assert_array_equal(y, conv(x, weight, bias, algorithm="im2col", **options))
    return y


def form_of(x, weight, algorithm="auto", **options):
    return fastconv.explain_conv2d(x, weight, algorithm=algorithm, **options).form


def test_which_convolutions_are_pointwise():
    big, small = (1, 64, 56, 56), (1, 64, 7, 7)
    assert form_of(big, (64, 64, 1, 1)) == "pointwise"
    assert form_of(big, (64, 32, 1, 1), groups=2) == "pointwise"
    assert form_of(small, (64, 64, 1, 1), "direct") == "pointwise"
    for options in ({"stride": 2}, {"padding": 1}, {"padding": ((1, 0), (0, 0))}):
        assert form_of(big, (64, 64, 1, 1), "direct", **options) != "pointwise"
    # crops: as many pixels come out as went in, but not the same ones
    assert form_of(big, (64, 64, 1, 1), "direct", padding=((1, 0), (0, 1))) != "pointwise"
    assert form_of((1, 56, 56, 64), (64, 64, 1, 1), "direct", layout="NHWC") != "pointwise"
    assert form_of(big, (64, 64, 1, 3), "direct") != "pointwise"


# batch, channels in, out, groups, height, width
SHAPES = [
    (1, 64, 256, 1, 12, 12),
    (2, 192, 64, 1, 7, 9),
    (3, 5, 7, 1, 3, 3),
    (1, 600, 20, 1, 5, 13),
    (2, 1100, 9, 1, 4, 9),
    (1, 512, 6, 1, 1, 40),
    (1, 513, 6, 1, 40, 1),
    (2, 24, 40, 8, 6, 11),
    (1, 1200, 26, 2, 9, 5),
    (2, 6, 6, 6, 5, 33),
    (1, 1, 13, 1, 10, 10),
    (1, 17, 1, 1, 21, 20),
    (4, 70, 130, 1, 1, 2),
]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("n", "c", "k", "groups", "h", "w"), SHAPES)
def test_shapes(n, c, k, groups, h, w, dtype, check_conv):
    x, weight = normal(n, c, h, w, dtype=dtype), normal(k, c // groups, 1, 1, dtype=dtype)
    bias = normal(k, dtype=dtype)
    check_conv("conv2d", x, weight, bias, groups=groups, engine={"algorithm": "direct"})
    assert_same_bits(conv2d, x, weight, bias, groups=groups)


@pytest.mark.parametrize("k", [1, 2, 3, 4, 5, 6, 7, 11])
def test_every_length_of_a_line(k):
    """Tails of every length, behind whole vectors and whole tiles."""
    for width in range(1, 9 * LANES + 2):
        x, weight = normal(1, 3, width), normal(k, 3, 1)
        assert_same_bits(conv1d, x, weight)


@pytest.mark.parametrize("k", range(1, 27))
def test_every_number_of_output_channels(k):
    assert_same_bits(conv2d, normal(1, 530, 3, LANES), normal(k, 530, 1, 1), normal(k))


def test_one_and_three_axes():
    assert_same_bits(conv1d, normal(2, 9, 77), normal(8, 9, 1))
    assert_same_bits(conv3d, normal(2, 9, 3, 5, 7), normal(8, 9, 1, 1, 1))
    assert_same_bits(conv3d, normal(2, 9, 3, 5, 20)[:, :, :, :4], normal(8, 9, 1, 1, 1))
    assert_same_bits(conv3d, normal(2, 9, 4, 5, 20)[:, :, ::2], normal(8, 9, 1, 1, 1))
    assert_same_bits(conv2d, normal(8, 20), np.float32([[2.5]]))


def test_dilation_of_one_tap_means_nothing():
    x, weight = normal(1, 300, 9, 20), normal(2, 300, 1, 1)
    wanted = conv2d(x, weight)
    for some in (x, x.copy(order="F")):
        y = conv2d(some, weight, dilation=3, algorithm="direct")
        np.testing.assert_array_equal(y, wanted)


def test_a_transposed_convolution_of_one_tap():
    x, weight = normal(2, 20, 9, 11), normal(20, 30, 1, 1)
    y = fastconv.conv_transpose2d(x, weight, algorithm="direct")
    np.testing.assert_array_equal(y, conv2d(x, np.swapaxes(weight, 0, 1), algorithm="im2col"))
    y = fastconv.conv_transpose2d(x, weight, stride=2, algorithm="direct")
    wanted = fastconv.conv_transpose2d(x, weight, stride=2, algorithm="im2col")
    np.testing.assert_array_equal(y, wanted)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("c", [40, 600])
def test_planes_that_share_cache_sets(c, dtype):
    """Planes 4096 bytes apart, or a multiple, are copied: whole ones and parts of their rows."""
    x, weight = normal(2, c, 16, 64, dtype=dtype), normal(70, c, 1, 1, dtype=dtype)
    assert x.strides[1] % 4096 == 0
    whole = assert_same_bits(conv2d, x, weight)
    for part in (x[..., :61], x[:, :, 3:9], x[:, :, ::2, 5:], x[:, ::-1]):
        assert_same_bits(conv2d, part, weight)
    np.testing.assert_array_equal(conv2d(x[..., 7:50], weight), whole[..., 7:50])


# ---- memory, epilogue ---------------------------------------------------------------------------


def orders(shape):
    """Writable arrays of a shape (N, C, H, W) whose elements lie every which way."""
    n, c, h, w = shape
    yield np.empty(shape, "float32")
    yield np.empty((n, h, w, c), "float32").transpose(0, 3, 1, 2)
    yield np.empty((c, n, h, w), "float32").transpose(1, 0, 2, 3)[:, ::-1]
    yield np.empty((n, c, h, 2 * w), "float32")[..., ::-2]
    yield np.empty((n, c + 3, h, w), "float32")[:, 1:-2]
    yield np.empty((n, c, h + 2, w + 5), "float32")[:, :, 1:-1, 2:-3]
    yield np.empty((n, c, 2 * h, w), "float32")[:, :, ::-2]


@pytest.mark.parametrize("channels", [(5, 7), (530, 3)])
@pytest.mark.parametrize("activation", [None, "relu", "hardswish"])
def test_any_strides_in_and_out(channels, activation):
    """Memory order, of whichever array, changes no bit; nothing is written beside `out`."""
    (c, k), space = channels, (2, LANES + 5)
    values, added = normal(2, c, *space), normal(2, k, *space, seed=1)
    weight, bias = normal(k, c, 1, 1), normal(k)
    options = {"algorithm": "direct", "activation": activation}
    plain = conv2d(values, weight, bias, **options)
    expected = conv2d(values, weight, bias, residual=added, **options)
    for x, residual, out in itertools.product(
        orders(values.shape), orders(added.shape), orders(added.shape)
    ):
        x[...], residual[...] = values, added
        whole = out
        while whole.base is not None:
            whole = whole.base
        for more, wanted in (({"residual": residual}, expected), ({}, plain)):
            whole[...] = 7
            conv2d(x, weight, bias, out=out, **more, **options)
            np.testing.assert_array_equal(out, wanted)
            out[...] = 7
            assert (whole == 7).all()


def test_out_is_the_residual():
    """A last tile that overlapped the one before it would add the residual twice."""
    for c, w in itertools.product((20, 600), (LANES + 3, 3 * LANES - 1, 7 * LANES + 2)):
        x, weight, residual = normal(1, c, w), normal(9, c, 1), normal(1, 9, w)
        wanted = conv1d(x, weight, residual=residual, algorithm="im2col")
        conv1d(x, weight, residual=residual, out=residual, algorithm="direct")
        np.testing.assert_array_equal(residual, wanted)


# ---- promises -----------------------------------------------------------------------------------


@pytest.mark.parametrize("groups", [1, 2])
@pytest.mark.parametrize(
    "c, k, space", [(700, 90, (14, 14)), (16, 500, (20, 33)), (64, 6, (32, 64))]
)
def test_threads_and_batches_change_no_bit(c, k, space, groups, threads):
    x, weight = normal(3, c, *space), normal(k, c // groups, 1, 1)
    threads(1)
    wanted = assert_same_bits(conv2d, x, weight, groups=groups)
    for count in (2, 3, 7):
        threads(count)
        np.testing.assert_array_equal(conv2d(x, weight, groups=groups, algorithm="direct"), wanted)
    alone = conv2d(x[1:2], weight, groups=groups, algorithm="direct")
    np.testing.assert_array_equal(alone, wanted[1:2])


def test_a_part_has_the_bits_of_the_whole():
    x, weight = normal(1, 530, 20, 50), normal(11, 530, 1, 1)
    whole = conv2d(x, weight, algorithm="direct")
    for top, left in itertools.product(range(0, 18, 5), range(0, 47, 7)):
        part = x[:, :, top : top + 9, left : left + 23]
        for some in (part, part.copy()):
            y = conv2d(some, weight, algorithm="direct")
            np.testing.assert_array_equal(y, whole[:, :, top : top + 9, left : left + 23])


def test_not_a_number_and_infinity_stay_in_their_pixels():
    x, weight = normal(1, 5, 9, 21), normal(8, 5, 1, 1)
    x[0, 0, 3, 4], x[0, 4, 8, 20], x[0, 1, 0, 0] = np.nan, np.inf, -np.inf
    with np.errstate(invalid="ignore"):
        expected = fastconv.reference.conv2d(x, weight)
    y = conv2d(x, weight, algorithm="direct")
    np.testing.assert_array_equal(np.isnan(y), np.isnan(expected))
    np.testing.assert_array_equal(y[np.isinf(y)], expected[np.isinf(expected)])


def test_workspace_stays_bounded():
    """Whatever the number of channels and pixels."""
    for c, k, size in ((8192, 8192, 128), (64, 100_000, 512), (20_000, 3, 2000)):
        plan = fastconv.explain_conv2d((1, c, size, size), (k, c, 1, 1), algorithm="direct")
        assert plan.form == "pointwise"
        assert plan.workspace_bytes < 1 << 20


def test_the_tile_is_named():
    plan = fastconv.explain_conv2d((1, 64, 56, 56), (64, 64, 1, 1))
    assert plan.tile == pointwise.pointwise_tile("float32", 64)
    assert pointwise.pointwise_tile("float32", 3).startswith("3x")
    assert pointwise.pointwise_tile("float64", 64).endswith(" (channels x pixels)")
