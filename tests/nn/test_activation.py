"""Activation layers against the reference and torch.nn."""

import numpy as np
import pytest

from fastconv import nn, reference

X = np.linspace(-9, 9, 2 * 3 * 4 * 5).reshape(2, 3, 4, 5)

# Layer, what it computes, the layer in PyTorch's words.
ACTIVATIONS = [
    (nn.ReLU(), reference.relu, "ReLU()"),
    (nn.ReLU6(), lambda x: np.clip(x, 0, 6), "ReLU6()"),
    (nn.LeakyReLU(), reference.leaky_relu, "LeakyReLU()"),
    (nn.LeakyReLU(0.2), lambda x: reference.leaky_relu(x, 0.2), "LeakyReLU(0.2)"),
    (nn.PReLU(dtype=float), lambda x: reference.leaky_relu(x, 0.25), "PReLU()"),
    (nn.PReLU(3, 0.5, dtype=float), lambda x: reference.leaky_relu(x, 0.5), "PReLU(3, 0.5)"),
    (nn.Sigmoid(), reference.sigmoid, "Sigmoid()"),
    (nn.Tanh(), reference.tanh, "Tanh()"),
    (nn.SiLU(), reference.silu, "SiLU()"),
    (nn.Hardsigmoid(), reference.hardsigmoid, "Hardsigmoid()"),
    (nn.Hardswish(), reference.hardswish, "Hardswish()"),
    (nn.Softmax(1), lambda x: reference.softmax(x, 1), "Softmax(1)"),
    (nn.LogSoftmax(1), lambda x: reference.log_softmax(x, 1), "LogSoftmax(1)"),
]
each_activation = pytest.mark.parametrize(
    "layer, function, torch_name", ACTIVATIONS, ids=[row[2] for row in ACTIVATIONS]
)


@each_activation
def test_activation(layer, function, torch_name):
    np.testing.assert_allclose(layer(X), function(X), rtol=1e-13, atol=1e-15)
    np.testing.assert_allclose(layer.eval()(X), function(X), rtol=1e-13, atol=1e-15)


@each_activation
def test_as_torch(layer, function, torch_name):
    torch = pytest.importorskip("torch", reason="needs torch: pip install fastconv[bench]")
    theirs = eval(f"torch.nn.{torch_name}", {"torch": torch})
    assert repr(layer).replace("axis", "dim") == repr(theirs)
    with torch.no_grad():
        wanted = theirs.double()(torch.from_numpy(X)).numpy()
    np.testing.assert_allclose(layer(X), wanted, rtol=1e-12, atol=1e-14)


def test_relu6_keeps_single_precision():
    assert nn.ReLU6()(X.astype(np.float32)).dtype == np.float32


@pytest.mark.parametrize("layout", [None, "NCHW", "NHWC"])
def test_prelu_has_a_slope_for_each_channel(layout):
    axis = -1 if layout == "NHWC" else 1
    layer = nn.PReLU(X.shape[axis], layout=layout, dtype=np.float64)
    layer.weight = np.arange(layer.weight.size)
    np.testing.assert_array_equal(layer(X), reference.prelu(X, layer.weight, layout=layout))
    channels = np.moveaxis(layer(np.full(X.shape, -2.0)), axis, -1)
    np.testing.assert_array_equal(channels, np.broadcast_to(-2 * layer.weight, channels.shape))


def test_prelu_needs_a_slope():
    with pytest.raises(ValueError, match="PReLU: num_parameters"):
        nn.PReLU(0)
