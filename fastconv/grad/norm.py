"""Gradients of the normalisations.

Batch normalisation takes two passes over its arrays: sums of every channel, in float64 and block by
block, then the gradient of every element. Statistics that are not given cost a pass of their own.
"""

import numpy as np

from .._engine import channel_sums, elementwise, gradient
from ..functional._channels import as_table, channel_axis, channel_values
from ..functional._check import flag, integer
from ..functional.norm import LARGEST_EXPONENT, _number
from ._operands import same_shape

__all__ = ["batch_norm", "local_response_norm"]


def batch_norm(
    x, grad_output, weight=None, mean=None, var=None, *, training, eps=1e-5, layout=None
):
    """Return the gradients through batch normalisation (Ioffe and Szegedy, 2015).

    The forward operation was ``(x - mean) / sqrt(var + eps) * weight + bias``, channel by channel.

    Parameters
    ----------
    x : array_like
        Its input; any strides.
    grad_output : array_like
        Of x's shape.
    weight : array_like, (C,), optional
        Factor of each channel; 1 where left out.
    mean, var : array_like, (C,), optional
        With `training` those of the batch, the variance divided by the number of elements; left
        out they are computed. Without `training` the running ones, which must be given.
    training : bool
        Whether x itself made mean and variance, so that the gradient flows through them too.
    eps : float
        Added to the variance, not negative.
    layout : str, optional
        Which axis holds the channels, as for `batch_norm`.

    Returns
    -------
    dx : ndarray
        Of x's shape, of type ``np.result_type(x, grad_output, np.float32)``.
    dweight, dbias : ndarray, (C,)
        Of the same type; summed in float64, the same bits for any number of threads.

    Raises
    ------
    TypeError, ValueError
        When an argument is of the wrong kind, or not of one element per channel.
    """
    op = "batch_norm"
    x, grad_output, dtype = same_shape(op, "x", x, grad_output)
    axis = channel_axis(op, x, layout)
    training = flag(op, "training", training)
    eps = _number(op, "eps", eps, 0)
    channels = x.shape[axis]
    weight = np.ones(channels) if weight is None else _values(op, "weight", weight, channels, x)
    mean, var = _statistics(op, x, dtype, axis, mean, var, training)
    dbias, dcentered = channel_sums.gradient_sums(x, grad_output, dtype, axis, mean)
    # A variance of 0 without eps gives infinity or NaN, as in the forward operation.
    with np.errstate(all="ignore"):
        inverse = 1 / np.sqrt(var + eps)
        dweight = dcentered * inverse
        scale = as_table(weight * inverse, dtype)
        if training:
            dx = _through_statistics(x, grad_output, dtype, axis, mean, inverse, dbias, dweight,
                                     scale)
        else:
            zeros = np.zeros(channels, dtype)
            dx = elementwise.map(
                grad_output, dtype, channel_axis=axis, center=zeros, scale=scale, shift=zeros
            )
        return dx, dweight.astype(dtype), dbias.astype(dtype)


def _values(op, name, values, channels, x):
    """Per-channel `values` as a contiguous array of float64."""
    return as_table(channel_values(op, name, values, channels, x), np.float64)


def _statistics(op, x, dtype, axis, mean, var, training):
    """Mean and variance of each channel, float64, as given or computed."""
    channels = x.shape[axis]
    if (mean is None) != (var is None):
        raise ValueError(f"{op}: mean and var must be given together, or neither")
    if mean is not None:
        return _values(op, "mean", mean, channels, x), _values(op, "var", var, channels, x)
    if not training:
        raise ValueError(f"{op}: mean and var must be given when training is False")
    return channel_statistics(x, dtype, axis)


def channel_statistics(x, dtype, axis):
    """Mean and variance of each channel of an array, read as `dtype`: two arrays of float64.

    The variance is divided by the number of elements. The bits are the same for any number of
    threads.
    """
    mean, squares = channel_sums.mean_and_squares(x, dtype, axis)
    return np.ascontiguousarray(mean), squares / max(x.size // max(x.shape[axis], 1), 1)


def _through_statistics(x, grad_output, dtype, axis, mean, inverse, dbias, dweight, scale):
    """scale * (grad_output - mean of it - normalised x * mean of (it * normalised x))."""
    count = max(x.size // max(len(mean), 1), 1)
    center = as_table(mean, dtype)
    slope = inverse * dweight / count
    # What rounding the center leaves over goes with the offset.
    offset = dbias / count + (center - mean) * slope
    tables = (as_table(offset, dtype), center, as_table(slope, dtype), scale)
    return gradient.map(x, grad_output, dtype, "standard", channel_axis=axis, tables=tables)


def local_response_norm(
    x, grad_output, size, alpha=1e-4, beta=0.75, k=1.0, *, layout=None
):
    """Return the gradient through local response normalisation, from its input.

    Parameters
    ----------
    x : array_like
        The forward operation's input; any strides.
    grad_output : array_like
        Of x's shape.
    size, alpha, beta, k, layout
        As for `local_response_norm`.

    Returns
    -------
    ndarray
        Of x's shape, of type ``np.result_type(x, grad_output, np.float32)``.

    Raises
    ------
    TypeError, ValueError
        When an argument is of the wrong kind or out of range.
    """
    op = "local_response_norm"
    x, grad_output, dtype = same_shape(op, "x", x, grad_output)
    axis = channel_axis(op, x, layout)
    size = integer(op, "size", size, minimum=1)
    alpha = _number(op, "alpha", alpha, 0)
    beta = _number(op, "beta", beta, -LARGEST_EXPONENT, LARGEST_EXPONENT)
    k = _number(op, "k", k, 0)
    return gradient.local_response_norm(x, grad_output, dtype, axis, size, alpha, beta, k)
