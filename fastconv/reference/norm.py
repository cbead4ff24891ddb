"""Normalisations and dropout.

Arrays of any number of axes go in; ``layout`` says which axis holds the channels. Left out, it is
axis 1, PyTorch's rule. A layout one letter longer than x has axes means x has no batch axis.
"""

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from fastconv.reference._shapes import along, as_float, channel_axis


def batch_norm(x, running_mean, running_var, weight=None, bias=None, eps=1e-5, *, layout=None):
    """Normalise each channel with given statistics (Ioffe and Szegedy 2015, at inference).

    ``(x - running_mean) / sqrt(running_var + eps) * weight + bias``

    Parameters
    ----------
    x : array_like
    running_mean, running_var : array_like, (C,)
    weight, bias : array_like, (C,), optional
    eps : float
    layout : str, optional
    """
    (x,) = as_float(x)
    axis = channel_axis(x.ndim, layout)

    def channels(values):
        return along(axis, x.ndim, np.asarray(values, x.dtype))

    y = (x - channels(running_mean)) / np.sqrt(channels(running_var) + x.dtype.type(eps))
    if weight is not None:
        y = y * channels(weight)
    if bias is not None:
        y = y + channels(bias)
    return y


def local_response_norm(x, size, alpha=1e-4, beta=0.75, k=1.0, *, layout=None):
    """Divide by the energy of neighbouring channels (Krizhevsky et al. 2012).

    ``x / (k + alpha * mean of x**2 over size channels) ** beta``. The window reaches size // 2
    channels back and (size - 1) // 2 ahead; channels beyond the ends count as zeros. As in
    PyTorch alpha multiplies the mean; the paper's multiplies the sum.
    """
    (x,) = as_float(x)
    axis = channel_axis(x.ndim, layout)
    widths = [(0, 0)] * x.ndim
    widths[axis] = (size // 2, (size - 1) // 2)
    energy = sliding_window_view(np.pad(x * x, widths), size, axis=axis).mean(axis=-1)
    return x / (k + alpha * energy) ** beta


def dropout(x, p=0.5, training=True, *, rng=None):
    """Zero a share ``p`` of the cells and divide the others by 1 - p; identity if not training.

    Parameters
    ----------
    x : array_like
    p : float
        Probability in [0, 1] that a cell is dropped.
    training : bool
    rng : numpy.random.Generator or seed, optional
        A cell stays where ``rng.random(x.shape) >= p``.
    """
    (x,) = as_float(x)
    if not training or p == 0:
        return x
    keep = np.random.default_rng(rng).random(x.shape) >= p
    scale = 0 if p == 1 else 1 / (1 - p)
    return np.where(keep, x, 0) * x.dtype.type(scale)
