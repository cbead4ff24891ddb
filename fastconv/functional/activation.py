"""Activations and soft maxima: floating arrays of x's shape out of arrays of any shape.

Each function checks its arguments and makes one call into the engine. Integers are computed, and
come back, as floats: float32 up to 16 bits, float64 above. x may have any strides; the result is a
new C-contiguous array, or `out`, which may be x itself. NaN stays NaN. Sigmoid, tanh and silu are
within 3 units in the last place everywhere, results too small for a normal number included.
"""

import math
from numbers import Real
from reprlib import repr as short_repr

from fastconv._engine import elementwise

from ._channels import as_table, channel_axis, channel_values
from ._check import as_array, check_out, compute_dtype, integer, parse_activation

__all__ = [
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


def _activate(op, activation, x, out):
    """Apply `activation`, as the convolutions' argument of that name, to every element."""
    kind, alpha, beta = parse_activation(op, activation)
    x = as_array(op, "x", x)
    dtype = compute_dtype(op, x)
    out = check_out(op, out, x.shape, dtype)
    return elementwise.map(x, dtype, out, activation=kind, alpha=alpha, beta=beta)


def relu(x, *, out=None):
    """Compute max(x, 0).

    Parameters
    ----------
    x : array_like
        Any shape, any real dtype up to float64; integers are computed as floats.
    out : ndarray, optional
        Where to put the result: x's shape, the result's dtype, any strides. May be x.

    Returns
    -------
    ndarray
        Of x's shape, float32 or float64.

    Raises
    ------
    TypeError
        When x is not an array of real numbers, or out has another dtype.
    ValueError
        When out has another shape or is read-only.
    """
    return _activate("relu", "relu", x, out)


def relu6(x, *, out=None):
    """Compute min(max(x, 0), 6) (Howard et al., "MobileNets", 2017).

    Parameters, result and errors are those of `relu`.
    """
    return _activate("relu6", "relu6", x, out)


def leaky_relu(x, negative_slope=0.01, *, out=None):
    """Compute x where it is not negative, ``negative_slope * x`` elsewhere (Maas et al., 2013).

    Parameters
    ----------
    x : array_like
        As for `relu`.
    negative_slope : float
    out : ndarray, optional
        As for `relu`.
    """
    op = "leaky_relu"
    if isinstance(negative_slope, bool) or not isinstance(negative_slope, Real):
        raise TypeError(
            f"{op}: negative_slope must be a number, got {short_repr(negative_slope)}; for one "
            "slope per channel use prelu"
        )
    if math.isnan(negative_slope):
        raise ValueError(f"{op}: negative_slope must be a number, got {negative_slope!r}")
    return _activate(op, ("leaky_relu", negative_slope), x, out)


def prelu(x, weight, *, layout=None, out=None):
    """Do as `leaky_relu` with a learned slope for each channel (He et al., 2015).

    Parameters
    ----------
    x : array_like
        As for `relu`; the result has its floating dtype, whatever that of `weight`.
    weight : array_like, (C,) or (1,) or ()
        Slopes for negative elements, one per channel or one for all.
    layout : str, optional
        Which axis holds the channels: "NCHW" (of four axes, or (C, H, W)), "NHWC", and their
        like in 1-D and 3-D. Left out, it is axis 1, for any number of axes.
    out : ndarray, optional
        As for `relu`.

    Returns
    -------
    ndarray
        Of x's shape, float32 or float64.
    """
    op = "prelu"
    x = as_array(op, "x", x)
    weight = as_array(op, "weight", weight)
    dtype = compute_dtype(op, x)
    out = check_out(op, out, x.shape, dtype)
    axis = -1
    if weight.size == 1 and weight.ndim <= 1:
        if layout is not None:
            channel_axis(op, x, layout)
    else:
        axis = channel_axis(op, x, layout)
        weight = channel_values(op, "weight", weight, x.shape[axis], x)
    return elementwise.map(x, dtype, out, channel_axis=axis, slope=as_table(weight, dtype))


def sigmoid(x, *, out=None):
    """Compute 1 / (1 + exp(-x)).

    Parameters, result and errors are those of `relu`.
    """
    return _activate("sigmoid", "sigmoid", x, out)


def tanh(x, *, out=None):
    """Compute the hyperbolic tangent.

    Parameters, result and errors are those of `relu`.
    """
    return _activate("tanh", "tanh", x, out)


def silu(x, *, out=None):
    """Compute x * sigmoid(x), also called swish (Elfwing et al., 2017). -inf gives NaN.

    Parameters, result and errors are those of `relu`.
    """
    return _activate("silu", "silu", x, out)


def hardsigmoid(x, *, out=None):
    """Compute (x + 3) / 6, kept between 0 and 1 (Howard et al., "MobileNetV3", 2019).

    Parameters, result and errors are those of `relu`.
    """
    return _activate("hardsigmoid", "hardsigmoid", x, out)


def hardswish(x, *, out=None):
    """Compute x * hardsigmoid(x) (Howard et al., "MobileNetV3", 2019). -inf gives NaN.

    Parameters, result and errors are those of `relu`.
    """
    return _activate("hardswish", "hardswish", x, out)


def softmax(x, axis=-1, *, out=None):
    """Compute exp(x) divided by its sum along `axis`.

    The largest element of a line is taken off first, so nothing overflows. A line that holds NaN
    or +inf, or nothing but -inf, gives NaN.

    Parameters
    ----------
    x : array_like
        Any shape; a single number is a line of one.
    axis : int
        Along which the results sum to 1; negative counts from the end.
    out : ndarray, optional
        As for `relu`.

    Returns
    -------
    ndarray
        Of x's shape, float32 or float64.

    Raises
    ------
    TypeError
        As `relu`, and when axis is not an int.
    ValueError
        As `relu`, and when x has no such axis.
    """
    return _softmax("softmax", x, axis, out, logarithm=False)


def log_softmax(x, axis=-1, *, out=None):
    """Compute the logarithm of `softmax`, without passing through values that round to 0.

    Parameters, result and errors are those of `softmax`.
    """
    return _softmax("log_softmax", x, axis, out, logarithm=True)


def _softmax(op, x, axis, out, logarithm):
    x = as_array(op, "x", x)
    axes = max(x.ndim, 1)
    index = integer(op, "axis", axis, minimum=-(2**31))
    if not -axes <= index < axes:
        raise ValueError(
            f"{op}: axis must be between {-axes} and {axes - 1} (x.shape={x.shape}), got {index}"
        )
    dtype = compute_dtype(op, x)
    out = check_out(op, out, x.shape, dtype)
    if x.ndim:
        return elementwise.softmax(x, dtype, index % axes, logarithm, out)
    result = elementwise.softmax(x[None], dtype, 0, logarithm)[0, ...]
    if out is None:
        return result
    out[...] = result
    return out
