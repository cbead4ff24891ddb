"""Narrow groups, several in one vector: the grouped form against the float64 reference.

How many groups a vector holds depends on the instruction-set level, so the sizes are taken from
its lanes; groups too wide for a level, or single planes, take another form and must be right too.
"""

import itertools

import numpy as np
import pytest

import fastconv
from fastconv import reference
from fastconv._engine import dispatch, grouped
from fastconv.functional.conv import conv2d

pytestmark = pytest.mark.every_isa

DTYPES = ["float32", "float64"]
LANES = dispatch.lanes()
DIRECT = {"algorithm": "direct"}


def normal(*shape, dtype="float32", seed=0):
    return np.random.default_rng([seed, *shape]).standard_normal(shape).astype(dtype)


def channels_last(x):
    """The same array, its channels side by side in memory."""
    return np.moveaxis(np.moveaxis(x, 1, -1).copy(), -1, 1)


def form_of(x, weight, algorithm="auto", **options):
    return fastconv.explain_conv2d(x, weight, algorithm=algorithm, **options).form


def test_which_convolutions_are_grouped():
    half = LANES // 2
    image = (1, 8 * half, 14, 14)
    for algorithm in ("auto", "direct"):
        assert form_of(image, (8 * half, half, 3, 3), algorithm, groups=8) == "grouped"
        assert form_of(image, (8, half, 3, 3), algorithm, groups=8) == "grouped"
        assert form_of(image, (8 * LANES, half, 3, 3), algorithm, groups=8) != "grouped"
        assert form_of(image, (8 * half, 2 * half, 3, 3), algorithm, groups=4) != "grouped"
    # a multiplier where channels lie side by side; else planes serve all of a plane's results
    assert form_of((1, 14, 14, 9), (18, 1, 3, 3), groups=9, layout="NHWC") == "grouped"
    assert form_of((1, 9, 14, 14), (18, 1, 3, 3), groups=9) == "planes"
    assert form_of((1, 14, 14, 9), (9, 1, 3, 3), groups=9, layout="NHWC") == "depthwise"


# kernel and options: overlapping windows, gaps between them, padding wider than the kernel
WINDOWS = [
    ((3, 3), {"padding": 1}),
    ((3, 3), {"stride": 2, "padding": 1}),
    ((3, 3), {"dilation": 2, "padding": ((3, 0), (1, 4))}),
    ((5, 5), {"padding": 2}),
    ((1, 1), {}),
    ((1, 1), {"stride": (3, 2)}),
    ((2, 4), {"stride": (1, 3), "padding": 6, "dilation": (3, 2)}),
    ((1, 3), {"dilation": 2, "stride": 4}),
    ((9, 7), {"padding": 4}),
]
WIDTHS = [(2, 2), (1, 2), (2, 1), (3, 3), (4, 4), (8, 8), (1, 4), (4, 2), (3, 5), (8, 1)]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("group_in", "group_out"), WIDTHS)
@pytest.mark.parametrize(("kernel", "options"), WINDOWS)
def test_windows(kernel, options, group_in, group_out, dtype, check_conv):
    groups = LANES // max(group_in, group_out) + 2
    x = normal(2, groups * group_in, 10, 13, dtype=dtype)
    weight = normal(groups * group_out, group_in, *kernel, dtype=dtype)
    bias = normal(groups * group_out, dtype=dtype)
    results = [
        check_conv("conv2d", memory, weight, bias, groups=groups, engine=DIRECT, **options)
        for memory in (x, channels_last(x))
    ]
    if form_of(x.shape, weight.shape, "direct", groups=groups, **options) == "grouped":
        assert np.array_equal(*results)


@pytest.mark.parametrize("layout", ["NCHW", "NHWC"])
@pytest.mark.parametrize("groups", range(2, LANES + 2))
def test_every_number_of_groups(groups, layout, check_conv):
    """The last vector holds any number of them."""
    shape = (1, 2 * groups, 5, 9) if layout == "NCHW" else (1, 5, 9, 2 * groups)
    weight = normal(2 * groups, 2, 3, 3)
    assert form_of(shape, weight.shape, groups=groups, layout=layout) == "grouped"
    check_conv("conv2d", normal(*shape), weight, groups=groups, layout=layout, engine=DIRECT)


@pytest.mark.parametrize("width", range(1, 28))
def test_every_width(width, check_conv):
    """Tiles share the pixels of a row as evenly as they can, whatever their number."""
    weight = normal(12, 2, 3, 3)
    for height, stride in ((1, 1), (4, 2)):
        x = normal(1, 12, height, width)
        for memory in (x, channels_last(x)):
            check_conv("conv2d", memory, weight, groups=6, padding=1, stride=stride, engine=DIRECT)


# x, output channels of a group of two, options
LARGE = [
    ((1, 4, 5, 3000), 2, {"padding": 1}),
    ((1, 4, 90, 700), 2, {"dilation": (40, 120), "padding": 9}),
    ((1, 4, 3, 5000), 2, {"dilation": (1, 2000)}),
    ((1, 2400, 3, 17), 2, {"padding": 1}),
    ((1, 3000, 3, 4), 1, {}),
]


@pytest.mark.parametrize(("shape", "group_out", "options"), LARGE)
def test_blocks_of_rows_columns_and_channels(shape, group_out, options, check_conv):
    """Rows so long, or pixels of so many channels, that a block cannot hold them whole."""
    x, groups = normal(*shape), shape[1] // 2
    weight = normal(groups * group_out, 2, 3, 3)
    for memory in (x, channels_last(x)):
        check_conv("conv2d", memory, weight, groups=groups, engine=DIRECT, **options)


@pytest.mark.parametrize("dtype", DTYPES)
def test_chains(dtype, check_conv):
    """Sums of more than 512 products, and rows too long for one chain, which take another form."""
    for kernel in ((20, 15), (2, 255), (2, 257)):
        x, weight = normal(1, 6, 24, 300, dtype=dtype), normal(6, 2, *kernel, dtype=dtype)
        check_conv("conv2d", x, weight, groups=3, padding=1, stride=(4, 9), engine=DIRECT)


def test_one_and_three_axes(check_conv):
    check_conv("conv1d", normal(2, 10, 70), normal(10, 2, 9), groups=5, padding=4)
    check_conv("conv1d", normal(2, 70, 10), normal(10, 2, 3), groups=5, stride=2, layout="NWC")
    options = {"groups": 3, "padding": 1, "stride": (2, 1, 1), "dilation": (1, 2, 1)}
    for memory in (normal(1, 6, 6, 9, 12), channels_last(normal(1, 6, 6, 9, 12))):
        check_conv("conv3d", memory, normal(6, 2, 3, 2, 3), engine=DIRECT, **options)
    transposed = {"groups": 5, "stride": 2, "padding": 1}
    check_conv("conv_transpose2d", normal(1, 10, 7, 8), normal(10, 2, 3, 3), **transposed)


@pytest.mark.parametrize("activation", [None, "relu", "hardswish"])
def test_every_way_in_and_out(activation):
    """Any memory order of x, residual and result gives the same bits."""
    x, weight, bias = normal(2, 10, 7, 11), normal(10, 2, 3, 3), normal(10)
    residual = normal(2, 10, 7, 11, seed=1)
    orders = (np.ndarray.copy, channels_last, lambda a: np.asfortranarray(a),
              lambda a: np.repeat(a, 2, axis=-1)[..., ::2])  # fmt: skip
    options = {"groups": 5, "padding": 1, "activation": activation, **DIRECT}
    for added in (None, residual):
        wanted = conv2d(x, weight, bias, residual=added, **options)
        for one, two, three in itertools.product(orders, repeat=3):
            out = three(np.full_like(x, np.nan))
            laid = None if added is None else two(added)
            conv2d(one(x), weight, bias, residual=laid, out=out, **options)
            assert np.array_equal(out, wanted)


@pytest.mark.parametrize("last", [False, True])
def test_threads_change_no_bit(last, threads):
    x, weight = normal(3, 20, 40, 33), normal(20, 2, 3, 3)
    x = channels_last(x) if last else x
    results = []
    for count in (1, 2, 5):
        threads(count)
        results.append(conv2d(x, weight, groups=10, padding=1, **DIRECT))
    assert np.array_equal(results[0], results[1])
    assert np.array_equal(results[0], results[2])


@pytest.mark.parametrize("last", [False, True])
def test_a_part_has_the_bits_of_the_whole(last):
    """Padding or none, batch or none, wherever the part lies."""
    x, weight = normal(2, 10, 20, 45), normal(10, 2, 3, 3)
    x = channels_last(x) if last else x
    whole = conv2d(x, weight, groups=5, padding=1, **DIRECT)
    for top, left in itertools.product(range(0, 12, 5), range(0, 30, 7)):
        y = conv2d(x[1:, :, top : top + 8, left : left + 13], weight, groups=5, **DIRECT)
        assert np.array_equal(y, whole[1:, :, top + 1 : top + 7, left + 1 : left + 12])


def test_1x1_has_the_bits_of_implicit_gemm():
    """Channels are added in the same order, as the choice of form is free to rely on."""
    x, weight = normal(1, 9, 10, 24), normal(24, 2, 1, 1)
    options = {"groups": 12, "layout": "NHWC"}
    y = conv2d(x, weight, algorithm="direct", **options)
    assert np.array_equal(y, conv2d(x, weight, algorithm="im2col", **options))


@pytest.mark.parametrize("last", [False, True])
def test_not_a_number_and_infinity_stay_in_their_group(last):
    x, weight = normal(1, 10, 12, 30), normal(10, 2, 3, 3)
    x[0, 0, 3, 4], x[0, 5, 8, 20], x[0, 9, 0, 29] = np.nan, np.inf, -np.inf
    weight[6, 0, 0, 2] = np.inf  # meets the zeros of the padding: NaN, as in any other sum
    with np.errstate(invalid="ignore"):
        expected = reference.conv2d(x, weight, groups=5, padding=(2, 1))
    y = conv2d(channels_last(x) if last else x, weight, groups=5, padding=(2, 1), **DIRECT)
    assert np.array_equal(np.isnan(y), np.isnan(expected))
    assert np.array_equal(y[np.isinf(y)], expected[np.isinf(expected)])
    assert np.isfinite(y[:, 2:4]).all() and np.isfinite(y[:, 8:, 5:-5, :20]).all()


def test_tiles_are_named():
    groups = LANES // 2
    named = grouped.grouped_tile("float32", 2, 1)
    assert named.endswith(f"x{groups} (pixels x channels of {groups} groups)")
    plan = fastconv.explain_conv2d((1, 12, 9, 9), (6, 2, 3, 3), groups=6)
    assert plan.tile == named


def test_whatever_hypothesis_finds(check_conv):
    hypothesis = pytest.importorskip("hypothesis", reason="needs hypothesis: fastconv[test]")
    some = hypothesis.strategies

    @hypothesis.settings(deadline=None, max_examples=100, derandomize=True, database=None)
    @hypothesis.given(data=some.data())
    def fuzz(data):
        def draw(*range_):
            return data.draw(some.integers(*range_))

        groups, group_in, group_out = draw(2, 20), draw(1, LANES // 2), draw(1, LANES // 2)
        kernel, dilation = (draw(1, 4), draw(1, 6)), (draw(1, 3), draw(1, 3))
        padding = tuple((draw(0, 4), draw(0, 4)) for _ in range(2))
        stride = (draw(1, 3), draw(1, 3))
        size = [
            max(1, d * (n - 1) + 1 - sum(p)) + extra
            for n, d, p, extra in zip(
                kernel, dilation, padding, (draw(0, 9), draw(0, 40)), strict=True
            )
        ]
        x = normal(2, groups * group_in, *size)
        weight = normal(groups * group_out, group_in, *kernel)
        x = channels_last(x) if data.draw(some.booleans()) else x
        check_conv("conv2d", x, weight, normal(groups * group_out), stride=stride, padding=padding,
                   dilation=dilation, groups=groups, engine=DIRECT)  # fmt: skip

    fuzz()
