"""Initial weights by rule: He's for ReLUs, Glorot's for tanh and its like.

Each function gives every convolution and `Linear` below a module new weights and zero biases, and
returns the module:

    net = nn.init.kaiming_normal(nn.Sequential(...), rng=0)

The numbers follow from `rng` and the order of the layers alone; they are drawn when somebody first
looks at them. fan_in is the number of inputs that a result depends on, fan_out the number of
results that an input goes into.
"""

import math
from functools import partial

import numpy as np

from fastconv.nn.arguments import Drawn, make_generator
from fastconv.nn.packed import PackedLayer

__all__ = ["kaiming_normal", "kaiming_uniform", "xavier_normal", "xavier_uniform"]


def kaiming_normal(module, *, rng=None):
    """Draw weights from N(0, 2 / fan_in), which keeps the scale of values through ReLUs.

    Parameters
    ----------
    module : Module
    rng : None, int or numpy.random.Generator

    Returns
    -------
    Module
        `module` itself.

    Notes
    -----
    He, Zhang, Ren and Sun, "Delving deep into rectifiers", 2015.
    """
    return _initialise("kaiming_normal", module, rng, _normal, _he)


def kaiming_uniform(module, *, rng=None):
    """Draw weights of the deviation of `kaiming_normal` from a uniform distribution."""
    return _initialise("kaiming_uniform", module, rng, _uniform, _he)


def xavier_normal(module, *, rng=None):
    """Draw weights from N(0, 2 / (fan_in + fan_out)), which suits tanh and the last layer.

    Parameters and result are those of `kaiming_normal`.

    Notes
    -----
    Glorot and Bengio, "Understanding the difficulty of training deep feedforward neural networks",
    2010.
    """
    return _initialise("xavier_normal", module, rng, _normal, _glorot)


def xavier_uniform(module, *, rng=None):
    """Draw weights of the deviation of `xavier_normal` from a uniform distribution."""
    return _initialise("xavier_uniform", module, rng, _uniform, _glorot)


def _he(fan_in, fan_out):
    return math.sqrt(2 / fan_in)


def _glorot(fan_in, fan_out):
    return math.sqrt(2 / (fan_in + fan_out))


def _normal(rng, shape, dtype, deviation):
    values = rng.standard_normal(shape, dtype=dtype)
    # In place: the weights of a large Linear layer are hundreds of megabytes.
    values *= deviation
    return values


def _uniform(rng, shape, dtype, deviation):
    values = rng.random(shape, dtype=dtype)
    values -= 0.5
    values *= deviation * math.sqrt(12)
    return values


def _initialise(op, module, rng, fill, deviation):
    rng = make_generator(op, rng)
    for layer in module.modules():
        if isinstance(layer, PackedLayer):
            shape = layer.array_shapes["weight"]
            # As PyTorch counts: axis 1 is what goes in, axis 0 what comes out, also for groups.
            window = math.prod(shape[2:])
            spread = deviation(fan_in=shape[1] * window, fan_out=shape[0] * window)
            layer.weight = Drawn(rng, shape, layer.dtype, partial(fill, deviation=spread))
            if layer.bias is not None:
                layer.bias = np.zeros(layer.array_shapes["bias"])
    return module
