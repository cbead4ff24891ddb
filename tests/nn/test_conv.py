"""Convolution layers against the reference and torch.nn, their checks and their repr."""

import numpy as np
import pytest

from fastconv import nn, reference

SPATIAL = {1: (11,), 2: (9, 8), 3: (5, 6, 7)}
LAYOUTS = {1: ("NCW", "NWC"), 2: ("NCHW", "NHWC"), 3: ("NCDHW", "NDHWC")}

CONV_SETTINGS = [
    {},
    {"stride": 2, "padding": 1},
    {"padding": "same", "stride": 2, "groups": 2},
    {"padding": "valid", "dilation": 2, "bias": False},
    {"padding": 1, "groups": 4, "activation": "relu"},
    {"padding": 1, "activation": ("clip", -0.1, 0.2)},
]

TRANSPOSE_SETTINGS = [
    {},
    {"stride": 2, "padding": 1, "output_padding": 1},
    {"stride": 3, "groups": 2, "dilation": 2, "bias": False},
    {"padding": 1, "activation": "hardswish"},
]


def data(nd, layout, channels=4, batch=(2,)):
    shape = (*batch, channels, *SPATIAL[nd])
    x = np.random.default_rng(5).normal(size=shape)
    return np.moveaxis(x, -nd - 1, -1) if layout.endswith("C") else x


def check(layer, function, x, settings):
    """Compare a layer in both modes with the reference, computed in float64."""
    settings = {name: value for name, value in settings.items() if name != "bias"}
    settings["layout"] = layer.layout
    x64, weight = x.astype(layer.dtype).astype(float), layer.weight.astype(float)
    bias = None if layer.bias is None else layer.bias.astype(float)
    wanted = function(x64, weight, bias, **settings)
    # What the engine promises for the default precision, whatever algorithm it chooses.
    linear = {**settings, "activation": None}
    magnitude = function(abs(x64), abs(weight), **linear).max()
    bound = magnitude * (1e-5 if layer.dtype == np.float32 else 1e-13)
    for training in (True, False):
        result = layer.train(training)(x)
        assert result.dtype == layer.dtype
        np.testing.assert_allclose(result, wanted, rtol=0, atol=bound)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("channels_last", [False, True])
@pytest.mark.parametrize("nd", [1, 2, 3])
@pytest.mark.parametrize("settings", CONV_SETTINGS, ids=str)
def test_conv(nd, settings, channels_last, dtype):
    layout = LAYOUTS[nd][channels_last]
    layer = getattr(nn, f"Conv{nd}d")(4, 8, 3, layout=layout, dtype=dtype, rng=0, **settings)
    check(layer, getattr(reference, f"conv{nd}d"), data(nd, layout), settings)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("channels_last", [False, True])
@pytest.mark.parametrize("nd", [1, 2, 3])
@pytest.mark.parametrize("settings", TRANSPOSE_SETTINGS, ids=str)
def test_conv_transpose(nd, settings, channels_last, dtype):
    layout = LAYOUTS[nd][channels_last]
    make = getattr(nn, f"ConvTranspose{nd}d")
    layer = make(4, 6, 3, layout=layout, dtype=dtype, rng=0, **settings)
    check(layer, getattr(reference, f"conv_transpose{nd}d"), data(nd, layout), settings)


def test_asymmetric_kernels_and_padding():
    settings = {"padding": ((2, 0), (1, 3)), "stride": (2, 1)}
    layer = nn.Conv2d(4, 5, (3, 2), rng=0, **settings)
    assert layer.padding == ((2, 0), (1, 3))
    check(layer, reference.conv2d, data(2, "NCHW"), settings)


@pytest.mark.parametrize("kind", ["Conv", "ConvTranspose"])
@pytest.mark.parametrize("nd", [1, 2, 3])
@pytest.mark.parametrize("training", [True, False])
def test_a_missing_batch_axis_stays_missing(nd, kind, training):
    layer = getattr(nn, f"{kind}{nd}d")(4, 3, 3, rng=0).train(training)
    x = data(nd, LAYOUTS[nd][0])
    np.testing.assert_allclose(layer(x[0]), layer(x)[0], rtol=1e-5, atol=5e-5)


@pytest.mark.parametrize("algorithm", ["direct", "im2col", "winograd"])
def test_algorithm_and_precision_are_passed_on(algorithm):
    layer = nn.Conv2d(4, 4, 3, padding=1, algorithm=algorithm, precision="high", rng=0)
    check(layer, reference.conv2d, data(2, "NCHW"), {"padding": 1})


@pytest.mark.parametrize("training", [True, False])
def test_an_impossible_algorithm_is_refused(training):
    layer = nn.Conv2d(4, 4, 7, algorithm="winograd").train(training)
    with pytest.raises(ValueError, match="winograd"):
        layer(data(2, "NCHW"))


@pytest.mark.parametrize("training", [True, False])
def test_the_wrong_number_of_channels_is_refused(training):
    layer = nn.Conv2d(3, 4, 3).train(training)
    with pytest.raises(ValueError, match="expects 3 input channels"):
        layer(data(2, "NCHW"))


BAD_SETTINGS = {
    "kernel of 0": ({"kernel_size": 0}, ValueError, "kernel_size must be at least 1"),
    "kernel of 3 axes": ({"kernel_size": (3, 3, 3)}, ValueError, "kernel_size"),
    "kernel as a float": ({"kernel_size": 2.5}, TypeError, "kernel_size"),
    "no channels": ({"in_channels": 0}, ValueError, "in_channels"),
    "channels as text": ({"out_channels": "8"}, TypeError, "out_channels"),
    "stride of 0": ({"stride": 0}, ValueError, "stride"),
    "negative padding": ({"padding": -1}, ValueError, "padding"),
    "unknown padding": ({"padding": "full"}, ValueError, "padding"),
    "dilation of 0": ({"dilation": 0}, ValueError, "dilation"),
    "uneven input groups": ({"groups": 4}, ValueError, "groups must divide in_channels"),
    "uneven output groups": ({"groups": 3}, ValueError, "groups must divide out_channels"),
    "layout of 1-D": ({"layout": "NWC"}, ValueError, "layout"),
    "unknown activation": ({"activation": "gelu"}, ValueError, "activation"),
    "bias as an array": ({"bias": np.zeros(8)}, TypeError, "bias must be True or False"),
}


@pytest.mark.parametrize("make", [nn.Conv2d, nn.ConvTranspose2d])
@pytest.mark.parametrize("bad, error, text", BAD_SETTINGS.values(), ids=BAD_SETTINGS)
def test_bad_settings_are_refused_when_the_layer_is_made(make, bad, error, text):
    good = {"in_channels": 6, "out_channels": 8, "kernel_size": 3}
    with pytest.raises(error, match=f"{make.__name__}: .*{text}"):
        make(**{**good, **bad})


def test_bad_settings_of_transposed_convolutions():
    with pytest.raises(ValueError, match="ConvTranspose2d: output_padding must be less than"):
        nn.ConvTranspose2d(3, 4, 3, stride=2, output_padding=2)
    with pytest.raises(ValueError, match='ConvTranspose2d: padding="same"'):
        nn.ConvTranspose2d(3, 4, 3, padding="same")


@pytest.mark.parametrize(
    "layer, text",
    [
        (
            nn.Conv2d(3, 8, 5, padding="same", layout="NHWC", dtype=np.float64),
            "Conv2d(3, 8, kernel_size=(5, 5), stride=(1, 1), padding=same, layout=NHWC, "
            "dtype=float64)",
        ),
        (
            nn.Conv1d(4, 8, 3, algorithm="direct", precision="highest", activation="relu"),
            "Conv1d(4, 8, kernel_size=(3,), stride=(1,), algorithm=direct, precision=highest, "
            "activation=relu)",
        ),
    ],
    ids=["settings", "engine"],
)
def test_repr_shows_what_is_unusual(layer, text):
    assert repr(layer) == text


# Settings that PyTorch has too, by class.
TORCH_LAYERS = [
    ("Conv1d", (4, 6, 3), {"stride": 2, "padding": 1}),
    ("Conv2d", (4, 6, (3, 2)), {"dilation": (1, 2), "groups": 2, "bias": False}),
    ("Conv2d", (4, 6, 3), {"padding": "same"}),
    ("Conv3d", (4, 6, 3), {"padding": (1, 0, 2)}),
    ("ConvTranspose1d", (4, 6, 3), {"stride": 2}),
    ("ConvTranspose2d", (4, 6, 3, 2, 1, 1), {}),
    ("ConvTranspose2d", (4, 6, 3), {"groups": 2, "dilation": 2, "bias": False}),
    ("ConvTranspose3d", (4, 6, 2), {"stride": (1, 2, 3), "output_padding": (0, 1, 2)}),
]


@pytest.mark.parametrize("name, args, options", TORCH_LAYERS, ids=str)
def test_as_torch(name, args, options):
    torch = pytest.importorskip("torch", reason="needs torch: pip install fastconv[bench]")
    theirs = getattr(torch.nn, name)(*args, **options)
    ours = getattr(nn, name)(*args, **options)
    assert repr(ours) == repr(theirs)
    assert ours.weight.shape == tuple(theirs.weight.shape)
    ours.weight = theirs.weight.detach().numpy()
    ours.bias = None if theirs.bias is None else theirs.bias.detach().numpy()
    nd = ours.weight.ndim - 2
    x = data(nd, LAYOUTS[nd][0]).astype(np.float32)
    wanted = theirs(torch.from_numpy(x)).detach().numpy()
    for training in (True, False):
        np.testing.assert_allclose(ours.train(training)(x), wanted, rtol=1e-5, atol=5e-5)
