"""NaN, infinities and numbers near the ends of their type: as SciPy has them, or as documented."""

import numpy as np
import pytest

from fastconv import filters

ndimage = pytest.importorskip("scipy.ndimage", reason="needs scipy: pip install fastconv[test]")
pytest.importorskip("hypothesis", reason="needs hypothesis: pip install fastconv[test]")

from hypothesis import given, settings  # noqa: E402
from hypothesis import strategies as st  # noqa: E402

SUMS = {
    "correlate": ([[1, -2, 0], [0.5, 3, 1]],),
    "convolve": ([[1, -2, 0], [0.5, 3, 1]],),
    "correlate1d": ([1, -2, 0.5, 3],),
    "gaussian_filter": (1.5,),
    "sobel": (),
    "prewitt": (0,),
    "laplace": (),
}


def odd_picture(data, dtype, values):
    """Random numbers, of which some are replaced by unusual ones."""
    rng = np.random.default_rng(data.draw(st.integers(0, 99)))
    shape = data.draw(st.tuples(st.integers(3, 20), st.integers(3, 70)))
    x = rng.standard_normal(shape).astype(dtype)
    for value in data.draw(st.lists(st.sampled_from(values), min_size=1, max_size=4)):
        x[rng.integers(shape[0]), rng.integers(shape[1])] = value
    return x


@pytest.mark.every_isa
@pytest.mark.filterwarnings("ignore:(overflow|invalid value) encountered:RuntimeWarning")
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", SUMS)
@settings(max_examples=40)
@given(data=st.data())
def test_sums_of_unusual_numbers_are_scipys(name, dtype, data):
    largest = np.finfo(dtype).max
    values = (np.nan, np.inf, -np.inf, largest, -largest, largest / 4)
    x = odd_picture(data, dtype, values)
    ours = getattr(filters, name)(x, *SUMS[name])
    theirs = getattr(ndimage, name)(x, *SUMS[name])
    tolerance = 1e-5 if dtype == "float32" else 1e-12
    # Beside a huge number only the scale that it sets can be asked for.
    scale = np.abs(x, where=np.isfinite(x), out=np.zeros_like(x)).max()
    with np.errstate(all="ignore"):
        np.testing.assert_allclose(ours, theirs, rtol=tolerance, atol=tolerance * scale)


def test_float32_sums_too_large_for_float32_on_the_way():
    x = np.full((40, 50), 3e38, "float32")
    for name, arguments in {"correlate": (np.full((3, 3), 1 / 9),), "uniform_filter": (3,),
                            "gaussian_filter": (2,), "correlate1d": ([0.5, 0.5, -0.5],)}.items():
        ours = getattr(filters, name)(x, *arguments)
        assert np.isfinite(ours).all(), name
        np.testing.assert_allclose(ours, getattr(ndimage, name)(x, *arguments), rtol=1e-5)


@pytest.mark.parametrize(("scale", "size"), [(1e60, 1e-30), (1e-45, 1e30)])
def test_weights_that_float32_cannot_hold(scale, size, rng):
    x = (rng.random((20, 30)) * size).astype("float32")
    weights = np.array([[1, 2, 1], [2, 5, 2], [1, 2, 1]]) * scale
    ours = filters.correlate(x, weights)
    assert np.isfinite(ours).all()
    np.testing.assert_array_equal(ours, ndimage.correlate(x, weights))
    np.testing.assert_array_equal(
        filters.correlate1d(x, weights[1]), ndimage.correlate1d(x, weights[1])
    )


@pytest.mark.every_isa
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("size", [3, 5, 12])
def test_lines_carry_unusual_numbers_to_their_windows_alone(size, value, dtype, rng):
    """What SciPy's correlation and its footprints give, where its running sums carry on."""
    x = rng.standard_normal((5, 80)).astype(dtype)
    x[2, 37] = value
    box = filters.uniform_filter1d(x, size)
    wanted = ndimage.correlate1d(x, np.full(size, 1 / size))
    np.testing.assert_allclose(box, wanted, rtol=1e-5, atol=1e-5)
    held = ndimage.maximum_filter1d((x == value) | ((x != x) & (value != value)), size)
    assert held.sum() == size
    for name, wins in (("maximum_filter1d", value > 0), ("minimum_filter1d", value < 0)):
        ours = getattr(filters, name)(x, size)
        clean = getattr(ndimage, name)(np.where(np.isfinite(x), x, 0 * x[2, 36]), size)
        if value != value or wins:
            assert (np.isnan(ours[held]) if value != value else ours[held] == value).all()
        np.testing.assert_array_equal(ours[~held], clean[~held])
