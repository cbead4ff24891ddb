"""Filters against SciPy's over random shapes, types, borders, windows and memory orders."""

import numpy as np
import pytest

from fastconv import filters

ndimage = pytest.importorskip("scipy.ndimage", reason="needs scipy: pip install fastconv[test]")
pytest.importorskip("hypothesis", reason="needs hypothesis: pip install fastconv[test]")

from hypothesis import given, settings  # noqa: E402
from hypothesis import strategies as st  # noqa: E402

MODES = ("reflect", "constant", "nearest", "mirror", "wrap")
RELATIVE = {"float32": 1e-5, "float64": 1e-12}
SIDES = {1: 90, 2: 30, 3: 12}


def picture(draw, memory):
    """An array of 1 to 3 axes, of any type and memory order, with values of 0 to 255."""
    nd = draw(st.integers(1, 3))
    shape = draw(st.tuples(*[st.integers(1, SIDES[nd])] * nd))
    dtype = draw(st.sampled_from(("uint8", "uint16", "int16", "int32", "float32", "float64")))
    rng = np.random.default_rng(draw(st.integers(0, 99)))
    x = (rng.random(shape) * 255).astype(dtype)
    orders = set(memory.ALL) - (set() if x.dtype.kind == "f" else {"cropped", "sliced"})
    return memory.lay(x, draw(st.sampled_from(sorted(orders)))), rng


def borders(draw):
    return {"mode": draw(st.sampled_from(MODES)), "cval": draw(st.sampled_from((0, 1.5, -7)))}


def assert_same(ours, theirs, magnitude):
    assert ours.dtype == theirs.dtype
    if ours.dtype.kind in "iu":
        np.testing.assert_array_equal(ours, theirs)
    else:
        bound = RELATIVE[str(ours.dtype)] * magnitude
        np.testing.assert_allclose(ours, theirs, rtol=RELATIVE[str(ours.dtype)], atol=bound)


def origins(draw, sizes):
    return [draw(st.integers(-(n // 2), (n - 1) // 2)) for n in sizes]


@pytest.mark.every_isa
@pytest.mark.parametrize("name", ["correlate", "convolve"])
@given(data=st.data())
def test_windows(name, data, memory):
    x, rng = picture(data.draw, memory)
    size = data.draw(st.tuples(*[st.integers(1, 6)] * x.ndim))
    weights = rng.standard_normal(size)
    if data.draw(st.booleans()):
        weights = np.rint(2 * weights)
    options = {**borders(data.draw), "origin": origins(data.draw, size)}
    ours = getattr(filters, name)(x, weights, **options)
    theirs = getattr(ndimage, name)(x, weights, **options)
    assert_same(ours, theirs, 255 * abs(weights).sum())


@pytest.mark.every_isa
@pytest.mark.parametrize("dtype", ["uint8", "float32"])
@given(data=st.data())
def test_windows_that_are_products(dtype, data):
    shape = data.draw(st.sampled_from(((30, 70), (12, 15, 20))))
    rng = np.random.default_rng(data.draw(st.integers(0, 99)))
    x = (rng.random(shape) * 255).astype(dtype)
    sizes = data.draw(st.tuples(*[st.integers(5, 12)] * len(shape)))
    parts = [rng.standard_normal(n) for n in sizes]
    if data.draw(st.booleans()):
        parts = [part + part[::-1] for part in parts]
    weights = parts[0]
    for part in parts[1:]:
        weights = np.multiply.outer(weights, part)
    if data.draw(st.booleans()):
        weights[tuple(rng.integers(sizes))] *= 1 + 1e-3  # nearly a product is none
    options = {**borders(data.draw), "origin": origins(data.draw, sizes), "output": "float32"}
    ours = filters.correlate(x, weights, **options)
    assert_same(ours, ndimage.correlate(x, weights, **options), 255 * abs(weights).sum())


SEPARABLE = {
    "gaussian_filter": st.tuples(st.floats(0.3, 3)),
    "uniform_filter": st.tuples(st.integers(1, 20)),
    "maximum_filter": st.tuples(st.integers(1, 20)),
    "minimum_filter": st.tuples(st.integers(1, 20)),
    "grey_dilation": st.tuples(st.integers(1, 6)),
    "grey_erosion": st.tuples(st.integers(1, 6)),
    "sobel": st.just(()),
    "prewitt": st.just(()),
    "laplace": st.just(()),
    "gaussian_laplace": st.tuples(st.floats(0.5, 2)),
    "gaussian_gradient_magnitude": st.tuples(st.floats(0.5, 2)),
}


@pytest.mark.every_isa
@pytest.mark.parametrize("name", SEPARABLE)
@settings(max_examples=40)
@given(data=st.data())
def test_along_axes(name, data, memory):
    x, _ = picture(data.draw, memory)
    arguments, options = data.draw(SEPARABLE[name]), borders(data.draw)
    ours = getattr(filters, name)(x, *arguments, **options)
    theirs = getattr(ndimage, name)(x, *arguments, **options)
    assert_same(ours, theirs, 255 * 64)


@pytest.mark.every_isa
@pytest.mark.parametrize("name", ["maximum_filter", "minimum_filter"])
@given(data=st.data())
def test_footprints(name, data, memory):
    x, rng = picture(data.draw, memory)
    footprint = rng.random(data.draw(st.tuples(*[st.integers(1, 5)] * x.ndim))) < 0.6
    footprint.flat[0] = True
    options = borders(data.draw)
    if not footprint.all():
        options["origin"] = origins(data.draw, footprint.shape)
    ours = getattr(filters, name)(x, footprint=footprint, **options)
    np.testing.assert_array_equal(ours, getattr(ndimage, name)(x, footprint=footprint, **options))


@pytest.mark.parametrize("name", ["gaussian_filter", "uniform_filter", "maximum_filter"])
@pytest.mark.parametrize("shape", [(301,), (300, 217), (20, 40, 50)])
def test_in_place_and_on_any_number_of_threads(name, shape, rng, threads):
    x = rng.standard_normal(shape).astype("float32")
    threads(1)
    wanted = getattr(filters, name)(x, 7)
    threads(3)
    np.testing.assert_array_equal(getattr(filters, name)(x, 7), wanted)
    getattr(filters, name)(x, 7, output=x)
    np.testing.assert_array_equal(x, wanted)


MISTAKES = [
    ("correlate", ([1.0, 2], [[1]]), {}),
    ("correlate", ([1.0, 2], [1, 1]), {"origin": 1}),
    ("correlate", ([1.0, 2], [1, 1]), {"mode": "nonsense"}),
    ("correlate1d", ([1.0, 2], []), {}),
    ("gaussian_filter", ([1.0, 2], 1), {"order": -1}),
    ("gaussian_filter", ([1.0, 2], 1), {"radius": 1.5}),
    ("gaussian_filter", ([1.0, 2], [1, 2]), {}),
    ("uniform_filter", ([1.0, 2], 3), {"origin": 2}),
    ("uniform_filter", ([1.0, 2], 3), {"axes": 4}),
    ("uniform_filter1d", ([1.0, 2], 0), {}),
    ("convolve1d", ([1.0, 2], [1, 2]), {"origin": 1}),
    ("gaussian_filter", ([1j, 2], 1), {"output": float}),
    ("maximum_filter", ([1.0, 2],), {}),
    ("maximum_filter", ([1j, 2], 3), {}),
    ("maximum_filter", ([1.0, 2],), {"footprint": [0]}),
    ("grey_dilation", ([1.0, 2],), {}),
    ("sobel", ([1.0, 2],), {"axis": 3}),
    ("sobel", ([1.0, 2],), {"output": np.zeros(3)}),
    ("sobel", (["a", "b"],), {}),
    ("correlate", (["a", "b"], [1, 2, 1]), {}),
    ("uniform_filter", (["a", "b"], 3), {}),
    ("maximum_filter", (["a", "b"], 3), {}),
    ("sobel", ([None, 1],), {}),
    ("maximum_filter", ([None, 1], 3), {}),
    ("uniform_filter", ([1.0, 2], 3), {"output": object}),
    ("correlate1d", ([1.0, 2], [1, 2, 1]), {"output": np.float16}),
    ("maximum_filter", ([1.0, 2], 3), {"output": np.complex64}),
]


@pytest.mark.parametrize(("name", "arguments", "options"), MISTAKES)
def test_mistakes_raise_what_scipy_raises(name, arguments, options):
    with pytest.raises(Exception) as theirs:  # noqa: B017, PT011
        getattr(ndimage, name)(*arguments, **options)
    with pytest.raises(type(theirs.value), match="^[a-z_0-9]+: "):
        getattr(filters, name)(*arguments, **options)


def test_types_are_refused_by_name():
    with pytest.raises(RuntimeError, match="^uniform_filter: output must be .* got float16"):
        filters.uniform_filter(np.zeros(3), 3, output=np.float16)


@pytest.mark.parametrize("name", ["correlate1d", "convolve1d", "correlate", "convolve"])
def test_the_origin_is_named_as_it_was_given(name):
    with pytest.raises(ValueError, match=f"^{name}: Invalid origin: 2 is not between"):
        getattr(filters, name)([1.0, 2], [1, 2, 1], origin=2)


def test_float16_is_refused():
    with pytest.raises(RuntimeError, match="^sobel: input must be .* got float16"):
        filters.sobel(np.zeros((3, 3), "float16"))


def test_read_only_output_is_refused():
    output = np.zeros((3, 3))
    output.flags.writeable = False
    with pytest.raises(ValueError, match="^sobel: output must be writeable"):
        filters.sobel(np.zeros((3, 3)), output=output)
    assert not output.any()


@pytest.mark.parametrize("shape", [(2064, 4096), (2900, 2903)])
@pytest.mark.parametrize(
    ("name", "argument"),
    [("correlate", [[1, 2, 0.5], [0.3, -1, 3], [2, 1, 1]]), ("correlate", [[1, 0], [2, -1]]),
     ("gaussian_filter", 1), ("maximum_filter", 3), ("uniform_filter1d", 5)],
)  # fmt: skip
def test_results_too_large_for_caches(name, argument, shape, rng):
    """32 MiB and more are written past the caches, and rows are fetched before they are needed."""
    x = rng.random(shape, np.float32)
    ours, theirs = getattr(filters, name)(x, argument), getattr(ndimage, name)(x, argument)
    np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-5)
