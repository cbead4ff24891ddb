"""Optimisers: updates as torch.optim's, what they remember, layers in evaluation mode."""

import numpy as np
import pytest

from fastconv import nn
from fastconv.train import SGD, Adam

SETTINGS = [
    (SGD, "SGD", {"lr": 0.1}),
    (SGD, "SGD", {"lr": 0.1, "momentum": 0.9}),
    (SGD, "SGD", {"lr": 0.1, "momentum": 0.9, "weight_decay": 0.01}),
    (SGD, "SGD", {"lr": 0.1, "momentum": 0.8, "nesterov": True, "weight_decay": 0.01}),
    (Adam, "Adam", {}),
    (Adam, "Adam", {"lr": 0.01, "betas": (0.8, 0.95), "eps": 1e-3, "weight_decay": 0.1}),
]
OPTIMISERS = [
    lambda net: SGD(net, 0.1, momentum=0.9),
    lambda net: Adam(net, 0.1),
]


def network(dtype=np.float64):
    return nn.Sequential(nn.Linear(3, 4, dtype=dtype, rng=0), nn.PReLU(dtype=dtype))


def give_gradients(net, rng):
    for layer in net:
        for name in layer.parameter_names():
            layer.gradients[name] = rng.normal(size=getattr(layer, name).shape).astype(layer.dtype)


@pytest.mark.parametrize("ours, theirs, options", SETTINGS, ids=str)
@pytest.mark.parametrize("dtype, tolerance", [(np.float32, 1e-6), (np.float64, 1e-13)])
def test_updates_as_torch(ours, theirs, options, dtype, tolerance, rng):
    torch = pytest.importorskip("torch", reason="needs torch: pip install fastconv[bench]")
    net = network(dtype)
    tensors = [torch.tensor(array, requires_grad=True) for array in net.parameters()]
    ours = ours(net, **options)
    theirs = getattr(torch.optim, theirs)(tensors, **options)
    for _ in range(5):
        give_gradients(net, rng)
        gradients = [layer.gradients[name] for layer in net for name in layer.parameter_names()]
        for tensor, gradient in zip(tensors, gradients, strict=True):
            tensor.grad = torch.from_numpy(gradient.copy())
        ours.step()
        theirs.step()
        for array, tensor in zip(net.parameters(), tensors, strict=True):
            assert array.dtype == dtype
            wanted = tensor.detach().numpy()
            np.testing.assert_allclose(array, wanted, rtol=tolerance, atol=tolerance)


def test_a_plain_step():
    net = nn.Linear(1, 1, dtype=np.float64)
    net.weight, net.bias = [[3]], [1]
    net.gradients["weight"] = np.array([[2.0]])
    SGD(net, 0.25).step()
    assert net.weight == 2.5
    assert net.bias == 1  # has no gradient


@pytest.mark.parametrize("make", OPTIMISERS, ids=["SGD", "Adam"])
def test_gradients_are_left_alone(make, rng):
    net = network()
    optimiser = make(net)
    give_gradients(net, rng)
    before = net[0].gradients["weight"].copy()
    for _ in range(2):
        optimiser.step()
    np.testing.assert_array_equal(net[0].gradients["weight"], before)
    optimiser.zero_grad()
    assert net[0].gradients == {} == net[1].gradients


@pytest.mark.parametrize("make", OPTIMISERS, ids=["SGD", "Adam"])
def test_what_is_remembered_can_be_moved(make, rng):
    first, second = network(), network()
    a, b = make(first), make(second)
    for _ in range(3):
        give_gradients(first, rng)
        a.step()
    second.load_state_dict(first.state_dict())
    b.load_state_dict(a.state_dict())
    give_gradients(first, np.random.default_rng(7))
    give_gradients(second, np.random.default_rng(7))
    a.step()
    b.step()
    for one, other in zip(first.parameters(), second.parameters(), strict=True):
        np.testing.assert_array_equal(one, other)


def test_layers_in_evaluation_mode_learn_too(rng):
    net, twin = network(), network()
    x = rng.normal(size=(2, 3))
    before = twin.eval()(x)
    for each in (net, twin):
        give_gradients(each, np.random.default_rng(7))
        SGD(each, 0.1).step()
    np.testing.assert_array_equal(net[0].weight, twin[0].weight)
    assert not np.array_equal(twin(x), before)  # packed anew
    np.testing.assert_allclose(twin(x), net(x), rtol=1e-12)


def test_a_layer_that_is_used_twice_takes_one_step():
    layer = nn.Linear(1, 1, bias=False, dtype=np.float64)
    layer.weight = [[3]]
    layer.gradients["weight"] = np.array([[1.0]])
    SGD(nn.Sequential(layer, layer), 1).step()
    assert layer.weight == 2


@pytest.mark.parametrize(
    "call, error, text",
    [
        (lambda net: SGD([net], 0.1), TypeError, "SGD: model must be a fastconv.nn.Module, got"),
        (lambda net: SGD(net, -1), ValueError, "SGD: lr must be at least 0, got -1"),
        (lambda net: SGD(net, "fast"), TypeError, "SGD: lr must be a number, got 'fast'"),
        (lambda net: SGD(net, float("nan")), ValueError, "SGD: lr must be at least 0, got nan"),
        (lambda net: SGD(net, 0.1, nesterov=True), ValueError, "SGD: nesterov needs a momentum"),
        (lambda net: Adam(net, betas=(0.9, 1)), ValueError, "Adam: betas must be .* below 1"),
        (lambda net: Adam(net, eps=-1), ValueError, "Adam: eps must be at least 0"),
        (lambda net: Adam(net, weight_decay=-1), ValueError, "Adam: weight_decay must be at"),
    ],
)
def test_bad_settings(call, error, text):
    with pytest.raises(error, match=text):
        call(network())
