"""Normalisations and dropout, for inference.

In go arrays of any number of axes and the axis of their channels (`layout`); out come new
C-contiguous arrays of the same shape, or `out`. The work is one call into the engine; what depends
on channels alone is computed here first, in float64.
"""

import math
from numbers import Real
from reprlib import repr as short_repr

import numpy as np

from fastconv._engine import elementwise

from ._channels import as_table, channel_axis, channel_values
from ._check import as_array, check_out, compute_dtype, flag, integer, parse_activation

__all__ = ["batch_norm", "dropout", "local_response_norm"]

# Larger exponents turn every base but 1 into 0 or infinity.
LARGEST_EXPONENT = 1000


def _number(op, name, value, low, high=math.inf):
    """Return `value`, a finite real number in [low, high], as a float."""
    wanted = f"at least {low:g}" if high == math.inf else f"between {low:g} and {high:g}"
    if isinstance(value, (bool, np.bool_)) or not isinstance(value, Real):
        raise TypeError(f"{op}: {name} must be a number {wanted}, got {short_repr(value)}")
    if not (math.isfinite(value) and low <= value <= high):
        raise ValueError(f"{op}: {name} must be a number {wanted}, got {short_repr(value)}")
    return float(value)


def batch_norm(
    x,
    running_mean,
    running_var,
    weight=None,
    bias=None,
    *,
    eps=1e-5,
    layout=None,
    activation=None,
    out=None,
):
    """Normalise each channel with given statistics (Ioffe and Szegedy, 2015), at inference.

    ``activation((x - running_mean) / sqrt(running_var + eps) * weight + bias)``; the statistics
    of x itself play no part.

    Parameters
    ----------
    x : array_like
        Any real dtype up to float64; integers are computed as floats. The result has x's floating
        dtype, whatever those of the parameters.
    running_mean, running_var : array_like, (C,)
        Mean and variance of each channel.
    weight, bias : array_like, (C,), optional
        Factor and offset of each channel; 1 and 0 where left out.
    eps : float
        Added to the variance, not negative.
    layout : str, optional
        Which axis holds the channels: "NCHW" (of four axes, or (C, H, W)), "NHWC", and their
        like in 1-D and 3-D. Left out, it is axis 1, for any number of axes.
    activation : str or tuple, optional
        Applied in the same pass, as by the convolutions.
    out : ndarray, optional
        Where to put the result: x's shape, the result's dtype, any strides. May be x.

    Returns
    -------
    ndarray
        Of x's shape, float32 or float64. Where running_var + eps is negative, NaN.

    Raises
    ------
    TypeError, ValueError
        When an argument is of the wrong kind, or not of one element per channel.
    """
    op = "batch_norm"
    x = as_array(op, "x", x)
    axis = channel_axis(op, x, layout)
    kind, alpha, beta = parse_activation(op, activation)
    eps = _number(op, "eps", eps, 0)
    dtype = compute_dtype(op, x)
    out = check_out(op, out, x.shape, dtype)
    channels = x.shape[axis]
    mean = channel_values(op, "running_mean", running_mean, channels, x)
    variance = channel_values(op, "running_var", running_var, channels, x)
    weight = 1.0 if weight is None else channel_values(op, "weight", weight, channels, x)
    if bias is None:
        bias = np.zeros(channels, dtype)
    else:
        bias = channel_values(op, "bias", bias, channels, x)
    # A variance of 0 without eps, or a negative one, gives infinity or NaN, as it should.
    with np.errstate(all="ignore"):
        scale = weight / np.sqrt(np.add(variance, eps, dtype=np.float64))
        center, scale, shift = (as_table(table, dtype) for table in (mean, scale, bias))
    return elementwise.map(
        x,
        dtype,
        out,
        channel_axis=axis,
        center=center,
        scale=scale,
        shift=shift,
        activation=kind,
        alpha=alpha,
        beta=beta,
    )


def local_response_norm(x, size, alpha=1e-4, beta=0.75, k=1.0, *, layout=None, out=None):
    """Divide by the energy of neighbouring channels (Krizhevsky et al., "AlexNet", 2012).

    ``x / (k + alpha * energy) ** beta``, where energy is the mean of x**2 over `size` channels:
    size // 2 before the channel, itself, and (size - 1) // 2 after it; channels beyond the ends
    count as zeros. As in PyTorch alpha multiplies the mean; in the paper, the sum.

    Parameters
    ----------
    x : array_like
        Any real dtype up to float64; integers are computed as floats.
    size : int
        Channels in a window, at least 1.
    alpha, k : float
        Not negative.
    beta : float
        Between -1000 and 1000.
    layout : str, optional
        Which axis holds the channels: "NCHW" (of four axes, or (C, H, W)), "NHWC", and their
        like in 1-D and 3-D. Left out, it is axis 1, for any number of axes.
    out : ndarray, optional
        Where to put the result: x's shape, the result's dtype, any strides.

    Returns
    -------
    ndarray
        Of x's shape, float32 or float64.

    Raises
    ------
    TypeError, ValueError
        When an argument is of the wrong kind or out of range.
    """
    op = "local_response_norm"
    x = as_array(op, "x", x)
    axis = channel_axis(op, x, layout)
    size = integer(op, "size", size, minimum=1)
    alpha = _number(op, "alpha", alpha, 0)
    beta = _number(op, "beta", beta, -LARGEST_EXPONENT, LARGEST_EXPONENT)
    k = _number(op, "k", k, 0)
    dtype = compute_dtype(op, x)
    out = check_out(op, out, x.shape, dtype)
    return elementwise.local_response_norm(x, dtype, axis, size, alpha, beta, k, out)


def dropout(x, p=0.5, training=True, rng=None):
    """Zero a random share `p` of the elements and divide the others by 1 - p.

    The expected value of every element stays (Srivastava et al., 2014). Without `training`
    nothing is dropped.

    Parameters
    ----------
    x : array_like
        Any real dtype up to float64; integers come back as floats.
    p : float
        Probability, between 0 and 1, that an element is dropped.
    training : bool
        False: return x as it is.
    rng : numpy.random.Generator or seed, optional
        An element stays where ``rng.random(x.shape) >= p``. Left out: fresh entropy.

    Returns
    -------
    ndarray
        Of x's shape, float32 or float64. Where nothing is dropped it may share x's memory.
    """
    op = "dropout"
    p = _number(op, "p", p, 0, 1)
    if not flag(op, "training", training):
        x = as_array(op, "x", x)
        return x.astype(compute_dtype(op, x), copy=False)
    return drop(x, p, rng)[0]


def drop(x, p, rng):
    """Do as `dropout` in training; return what stayed, too.

    Returns
    -------
    result : ndarray
    kept : ndarray of bool, or None
        Of x's shape; None if all elements are kept.
    """
    op = "dropout"
    x = as_array(op, "x", x)
    if p == 0:
        return x.astype(compute_dtype(op, x), copy=False), None
    try:
        rng = np.random.default_rng(rng)
    except (TypeError, ValueError):
        raise TypeError(
            f"{op}: rng must be None, a non-negative integer seed or a numpy.random.Generator, "
            f"got {short_repr(rng)}"
        ) from None
    kept = rng.random(x.shape) >= p
    return scale_kept(x, kept, p), kept


def scale_kept(x, kept, p):
    """Return x / (1 - p) where `kept`, an array of bools, is true, and 0 elsewhere."""
    x = as_array("dropout", "x", x)
    dtype = compute_dtype("dropout", x)
    result = elementwise.empty(x.shape, dtype)
    # Zeros first: infinity times a mask of 0 would be NaN.
    result[...] = np.where(kept, x, 0)
    if p < 1:
        result *= dtype.type(1 / (1 - p))
    return result
