"""Gradients of pools: against the reference, PyTorch and differences, in any memory and shape."""

import numpy as np
import pytest

import fastconv
from fastconv import grad
from fastconv.reference import grad as reference

LAYOUTS = {1: ("NCW", "NWC"), 2: ("NCHW", "NHWC"), 3: ("NCDHW", "NDHWC")}
SIZES = {1: (67,), 2: (19, 37), 3: (7, 6, 21)}
DTYPES = (np.float32, np.float64)
MAX_CASES = [
    {"kernel_size": 2},
    {"kernel_size": 3, "stride": 1, "padding": 1},
    {"kernel_size": 3, "stride": 2, "padding": 1, "ceil_mode": True},
    {"kernel_size": 2, "stride": 3, "dilation": 3},
    {"kernel_size": 1, "stride": 4},
]
AVG_CASES = [
    {"kernel_size": 2},
    {"kernel_size": 3, "stride": 1, "padding": 1},
    {"kernel_size": 3, "stride": 1, "padding": 1, "count_include_pad": False},
    {"kernel_size": 3, "stride": 2, "padding": 1, "ceil_mode": True},
    {"kernel_size": 3, "stride": 2, "padding": 1, "ceil_mode": True, "count_include_pad": False},
    {"kernel_size": 3, "stride": 2, "divisor_override": 7},
    {"kernel_size": 6, "stride": 4, "padding": 2},
    {"kernel_size": 5, "stride": 3, "padding": 2},
    {"kernel_size": 2, "stride": 5},
    {"kernel_size": 6, "stride": 6},
    {"kernel_size": 6, "stride": 5, "padding": "same"},
]
OUTPUT_SIZES = [1, 3, 7, 40]


def oriented(x, last):
    """(N, C, ...) as it is, or with the channels last."""
    return np.ascontiguousarray(np.moveaxis(x, 1, -1)) if last else x


def normal(shape, dtype=np.float64, seed=0):
    return np.random.default_rng(seed).standard_normal(shape).astype(dtype)


def result_shape(name, nd, x_shape, settings):
    x = np.broadcast_to(np.float32(0), x_shape)
    return getattr(fastconv, f"{name}{nd}d")(x, **settings).shape


def known_to_torch(settings, nd):
    padding = settings.get("padding", 0) != "same"
    return padding and not (nd == 1 and "divisor_override" in settings)


# --- max -----------------------------------------------------------------------------------------


@pytest.mark.every_isa
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("last", [False, True])
@pytest.mark.parametrize("nd", [1, 2, 3])
@pytest.mark.parametrize("settings", MAX_CASES, ids=str)
def test_max_against_reference(settings, nd, last, dtype, close, memory):
    layout = LAYOUTS[nd][last]
    x = oriented(np.round(normal((2, 70, *SIZES[nd]), dtype)), last)
    y, indices = getattr(fastconv, f"max_pool{nd}d")(
        x, return_indices=True, layout=layout, **settings)
    g = normal(y.shape, dtype)
    name = f"max_pool{nd}d_input"
    wanted = getattr(reference, name)(x.shape, indices, g.astype(np.float64), layout=layout)
    for order in memory.ALL:
        # The gaps between elements are NaN, which no integer can be.
        places = indices if order in ("cropped", "sliced") else memory.lay(indices, order)
        mine = getattr(grad, name)(x.shape, places, memory.lay(g, order), layout=layout)
        close(mine, wanted, dtype)


@pytest.mark.parametrize("nd", [1, 2, 3])
@pytest.mark.parametrize("settings", MAX_CASES, ids=str)
def test_max_against_torch(settings, nd, close):
    torch = pytest.importorskip("torch", reason="needs torch: pip install fastconv[bench]")
    x = np.round(normal((2, 5, *SIZES[nd]), np.float32))
    x[0, 0].flat[::7] = np.nan
    tx = torch.from_numpy(x).requires_grad_()
    y = getattr(torch.nn.functional, f"max_pool{nd}d")(tx, **settings)
    g = normal(y.shape, np.float32)
    y.backward(torch.from_numpy(g))
    _, indices = getattr(fastconv, f"max_pool{nd}d")(x, return_indices=True, **settings)
    close(getattr(grad, f"max_pool{nd}d_input")(x.shape, indices, g), tx.grad.numpy())


def test_max_against_differences(differences):
    x = np.random.default_rng(1).permutation(2 * 3 * 7 * 8).reshape(2, 3, 7, 8) / 4
    settings = {"kernel_size": 3, "stride": 2, "padding": 1}
    y, indices = fastconv.max_pool2d(x, return_indices=True, **settings)
    g = normal(y.shape)
    wanted = differences(lambda v: fastconv.max_pool2d(v, **settings), x, g)
    np.testing.assert_allclose(grad.max_pool2d_input(x.shape, indices, g), wanted, atol=1e-8)


@pytest.mark.parametrize("size", OUTPUT_SIZES)
def test_adaptive_max_against_torch(size, close):
    torch = pytest.importorskip("torch", reason="needs torch: pip install fastconv[bench]")
    x = normal((2, 5, 19, 37), np.float32)
    tx = torch.from_numpy(x).requires_grad_()
    y = torch.nn.functional.adaptive_max_pool2d(tx, size)
    g = normal(y.shape, np.float32)
    y.backward(torch.from_numpy(g))
    _, indices = fastconv.adaptive_max_pool2d(x, size, return_indices=True)
    close(grad.max_pool2d_input(x.shape, indices, g), tx.grad.numpy())


def test_max_adds_nan_and_leaves_out_what_is_nowhere():
    g = np.float32([[1, 2, np.nan, 8]])
    mine = grad.max_pool1d_input((1, 6), np.int32([[2, 2, 5, -1]]), g)
    np.testing.assert_array_equal(mine, [[0, 0, 3, 0, 0, np.nan]])


@pytest.mark.parametrize("bad", [-2, 6, 2**40])
@pytest.mark.parametrize("last", [False, True])
def test_places_outside_the_input(bad, last):
    places = oriented(np.array([[[0, 5, bad]]]), last)
    size = (1, 6, 1) if last else (1, 1, 6)
    with pytest.raises(ValueError, match=rf"max_pool1d_input: indices must be .*\(6,\).*{bad}"):
        grad.max_pool1d_input(size, places, np.ones(places.shape), layout=LAYOUTS[1][last])


# --- mean ----------------------------------------------------------------------------------------


@pytest.mark.every_isa
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("rows", [1, 2, 3])
def test_avg_of_pairs_of_columns_to_the_bit(rows, dtype):
    """Windows two wide that fill the width, of one to several vectors; rows may be left over."""
    for outs in (1, 2, 5, 8, 14, 16, 17, 35, 64):
        g = normal((2, 3, 4, outs), dtype)
        g[..., ::3] = -0.0
        mine = grad.avg_pool2d_input((2, 3, 4 * rows + rows // 2, 2 * outs), g, (rows, 2))
        # Factor by factor, as the engine has it; a sum that begins with 0 knows no -0.
        share = dtype(1 / rows) * dtype(0.5)
        wanted = np.zeros_like(mine)
        wanted[:, :, : 4 * rows] = (g * share + 0).repeat(rows, 2).repeat(2, 3)
        assert mine.tobytes() == wanted.tobytes()


@pytest.mark.every_isa
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("last", [False, True])
@pytest.mark.parametrize("nd", [1, 2, 3])
@pytest.mark.parametrize("settings", AVG_CASES, ids=str)
def test_avg_against_reference(settings, nd, last, dtype, close, memory):
    layout, size = LAYOUTS[nd][last], oriented(np.empty((2, 70, *SIZES[nd]), bool), last).shape
    g = normal(result_shape("avg_pool", nd, size, {**settings, "layout": layout}), dtype)
    name = f"avg_pool{nd}d_input"
    wanted = getattr(reference, name)(size, g.astype(np.float64), layout=layout, **settings)
    for order in ("C", "Fortran", "byte-swapped", "sliced"):
        mine = getattr(grad, name)(size, memory.lay(g, order), layout=layout, **settings)
        close(mine, wanted, dtype)


@pytest.mark.every_isa
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("last", [False, True])
@pytest.mark.parametrize("nd", [1, 2, 3])
@pytest.mark.parametrize("outs", OUTPUT_SIZES)
def test_adaptive_avg_against_reference(outs, nd, last, dtype, close):
    layout, size = LAYOUTS[nd][last], oriented(np.empty((2, 9, *SIZES[nd]), bool), last).shape
    g = oriented(normal((2, 9, *(outs,) * nd), dtype), last)
    name = f"adaptive_avg_pool{nd}d_input"
    wanted = getattr(reference, name)(size, g.astype(np.float64), layout=layout)
    close(getattr(grad, name)(size, g, layout=layout), wanted, dtype)


TORCH_CASES = [
    *(("avg_pool", case, nd) for case in AVG_CASES for nd in (1, 2, 3) if known_to_torch(case, nd)),
    *(("adaptive_avg_pool", {"output_size": n}, nd) for n in OUTPUT_SIZES for nd in (1, 2, 3)),
]


@pytest.mark.parametrize("name, settings, nd", TORCH_CASES, ids=str)
def test_avg_against_torch(name, settings, nd, close):
    torch = pytest.importorskip("torch", reason="needs torch: pip install fastconv[bench]")
    tx = torch.zeros((2, 5, *SIZES[nd]), dtype=torch.float64, requires_grad=True)
    y = getattr(torch.nn.functional, f"{name}{nd}d")(tx, **settings)
    g = normal(y.shape)
    g[0, 0].flat[0] = np.nan
    y.backward(torch.from_numpy(g))
    settings = {} if name.startswith("adaptive") else settings
    mine = getattr(grad, f"{name}{nd}d_input")(tuple(tx.shape), g, **settings)
    close(mine, tx.grad.numpy())


@pytest.mark.parametrize("settings", AVG_CASES[3:6], ids=str)
def test_avg_against_differences(settings, differences):
    x = normal((1, 2, 6, 7))
    g = normal(result_shape("avg_pool", 2, x.shape, settings))
    wanted = differences(lambda v: fastconv.avg_pool2d(v, **settings), x, g)
    np.testing.assert_allclose(grad.avg_pool2d_input(x.shape, g, **settings), wanted, atol=1e-8)


# --- any shape -----------------------------------------------------------------------------------

hypothesis = pytest.importorskip(
    "hypothesis", reason="needs hypothesis: pip install fastconv[test]")
st = hypothesis.strategies
LARGEST = {1: 90, 2: 20, 3: 8}


@st.composite
def pools(draw, dilated):
    """Spatial axes, shape of the input with channels first, and the settings of the windows."""
    nd = draw(st.integers(1, 3))
    size = draw(st.lists(st.integers(1, LARGEST[nd]), min_size=nd, max_size=nd))
    axes = []
    for n in size:
        dilation = draw(st.integers(1, 3)) if dilated else 1
        kernel = draw(st.integers(1, min(9, (n - 1) // dilation + 1)))
        most = (dilation * (kernel - 1) + 1) // 2
        pads = draw(st.tuples(st.integers(0, most), st.integers(0, most)))
        axes.append((kernel, draw(st.integers(1, 7)), pads, dilation))
    kernel_size, stride, padding, dilation = zip(*axes, strict=True)
    settings = {"kernel_size": kernel_size, "stride": stride, "padding": padding,
                "ceil_mode": draw(st.booleans())}
    if dilated:
        settings["dilation"] = dilation
    channels = draw(st.sampled_from([1, 2, 5, 16, 17, 66]))
    return nd, (*draw(st.sampled_from([(), (1,), (2,)])), channels, *size), settings


def in_layout(nd, shape, last):
    """An array of this shape with channels first, as the layout wants it; and the layout."""
    x = normal(shape)
    return (np.moveaxis(x, -1 - nd, -1) if last else x), LAYOUTS[nd][last]


@pytest.mark.every_isa
@hypothesis.settings(max_examples=150, deadline=None)
@hypothesis.given(pools(dilated=True), st.booleans())
def test_any_max_pool(close, pool, last):
    nd, shape, settings = pool
    x, layout = in_layout(nd, shape, last)
    y, indices = getattr(fastconv, f"max_pool{nd}d")(
        x, return_indices=True, layout=layout, **settings)
    g = normal(y.shape)
    name = f"max_pool{nd}d_input"
    wanted = getattr(reference, name)(x.shape, indices, g, layout=layout)
    close(getattr(grad, name)(x.shape, indices, g, layout=layout), wanted)


@pytest.mark.every_isa
@hypothesis.settings(max_examples=200, deadline=None)
@hypothesis.given(pools(dilated=False), st.booleans(), st.booleans(),
                  st.sampled_from([None, None, 3, -7]))
def test_any_avg_pool(close, pool, last, counted, divisor):
    nd, shape, settings = pool
    x, layout = in_layout(nd, shape, last)
    settings = {**settings, "layout": layout, "count_include_pad": counted,
                "divisor_override": divisor}
    g = normal(result_shape("avg_pool", nd, x.shape, settings))
    name = f"avg_pool{nd}d_input"
    wanted = getattr(reference, name)(x.shape, g, **settings)
    close(getattr(grad, name)(x.shape, g, **settings), wanted)


@pytest.mark.every_isa
@hypothesis.settings(max_examples=100, deadline=None)
@hypothesis.given(pools(dilated=False), st.booleans(), st.data())
def test_any_adaptive_avg_pool(close, pool, last, data):
    nd, shape, _ = pool
    outs = data.draw(st.tuples(*[st.integers(1, 12)] * nd))
    x, layout = in_layout(nd, shape, last)
    g, _ = in_layout(nd, (*shape[:-nd], *outs), last)
    name = f"adaptive_avg_pool{nd}d_input"
    wanted = getattr(reference, name)(x.shape, g, layout=layout)
    close(getattr(grad, name)(x.shape, g, layout=layout), wanted)


# --- threads, nothing, errors --------------------------------------------------------------------


@pytest.mark.every_isa
@pytest.mark.parametrize("last", [False, True])
def test_bits_do_not_depend_on_threads(last, same_for_any_threads):
    layout = LAYOUTS[2][last]
    x = oriented(np.round(normal((3, 150, 40, 45), np.float32)), last)
    settings = {"kernel_size": 3, "stride": 1, "padding": 1, "layout": layout}
    y, indices = fastconv.max_pool2d(x, return_indices=True, **settings)
    g = normal(y.shape, np.float32)
    same_for_any_threads(
        lambda: grad.max_pool2d_input(x.shape, indices, g, layout=layout))
    same_for_any_threads(lambda: grad.avg_pool2d_input(x.shape, g, **settings))
    same_for_any_threads(lambda: grad.adaptive_avg_pool2d_input(x.shape, g, layout=layout))


@pytest.mark.parametrize("last", [False, True])
def test_no_images(last):
    layout = LAYOUTS[2][last]
    size, result = ((0, 4, 6, 3), (0, 2, 3, 3)) if last else ((0, 3, 4, 6), (0, 3, 2, 3))
    g = np.zeros(result, np.float32)
    indices = np.zeros(result, np.int64)
    for mine in (
        grad.max_pool2d_input(size, indices, g, layout=layout),
        grad.avg_pool2d_input(size, g, 2, layout=layout),
        grad.adaptive_avg_pool2d_input(size, g, layout=layout),
    ):
        assert mine.shape == size and mine.dtype == np.float32


def test_types():
    assert grad.avg_pool1d_input((1, 4), np.float16([[1, 2]]), 2).dtype == np.float32
    assert grad.avg_pool1d_input((1, 4), [[1, 2]], 2).dtype == np.float64
    assert grad.max_pool1d_input([1, 4], np.uint8([[1, 2]]), np.int8([[1, 2]])).dtype == np.float32


G, PLACES = np.zeros((1, 2, 2)), np.zeros((1, 2, 2), int)
BAD = [
    ("max_pool2d_input", ((4, 4), PLACES, G), {}, ValueError, "max_pool2d_input: x must have"),
    ("max_pool2d_input", (4, PLACES, G), {}, TypeError, "max_pool2d_input: input_size must be"),
    ("max_pool2d_input", ((1, 4, 4), G, G), {}, TypeError, "indices must be integers"),
    ("max_pool2d_input", ((1, 4, 4), PLACES, G[0]), {}, ValueError, "the shape of indices"),
    ("max_pool2d_input", ((3, 4, 4), PLACES, G), {}, ValueError, r"must have shape \(3, \*, \*\)"),
    ("max_pool2d_input", ((1, 4, 4), PLACES, G), {"layout": "NCW"}, ValueError, "layout must be"),
    ("avg_pool2d_input", ((1, 4, 4), G, 3), {}, ValueError, r"grad_output must have the shape"),
    ("avg_pool2d_input", ((1, 4, 4), G, 0), {}, ValueError, "avg_pool2d_input: kernel_size"),
    ("avg_pool2d_input", ((1, 4, 4), "no", 2), {}, TypeError, "grad_output must be an array"),
    ("avg_pool2d_input", ((1, 4, 4), G, 2), {"divisor_override": 0}, ValueError, "must not be 0"),
    ("adaptive_avg_pool2d_input", ((1, 4, 4), G[0]), {}, ValueError, "must have shape"),
    ("adaptive_avg_pool2d_input", ((2, 4, 4), G), {}, ValueError, r"must have shape \(2, \*, \*\)"),
    ("adaptive_avg_pool2d_input", ((1, 4, 4), G[:, :0]), {}, ValueError, "output_size"),
]  # fmt: skip


@pytest.mark.parametrize("name, arguments, settings, error, text", BAD)
def test_bad_arguments(name, arguments, settings, error, text):
    with pytest.raises(error, match=text):
        getattr(grad, name)(*arguments, **settings)
