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


RUNNING = ("uniform_filter", "maximum_filter", "minimum_filter", "uniform_filter1d",
           "maximum_filter1d", "minimum_filter1d", "grey_dilation", "grey_erosion")  # fmt: skip


@pytest.mark.every_isa
@pytest.mark.filterwarnings("ignore:(overflow|invalid value) encountered:RuntimeWarning")
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", RUNNING)
@settings(max_examples=60)
@given(data=st.data())
def test_running_filters_of_unusual_numbers_are_scipys(name, dtype, data):
    """SciPy carries them on along a line, or loses them: to the same places."""
    largest = np.finfo(dtype).max
    x = odd_picture(data, dtype, (np.nan, np.inf, -np.inf, largest, -largest))
    options = {"mode": data.draw(st.sampled_from(("reflect", "constant", "nearest", "wrap"))),
               "cval": data.draw(st.sampled_from((0.0, np.nan, np.inf)))}  # fmt: skip
    size = data.draw(st.integers(1, 14))
    ours = getattr(filters, name)(x, size, **options)
    theirs = getattr(ndimage, name)(x, size, **options)
    if "uniform" not in name:
        np.testing.assert_array_equal(ours, theirs)
        return
    np.testing.assert_array_equal(np.isnan(ours), np.isnan(theirs))
    tolerance = 1e-5 if dtype == "float32" else 1e-12
    scale = np.abs(x, where=np.isfinite(x), out=np.zeros_like(x)).max()
    with np.errstate(all="ignore"):
        np.testing.assert_allclose(ours, theirs, rtol=tolerance, atol=tolerance * scale)


@pytest.mark.parametrize("shape", [(90,), (20, 30, 40)])
@pytest.mark.parametrize("name", ["uniform_filter", "maximum_filter"])
def test_nan_in_place_and_in_any_number_of_axes(name, shape, rng):
    x = rng.random(shape)
    x[tuple(n // 2 for n in shape)] = np.nan
    theirs = getattr(ndimage, name)(x, 5)
    np.testing.assert_allclose(getattr(filters, name)(x, 5), theirs, rtol=1e-12)
    getattr(filters, name)(x, 5, output=x)
    np.testing.assert_allclose(x, theirs, rtol=1e-12)
