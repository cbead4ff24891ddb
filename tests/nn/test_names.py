"""What `fastconv.nn` offers as a whole."""

import inspect

import pytest

from fastconv import nn

FUNCTIONS = {"load", "recording", "save"}
ROOMS = {"init"}
LAYERS = [name for name in nn.__all__ if name not in FUNCTIONS | ROOMS]


@pytest.mark.parametrize("name", LAYERS)
def test_every_public_layer_is_a_documented_module(name):
    layer = getattr(nn, name)
    assert issubclass(layer, nn.Module)
    assert inspect.cleandoc(layer.__doc__ or "").strip()
    assert layer.__doc__ != layer.__mro__[1].__doc__


@pytest.mark.parametrize("name", FUNCTIONS)
def test_every_public_function_is_documented(name):
    assert inspect.isfunction(inspect.unwrap(getattr(nn, name)))
    assert inspect.cleandoc(getattr(nn, name).__doc__ or "").strip()


def test_names_are_sorted_and_complete():
    assert nn.__all__ == sorted(nn.__all__)
    layers = {
        name
        for name, value in vars(nn).items()
        if inspect.isclass(value) and issubclass(value, nn.Module)
    }
    assert layers == set(LAYERS)
