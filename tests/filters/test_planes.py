"""convolve2d and correlate2d against SciPy's over shapes, types, result sizes and borders."""

import numpy as np
import pytest

from fastconv import filters

signal = pytest.importorskip("scipy.signal", reason="needs scipy: pip install fastconv[test]")
pytest.importorskip("hypothesis", reason="needs hypothesis: pip install fastconv[test]")

from hypothesis import given  # noqa: E402
from hypothesis import strategies as st  # noqa: E402

TYPES = ("int8", "uint8", "int16", "uint16", "int32", "uint32", "int64", "uint64", "float32",
         "float64", "complex64", "complex128", "longdouble")  # fmt: skip
NAMES = ["convolve2d", "correlate2d"]


def plane(data, rng, high):
    """Random numbers; of integers the whole range, so that sums wrap around."""
    shape = data.draw(st.tuples(st.integers(1, high), st.integers(1, high)))
    dtype = np.dtype(data.draw(st.sampled_from(TYPES)))
    if dtype.kind in "iu":
        info = np.iinfo(dtype)
        small = data.draw(st.booleans())
        low, high = (max(info.min, -9), 9) if small else (info.min, info.max)
        return rng.integers(low, high, shape, dtype, endpoint=True)
    x = rng.standard_normal(shape)
    if dtype.kind == "c":
        x = x + 1j * rng.standard_normal(shape)
    return x.astype(dtype)


@pytest.mark.every_isa
@pytest.mark.parametrize("name", NAMES)
@given(data=st.data())
def test_against_scipy(name, data):
    rng = np.random.default_rng(data.draw(st.integers(0, 99)))
    x, kernel = plane(data, rng, 20), plane(data, rng, 8)
    mode = data.draw(st.sampled_from(("full", "same", "valid")))
    if mode == "valid" and (np.array(x.shape) < kernel.shape).any():
        kernel = kernel[: x.shape[0], : x.shape[1]]
    if data.draw(st.booleans()) and mode == "valid":
        x, kernel = kernel, x
    boundary = data.draw(st.sampled_from(("fill", "wrap", "symm")))
    options = {"mode": mode, "boundary": boundary, "fillvalue": data.draw(st.sampled_from((0, 3)))}
    ours = getattr(filters, name)(x, kernel, **options)
    theirs = getattr(signal, name)(x, kernel, **options)
    assert (ours.dtype, ours.shape) == (theirs.dtype, theirs.shape)
    if ours.dtype.kind in "iu":
        np.testing.assert_array_equal(ours, theirs)
        return
    tolerance = 1e-5 if ours.dtype in (np.float32, np.complex64) else 1e-12
    largest = [max(abs(complex(v)) for v in a.ravel()) for a in (x, kernel)]
    size = max(largest[0], 3) * largest[1] * min(x.size, kernel.size)
    np.testing.assert_allclose(ours, theirs, rtol=tolerance, atol=tolerance * size)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("mode", ["full", "same"])
@pytest.mark.parametrize("shapes", [((0, 2), (1, 2)), ((2, 2), (0, 2)), ((3, 0), (2, 4))])
def test_empty(name, mode, shapes):
    x, kernel = np.ones(shapes[0]), np.ones(shapes[1])
    np.testing.assert_array_equal(
        getattr(filters, name)(x, kernel, mode), getattr(signal, name)(x, kernel, mode)
    )


def test_beyond_float32_is_computed_again():
    x, kernel = np.full((9, 9), 3e38, "float32"), np.full((3, 3), 1 / 9, "float32")
    ours = filters.convolve2d(x, kernel, "valid")
    np.testing.assert_allclose(ours, np.full((7, 7), 3e38), rtol=1e-6)


ONE = np.ones((2, 3))
MISTAKES = [
    ((ONE, ONE[0]), {}),
    ((ONE, ONE, "half"), {}),
    ((ONE, ONE, 1), {}),
    ((ONE, ONE, "full", "round"), {}),
    ((ONE, ONE.T, "valid"), {}),
    ((ONE > 0, ONE > 0), {}),
    ((ONE.astype("float16"), ONE.astype("float16")), {}),
    ((ONE.astype(object), ONE), {}),
    ((ONE, ONE), {"fillvalue": [1, 2]}),
    ((ONE, ONE), {"fillvalue": []}),
    ((ONE.astype("uint8"), ONE.astype("uint8")), {"fillvalue": 300}),
]


@pytest.mark.filterwarnings("ignore:Casting complex values:numpy.exceptions.ComplexWarning")
@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(("arguments", "options"), MISTAKES)
def test_mistakes_raise_what_scipy_raises(name, arguments, options):
    with pytest.raises(ValueError):  # noqa: PT011
        getattr(signal, name)(*arguments, **options)
    with pytest.raises(ValueError, match=f"^{name}: "):
        getattr(filters, name)(*arguments, **options)
