"""Pooling layers against the reference and torch.nn, and their checks."""

import numpy as np
import pytest

from fastconv import nn, reference

SPATIAL = {1: (11,), 2: (9, 8), 3: (5, 6, 7)}
LAYOUTS = {1: ("NCW", "NWC"), 2: ("NCHW", "NHWC"), 3: ("NCDHW", "NDHWC")}

# Class name without its dimension, name of the function, settings.
POOLS = [
    ("MaxPool", "max_pool", {"kernel_size": 2}),
    ("MaxPool", "max_pool", {"kernel_size": 3, "stride": 2, "padding": 1, "ceil_mode": True}),
    ("MaxPool", "max_pool", {"kernel_size": 2, "stride": 1, "dilation": 2}),
    ("MaxPool", "max_pool", {"kernel_size": 3, "stride": 1, "return_indices": True}),
    ("AvgPool", "avg_pool", {"kernel_size": 2}),
    ("AvgPool", "avg_pool", {"kernel_size": 3, "padding": 1, "count_include_pad": False}),
    ("AvgPool", "avg_pool", {"kernel_size": 3, "stride": 2, "ceil_mode": True}),
    ("AvgPool", "avg_pool", {"kernel_size": 2, "divisor_override": 3}),
    ("AdaptiveAvgPool", "adaptive_avg_pool", {"output_size": 1}),
    ("AdaptiveAvgPool", "adaptive_avg_pool", {"output_size": 3}),
    ("AdaptiveMaxPool", "adaptive_max_pool", {"output_size": 4}),
    ("AdaptiveMaxPool", "adaptive_max_pool", {"output_size": 3, "return_indices": True}),
]


def data(nd, dtype=np.float64):
    return np.random.default_rng(nd).normal(size=(2, 3, *SPATIAL[nd])).astype(dtype)


def as_tuple(result):
    return result if isinstance(result, tuple) else (result,)


@pytest.mark.parametrize("nd", [1, 2, 3])
@pytest.mark.parametrize("channels_last", [False, True])
@pytest.mark.parametrize("name, function, settings", POOLS, ids=str)
def test_pool(name, function, settings, nd, channels_last):
    x = np.moveaxis(data(nd), 1, -1) if channels_last else data(nd)
    layout = LAYOUTS[nd][channels_last]
    layer = getattr(nn, f"{name}{nd}d")(layout=layout, **settings)
    wanted = getattr(reference, f"{function}{nd}d")(x, layout=layout, **settings)
    for mine, theirs in zip(as_tuple(layer(x)), as_tuple(wanted), strict=True):
        np.testing.assert_allclose(mine, theirs, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("nd", [1, 2, 3])
def test_layouts_are_channels_first_by_default(nd):
    first = LAYOUTS[nd][0]
    for layer in (getattr(nn, f"MaxPool{nd}d")(2), getattr(nn, f"AdaptiveAvgPool{nd}d")(2)):
        assert layer.layout == first


BAD_SETTINGS = {
    "kernel of 0": ({"kernel_size": 0}, ValueError, "kernel_size"),
    "kernel of 3 axes": ({"kernel_size": (2, 2, 2)}, ValueError, "kernel_size"),
    "stride of 0": ({"stride": 0}, ValueError, "stride"),
    "too much padding": ({"padding": 2}, ValueError, "padding must be at most half"),
    "ceil_mode as text": ({"ceil_mode": "yes"}, TypeError, "ceil_mode"),
    "layout of 1-D": ({"layout": "NCW"}, ValueError, "layout"),
}


@pytest.mark.parametrize("make", [nn.MaxPool2d, nn.AvgPool2d])
@pytest.mark.parametrize("bad, error, text", BAD_SETTINGS.values(), ids=BAD_SETTINGS)
def test_bad_settings_are_refused_when_the_layer_is_made(make, bad, error, text):
    with pytest.raises(error, match=f"{make.__name__}: {text}"):
        make(**{"kernel_size": 2, **bad})


# The positional order of PyTorch's constructors, which is not that of its functions.
TORCH_LAYERS = [
    ("MaxPool1d", (3, 2, 1, 1, False, True)),
    ("MaxPool2d", (3, 2)),
    ("MaxPool2d", ((3, 2), (2, 1), (1, 0), 1, False, True)),
    ("MaxPool3d", (2, None, 0, 2)),
    ("AvgPool1d", (3, 1, 1, True, False)),
    ("AvgPool2d", (3, 2, 1, False, True, 5)),
    ("AvgPool3d", (2,)),
    ("AdaptiveAvgPool1d", (3,)),
    ("AdaptiveAvgPool2d", ((3, None),)),
    ("AdaptiveAvgPool3d", ((1, 2, 3),)),
    ("AdaptiveMaxPool1d", (3,)),
    ("AdaptiveMaxPool2d", ((3, None),)),
    ("AdaptiveMaxPool3d", (2, True)),
]


@pytest.mark.parametrize("name, args", TORCH_LAYERS, ids=str)
def test_as_torch(name, args):
    torch = pytest.importorskip("torch", reason="needs torch: pip install fastconv[bench]")
    theirs, ours = getattr(torch.nn, name)(*args), getattr(nn, name)(*args)
    if name != "AvgPool1d":  # PyTorch prints this one's settings as tuples
        assert repr(ours) == repr(theirs)
    x = data(int(name[-2]), np.float32)
    wanted = as_tuple(theirs(torch.from_numpy(x)))
    for mine, other in zip(as_tuple(ours(x)), wanted, strict=True):
        np.testing.assert_allclose(mine, other.numpy(), rtol=1e-5, atol=1e-6)
