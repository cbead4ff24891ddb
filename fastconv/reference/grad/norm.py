"""Gradients of the normalisations."""

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from fastconv.reference._shapes import along, as_float, channel_axis


def batch_norm(
    x, grad_output, weight=None, mean=None, var=None, *, training, eps=1e-5, layout=None
):
    """Return dx, dweight and dbias (Ioffe and Szegedy 2015, section 3).

    With ``training`` mean and variance are functions of x, the batch's own if not given; otherwise
    they are constants.
    """
    x, grad_output = as_float(x, grad_output)
    axis = channel_axis(x.ndim, layout)
    others = tuple(a for a in range(x.ndim) if a != axis)

    def channels(values):
        return along(axis, x.ndim, np.asarray(values, x.dtype))

    weight = np.ones(x.shape[axis], x.dtype) if weight is None else weight
    if mean is None:
        mean, var = x.mean(axis=others), x.var(axis=others)
    inverse = 1 / np.sqrt(channels(var) + x.dtype.type(eps))
    normalised = (x - channels(mean)) * inverse
    dbias = grad_output.sum(axis=others)
    dweight = (grad_output * normalised).sum(axis=others)
    dx = grad_output
    if training:
        count = x.size // x.shape[axis]
        dx = dx - channels(dbias / count) - normalised * channels(dweight / count)
    return dx * channels(weight) * inverse, dweight, dbias


def local_response_norm(
    x, grad_output, size, alpha=1e-4, beta=0.75, k=1.0, *, layout=None
):
    """Return dx of x / base ** beta, base = k + alpha * mean of x**2 over a window of channels.

    Channel i has a part in the bases of all channels whose windows hold it: size // 2 before and
    (size - 1) // 2 after for a window, hence the other way round for the channels.
    """
    x, grad_output = as_float(x, grad_output)
    axis = channel_axis(x.ndim, layout)

    def window_sums(values, before, after):
        widths = [(0, 0)] * values.ndim
        widths[axis] = (before, after)
        return sliding_window_view(np.pad(values, widths), size, axis=axis).sum(axis=-1)

    before, after = size // 2, (size - 1) // 2
    base = k + alpha / size * window_sums(x * x, before, after)
    shared = window_sums(grad_output * x / base ** (beta + 1), after, before)
    return grad_output / base**beta - 2 * alpha * beta / size * x * shared
