"""Gradients of convolutions over random shapes, arguments and memory orders, against the reference.

Each example is one convolution; its gradients must keep the promised bounds and may not depend on
the number of threads.
"""

import numpy as np
import pytest

import fastconv
from fastconv import grad
from fastconv.grad import _convolutions
from fastconv.reference import grad as exact

pytest.importorskip("hypothesis", reason="needs hypothesis: pip install fastconv[test]")

from hypothesis import given, settings  # noqa: E402
from hypothesis import strategies as st  # noqa: E402

LAYOUTS = {1: ("NCW", "NWC"), 2: ("NCHW", "NHWC"), 3: ("NCDHW", "NDHWC")}
BOUNDS = {"float32": 1e-5, "float64": 1e-9}
LONGEST = {1: 700, 2: 26, 3: 8}


def axes(nd, low, high):
    return st.tuples(*[st.integers(low, high)] * nd)


@st.composite
def convolutions(draw):
    """Shapes of x, weight and result, and options, channels first."""
    nd = draw(st.sampled_from((1, 2, 2, 2, 3)))
    groups = draw(st.sampled_from((1, 1, 1, 2, 5)))
    channels = st.one_of(st.integers(1, 4), st.integers(1, 12 if groups > 1 else 70))
    group_in, group_out = draw(channels), draw(channels)
    kernel, stride, dilation = draw(axes(nd, 1, 4)), draw(axes(nd, 1, 4)), draw(axes(nd, 1, 3))
    if draw(st.booleans()):
        stride = dilation = (1,) * nd
    pads = draw(st.tuples(*[st.tuples(st.integers(0, 3), st.integers(0, 3))] * nd))
    extent = [d * (k - 1) + 1 for k, d in zip(kernel, dilation, strict=True)]
    least = [max(1, e - sum(p)) for e, p in zip(extent, pads, strict=True)]
    size = tuple(draw(st.integers(n, n + draw(st.sampled_from((6, LONGEST[nd]))))) for n in least)
    out = tuple(
        (n + sum(p) - e) // s + 1 for n, p, e, s in zip(size, pads, extent, stride, strict=True)
    )
    n = draw(st.integers(0, 5))
    shapes = ((n, groups * group_in, *size), (groups * group_out, group_in, *kernel),
              (n, groups * group_out, *out))  # fmt: skip
    return shapes, {"stride": stride, "padding": pads, "dilation": dilation, "groups": groups}


def assert_near(ours, wanted):
    assert ours.shape == wanted.shape
    bound = BOUNDS[ours.dtype.name] * abs(wanted).max(initial=0)
    assert abs(ours - wanted).max(initial=0) <= bound


@pytest.fixture(scope="module")
def threads_of_module():
    """As `threads`, once for all examples of a test."""
    before = fastconv.get_num_threads()
    yield fastconv.set_num_threads
    fastconv.set_num_threads(before)


@settings(max_examples=60)
@given(data=st.data())
def test_gradients(data, memory, threads_of_module):
    shapes, options = data.draw(convolutions(), "convolution")
    nd = len(shapes[0]) - 2
    dtype = data.draw(st.sampled_from(sorted(BOUNDS)), "dtype")
    layout = data.draw(st.sampled_from(LAYOUTS[nd]), "layout")
    rng = np.random.default_rng(data.draw(st.integers(0, 99)))
    arrays = [rng.standard_normal(shape).astype(dtype) for shape in shapes]
    if layout.endswith("C"):
        arrays[::2] = [np.moveaxis(array, 1, -1) for array in arrays[::2]]
    orders = st.sampled_from(sorted(memory.ALL))
    x, weight, dy = (memory.lay(array, data.draw(orders)) for array in arrays)
    options["layout"] = layout

    def gradients(count):
        threads_of_module(count)
        _convolutions._planned.clear()  # plans are made for a number of threads
        return [
            getattr(grad, f"conv{nd}d_input")(x.shape, weight, dy, **options),
            getattr(grad, f"conv{nd}d_weight")(x, weight.shape, dy, **options),
            getattr(grad, f"conv{nd}d_bias")(dy, layout=layout),
        ]

    ours = gradients(1)
    wide = [array.astype(np.float64) for array in (x, weight, dy)]
    assert_near(ours[0], exact.conv_input(x.shape, *wide[1:], **options))
    assert_near(ours[1], exact.conv_weight(wide[0], weight.shape, wide[2], **options))
    pixels = tuple(axis for axis in range(dy.ndim) if axis != layout.index("C"))
    assert_near(ours[2], wide[2].sum(pixels))
    for one, other in zip(ours, gradients(data.draw(st.sampled_from((2, 3, 7)))), strict=True):
        np.testing.assert_array_equal(one, other)
