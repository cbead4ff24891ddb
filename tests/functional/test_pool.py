"""Pools: exact maxima, means to 2e-6, whatever the memory, the layout and the thread count."""

import numpy as np
import pytest

from fastconv import reference
from fastconv._engine import dispatch
from fastconv.functional import pool

LAYOUTS = {1: ("NCW", "NWC"), 2: ("NCHW", "NHWC"), 3: ("NCDHW", "NDHWC")}
SIZES = {1: (67,), 2: (19, 37), 3: (7, 6, 21)}
# Largest error of a mean, relative to the mean of the magnitudes.
TOLERANCE = {np.dtype(np.float32): 2e-6, np.dtype(np.float64): 1e-14}


def signals(nd, channels=5, dtype=np.float32, batch=2, size=None):
    rng = np.random.default_rng(nd * 100 + channels)
    return rng.standard_normal((batch, channels, *(size or SIZES[nd]))).astype(dtype)


def gaps(x):
    wide = np.full([2 * n + 1 for n in x.shape], np.nan, x.dtype)
    view = wide[tuple(slice(1, None, 2) for _ in x.shape)]
    view[...] = x
    return view


def backwards(x):
    return np.flip(np.ascontiguousarray(np.flip(x)))


def unaligned(x):
    view = np.ndarray(x.shape, x.dtype, np.empty(x.nbytes + 1, np.uint8), 1)
    view[...] = x
    return view


def read_only(x):
    view = x.view()
    view.flags.writeable = False
    return view


def channels_last(x):
    """The same logical array with its second axis innermost in memory."""
    return np.moveaxis(np.ascontiguousarray(np.moveaxis(x, 1, -1)), -1, 1)


MEMORY = {
    "contiguous": np.ascontiguousarray,
    "channels last": channels_last,
    "fortran": np.asfortranarray,
    "gaps": gaps,
    "backwards": backwards,
    "unaligned": unaligned,
    "byte-swapped": lambda x: x.astype(x.dtype.newbyteorder()),
    "read-only": read_only,
    "one channel repeated": lambda x: np.broadcast_to(x[:, :1], x.shape),
    "one column repeated": lambda x: np.broadcast_to(x[..., :1], x.shape),
}

# Arguments for one axis; every dimension uses them on all of its axes.
MAX_CASES = [
    {"kernel_size": 2},
    {"kernel_size": 3, "stride": 1, "padding": 1},
    {"kernel_size": 3, "stride": 2, "padding": 1, "ceil_mode": True},
    {"kernel_size": 3, "stride": 2, "padding": ((1, 0),)},
    {"kernel_size": 2, "stride": 3, "dilation": 3, "padding": 2},
    {"kernel_size": 5, "stride": 1, "padding": 2},
    {"kernel_size": 1, "stride": 4},
    {"kernel_size": 6, "stride": 5, "padding": "same"},
    {"kernel_size": 3, "stride": 2, "dilation": 2, "padding": 2, "ceil_mode": True},
]
AVG_CASES = [
    {"kernel_size": 2},
    {"kernel_size": 3, "stride": 1, "padding": 1},
    {"kernel_size": 3, "stride": 1, "padding": 1, "count_include_pad": False},
    {"kernel_size": 3, "stride": 2, "padding": 1, "ceil_mode": True},
    {"kernel_size": 3, "stride": 2, "padding": 1, "ceil_mode": True, "count_include_pad": False},
    {"kernel_size": 3, "stride": 2, "padding": ((0, 1),), "divisor_override": 7},
    {"kernel_size": 5, "stride": 1, "padding": 2},
    {"kernel_size": 6, "stride": 4, "padding": "same"},
]
ADAPTIVE_CASES = [{"output_size": 1}, {"output_size": 3}, {"output_size": 7}, {"output_size": 40}]
CASES = [
    *(("max_pool", case) for case in MAX_CASES),
    *(("max_pool", {**case, "return_indices": True}) for case in MAX_CASES),
    *(("avg_pool", case) for case in AVG_CASES),
    *(("adaptive_avg_pool", case) for case in ADAPTIVE_CASES),
    *(("adaptive_max_pool", case) for case in ADAPTIVE_CASES),
    *(("adaptive_max_pool", {**case, "return_indices": True}) for case in ADAPTIVE_CASES),
]


def spread(settings, nd):
    """The settings of one axis for nd axes."""
    padding = settings.get("padding")
    if isinstance(padding, tuple):
        return {**settings, "padding": padding * nd}
    return settings


def check(name, x, **settings):
    """Compare a pool of x, and its places, with the reference; return it."""
    mine = getattr(pool, name)(x, **settings)
    with np.errstate(all="ignore"):
        if "avg" in name:
            check_means(name, mine, x, settings)
        elif settings.get("return_indices"):
            check_exact(mine, wanted_of(name, x, settings))
        else:
            check_exact((mine,), (wanted_of(name, x, settings),))
    return mine


def wanted_of(name, x, settings):
    """The reference's result; the last ones are remembered, for checks that differ in the order in
    memory alone."""
    content = x.astype(float) if x.dtype == np.longdouble else x  # of which some bytes are none
    case = name, repr(settings), x.dtype.str, x.shape, content.tobytes()
    if case not in _recent:
        _recent[case] = getattr(reference, name)(x, **settings)
        if len(_recent) > 4:
            del _recent[next(iter(_recent))]
    return _recent[case]


_recent = {}


def check_exact(mine, wanted):
    for a, b in zip(mine, wanted, strict=True):
        assert a.dtype == b.dtype and a.flags.c_contiguous
        assert a.ctypes.data % 64 == 0
        np.testing.assert_array_equal(a, b)


def check_means(name, mine, x, settings):
    assert mine.dtype == np.result_type(x, np.float32) and mine.flags.c_contiguous
    wide = np.asarray(x, np.float64)
    if mine.dtype == np.float64:
        wide = np.asarray(x, np.longdouble)
    wanted = wanted_of(name, wide, settings)
    assert mine.shape == wanted.shape
    bounded = np.isfinite(wanted)
    np.testing.assert_array_equal(mine[~bounded], wanted[~bounded].astype(mine.dtype))
    magnitude = np.abs(wanted_of(name, np.abs(wide), settings))
    excess = np.abs(mine[bounded] - wanted[bounded]) - TOLERANCE[mine.dtype] * magnitude[bounded]
    assert excess.max(initial=0) <= 0


@pytest.mark.every_isa
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("nd", [1, 2, 3])
@pytest.mark.parametrize("name, settings", CASES, ids=str)
def test_against_the_reference(name, settings, nd, dtype):
    x = signals(nd, dtype=dtype)
    first, last = LAYOUTS[nd]
    settings = spread(settings, nd)
    check(f"{name}{nd}d", x, layout=first, **settings)
    check(f"{name}{nd}d", np.moveaxis(x, 1, -1), layout=last, **settings)
    check(f"{name}{nd}d", np.ascontiguousarray(np.moveaxis(x, 1, -1)), layout=last, **settings)
    check(f"{name}{nd}d", x[0], layout=first, **settings)


@pytest.mark.every_isa
@pytest.mark.parametrize("memory", MEMORY)
@pytest.mark.parametrize("name, settings", CASES[1::3], ids=str)
def test_any_memory(name, settings, memory):
    for nd in (1, 2):
        x = signals(nd, channels=18)
        check(f"{name}{nd}d", MEMORY[memory](x), **spread(settings, nd))
        check(f"{name}{nd}d", MEMORY[memory](np.moveaxis(x, 1, -1)), layout=LAYOUTS[nd][1],
              **spread(settings, nd))


@pytest.mark.every_isa
@pytest.mark.parametrize("channels", [1, 2, 3, 7, 8, 15, 16, 17, 33, 64, 70, 130])
@pytest.mark.parametrize("settings", [MAX_CASES[1], MAX_CASES[2], MAX_CASES[5]], ids=str)
def test_channel_counts_on_channels_last_memory(settings, channels):
    x = np.ascontiguousarray(np.moveaxis(signals(2, channels, size=(9, 11)), 1, -1))
    averaged = {key: settings[key] for key in ("kernel_size", "stride", "padding")}
    for dtype in (np.float32, np.float64):
        check("max_pool2d", x.astype(dtype), layout="NHWC", **settings)
        check("max_pool2d", x.astype(dtype), layout="NHWC", return_indices=True, **settings)
        check("avg_pool2d", x.astype(dtype), layout="NHWC", **averaged)


@pytest.mark.every_isa
@pytest.mark.parametrize("width", [*range(1, 36), 63, 64, 65, 129])
def test_widths(width):
    x = signals(2, 2, size=(3, width))
    for stride in (1, 2, 3, 4, 9):
        for kernel in (1, 2, 3, 4):
            if kernel <= width:
                settings = {"kernel_size": (2, kernel), "stride": (1, stride)}
                check("max_pool2d", x, **settings)
                check("max_pool2d", x, return_indices=True, **settings)
                check("avg_pool2d", x, **settings)
    for wanted in (1, 2, 5):
        check("adaptive_avg_pool2d", x, output_size=(2, wanted))
        check("adaptive_max_pool2d", x, output_size=(2, wanted), return_indices=True)


# Shapes whose lines, columns, rows or channels do not fit the scratch or a task in one piece.
LARGE = [
    ("max_pool2d", (1, 2, 5, 9001), {"kernel_size": 3, "stride": 2, "padding": 1}),
    ("max_pool1d", (2, 3, 30000), {"kernel_size": 3, "stride": 2, "dilation": 7000}),
    ("max_pool1d", (1, 2, 21000), {"kernel_size": 9000, "stride": 1000}),
    ("avg_pool1d", (1, 2, 60000), {"kernel_size": 30000, "stride": 7}),
    ("avg_pool1d", (1, 2, 9000), {"kernel_size": 8999, "stride": 1}),
    ("max_pool2d", (1, 1100, 7, 9), {"kernel_size": 5, "stride": 1, "padding": 2}),
    ("avg_pool2d", (1, 900, 8, 9), {"kernel_size": 3, "stride": 1}),
    ("adaptive_avg_pool2d", (2, 70, 50, 61), {"output_size": 1}),
    ("adaptive_avg_pool2d", (1, 70, 200, 61), {"output_size": (7, 8)}),
    ("avg_pool2d", (1, 20, 60, 60), {"kernel_size": 31, "stride": 1, "padding": 15}),
]


@pytest.mark.every_isa
@pytest.mark.parametrize("name, shape, settings", LARGE, ids=str)
def test_large(name, shape, settings):
    x = np.random.default_rng(7).standard_normal(shape).astype(np.float32)
    expected = LargeReference(name, x, settings)
    for memory in (np.ascontiguousarray, channels_last):
        mine = getattr(pool, name)(memory(x), **settings)
        expected.compare(mine)
        if "max" in name:
            values, places = getattr(pool, name)(memory(x), return_indices=True, **settings)
            expected.compare(values)
            flat = x.reshape(*shape[:2], -1)
            found = np.take_along_axis(flat, places.reshape(*shape[:2], -1), axis=2)
            np.testing.assert_array_equal(found.reshape(values.shape), values)


class LargeReference:
    """The reference's result for a float32 array, computed once."""

    def __init__(self, name, x, settings):
        function = getattr(reference, name)
        self.exact = "max" in name
        self.wanted = function(x.astype(np.float64), **settings)
        if not self.exact:
            self.magnitude = function(np.abs(x).astype(np.float64), **settings)

    def compare(self, mine):
        if self.exact:
            np.testing.assert_array_equal(mine, self.wanted)
        else:
            assert (np.abs(mine - self.wanted) <= 2e-6 * self.magnitude).all()


@pytest.mark.every_isa
@pytest.mark.parametrize("memory", [np.ascontiguousarray, channels_last])
def test_long_sums_do_not_drift(memory):
    # One chain of float32 additions of the same number is off by 1e-5 here.
    x = memory(np.full((1, 3, 512, 515), 0.1, np.float32))
    wanted = np.float64(np.float32(0.1))
    for mine in (pool.adaptive_avg_pool2d(x, 1), pool.avg_pool2d(x, (512, 257), stride=100)):
        assert np.abs(mine / wanted - 1).max() < 2e-7


# --- special values ------------------------------------------------------------------------------


@pytest.mark.every_isa
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("value", [np.nan, -np.nan, np.inf, -np.inf])
def test_special_values_at_every_place(value, dtype):
    width = 2 * dispatch.lanes(np.dtype(dtype)) + 3
    for place in range(width):
        x = np.random.default_rng(place).standard_normal((1, 2, 3, width)).astype(dtype)
        x[0, 1, 1, place] = value
        for memory in (np.ascontiguousarray, channels_last):
            for stride in (1, 2, 3):
                settings = {"kernel_size": 3, "stride": stride, "padding": 1}
                check("max_pool2d", memory(x), **settings)
                check("max_pool2d", memory(x), return_indices=True, **settings)
                check("avg_pool2d", memory(x), **settings)
            check("adaptive_avg_pool2d", memory(x), output_size=1)
            check("adaptive_max_pool2d", memory(x), output_size=(1, 2), return_indices=True)


@pytest.mark.every_isa
def test_special_values_at_every_channel():
    channels = 2 * dispatch.lanes() + 3
    for channel in range(channels):
        x = np.zeros((1, 4, 4, channels), np.float32)
        x[0, 1, 2, channel] = np.nan
        for settings in ({"kernel_size": 2}, {"kernel_size": 3, "stride": 1, "padding": 1}):
            check("max_pool2d", x, layout="NHWC", **settings)
            check("max_pool2d", x, layout="NHWC", return_indices=True, **settings)
            check("avg_pool2d", x, layout="NHWC", **settings)


@pytest.mark.every_isa
def test_infinities_do_not_become_nan_in_long_means():
    x = np.ones((1, 1, 40, 40), np.float32)
    x[0, 0, 3, 5] = np.inf
    assert pool.adaptive_avg_pool2d(x, 1).item() == np.inf
    x[0, 0, 30, 5] = -np.inf
    assert np.isnan(pool.adaptive_avg_pool2d(x, 1)).all()


@pytest.mark.every_isa
def test_denormals_are_found():
    x = np.zeros((1, 1, 8, 32), np.float32)
    x[..., ::2] = 1e-42
    assert (pool.max_pool2d(x, 2) == np.float32(1e-42)).all()


@pytest.mark.every_isa
@pytest.mark.parametrize("memory", [np.ascontiguousarray, channels_last])
def test_places_of_equal_maxima(memory):
    x = np.zeros((1, 3, 6, 40), np.float32)
    _, places = pool.max_pool2d(memory(x), 3, 1, 1, return_indices=True)
    rows, columns = np.divmod(places[0, 0], 40)
    np.testing.assert_array_equal(rows[:, 5], [0, 0, 1, 2, 3, 4])
    np.testing.assert_array_equal(columns[2], np.maximum(np.arange(40) - 1, 0))
    x[:] = -np.inf
    _, lowest = pool.max_pool2d(memory(x), 3, 1, 1, return_indices=True)
    np.testing.assert_array_equal(lowest, places)
    x[:] = np.nan
    _, places = pool.max_pool2d(memory(x), 2, return_indices=True)
    assert places[0, 0, 0, 0] == 41  # the last of several NaN


def test_a_window_without_any_tap_inside():
    x = np.ones((1, 1, 1), np.float32)
    for layout in ("NCW", "NWC"):
        y, places = pool.max_pool1d(x, 2, 1, 2, dilation=4, return_indices=True, layout=layout)
        assert y.item() == -np.inf and places.item() == -1


# --- arguments -----------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [np.bool_, np.int8, np.uint16, np.int64, np.float16])
def test_other_numbers_give_floats(dtype):
    x = np.arange(48).reshape(1, 2, 4, 6).astype(dtype)
    y = pool.max_pool2d(x, 2)
    assert y.dtype == np.result_type(dtype, np.float32)
    np.testing.assert_array_equal(y, reference.max_pool2d(x, 2))
    np.testing.assert_allclose(pool.avg_pool2d(x, 2), reference.avg_pool2d(x, 2), rtol=1e-6)
    np.testing.assert_array_equal(pool.max_pool2d(x.tolist(), [2, 2]), y)


@pytest.mark.parametrize("shape", [(0, 3, 8, 8), (0, 8, 8, 3)])
def test_no_pictures(shape):
    layout = "NCHW" if shape[1] == 3 else "NHWC"
    wanted = (0, 3, 4, 4) if shape[1] == 3 else (0, 4, 4, 3)
    x = np.zeros(shape, np.float32)
    assert pool.avg_pool2d(x, 2, layout=layout).shape == wanted
    y, places = pool.max_pool2d(x, 2, return_indices=True, layout=layout)
    assert y.shape == places.shape == wanted


@pytest.mark.parametrize("name, settings", CASES[::4], ids=str)
def test_out(name, settings):
    x = signals(2, 18)
    settings = spread(settings, 2)
    name = f"{name}2d"
    wanted = getattr(pool, name)(x, **settings)
    values = wanted[0] if isinstance(wanted, tuple) else wanted
    for memory in ("contiguous", "channels last", "fortran", "gaps", "backwards", "unaligned"):
        for source in (x, channels_last(x)):
            out = MEMORY[memory](np.full_like(values, 77))
            result = getattr(pool, name)(source, out=out, **settings)
            assert (result[0] if isinstance(result, tuple) else result) is out
            np.testing.assert_allclose(out, values, rtol=1e-6, atol=1e-6)


def test_out_leaves_its_neighbours_alone():
    wide = np.full((1, 5, 7, 20), 77, np.float32)
    for layout, out in (("NCHW", wide[:, 1:4, 1:5, 2:11]), ("NHWC", wide[:, 1:4, 1:5, 2:11])):
        wide[:] = 77
        kept = np.ones(wide.shape, bool)
        kept[:, 1:4, 1:5, 2:11] = False
        shape = (1, 3, 8, 18) if layout == "NCHW" else (1, 6, 8, 9)
        pool.max_pool2d(np.zeros(shape, np.float32), 2, layout=layout, out=out)
        assert (wide[kept] == 77).all() and not out.any()


def test_out_may_overlap_x():
    x = signals(2, 4, size=(16, 16))
    wanted = pool.max_pool2d(x, 3, 1, 1)
    assert pool.max_pool2d(x, 3, 1, 1, out=x) is x
    np.testing.assert_array_equal(x, wanted)
    line = np.arange(50, dtype=np.float32)
    pool.max_pool1d(line[None, :40], 3, 1, 1, out=line[None, 5:45])
    np.testing.assert_array_equal(line[5:45], [*range(1, 40), 39])


def test_a_new_result_each_time():
    x = signals(2)
    first, second = pool.max_pool2d(x, 2), pool.max_pool2d(x, 2)
    assert not np.shares_memory(first, second)


LINE, SQUARE = np.zeros((1, 4)), np.zeros((1, 4, 4))
HUGE = np.broadcast_to(np.float32(0), (1, 65536, 65536))
BAD = [
    ("max_pool2d", ("abc", 2), {}, TypeError, "max_pool2d: x"),
    ("avg_pool2d", (SQUARE + 1j, 2), {}, TypeError, "avg_pool2d: x"),
    ("max_pool2d", (SQUARE[0], 2), {}, ValueError, "max_pool2d: x must have"),
    ("max_pool2d", (SQUARE, 0), {}, ValueError, "kernel_size"),
    ("max_pool2d", (SQUARE, 2.0), {}, TypeError, "kernel_size"),
    ("max_pool2d", (SQUARE, True), {}, TypeError, "kernel_size"),
    ("max_pool2d", (SQUARE, (2, 2.0)), {}, TypeError, "kernel_size"),
    ("max_pool2d", (SQUARE, 5), {}, ValueError, "kernel_size"),
    ("avg_pool1d", (LINE, 2, 0), {}, ValueError, "avg_pool1d: stride"),
    ("max_pool1d", (LINE, 2, 1, 2), {}, ValueError, "padding"),
    ("max_pool1d", (LINE, 2), {"ceil_mode": 1}, TypeError, "ceil_mode"),
    ("max_pool1d", (LINE, 2), {"return_indices": 1}, TypeError, "return_indices"),
    ("avg_pool1d", (LINE, 2), {"count_include_pad": 0}, TypeError, "count_include_pad"),
    ("avg_pool1d", (LINE, 2), {"divisor_override": 0}, ValueError, "divisor_override"),
    ("avg_pool1d", (LINE, 2), {"divisor_override": 1.5}, TypeError, "divisor_override"),
    ("max_pool2d", (SQUARE, 2), {"layout": "NCW"}, ValueError, "layout"),
    ("adaptive_avg_pool2d", (SQUARE, 0), {}, ValueError, "output_size"),
    ("adaptive_avg_pool2d", (SQUARE, None), {}, TypeError, "output_size"),
    ("adaptive_max_pool2d", (SQUARE, (1, 2, 3)), {}, ValueError, "output_size"),
    ("adaptive_max_pool2d", (SQUARE, 2**31 - 1), {}, MemoryError, "adaptive_max_pool2d"),
    ("adaptive_max_pool2d", (HUGE, 1, True), {}, ValueError, "return_indices"),
    ("max_pool1d", (LINE, 2), {"out": np.zeros((1, 3))}, ValueError, "out must have shape"),
    ("max_pool1d", (LINE, 2), {"out": np.zeros((1, 2), np.float32)}, TypeError, "out must have"),
    ("max_pool1d", (LINE, 2), {"out": [[0, 0]]}, TypeError, "out must be"),
    ("max_pool1d", (LINE, 2), {"out": read_only(np.zeros((1, 2)))}, ValueError, "read-only"),
]


@pytest.mark.parametrize("name, arguments, settings, error, text", BAD)
def test_bad_arguments(name, arguments, settings, error, text):
    # Equal arguments of the right type are planned already: 1 == True == 1.0.
    pool.max_pool2d(SQUARE, 1)
    pool.max_pool2d(SQUARE, 2)
    pool.max_pool2d(SQUARE, (2, 2))
    pool.max_pool1d(LINE, 2, ceil_mode=True, return_indices=True)
    pool.avg_pool1d(LINE, 2, count_include_pad=False)
    with pytest.raises(error, match=text):
        getattr(pool, name)(*arguments, **settings)


def test_adaptive_sizes_may_be_left_alone():
    x = signals(3)
    np.testing.assert_array_equal(
        pool.adaptive_max_pool3d(x, (None, 2, None)), pool.adaptive_max_pool3d(x, (7, 2, 21)))


def test_planned_calls_are_bounded():
    for width in range(2, 302):
        pool.max_pool1d(np.zeros((1, width), np.float32), 2)
    assert len(pool._calls) <= 256


# --- threads, peers ------------------------------------------------------------------------------


@pytest.mark.every_isa
@pytest.mark.parametrize("name, settings", CASES[::3], ids=str)
def test_bits_do_not_depend_on_threads(name, settings, threads):
    x = signals(2, 40, size=(60, 61))
    settings = spread(settings, 2)
    for memory in (np.ascontiguousarray, channels_last):
        results = set()
        for count in (1, 2, 3, 7):
            threads(count)
            result = getattr(pool, f"{name}2d")(memory(x), **settings)
            parts = result if isinstance(result, tuple) else (result,)
            results.add(b"".join(part.tobytes() for part in parts))
        assert len(results) == 1


def torch_has(settings, nd):
    """Whether PyTorch's pools know these settings: pairs and wide padding are ours alone."""
    padding = settings.get("padding", 0)
    known = isinstance(padding, int) and padding <= settings.get("kernel_size", 2) // 2
    return known and not (nd == 1 and "divisor_override" in settings)


TORCH_CASES = [
    (name, settings, nd) for name, settings in CASES for nd in (1, 2, 3) if torch_has(settings, nd)
]


@pytest.mark.parametrize("name, settings, nd", TORCH_CASES, ids=str)
def test_against_torch(name, settings, nd):
    torch = pytest.importorskip("torch", reason="needs torch: pip install fastconv[bench]")
    x = signals(nd)
    x[0, 0].flat[::7] = np.nan
    name = f"{name}{nd}d"
    mine = getattr(pool, name)(x, **settings)
    theirs = getattr(torch.nn.functional, name)(torch.from_numpy(x), **settings)
    if not isinstance(mine, tuple):
        mine, theirs = (mine,), (theirs,)
    for a, b in zip(mine, theirs, strict=True):
        np.testing.assert_allclose(a, b.numpy(), rtol=0 if "max" in name else 1e-5, atol=1e-6)
