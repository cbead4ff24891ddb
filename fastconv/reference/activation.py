"""Activations and soft maxima: elementwise formulas, written to be exact at both ends.

Arrays of any shape go in, floating arrays of the same shape come out. NaN stays NaN, infinities
give their limits, and no formula overflows on the way.
"""

from collections.abc import Callable

import numpy as np

from fastconv.reference._shapes import along, as_float, channel_axis


def relu(x):
    """max(x, 0)."""
    (x,) = as_float(x)
    return np.maximum(x, 0)


def leaky_relu(x, negative_slope=0.01):
    """x where it is positive, ``negative_slope * x`` elsewhere."""
    (x,) = as_float(x)
    # A slope of 0 makes 0 * inf in the branch that is not taken.
    with np.errstate(invalid="ignore"):
        return np.where(x > 0, x, x * x.dtype.type(negative_slope))


def prelu(x, weight, *, layout=None):
    """Do as `leaky_relu` with a slope of its own for each channel.

    Parameters
    ----------
    x : array_like
    weight : array_like, (C,) or (1,) or ()
    layout : str, optional
        Names the axes of x; left out, the channel is axis 1.
    """
    (x,) = as_float(x)
    weight = np.asarray(weight, x.dtype)
    if weight.size == 1:
        slope = weight.reshape(())
    else:
        slope = along(channel_axis(x.ndim, layout), x.ndim, weight)
    with np.errstate(invalid="ignore"):
        return np.where(x > 0, x, x * slope)


def sigmoid(x):
    """1 / (1 + exp(-x)), as exp(x) / (1 + exp(x)) where x is negative."""
    (x,) = as_float(x)
    small = np.exp(-np.abs(x))
    return np.where(x >= 0, 1, small) / (1 + small)


def tanh(x):
    """Hyperbolic tangent."""
    (x,) = as_float(x)
    return np.tanh(x)


def silu(x):
    """x * sigmoid(x) (Elfwing et al. 2017; "swish"). As in PyTorch -inf gives NaN."""
    (x,) = as_float(x)
    with np.errstate(invalid="ignore"):
        return x * sigmoid(x)


def hardsigmoid(x):
    """Clip (x + 3) / 6 to [0, 1] (Howard et al. 2019, MobileNetV3)."""
    (x,) = as_float(x)
    return np.clip(x + 3, 0, 6) / 6


def hardswish(x):
    """x * hardsigmoid(x) (Howard et al. 2019, MobileNetV3). As in PyTorch -inf gives NaN."""
    (x,) = as_float(x)
    with np.errstate(invalid="ignore"):
        return x * np.clip(x + 3, 0, 6) / 6


def softmax(x, axis=-1):
    """exp(x) divided by its sum along ``axis``."""
    x = _from_peak(x, axis)
    powers = np.exp(x)
    return powers / powers.sum(axis=axis, keepdims=True)


def log_softmax(x, axis=-1):
    """Logarithm of `softmax`, without passing through values that round to 0."""
    x = _from_peak(x, axis)
    # Along an empty axis the sum is 0, but nothing is left to subtract its logarithm from.
    with np.errstate(divide="ignore"):
        return x - np.log(np.exp(x).sum(axis=axis, keepdims=True))


def _from_peak(x, axis: int) -> np.ndarray:
    """Shift x so that its maximum along ``axis`` is 0 and no power of e overflows."""
    (x,) = as_float(x)
    # A line that is all -inf, or holds +inf, has no soft maximum: NaN, as in PyTorch.
    with np.errstate(invalid="ignore"):
        return x - x.max(axis=axis, keepdims=True, initial=-np.inf)


def _clip(x, low, high):
    return np.clip(x, low, high)


def _relu6(x):
    return np.clip(x, 0, 6)


def _scaled_hardswish(x, scale, shift):
    return hardswish(x) * scale + shift


# What the keyword ``activation`` of the convolutions may name.
_ACTIVATIONS: dict[str, Callable[..., np.ndarray]] = {
    "relu": relu,
    "relu6": _relu6,
    "leaky_relu": leaky_relu,
    "clip": _clip,
    "sigmoid": sigmoid,
    "tanh": tanh,
    "silu": silu,
    "hardsigmoid": hardsigmoid,
    "hardswish": hardswish,
    "scaled_hardswish": _scaled_hardswish,
}


def apply_activation(y: np.ndarray, activation) -> np.ndarray:
    """Apply what ``activation=`` names: None, "name" or ("name", parameter, ...)."""
    if activation is None:
        return y
    name, *parameters = (activation,) if isinstance(activation, str) else activation
    return _ACTIVATIONS[name](y, *parameters)
