"""correlate_bank: what correlate gives for each kernel."""

import numpy as np
import pytest

from fastconv import filters
from fastconv.filters import _fft

ndimage = pytest.importorskip("scipy.ndimage", reason="needs scipy: pip install fastconv[test]")
pytest.importorskip("hypothesis", reason="needs hypothesis: pip install fastconv[test]")

from hypothesis import given, settings  # noqa: E402
from hypothesis import strategies as st  # noqa: E402


def each(x, weights, **options):
    return np.stack([ndimage.correlate(x, kernel, **options) for kernel in weights])


def assert_same(ours, theirs, magnitude):
    assert ours.dtype == theirs.dtype
    if ours.dtype.kind in "iu":
        np.testing.assert_array_equal(ours, theirs)
    else:
        tolerance = 1e-5 if ours.dtype == np.float32 else 1e-12
        np.testing.assert_allclose(ours, theirs, rtol=tolerance, atol=tolerance * magnitude)


@pytest.mark.every_isa
@settings(max_examples=60)
@given(data=st.data())
def test_against_scipy(data):
    nd = data.draw(st.integers(1, 3))
    shape = data.draw(st.tuples(*[st.integers(1, {1: 90, 2: 40, 3: 15}[nd])] * nd))
    size = data.draw(st.tuples(*[st.integers(1, 5)] * nd))
    dtype = data.draw(st.sampled_from(("uint8", "int16", "float32", "float64")))
    rng = np.random.default_rng(data.draw(st.integers(0, 99)))
    x = (rng.random(shape) * 100).astype(dtype)
    weights = rng.standard_normal((data.draw(st.integers(1, 5)), *size))
    weights[rng.random(weights.shape) < data.draw(st.sampled_from((0, 0.2, 1)))] = 0
    options = {
        "mode": data.draw(st.sampled_from(("reflect", "constant", "wrap"))), "cval": 2.5,
        "origin": [data.draw(st.integers(-(n // 2), (n - 1) // 2)) for n in size],
    }  # fmt: skip
    ours = filters.correlate_bank(x, weights, **options)
    assert_same(ours, each(x, weights, **options), 100 * abs(weights).sum())


def test_each_kernel_meets_nan_by_its_own_holes(rng):
    x = rng.random((30, 40)).astype("float32")
    x[10, 20] = np.nan
    weights = rng.random((3, 3, 3))
    weights[1, 0] = 0
    np.testing.assert_array_equal(filters.correlate_bank(x, weights), each(x, weights))


def test_large_kernels_among_small_ones(rng, monkeypatch):
    """By blocks those that pay: here the ones without holes."""
    used = []
    correlate = _fft.correlate_by_blocks
    monkeypatch.setattr(_fft, "pays", lambda taps, *more: taps == 25)
    monkeypatch.setattr(_fft, "correlate_by_blocks", lambda *a: used.append(1) or correlate(*a))
    x, weights = rng.random((50, 60)), rng.random((4, 5, 5))
    weights[::2, 1] = 0
    ours = filters.correlate_bank(x, weights)
    assert len(used) == 2
    assert_same(ours, each(x, weights), weights.sum())


def test_output(rng):
    x, weights = rng.random((20, 30)).astype("float32"), rng.random((4, 3, 3))
    wanted = filters.correlate_bank(x, weights)
    output = np.zeros((20, 30, 4), "float32")
    assert filters.correlate_bank(x, weights, output=np.moveaxis(output, -1, 0)).base is output
    np.testing.assert_array_equal(np.moveaxis(output, -1, 0), wanted)
    swapped = np.zeros((4, 20, 30), ">f8")
    filters.correlate_bank(x, weights, output=swapped)
    np.testing.assert_allclose(swapped, wanted, rtol=1e-6)
    over = np.stack([x] * 4)
    filters.correlate_bank(over[2], weights, output=over)
    np.testing.assert_array_equal(over, wanted)
    assert filters.correlate_bank(x, weights, output="uint8").dtype == np.uint8


@pytest.mark.parametrize(
    ("weights", "options", "exception", "message"),
    [
        (np.ones((3, 3)), {}, RuntimeError, r"kernels of 2 axes, .* got weights.shape=\(3, 3\)"),
        (np.ones((0, 3, 3)), {}, RuntimeError, r"got weights.shape=\(0, 3, 3\)"),
        (np.ones((2, 3, 3)) * 1j, {}, TypeError, "must be real, got float64 and complex128"),
        (np.ones((2, 3, 3)), {"mode": "no"}, RuntimeError, "mode must be one of"),
        (np.ones((2, 3, 3)), {"origin": 2}, ValueError, "Invalid origin"),
        (np.ones((2, 3, 3)), {"output": np.ones((5, 6))}, RuntimeError, "output must have shape"),
    ],
)
def test_mistakes(weights, options, exception, message):
    with pytest.raises(exception, match=f"^correlate_bank: .*{message}"):
        filters.correlate_bank(np.ones((5, 6)), weights, **options)


def test_a_number_without_axes():
    np.testing.assert_array_equal(filters.correlate_bank(3.0, [1.0, 2.0]), [3, 6])
