"""Layers of fastconv.nn as a network holds them, and a whole LeNet, against NumPy.

A case is a function that returns the input, the layer and the same in NumPy, which is called
with float32 arrays for its time and with float64 arrays for the expected result.
"""

from functools import lru_cache, partial

import numpy as np
import pytest

from fastconv import nn, reference

RANDOM = np.random.default_rng(0)


def normal(*shape, scale=1.0):
    return RANDOM.standard_normal(shape, dtype=np.float32) * np.float32(scale)


def conv_relu():
    layer = nn.Sequential(nn.Conv2d(128, 128, 3, padding=1), nn.ReLU())
    weight, bias = layer[0].weight, layer[0].bias

    def numpy(x):
        return reference.relu(reference.conv2d_blas(x, weight, bias, padding=1))

    return normal(1, 128, 28, 28), layer, numpy


def linear():
    layer = nn.Linear(4096, 4096)
    weight, bias = layer.weight, layer.bias
    return normal(1, 4096), layer, lambda x: reference.linear(x, weight, bias)


def batch_norm():
    layer = nn.BatchNorm2d(64)
    mean, var = normal(64), np.abs(normal(64)) + np.float32(0.5)
    layer.running_mean, layer.running_var = mean, var
    return normal(1, 64, 112, 112), layer, lambda x: reference.batch_norm(x, mean, var)


def local_response_norm():
    layer = nn.LocalResponseNorm(5, k=2.0)
    numpy = partial(reference.local_response_norm, size=5, k=2.0)
    return np.abs(normal(1, 96, 55, 55)), layer, numpy


def relu():
    return normal(1, 64, 112, 112), nn.ReLU(), reference.relu


def softmax():
    return normal(64, 1000), nn.Softmax(), reference.softmax


def lenet():
    """LeNet-5 in today's form on a batch of 64 digits."""
    layer = nn.Sequential(
        nn.Conv2d(1, 6, 5, padding=2),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(6, 16, 5),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(400, 120),
        nn.ReLU(),
        nn.Linear(120, 84),
        nn.ReLU(),
        nn.Linear(84, 10),
    )
    (w1, b1), (w2, b2), *full = ((layer[i].weight, layer[i].bias) for i in (0, 3, 7, 9, 11))
    (w3, b3), (w4, b4), (w5, b5) = full

    def numpy(x):
        x = reference.conv2d_blas(x, w1, b1, padding=2)
        x = reference.max_pool2d(reference.relu(x), 2)
        x = reference.max_pool2d(reference.relu(reference.conv2d_blas(x, w2, b2)), 2)
        x = reference.relu(reference.linear(reference.flatten(x, 1), w3, b3))
        return reference.linear(reference.relu(reference.linear(x, w4, b4)), w5, b5)

    return normal(64, 1, 28, 28), layer, numpy


LAYERS = {
    "vgg-like 3x3 + ReLU, 128x28x28": conv_relu,
    "alexnet.fc7 4096 -> 4096": linear,
    "batch norm 64x112x112": batch_norm,
    "alexnet.norm1 96x55x55": local_response_norm,
    "ReLU 64x112x112": relu,
    "softmax 64x1000": softmax,
    "LeNet-5, 64 digits": lenet,
}
CASES = [
    pytest.param(layer, name, id=f"{layer}-{name}")
    for layer in LAYERS
    for name in ("fastconv", "numpy")
]


@lru_cache(maxsize=1)
def problem(layer):
    """Return the contestants as calls, and the result in float64."""
    x, ours, numpy = LAYERS[layer]()
    calls = {"fastconv": partial(ours.eval(), x), "numpy": partial(numpy, x)}
    return calls, numpy(x.astype(np.float64))


@pytest.mark.parametrize("layer, name", CASES)
def test_layer(layer, name, contest):
    calls, expected = problem(layer)
    contest(layer, calls[name], expected)
