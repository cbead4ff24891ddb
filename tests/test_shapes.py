"""The shape files: every line is a convolution that exists, and totals are the published ones."""

import numpy as np
import pytest

from fastconv import shapes

NETWORKS = (
    "alexnet", "googlenet", "kinds", "lenet", "mobilenet", "race", "resnet", "training", "vgg"
)  # fmt: skip

# Convolutions in the whole network, and their multiply-adds in millions as the authors' own
# implementations count them (without fully connected layers).
TOTALS = {
    "lenet": (3, 0.4056),
    "alexnet": (5, 665.8),
    "vgg": (16, 19508.4),
    "googlenet": (57, 1581.6),
    "resnet": (53, 4087.1),
    "mobilenet": (52, 299.5),
}


def every_layer():
    return [layer for name in shapes.names() for layer in shapes.load(name)]


def test_names_are_the_files():
    assert shapes.names() == NETWORKS


@pytest.mark.parametrize("name", TOTALS)
def test_totals_of_the_papers(name):
    layers = shapes.load(name)
    count, millions = TOTALS[name]
    assert sum(layer.times for layer in layers) == count
    multiply_adds = sum(layer.times * layer.flops for layer in layers) / 2e6
    assert multiply_adds == pytest.approx(millions, rel=1e-4)


@pytest.mark.parametrize("layer", every_layer(), ids=lambda layer: f"{layer.network}:{layer.name}")
def test_every_layer_is_a_convolution(layer):
    assert min(layer.x_shape + layer.weight_shape + layer.y_shape) >= 1
    assert layer.in_channels % layer.groups == 0
    assert layer.out_channels % layer.groups == 0
    assert layer.times >= 1
    geometry = (layer.stride, layer.padding, layer.dilation, layer.weight_shape[2:])
    for stride, padding, dilation, kernel in zip(*map(shapes.both_axes, geometry), strict=True):
        assert stride >= 1 and dilation >= 1
        assert 0 <= padding <= dilation * (kernel - 1)


@pytest.mark.parametrize("name", NETWORKS)
def test_names_and_shapes_within_a_file_differ(name):
    layers = shapes.load(name)
    assert len({layer.name for layer in layers}) == len(layers)
    assert len({layer[2:-1] for layer in layers}) == len(layers)


def test_known_layer():
    conv1 = shapes.load("alexnet")[0]
    assert conv1.x_shape == (1, 3, 227, 227)
    assert conv1.weight_shape == (96, 3, 11, 11)
    assert conv1.y_shape == (1, 96, 55, 55)
    assert conv1.flops == 2 * 96 * 55 * 55 * 3 * 11 * 11
    assert conv1.numbers == 3 * 227 * 227 + 96 * 3 * 11 * 11 + 96 * 55 * 55
    assert conv1.call == {"stride": 4, "padding": 0, "dilation": 1, "groups": 1}


def test_y_shape_counts_windows():
    """Against a plain count of the places where a window fits, for every layer."""
    for layer in every_layer():
        geometry = (layer.stride, layer.padding, layer.dilation)
        for axis, size in enumerate(layer.x_shape[2:]):
            stride, padding, dilation = (shapes.both_axes(value)[axis] for value in geometry)
            last = size + 2 * padding - dilation * (layer.weight_shape[2 + axis] - 1)
            assert layer.y_shape[2 + axis] == len(np.arange(0, last, stride)), layer


@pytest.mark.parametrize(
    "network, name, text",
    [
        ("alexnet", "conv2", "96x27x27 -> 256, 5x5 p2 g2"),
        ("race", "mobilenet.dw3x3s2", "96x112x112 -> 96, 3x3 s2 p1 depthwise"),
        ("race", "lenet.conv1_b64", "64x1x28x28 -> 6, 5x5 p2"),
        ("race", "image.blur_1ch", "1x2048x2048 -> 1, 5x5 p2"),
        ("race", "deeplab.d2_3x3", "256x28x28 -> 256, 3x3 p2 d2"),
        ("kinds", "wide_1x7", "8x128x17x17 -> 192, 1x7 p0x3"),
        ("kinds", "signal_k3_s2", "512x1x3200 -> 512, 1x3 s1x2"),
    ],
)
def test_short_form(network, name, text):
    (layer,) = (layer for layer in shapes.load(network) if layer.name == name)
    assert str(layer) == text


def test_race_rows_are_those_networks_layers():
    """A race layer named after a network has a shape that the network's own file holds."""
    known = {name: {layer[2:-1] for layer in shapes.load(name)} for name in NETWORKS}
    outside = [
        layer.name
        for layer in shapes.load("race")
        if layer[2:-1] not in known.get(layer.name.split(".")[0], {layer[2:-1]})
    ]
    assert outside == ["lenet.conv1_b64"]  # MNIST's 28x28 pictures in batches of 64


def test_unknown_name_lists_the_known():
    with pytest.raises(ValueError, match="'vgg16'.*known: alexnet, googlenet, kinds"):
        shapes.load("vgg16")
