"""Gradients of activations and soft maxima, one formula each.

``y`` is the forward operation's result, ``x`` its input, ``grad_output`` the gradient of the
result. What is not chosen by a comparison may be NaN or infinite: it is left out, not multiplied
by 0.
"""

import numpy as np

from fastconv.reference._shapes import along, as_float, channel_axis
from fastconv.reference.activation import sigmoid as _sigmoid


def relu(y, grad_output):
    """grad_output where y is not <= 0."""
    y, grad_output = as_float(y, grad_output)
    return np.where(y <= 0, 0, grad_output)


def relu6(y, grad_output):
    """grad_output where 0 < y < 6."""
    return clip(y, grad_output, 0, 6)


def clip(y, grad_output, low, high):
    """grad_output where low < y < high."""
    y, grad_output = as_float(y, grad_output)
    return np.where((y <= low) | (y >= high), 0, grad_output)


def leaky_relu(x, grad_output, negative_slope=0.01):
    """grad_output where x > 0, ``negative_slope * grad_output`` elsewhere."""
    x, grad_output = as_float(x, grad_output)
    return np.where(x > 0, grad_output, grad_output * grad_output.dtype.type(negative_slope))


def prelu(x, weight, grad_output, *, layout=None):
    """Return dx as `leaky_relu` does with a slope per channel, and each slope's own gradient."""
    x, grad_output = as_float(x, grad_output)
    weight = np.asarray(weight, x.dtype)
    axis = channel_axis(x.ndim, layout)
    slope = weight.reshape(()) if weight.size == 1 else along(axis, x.ndim, weight)
    dx = np.where(x > 0, grad_output, grad_output * slope)
    products = np.where(x > 0, 0, x * grad_output)
    others = tuple(a for a in range(x.ndim) if weight.size == 1 or a != axis)
    return dx, products.sum(axis=others).reshape(weight.shape)


def sigmoid(y, grad_output):
    """grad_output * y * (1 - y)."""
    y, grad_output = as_float(y, grad_output)
    return grad_output * (1 - y) * y


def tanh(y, grad_output):
    """grad_output * (1 - y**2)."""
    y, grad_output = as_float(y, grad_output)
    return grad_output * (1 - y * y)


def silu(x, grad_output):
    """grad_output * s * (1 + x * (1 - s)), s = sigmoid(x)."""
    x, grad_output = as_float(x, grad_output)
    s = _sigmoid(x)
    return grad_output * s * (1 + x * (1 - s))


def hardsigmoid(x, grad_output):
    """grad_output / 6 where -3 < x < 3."""
    x, grad_output = as_float(x, grad_output)
    return np.where((x > -3) & (x < 3), grad_output / 6, 0)


def hardswish(x, grad_output):
    """0 up to -3, grad_output * (x / 3 + 1 / 2) below 3, grad_output elsewhere (NaN too)."""
    x, grad_output = as_float(x, grad_output)
    return np.select([x <= -3, x < 3], [0, grad_output * (x / 3 + 0.5)], grad_output)


def softmax(y, grad_output, axis=-1):
    """y * (grad_output - sum of y * grad_output)."""
    y, grad_output = as_float(y, grad_output)
    return y * (grad_output - (y * grad_output).sum(axis=axis, keepdims=True))


def log_softmax(y, grad_output, axis=-1):
    """grad_output - exp(y) * sum of grad_output."""
    y, grad_output = as_float(y, grad_output)
    return grad_output - np.exp(y) * grad_output.sum(axis=axis, keepdims=True)
