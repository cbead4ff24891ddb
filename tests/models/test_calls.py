"""Calls that pass through a function of ours: names, order, and nothing left behind."""

import numpy as np
import pytest

from fastconv import models, nn
from fastconv.models._calls import intercept


def network():
    shared = nn.Conv2d(2, 2, 3, padding=1, rng=0)
    inner = nn.Sequential({"relu": nn.ReLU(), "again": shared})
    return nn.Sequential({"conv": shared, "inner": inner}).eval()


X = np.random.default_rng(0).normal(size=(1, 2, 5, 6)).astype(np.float32)


def test_every_call_once_under_the_first_name():
    net, calls = network(), []

    def around(name, module, forward, *inputs):
        calls.append(name)
        return forward(*inputs)

    expected = net(X)
    with intercept(net, around):
        np.testing.assert_array_equal(net(X), expected)
    assert calls == ["", "conv", "inner", "inner.relu", "conv"]
    net(X)
    assert len(calls) == 5


def test_packed_weights_stay():
    net = network()
    net(X)
    packed = net.conv._packed
    models.summarise(net, X.shape)
    assert net.conv._packed is packed


def test_an_error_leaves_nothing_behind():
    net = network()

    def refuse(name, module, forward, *inputs):
        raise RuntimeError("no")

    with pytest.raises(RuntimeError, match="no"), intercept(net, refuse):
        net(X)
    assert net(X).shape == X.shape


def test_feature_maps():
    net = network()
    maps = models.feature_maps(net, X)
    assert list(maps) == ["conv", "inner.relu"]
    first = net.conv(X)
    np.testing.assert_array_equal(maps["inner.relu"], np.maximum(first, 0))
    np.testing.assert_array_equal(maps["conv"], net(X))  # of its last call
