"""Pools of random shapes, windows and memory orders against the reference."""

import itertools

import numpy as np
import pytest

from fastconv import reference
from fastconv.functional import pool

hypothesis = pytest.importorskip(
    "hypothesis", reason="needs hypothesis: pip install fastconv[test]")
st = hypothesis.strategies
pytestmark = pytest.mark.every_isa

LAYOUTS = {1: ("NCW", "NWC"), 2: ("NCHW", "NHWC"), 3: ("NCDHW", "NDHWC")}
LARGEST = {1: 150, 2: 30, 3: 10}
fuzzed = hypothesis.settings(max_examples=200, deadline=None)


@st.composite
def arrays(draw, nd):
    """An array (N, C, *size) or (C, *size) in any order of memory, some of it NaN or infinite."""
    size = draw(st.lists(st.integers(1, LARGEST[nd]), min_size=nd, max_size=nd))
    channels = draw(st.one_of(st.integers(1, 5), st.sampled_from([8, 16, 17, 33, 66])))
    batch = draw(st.sampled_from([(), (1,), (2,)]))
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    x = rng.standard_normal((*batch, channels, *size))
    if draw(st.booleans()):
        x = np.round(x)  # equal maxima
    x = x.astype(draw(st.sampled_from([np.float32, np.float64])))
    special = draw(st.sampled_from([None, None, np.nan, np.inf, -np.inf]))
    if special is not None:
        x[rng.random(x.shape) < 0.05] = special
    return reordered(draw, x)


def reordered(draw, x):
    """The same array with permuted axes, negative strides and gaps in memory."""
    order = draw(st.permutations(range(x.ndim)))
    steps = draw(st.lists(st.sampled_from([1, 1, 1, -1, 2, -2]), min_size=x.ndim, max_size=x.ndim))
    sizes = [n * abs(step) for n, step in zip((x.shape[a] for a in order), steps, strict=True)]
    memory = np.full(sizes, 1e30, x.dtype)
    view = memory[tuple(slice(None, None, step) for step in steps)].transpose(np.argsort(order))
    view[...] = x
    return view


@st.composite
def windows(draw, size, dilated):
    """kernel_size, stride, padding and dilation that leave at least one window."""
    axes = []
    for n in size:
        dilation = draw(st.integers(1, 3)) if dilated else 1
        kernel = draw(st.integers(1, min(13, (n - 1) // dilation + 1)))
        most = (dilation * (kernel - 1) + 1) // 2
        pads = draw(st.tuples(st.integers(0, most), st.integers(0, most)))
        axes.append((kernel, draw(st.integers(1, 9)), pads, dilation))
    kernel_size, stride, padding, dilation = zip(*axes, strict=True)
    settings = {"kernel_size": kernel_size, "stride": stride, "padding": padding}
    if dilated:
        settings["dilation"] = dilation
    return {**settings, "ceil_mode": draw(st.booleans())}


def oriented(draw, x, nd):
    """x in either layout, and the layout's name."""
    last = draw(st.booleans())
    return np.moveaxis(x, -1 - nd, -1) if last else x, LAYOUTS[nd][last]


def compare_exactly(name, x, **settings):
    mine, wanted = getattr(pool, name)(x, **settings), getattr(reference, name)(x, **settings)
    if not isinstance(mine, tuple):
        mine, wanted = (mine,), (wanted,)
    for a, b in itertools.zip_longest(mine, wanted):
        np.testing.assert_array_equal(a, b)


def compare_means(name, x, **settings):
    mine = getattr(pool, name)(x, **settings)
    wide = np.float64 if x.dtype == np.float32 else np.longdouble
    with np.errstate(all="ignore"):
        wanted = getattr(reference, name)(x.astype(wide), **settings)
        magnitude = np.abs(getattr(reference, name)(np.abs(x).astype(wide), **settings))
    bounded = np.isfinite(wanted)
    np.testing.assert_array_equal(mine[~bounded], wanted[~bounded].astype(x.dtype))
    limit = (2e-6 if x.dtype == np.float32 else 1e-14) * magnitude[bounded]
    assert (np.abs(mine[bounded] - wanted[bounded]) <= limit).all()


@fuzzed
@hypothesis.given(st.data())
def test_max_pools(data):
    nd = data.draw(st.integers(1, 3))
    x = data.draw(arrays(nd))
    settings = data.draw(windows(x.shape[-nd:], dilated=True))
    settings["return_indices"] = data.draw(st.booleans())
    x, settings["layout"] = oriented(data.draw, x, nd)
    compare_exactly(f"max_pool{nd}d", x, **settings)


@fuzzed
@hypothesis.given(st.data())
def test_avg_pools(data):
    nd = data.draw(st.integers(1, 3))
    x = data.draw(arrays(nd))
    settings = data.draw(windows(x.shape[-nd:], dilated=False))
    settings["count_include_pad"] = data.draw(st.booleans())
    settings["divisor_override"] = data.draw(st.sampled_from([None, None, 3, -7]))
    x, settings["layout"] = oriented(data.draw, x, nd)
    compare_means(f"avg_pool{nd}d", x, **settings)


@fuzzed
@hypothesis.given(st.data())
def test_adaptive_pools(data):
    nd = data.draw(st.integers(1, 3))
    x = data.draw(arrays(nd))
    size = data.draw(st.tuples(*[st.one_of(st.none(), st.integers(1, 12))] * nd))
    places = data.draw(st.booleans())
    x, layout = oriented(data.draw, x, nd)
    compare_exactly(f"adaptive_max_pool{nd}d", x, output_size=size, return_indices=places,
                    layout=layout)
    compare_means(f"adaptive_avg_pool{nd}d", x, output_size=size, layout=layout)
