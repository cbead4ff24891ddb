"""Fixtures of the reference's tests: the libraries it is compared with, where installed."""

import numpy as np
import pytest


@pytest.fixture
def rng():
    return np.random.default_rng(20240229)


@pytest.fixture
def torch():
    return pytest.importorskip("torch", reason="needs torch: pip install fastconv[bench]")


@pytest.fixture
def signal():
    return pytest.importorskip("scipy.signal", reason="needs scipy: pip install fastconv[test]")


@pytest.fixture
def functional(torch):
    """torch.nn.functional on arrays: arrays in, arrays out."""

    def to_tensor(value):
        return torch.from_numpy(value.copy()) if isinstance(value, np.ndarray) else value

    def to_array(value):
        return tuple(v.numpy() for v in value) if isinstance(value, tuple) else value.numpy()

    def call(name, *args, **kwargs):
        function = getattr(torch.nn.functional, name, None) or getattr(torch, name)
        kwargs = {key: to_tensor(value) for key, value in kwargs.items()}
        return to_array(function(*map(to_tensor, args), **kwargs))

    return call
