"""Fully connected layers: 1-wide convolutions whose batch is the rows of x."""

import math

from ..config import check_precision
from ._check import (
    as_array,
    check_bias,
    check_out,
    check_residual,
    compute_dtype,
    parse_activation,
)
from ._convolve import convolve
from .conv import prepare_conv


def linear(x, weight, bias=None, *, precision=None, activation=None, residual=None, out=None):
    """Apply ``x @ weight.T + bias``, as PyTorch's linear.

    Integer arrays give floating results, as in `conv2d`.

    Parameters
    ----------
    x : array_like, shape (..., in_features)
    weight : array_like, shape (out_features, in_features)
    bias : array_like, shape (out_features,), optional
    precision, activation, residual
        As in `conv2d`.
    out : ndarray, shape (..., out_features), optional

    Returns
    -------
    ndarray, shape (..., out_features)
    """
    x, weight = _check_operands(x, weight)
    shape = (*x.shape[:-1], weight.shape[0])
    _check_extras(weight, bias, precision, activation)
    check_out("linear", out, shape, compute_dtype("linear", x, weight))
    residual = check_residual("linear", residual, shape)
    if residual is not None:
        residual = _rows(residual)
    arguments = (1, 0, 1, 1, "NCW", "auto", activation)
    result = convolve("conv1d", _rows(x), weight[:, :, None], bias, residual, None, precision,
                      arguments)
    if out is None:
        return result.reshape(shape)
    out[...] = result.reshape(shape)
    return out


def prepare_linear(weight, bias=None, *, precision=None, activation=None):
    """Make a fully connected layer with fixed weights, packed on first use.

    Parameters
    ----------
    weight, bias, precision, activation
        As in `linear`; the arrays must not be changed afterwards.

    Returns
    -------
    callable
        ``op(x)`` applies it to rows of features.
    """
    weight = _check_weight(as_array("linear", "weight", weight))
    _check_extras(weight, bias, precision, activation)
    op = prepare_conv(weight[:, :, None], bias, precision=precision, activation=activation)

    def apply(x):
        rows, _ = _check_operands(x, weight)
        return op(_rows(rows)).reshape(*rows.shape[:-1], weight.shape[0])

    return apply


def _check_weight(weight):
    if weight.ndim != 2:
        raise ValueError(
            "linear: weight must have shape (out_features, in_features), "
            f"got weight.shape={weight.shape}"
        )
    return weight


def _check_extras(weight, bias, precision, activation):
    """Check in the name of linear what `convolve` would check in that of conv1d."""
    check_bias("linear", bias, weight.shape[0])
    parse_activation("linear", activation)
    if precision is not None:
        check_precision("linear", precision)


def _check_operands(x, weight):
    x, weight = as_array("linear", "x", x), _check_weight(as_array("linear", "weight", weight))
    if x.ndim == 0 or x.shape[-1] != weight.shape[1]:
        raise ValueError(
            f"linear: x must have shape (..., {weight.shape[1]}), the weight's in_features "
            f"(weight.shape={weight.shape}), got x.shape={x.shape}"
        )
    return x, weight


def _rows(x):
    """Rows of features as pictures of one pixel: (rows, features, 1)."""
    return x.reshape(math.prod(x.shape[:-1]), x.shape[-1], 1)
