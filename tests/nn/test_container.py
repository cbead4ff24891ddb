"""`Sequential`, and the layers that move or drop: `Flatten`, `Identity`, `Dropout`."""

import numpy as np
import pytest

from fastconv import nn, reference

X = np.random.default_rng(0).normal(size=(2, 1, 12, 12))


def lenet_like():
    return nn.Sequential(
        nn.Conv2d(1, 4, 3, activation="relu", rng=1),
        nn.MaxPool2d(2),
        nn.Dropout(0.5, rng=2),
        nn.Flatten(),
        nn.Linear(4 * 5 * 5, 10, rng=3),
        nn.Softmax(1),
    )


def test_layers_run_in_order():
    net = lenet_like().eval()
    x = X.astype(np.float32).astype(float)
    y = reference.conv2d(x, net[0].weight, net[0].bias, activation="relu")
    y = reference.max_pool2d(y, 2).reshape(2, -1)
    y = reference.softmax(reference.linear(y, net[4].weight, net[4].bias), 1)
    np.testing.assert_allclose(net(X), y, rtol=1e-5, atol=1e-6)


def test_an_empty_sequential_passes_on():
    assert nn.Sequential()(X) is X


def test_sequences():
    net = lenet_like()
    assert len(net) == 6
    assert list(net) == [net[index] for index in range(6)]
    assert net[-1] is net[5]
    part = net.eval()[1:3]
    assert list(part) == [net[1], net[2]]
    assert not part.training
    with pytest.raises(IndexError):
        net[6]


def test_append():
    net = nn.Sequential(nn.ReLU())
    assert net.append(nn.Tanh()) is net
    assert [name for name, _ in net.named_children()] == ["0", "1"]


def test_names_from_a_dict():
    net = nn.Sequential({"rectify": nn.ReLU(), "squash": nn.Tanh()})
    assert net.squash is net[1]
    assert repr(net) == "Sequential(\n  (rectify): ReLU()\n  (squash): Tanh()\n)"


def test_what_is_no_layer_is_refused():
    with pytest.raises(TypeError, match="Sequential: layer '1' must be a fastconv.nn.Module, got"):
        nn.Sequential(nn.ReLU(), np.tanh)
    for name in ("", "a.b", "forward", "training"):
        with pytest.raises(ValueError, match="cannot name a layer"):
            nn.Sequential({name: nn.ReLU()})
    with pytest.raises(TypeError, match="names of layers must be strings"):
        nn.Sequential({0: nn.ReLU()})


@pytest.mark.parametrize("dims", [(), (0,), (1, 2), (-2, -1)], ids=str)
def test_flatten(dims):
    start, end = (*dims, *(1, -1)[len(dims) :])
    wanted = reference.flatten(X, start, end)
    np.testing.assert_array_equal(nn.Flatten(*dims)(X), wanted)


def test_identity():
    assert nn.Identity()(X) is X


def test_dropout_does_nothing_in_evaluation_mode():
    assert nn.Dropout().eval()(X) is X


def test_dropout_drops_and_scales_in_training_mode():
    ones = np.ones((400, 500), np.float32)
    y = nn.Dropout(0.25, rng=5)(ones)
    assert y.dtype == np.float32
    np.testing.assert_allclose(np.unique(y), [0, 1 / 0.75], rtol=1e-6)
    # 200,000 draws: the share of zeros has a standard deviation of 0.001.
    assert abs((y == 0).mean() - 0.25) < 0.006


def test_dropout_draws_anew_each_time_from_its_own_source():
    first, second = nn.Dropout(rng=5), nn.Dropout(rng=5)
    a, b = first(np.ones(100)), first(np.ones(100))
    assert not np.array_equal(a, b)
    np.testing.assert_array_equal(second(np.ones(100)), a)


@pytest.mark.parametrize("p", [-0.1, 1.5, float("nan")])
def test_dropout_refuses_what_is_no_probability(p):
    with pytest.raises(ValueError, match="Dropout: p must be between 0 and 1"):
        nn.Dropout(p)
