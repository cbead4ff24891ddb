"""Gradients of activations and soft maxima: arrays of x's shape.

Where the result tells all, the gradient is computed from it, so that a network need not keep the
input as well: relu, relu6, clip, sigmoid, tanh, softmax and log_softmax. The others take the input.
Strides may be any; each function is one pass of the engine. Comparisons are PyTorch's: at a bend
the gradient is that of the flat side, and where the forward operation met NaN it is as there.
"""

import math
from numbers import Real
from reprlib import repr as short_repr

import numpy as np

from .._engine import channel_sums, gradient
from ..functional._arguments import LARGEST_INT
from ..functional._channels import as_table, channel_axis, channel_values
from ..functional._check import as_array, integer, parse_activation
from ._operands import same_shape

__all__ = [
    "clip",
    "fused",
    "hardsigmoid",
    "hardswish",
    "leaky_relu",
    "log_softmax",
    "prelu",
    "relu",
    "relu6",
    "sigmoid",
    "silu",
    "softmax",
    "tanh",
]


def _map(op, name, value, grad_output, kind, alpha=0.0, beta=0.0):
    """grad_output times what the engine's `kind` makes of `value`."""
    value, grad_output, dtype = same_shape(op, name, value, grad_output)
    return gradient.map(value, grad_output, dtype, kind, alpha=alpha, beta=beta)


def relu(y, grad_output):
    """Return the gradient through `relu`, from its result: grad_output where y is not <= 0.

    Parameters
    ----------
    y : array_like
        What `relu` returned. Any shape, any real dtype up to float64.
    grad_output : array_like
        Of y's shape.

    Returns
    -------
    ndarray
        Of y's shape, of type ``np.result_type(y, grad_output, np.float32)``, C-contiguous.

    Raises
    ------
    TypeError
        When an argument is not an array of real numbers.
    ValueError
        When the shapes differ.
    """
    return _map("relu", "y", y, grad_output, "positive")


def relu6(y, grad_output):
    """Return the gradient through `relu6`, from its result: grad_output where 0 < y < 6.

    Parameters, result and errors are those of `relu`.
    """
    return _map("relu6", "y", y, grad_output, "inside", 0.0, 6.0)


def clip(y, grad_output, low, high):
    """Return the gradient through the fused activation ``("clip", low, high)``, from its result.

    It is grad_output where low < y < high; results on a bound count as clipped.

    Parameters
    ----------
    y, grad_output : array_like
        As for `relu`.
    low, high : float
        May be infinite.
    """
    op = "clip"
    _, low, high = parse_activation(op, ("clip", low, high))
    return _map(op, "y", y, grad_output, "inside", low, high)


def _slope(op, value):
    if isinstance(value, (bool, np.bool_)) or not isinstance(value, Real):
        raise TypeError(f"{op}: negative_slope must be a number, got {short_repr(value)}")
    if math.isnan(value):
        raise ValueError(f"{op}: negative_slope must be a number, got {value!r}")
    return float(value)


def leaky_relu(x, grad_output, negative_slope=0.01):
    """Return the gradient through `leaky_relu`, from its input: where not x > 0, times the slope.

    A result of `leaky_relu` serves as x too, if the slope is not negative.

    Parameters
    ----------
    x, grad_output : array_like
        As for `relu`.
    negative_slope : float
    """
    op = "leaky_relu"
    return _map(op, "x", x, grad_output, "slope", _slope(op, negative_slope))


def prelu(x, weight, grad_output, *, layout=None):
    """Return the gradients through `prelu`, from its input and slopes.

    Parameters
    ----------
    x, grad_output : array_like
        As for `relu`.
    weight : array_like, (C,) or (1,) or ()
        Slopes, one per channel or one for all.
    layout : str, optional
        Which axis holds the channels, as for `prelu`.

    Returns
    -------
    dx : ndarray
        Of x's shape.
    dweight : ndarray
        Of weight's shape: sums of grad_output * x where not x > 0, taken in float64.
    """
    op = "prelu"
    x, grad_output, dtype = same_shape(op, "x", x, grad_output)
    weight = as_array(op, "weight", weight)
    shared = weight.size == 1 and weight.ndim <= 1
    if shared and layout is None:
        axis = min(1, x.ndim - 1)
    else:
        axis = channel_axis(op, x, layout)
    if not shared:
        weight = channel_values(op, "weight", weight, x.shape[axis], x)
    dx = gradient.map(
        x,
        grad_output,
        dtype,
        "channel_slope",
        channel_axis=-1 if shared else axis,
        tables=(as_table(weight, dtype),),
    )
    # A single number is its own channel.
    x, grad_output, axis = (x[None], grad_output[None], 0) if axis < 0 else (x, grad_output, axis)
    center = np.zeros(x.shape[axis])
    _, slopes = channel_sums.gradient_sums(x, grad_output, dtype, axis, center, negative=True)
    dweight = np.full(weight.shape, slopes.sum()) if shared else slopes
    return dx, dweight.astype(dtype)


def sigmoid(y, grad_output):
    """Return the gradient through `sigmoid`, from its result: grad_output * y * (1 - y).

    Parameters, result and errors are those of `relu`.
    """
    return _map("sigmoid", "y", y, grad_output, "sigmoid")


def tanh(y, grad_output):
    """Return the gradient through `tanh`, from its result: grad_output * (1 - y**2).

    Parameters, result and errors are those of `relu`.
    """
    return _map("tanh", "y", y, grad_output, "tanh")


def silu(x, grad_output):
    """Return the gradient through `silu`, from its input.

    grad_output * s * (1 + x * (1 - s)) with s = sigmoid(x); infinities give NaN, as in PyTorch.

    Parameters, result and errors are those of `relu`, with x in place of y.
    """
    return _map("silu", "x", x, grad_output, "silu")


def hardsigmoid(x, grad_output):
    """Return the gradient through `hardsigmoid`, from its input: grad_output / 6 where abs(x) < 3.

    Parameters, result and errors are those of `relu`, with x in place of y.
    """
    return _map("hardsigmoid", "x", x, grad_output, "hardsigmoid")


def hardswish(x, grad_output):
    """Return the gradient through `hardswish`, from its input.

    0 where x <= -3, grad_output * (x / 3 + 1 / 2) where x < 3, grad_output elsewhere.

    Parameters, result and errors are those of `relu`, with x in place of y.
    """
    return _map("hardswish", "x", x, grad_output, "hardswish")


def softmax(y, grad_output, axis=-1):
    """Return the gradient through `softmax`, from its result.

    y * (grad_output - sum of y * grad_output along `axis`).

    Parameters
    ----------
    y, grad_output : array_like
        As for `relu`.
    axis : int
        Along which the forward operation went.
    """
    return _softmax("softmax", y, grad_output, axis, logarithm=False)


def log_softmax(y, grad_output, axis=-1):
    """Return the gradient through `log_softmax`, from its result.

    grad_output - exp(y) * sum of grad_output along `axis`.

    Parameters are those of `softmax`.
    """
    return _softmax("log_softmax", y, grad_output, axis, logarithm=True)


def _softmax(op, y, grad_output, axis, logarithm):
    y, grad_output, dtype = same_shape(op, "y", y, grad_output)
    axes = max(y.ndim, 1)
    index = integer(op, "axis", axis, minimum=-LARGEST_INT)
    if not -axes <= index < axes:
        raise ValueError(
            f"{op}: axis must be between {-axes} and {axes - 1} (y.shape={y.shape}), got {index}"
        )
    if y.ndim == 0:
        return gradient.softmax(y[None], grad_output[None], dtype, 0, logarithm)[0, ...]
    return gradient.softmax(y, grad_output, dtype, index % axes, logarithm)


# How the gradient through a fused activation follows from the result: the engine's operation.
_FROM_RESULT = {
    "relu": "positive",
    "clip": "inside",
    "leaky_relu": "slope",
    "sigmoid": "sigmoid",
    "tanh": "tanh",
}


def fused(activation, y, grad_output):
    """Return the gradient through a fused activation, from the operation's result.

    Parameters
    ----------
    activation : None, str or tuple
        As the convolutions' argument of that name; None has gradient grad_output.
    y : array_like
        What the operation returned.
    grad_output : array_like
        Of y's shape.

    Returns
    -------
    ndarray
        Gradient with respect to what the activation was applied to. Without an activation it may
        be grad_output itself.

    Raises
    ------
    ValueError
        For silu, hardswish, hardsigmoid and leaky_relu with a negative slope, whose input does
        not follow from their result: apply them after the operation instead.
    """
    op = "fused"
    kind, alpha, beta = parse_activation(op, activation)
    if kind == "none":
        y, grad_output, dtype = same_shape(op, "y", y, grad_output)
        return np.ascontiguousarray(grad_output, dtype).reshape(grad_output.shape)
    if kind not in _FROM_RESULT or (kind == "leaky_relu" and alpha < 0):
        raise ValueError(
            f"{op}: activation must be one that its result determines "
            f"({', '.join(_FROM_RESULT)} with a slope of at least 0), got "
            f"{short_repr(activation)}; apply it after the operation and keep its input"
        )
    return _map(op, "y", y, grad_output, _FROM_RESULT[kind], alpha, beta)
