"""What `fastconv.nn` offers as a whole."""

import inspect

import pytest

from fastconv import nn


@pytest.mark.parametrize("name", nn.__all__)
def test_every_public_layer_is_a_documented_module(name):
    layer = getattr(nn, name)
    assert issubclass(layer, nn.Module)
    assert inspect.cleandoc(layer.__doc__ or "").strip()
    assert layer.__doc__ != layer.__mro__[1].__doc__


def test_names_are_sorted_and_complete():
    assert nn.__all__ == sorted(nn.__all__)
    layers = {
        name
        for name, value in vars(nn).items()
        if inspect.isclass(value) and issubclass(value, nn.Module)
    }
    assert layers == set(nn.__all__)
