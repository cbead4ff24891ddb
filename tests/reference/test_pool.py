"""The reference's pools against literals and PyTorch."""

import itertools

import numpy as np
import pytest

from fastconv import reference

CHANNELS_FIRST = {1: "NCW", 2: "NCHW", 3: "NCDHW"}
CHANNELS_LAST = {1: "NWC", 2: "NHWC", 3: "NDHWC"}
SPATIAL = {1: (13,), 2: (11, 8), 3: (7, 6, 9)}
NAN, INF = np.nan, np.inf


def pool(kind, nd):
    return getattr(reference, f"{kind}_pool{nd}d")


def assert_close(actual, expected):
    if isinstance(expected, tuple):
        assert len(actual) == len(expected)
        for a, e in zip(actual, expected, strict=True):
            assert_close(a, e)
        return
    assert actual.shape == expected.shape
    assert actual.dtype == expected.dtype
    np.testing.assert_allclose(actual, expected, rtol=1e-12, atol=1e-14)


def line(*values):
    """One channel of a row."""
    return np.array([values], dtype=float)


# --- by hand -----------------------------------------------------------------------------------


def test_max_pool_by_hand():
    x = np.array([[[1.0, 2, 9, 3], [4, 3, 0, 9]]])
    y, indices = reference.max_pool2d(x, 2, return_indices=True)
    assert_close(y, np.array([[[4.0, 9]]]))
    np.testing.assert_array_equal(indices, [[[4, 2]]])  # the first of the two nines


def test_max_pool_padding_is_minus_infinity_and_has_no_index():
    y, indices = reference.max_pool1d(line(-3, -2, -5), 3, 2, 1, return_indices=True)
    assert_close(y, line(-2, -2))
    np.testing.assert_array_equal(indices, [[1, 1]])
    y, indices = reference.max_pool1d(line(-INF, -INF), 3, 1, 1, return_indices=True)
    assert_close(y, line(-INF, -INF))
    np.testing.assert_array_equal(indices, [[0, 0]])


def test_max_pool_nan_wins_and_the_last_one_is_named():
    x = line(1, NAN, 2, NAN, 9, 8)
    y, indices = reference.max_pool1d(x, 3, 1, return_indices=True)
    assert_close(y, line(NAN, NAN, NAN, NAN))
    np.testing.assert_array_equal(indices, [[1, 3, 3, 3]])


def test_ceil_mode_drops_a_window_that_starts_behind_the_input():
    x = line(1, 2, 3, 4, 5)
    assert_close(reference.max_pool1d(x, 2), line(2, 4))
    assert_close(reference.max_pool1d(x, 2, ceil_mode=True), line(2, 4, 5))
    # windows would start at -1, 2 and 5, but 5 is behind the input
    assert_close(reference.max_pool1d(x, 2, 3, 1, ceil_mode=True), line(1, 4))


def test_window_without_a_cell_inside():
    # taps at -3 and 2 of an input of one cell
    y, indices = reference.max_pool1d(line(7), 2, 3, 3, 5, return_indices=True)
    assert_close(y, line(-INF))
    np.testing.assert_array_equal(indices, [[-1]])


def test_avg_pool_divisors_by_hand():
    x = line(2, 4, 6)
    assert_close(reference.avg_pool1d(x, 2, 2, 1), line(1, 5))
    assert_close(reference.avg_pool1d(x, 2, 2, 1, count_include_pad=False), line(2, 5))
    assert_close(reference.avg_pool1d(x, 2, 2, 1, divisor_override=4), line(0.5, 2.5))


def test_avg_pool_never_counts_what_ceil_mode_adds():
    x = line(2, 4, 6)
    assert_close(reference.avg_pool1d(x, 2, ceil_mode=True), line(3, 6))
    # the last window covers 6, one cell of padding and one cell beyond it
    assert_close(reference.avg_pool1d(x, 3, 3, 1, ceil_mode=True), line(2, 3))


def test_avg_pool_keeps_nan_and_infinity_in_their_windows():
    y = reference.avg_pool1d(line(1, 3, NAN, 0, INF, 1, 5, 7), 2)
    assert_close(y, line(2, NAN, INF, 6))


def test_adaptive_windows_overlap_and_differ_in_length():
    x = line(1, 2, 4, 8, 16)  # windows 0:2, 1:4 and 3:5
    y, indices = reference.adaptive_max_pool1d(x, 3, return_indices=True)
    assert_close(y, line(2, 8, 16))
    np.testing.assert_array_equal(indices, [[1, 3, 4]])
    assert_close(reference.adaptive_avg_pool1d(x, 3), line(1.5, 14 / 3, 12))


def test_adaptive_pools_can_enlarge():
    assert_close(reference.adaptive_avg_pool1d(line(2, 4), 3), line(2, 3, 4))


def test_adaptive_none_keeps_the_size():
    x = np.arange(12.0).reshape(1, 3, 4)
    expected = x.mean(axis=2, keepdims=True)
    assert_close(reference.adaptive_avg_pool2d(x, (None, 1)), expected)


def test_pairs_and_same_pad_each_side_on_its_own():
    x = line(1, 2, 3, 4)
    assert_close(reference.max_pool1d(x, 2, 1, ((0, 1),)), line(2, 3, 4, 4))
    assert_close(reference.max_pool1d(x, 2, 1, "same"), line(2, 3, 4, 4))
    assert_close(reference.avg_pool1d(x, 2, 1, ((1, 0),)), line(0.5, 1.5, 2.5, 3.5))


@pytest.mark.parametrize(
    ("dtype", "expected"), [("f4", "f4"), ("u1", "f4"), ("i8", "f8"), (">f8", "f8")]
)
def test_pools_compute_in_at_least_float32(dtype, expected):
    x = np.arange(16).reshape(1, 4, 4).astype(dtype)
    for kind in ("max", "avg", "adaptive_max", "adaptive_avg"):
        assert pool(kind, 2)(x, 2).dtype == np.dtype(expected)
    assert reference.max_pool2d(x, 2, return_indices=True)[1].dtype == np.int64


@pytest.mark.parametrize("kind", ["max", "avg", "adaptive_max", "adaptive_avg"])
@pytest.mark.parametrize("nd", [1, 2, 3])
def test_layouts_and_missing_batch(nd, kind, rng):
    x = rng.standard_normal((2, 3, *SPATIAL[nd]))
    more = {"return_indices": True} if "max" in kind else {}
    first = pool(kind, nd)(x, 2, layout=CHANNELS_FIRST[nd], **more)
    last = pool(kind, nd)(np.moveaxis(x, 1, -1), 2, layout=CHANNELS_LAST[nd], **more)
    single = pool(kind, nd)(np.moveaxis(x[1], 0, -1), 2, layout=CHANNELS_LAST[nd], **more)
    if not more:
        first, last, single = (first,), (last,), (single,)
    for f, la, s in zip(first, last, single, strict=True):
        np.testing.assert_array_equal(la, np.moveaxis(f, 1, -1))
        np.testing.assert_array_equal(s, la[1])
        assert la.flags.c_contiguous


def test_an_empty_batch_gives_an_empty_result():
    x = np.empty((0, 3, 5, 5))
    for kind in ("max", "avg", "adaptive_max", "adaptive_avg"):
        assert pool(kind, 2)(x, 2).shape == (0, 3, 2, 2)


# --- against PyTorch ---------------------------------------------------------------------------


def spiced(rng, shape):
    """Small integers with ties, infinities and NaN among them."""
    return rng.choice([-INF, -1, 0, 1, 2, 3, INF, NAN], shape, p=[0.2] + [0.14] * 5 + [0.05] * 2)


def windows(nd, dilations):
    """Kernel, stride, padding and dilation that PyTorch accepts, each axis with its own."""
    for kernel, stride, padding, dilation in itertools.product(
        [1, 2, 3, 5], [None, 1, 2, 3], [0, 1, 2], dilations
    ):
        if 2 * padding <= kernel and dilation * (kernel - 1) < min(SPATIAL[nd]) + 2 * padding:
            kernels = (kernel, 2, 3)[:nd]
            yield kernels, stride and (stride, 3, 1)[:nd], (padding, 1, 0)[:nd], dilation


@pytest.mark.parametrize("ceil_mode", [False, True])
@pytest.mark.parametrize("nd", [1, 2, 3])
def test_max_pool_as_pytorch(nd, ceil_mode, functional, rng):
    for x in (rng.standard_normal((2, 3, *SPATIAL[nd])), spiced(rng, (2, 3, *SPATIAL[nd]))):
        for kernel, stride, padding, dilation in windows(nd, [1, 2]):
            args = x, kernel, stride, padding, dilation, ceil_mode, True
            assert_close(pool("max", nd)(*args), functional(f"max_pool{nd}d", *args))
            np.testing.assert_array_equal(
                pool("max", nd)(*args[:-1]), pool("max", nd)(*args)[0], strict=True
            )


@pytest.mark.parametrize("count_include_pad", [False, True])
@pytest.mark.parametrize("ceil_mode", [False, True])
@pytest.mark.parametrize("nd", [1, 2, 3])
def test_avg_pool_as_pytorch(nd, ceil_mode, count_include_pad, functional, rng):
    x = rng.standard_normal((2, 3, *SPATIAL[nd]))
    for kernel, stride, padding, _ in windows(nd, [1]):
        args = x, kernel, stride, padding, ceil_mode, count_include_pad
        assert_close(pool("avg", nd)(*args), functional(f"avg_pool{nd}d", *args))
        if nd > 1:  # PyTorch's avg_pool1d has no divisor_override
            args = *args, 7
            assert_close(pool("avg", nd)(*args), functional(f"avg_pool{nd}d", *args))


@pytest.mark.parametrize("size", [1, 2, 3, 5, 6, 16])
@pytest.mark.parametrize("nd", [1, 2, 3])
def test_adaptive_pools_as_pytorch(nd, size, functional, rng):
    wanted = (size, 4, 1)[:nd]
    x = rng.standard_normal((2, 3, *SPATIAL[nd]))
    assert_close(
        pool("adaptive_avg", nd)(x, wanted), functional(f"adaptive_avg_pool{nd}d", x, wanted)
    )
    for cells in (x, spiced(rng, x.shape)):
        args = cells, wanted, True
        expected = functional(f"adaptive_max_pool{nd}d", *args)
        assert_close(pool("adaptive_max", nd)(*args), expected)
        np.testing.assert_array_equal(pool("adaptive_max", nd)(cells, wanted), expected[0])
