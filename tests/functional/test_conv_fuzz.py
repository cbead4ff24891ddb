"""Convolutions and transposed convolutions over random shapes, arguments and memory orders.

Each example is one call: shapes and arguments that fit each other, operands and `out` in any
memory order, any algorithm that can run it. The result is held to the promised error bounds, must
not depend on the number of threads, and a prepared convolution must give the same bits.
"""

import numpy as np
import pytest

import fastconv

pytest.importorskip("hypothesis", reason="needs hypothesis: pip install fastconv[test]")

from hypothesis import assume, given  # noqa: E402
from hypothesis import strategies as st  # noqa: E402

LAYOUTS = {1: ("NCW", "NWC"), 2: ("NCHW", "NHWC"), 3: ("NCDHW", "NDHWC")}
# Products of one example: enough for several blocks, few enough for the oracle.
MOST_PRODUCTS = 1_500_000


@st.composite
def channels(draw):
    """Groups, and channels of one group going in and coming out."""
    groups = draw(st.sampled_from((1, 1, 1, 1, 2, 3, 20)))
    few = st.integers(1, 4)
    many = st.integers(1, 70) if groups == 1 else st.integers(1, 20)
    return (groups, *(draw(few if groups == 20 else st.one_of(few, many)) for _ in range(2)))


@st.composite
def paddings(draw, nd, transposed):
    """A spelling of `padding`, and the (before, after) pairs it stands for (None: "same")."""
    pairs = st.tuples(*[st.tuples(st.integers(0, 4), st.integers(0, 4))] * nd)
    kind = draw(st.sampled_from(("none", "int", "ints", "pairs", "valid", "same")))
    if kind == "same" and not transposed:
        return "same", None
    given_pairs = draw(pairs)
    if kind in ("none", "valid", "same"):
        return (0 if kind == "none" else "valid"), ((0, 0),) * nd
    if kind == "int":
        return given_pairs[0][0], ((given_pairs[0][0],) * 2,) * nd
    if kind == "ints":
        return tuple(p for p, _ in given_pairs), tuple((p, p) for p, _ in given_pairs)
    return given_pairs, given_pairs


def axes(nd, low, high):
    """An int for each axis, or one int for all of them."""
    return st.tuples(*[st.integers(low, high)] * nd)


@st.composite
def calls(draw, transposed):
    """The arguments of one call: op, shapes of x and weight, options, and whether F(m, 3) fits."""
    nd = draw(st.sampled_from((1, 2, 2, 2, 3)))
    groups, group_in, group_out = draw(channels())
    three_wide = draw(st.booleans())
    kernel, stride, dilation = draw(axes(nd, 1, 5)), draw(axes(nd, 1, 4)), draw(axes(nd, 1, 3))
    if three_wide:
        kernel, stride = (1,) * (nd - 2) + (3,) * min(nd, 2), (1,) * nd
    padding, pairs = draw(paddings(nd, transposed))
    products = group_in * group_out * groups * np.prod(kernel)
    most = max(1, min(40, int((MOST_PRODUCTS / products) ** (1 / nd))))
    extent = [d * (k - 1) + 1 for k, d in zip(kernel, dilation, strict=True)]
    pads = [sum(pair) for pair in pairs or ((40, 40),) * nd]
    least = [1] * nd if transposed else [max(1, e - p) for e, p in zip(extent, pads, strict=True)]
    size = tuple(draw(st.integers(low, max(low, most))) for low in least)
    batch = draw(st.sampled_from(((), (1,), (2,), (3,), (0,))))
    channels_last = draw(st.booleans())
    options = {
        "stride": stride, "padding": padding, "dilation": dilation, "groups": groups,
        "layout": LAYOUTS[nd][channels_last],
    }
    weight_shape = (group_out * groups, group_in, *kernel)
    if transposed:
        extra = tuple(
            draw(st.integers(0, max(s, d) - 1)) for s, d in zip(stride, dilation, strict=True)
        )
        for n, s, p, e, o in zip(size, stride, pads, extent, extra, strict=True):
            assume((n - 1) * s - p + e + o >= 1)
        options["output_padding"] = extra
        weight_shape = (group_in * groups, group_out, *kernel)
    inside = (*size, group_in * groups) if channels_last else (group_in * groups, *size)
    op = f"conv_transpose{nd}d" if transposed else f"conv{nd}d"
    return op, (*batch, *inside), weight_shape, options, three_wide


def numbers(rng, kind, shape):
    """Normal numbers, ones as after a ReLU, or ones of very different sizes."""
    values = rng.standard_normal(shape)
    if kind == "rectified":
        return np.maximum(values, 0)
    return values * 10 ** rng.uniform(-3, 3, shape) if kind == "uneven" else values


def check_example(data, transposed, check_conv, memory, threads):
    op, x_shape, weight_shape, options, three_wide = data.draw(calls(transposed), "call")
    dtype = data.draw(st.sampled_from(("float32", "float64")))
    algorithms = ("auto", "direct", "im2col") + ("winograd",) * 2 * three_wide
    engine = {"algorithm": data.draw(st.sampled_from(algorithms), "algorithm")}
    if engine["algorithm"] != "winograd":
        engine["precision"] = data.draw(st.sampled_from((None, "highest")))
    any_order = st.sampled_from(sorted(memory.ALL))
    rng = np.random.default_rng(data.draw(st.integers(0, 99)))
    kind = data.draw(st.sampled_from(("normal", "rectified", "uneven")))

    def operand(name, shape):
        order = data.draw(any_order, f"order of {name}")
        return memory.lay(numbers(rng, kind, shape).astype(dtype), order)

    x, weight = operand("x", x_shape), operand("weight", weight_shape)
    threads(1)
    result = getattr(fastconv, op)(x, weight, **engine, **options)
    with_bias, with_residual, into = data.draw(st.tuples(st.booleans(), st.booleans(),
                                                         st.booleans()))
    out_channels = weight.shape[0]
    if transposed:
        out_channels = weight.shape[1] * options["groups"]
    bias = operand("bias", (out_channels,)) if with_bias else None
    residual = operand("residual", result.shape) if with_residual else None
    out = None
    if into:
        order = data.draw(st.sampled_from(sorted(memory.WRITABLE)), "order of out")
        out = memory.lay(np.full(result.shape, np.nan, dtype), order)
    result = check_conv(op, x, weight, bias, residual=residual, out=out, engine=engine, **options)

    threads(data.draw(st.sampled_from((2, 3, 7)), "threads"))
    again = getattr(fastconv, op)(x, weight, bias, residual=residual, **engine, **options)
    np.testing.assert_array_equal(again, result, strict=True)
    if engine["algorithm"] != "auto":  # which packed weights may decide otherwise
        prepared = fastconv.prepare_conv(
            weight, bias, **engine, **options, transposed=transposed
        )
        np.testing.assert_array_equal(prepared(x, residual=residual), result, strict=True)


@given(data=st.data())
def test_convolutions(data, check_conv, memory, threads_of_module):
    check_example(data, False, check_conv, memory, threads_of_module)


@given(data=st.data())
def test_transposed_convolutions(data, check_conv, memory, threads_of_module):
    check_example(data, True, check_conv, memory, threads_of_module)


@pytest.fixture(scope="module")
def threads_of_module():
    """As `threads`, once for all examples of a test."""
    before = fastconv.get_num_threads()
    yield fastconv.set_num_threads
    fastconv.set_num_threads(before)
