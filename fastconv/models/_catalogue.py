"""The networks by name, for the command line, the tests and everything else that lists them."""

from functools import partial
from typing import NamedTuple

from fastconv.models.alexnet import alexnet
from fastconv.models.convnetjs import convnetjs
from fastconv.models.googlenet import googlenet
from fastconv.models.lenet import lenet5
from fastconv.models.resnet import resnet
from fastconv.models.vgg import vgg


class _Network(NamedTuple):
    make: object
    input_shape: tuple[int, int, int] = (3, 224, 224)


_VGG, _DEEP = (11, 13, 16, 19), (50, 101, 152)

_NETWORKS = {
    "lenet5": _Network(lenet5, (1, 28, 28)),
    "convnetjs": _Network(convnetjs, (3, 32, 32)),
    "alexnet": _Network(alexnet),
    "alexnet_original": _Network(partial(alexnet, variant="original"), (3, 227, 227)),
    **{f"vgg{depth}": _Network(partial(vgg, depth)) for depth in _VGG},
    **{f"vgg{depth}_bn": _Network(partial(vgg, depth, batch_norm=True)) for depth in _VGG},
    "googlenet": _Network(googlenet),
    "googlenet_original": _Network(partial(googlenet, variant="original")),
    **{f"resnet{depth}": _Network(partial(resnet, depth)) for depth in (18, 34, *_DEEP)},
    **{
        f"resnet{depth}_original": _Network(partial(resnet, depth, variant="original"))
        for depth in _DEEP
    },
    **{f"plain{depth}": _Network(partial(resnet, depth, residual=False)) for depth in (18, 34)},
}


def names():
    """Return the names that `create` knows."""
    return tuple(_NETWORKS)


def create(name, **options):
    """Make a network by name.

    Parameters
    ----------
    name : str
        One of `names()`, such as "resnet50", "vgg16_bn" or "googlenet_original".
    **options
        As the network's own function takes them: `classes`, `rng`, ...

    Returns
    -------
    Module
        In training mode, as every new module.

    Raises
    ------
    ValueError
        If there is no such network; the message lists those there are.
    """
    return _find("create", name).make(**options)


def input_shape(name):
    """Return the shape (C, H, W) of the pictures that a network was designed for."""
    return _find("input_shape", name).input_shape


def _find(op, name):
    if name not in _NETWORKS:
        known = ", ".join(_NETWORKS)
        raise ValueError(f"{op}: there is no network called {name!r}; known: {known}")
    return _NETWORKS[name]
