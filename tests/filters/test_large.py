"""Large windows: the way through the Fourier transform gives SciPy's results, where it pays."""

import sys

import numpy as np
import pytest

from fastconv import filters
from fastconv.filters import _fft

ndimage = pytest.importorskip("scipy.ndimage", reason="needs scipy: pip install fastconv[test]")
signal = pytest.importorskip("scipy.signal", reason="needs scipy: pip install fastconv[test]")
pytest.importorskip("hypothesis", reason="needs hypothesis: pip install fastconv[test]")

from hypothesis import HealthCheck, given, settings  # noqa: E402
from hypothesis import strategies as st  # noqa: E402

MODES = ("reflect", "constant", "nearest", "mirror", "wrap")


@pytest.fixture(params=["scipy.fft", "numpy.fft"])
def blocks(request, monkeypatch):
    """Everything goes by small blocks, with SciPy's transforms or, as without it, NumPy's."""
    monkeypatch.setattr(_fft, "pays", lambda *arguments: True)
    monkeypatch.setattr(_fft, "BLOCK_POINTS", 4096)
    if request.param == "numpy.fft":
        monkeypatch.setitem(sys.modules, "scipy", None)
    used = []
    correlate = _fft.correlate_by_blocks
    monkeypatch.setattr(
        _fft, "correlate_by_blocks", lambda *a: used.append(correlate(*a)) or used[-1]
    )
    return used


same_fixture = settings(
    max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


@same_fixture
@given(data=st.data())
@pytest.mark.parametrize("name", ["correlate", "convolve"])
def test_against_scipy(name, blocks, data):
    nd = data.draw(st.integers(1, 3))
    shape = data.draw(st.tuples(*[st.integers(1, {1: 9000, 2: 130, 3: 30}[nd])] * nd))
    size = data.draw(st.tuples(*[st.integers(1, {1: 50, 2: 12, 3: 6}[nd])] * nd))
    dtype = data.draw(st.sampled_from(("uint8", "int16", "int32", "float32", "float64")))
    rng = np.random.default_rng(data.draw(st.integers(0, 99)))
    x = ((rng.random(shape) - 0.3) * 90).astype(dtype)
    weights = rng.standard_normal(size)
    if data.draw(st.booleans()):
        weights = np.rint(5 * weights) + 1
    origin = [data.draw(st.integers(-(n // 2), (n - 1) // 2)) for n in size]
    options = {"mode": data.draw(st.sampled_from(MODES)), "origin": origin,
               "cval": data.draw(st.sampled_from((0, 7, -0.5)))}  # fmt: skip
    ours = getattr(filters, name)(x, weights, **options)
    theirs = getattr(ndimage, name)(x, weights, **options)
    if ours.dtype.kind == "i":
        np.testing.assert_array_equal(ours, theirs)
    else:
        tolerance = 1e-5 if ours.dtype == np.float32 else 1e-12
        bound = tolerance * 90 * abs(weights).sum()
        np.testing.assert_allclose(ours, theirs, rtol=tolerance, atol=bound)


def test_blocks_are_used_where_they_may_be(blocks, rng):
    x, whole, broken = rng.random((90, 90)) * 200, np.ones((5, 5)), rng.random((5, 5))
    whole[2, 2] = 3
    for dtype, weights, through in [
        ("float32", broken, True), ("float64", broken, True), ("uint8", whole, True),
        ("uint8", broken, False), ("int64", whole, False),
    ]:  # fmt: skip
        blocks.clear()
        filters.correlate(x.astype(dtype), weights)
        assert blocks == [True] * through, (dtype, through)


@pytest.mark.parametrize("value", [np.nan, np.inf, 1e308])
def test_unusual_numbers_are_summed_directly(value, blocks, rng):
    x, weights = rng.random((100, 90)), 3 * rng.random((9, 9))
    x[50, 40] = value
    with np.errstate(all="ignore"):
        ours, theirs = filters.correlate(x, weights), ndimage.correlate(x, weights)
    assert blocks == [False]
    np.testing.assert_array_equal(ours, theirs)


def test_in_place(blocks, rng):
    x, weights = rng.random((100, 90)), rng.random((9, 9))
    wanted = ndimage.correlate(x, weights)
    filters.correlate(x, weights, output=x)
    np.testing.assert_allclose(x, wanted, rtol=1e-12)
    assert blocks == [True]


@pytest.mark.parametrize("mode", ["full", "same", "valid"])
@pytest.mark.parametrize("name", ["convolve2d", "correlate2d"])
def test_planes(name, mode, blocks, rng):
    x, kernel = rng.standard_normal((80, 70)), rng.standard_normal((13, 9))
    ours = getattr(filters, name)(x, kernel, mode, "symm")
    assert blocks == [True]
    np.testing.assert_allclose(ours, getattr(signal, name)(x, kernel, mode, "symm"), atol=1e-12)


def test_bits_do_not_depend_on_threads(blocks, threads, rng):
    x, weights = rng.random((100, 90)), rng.random((9, 9))
    threads(1)
    wanted = filters.correlate(x, weights)
    threads(3)
    np.testing.assert_array_equal(filters.correlate(x, weights), wanted)


def test_the_rule():
    """Windows of these sizes were measured on both sides of where the two ways cost the same."""

    def crossing(shape, use_single):
        sides = range(3, 100, 2)
        ways = [_fft.pays(k ** len(shape), shape, (k,) * len(shape), use_single) for k in sides]
        assert ways == sorted(ways)  # once it pays, it pays for all that are larger
        return sides[ways.index(True)]

    assert 19 < crossing((2048, 2048), True) <= 31
    assert 15 < crossing((2048, 2048), False) <= 23
    assert 7 < crossing((64, 256, 256), True) <= 13
    assert not _fft.pays(441, (10, 10), (21, 21), False)  # all blocks are margin


def test_lengths():
    def is_fast(n):
        for factor in (2, 3, 5):
            while n % factor == 0:
                n //= factor
        return n == 1

    for n in range(1, 2000):
        assert _fft.fast_length(n) == next(m for m in range(n, 2 * n + 1) if is_fast(m))
