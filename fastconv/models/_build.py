"""What the networks share: their checks, initial weights and the walk through their layers."""

import math
from functools import reduce

import numpy as np

from fastconv.nn.arguments import make_generator, normal_by_fan_in
from fastconv.nn.packed import PackedLayer

VARIANTS = ("torchvision", "original")


def check_choice(op, name, value, choices):
    """Return `value` if it is one of `choices`, else raise ValueError with all of them."""
    if value not in choices:
        known = ", ".join(map(repr, choices))
        raise ValueError(f"{op}: {name} must be one of {known}, got {value!r}")
    return value


def initialise(op, net, rng, draw=normal_by_fan_in):
    """Give every convolution and `Linear` of `net` its initial weights; return `net`.

    Weights are `draw`n by fan-in when somebody first looks at them, biases are 0, and batch
    normalisations start as identities already.

    Parameters
    ----------
    op : str
        Public name of the network, for error texts.
    net : Module
    rng : None, int or numpy.random.Generator
    draw : function of (Generator, shape, fan_in, dtype)
        `normal_by_fan_in` suits ReLUs, `uniform_by_fan_in` tanh.
    """
    rng = make_generator(op, rng)
    for layer in descendants(net):
        if isinstance(layer, PackedLayer):
            shape = layer.array_shapes["weight"]
            layer.weight = draw(rng, shape, math.prod(shape[1:]), layer.dtype)
            if layer.bias is not None:
                layer.bias = np.zeros(layer.array_shapes["bias"])
    return net


def descendants(module):
    """Yield a module's children, their children and so on, in order of setting."""
    for _, child in module.named_children():
        yield child
        yield from descendants(child)


def run_forward(layers, x):
    """Return the result of a chain of layers: each takes what the one before returned."""
    return reduce(lambda value, layer: layer(value), layers, x)


def run_backward(layers, grad):
    """Return the gradient of the chain's input from that of its result."""
    return reduce(lambda value, layer: layer.backward(value), reversed(layers), grad)
