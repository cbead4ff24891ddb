"""Gradients of fully connected layers: those of 1-wide convolutions whose batch is the rows."""

import math

import numpy as np

from .._engine import channel_sums
from ..functional._check import as_array, compute_dtype
from ._convolutions import product


def linear_input(weight, grad_output):
    """Gradient of `linear` with respect to its input, ``grad_output @ weight``.

    Parameters
    ----------
    weight : array_like, shape (out_features, in_features)
    grad_output : array_like, shape (..., out_features)

    Returns
    -------
    ndarray, shape (..., in_features)
    """
    weight = as_array("linear_input", "weight", weight)
    if weight.ndim != 2:
        raise ValueError(
            "linear_input: weight must have shape (out_features, in_features), "
            f"got weight.shape={weight.shape}"
        )
    grad_output = _check_features("linear_input", "grad_output", grad_output, weight.shape[0])
    rows = _rows(grad_output)[:, :, 0]
    shape = (*grad_output.shape[:-1], weight.shape[1])
    if 0 in shape:
        return np.zeros(shape, compute_dtype("linear_input", weight, grad_output))
    # The sums run over out_features, so these are the pixels: the weight is packed as it lies.
    return product("linear_input", rows.T, weight, transposed=True).reshape(shape)


def linear_weight(input, grad_output):
    """Gradient of `linear` with respect to its weight: sums over rows of grad_output times input.

    Parameters
    ----------
    input : array_like, shape (..., in_features)
    grad_output : array_like, shape (..., out_features)

    Returns
    -------
    ndarray, shape (out_features, in_features)
    """
    x = _check_features("linear_weight", "input", input)
    dy = _check_features("linear_weight", "grad_output", grad_output)
    if x.shape[:-1] != dy.shape[:-1]:
        raise ValueError(
            "linear_weight: grad_output must have the rows of input, "
            f"got input.shape={x.shape}, grad_output.shape={dy.shape}"
        )
    return product("linear_weight", _rows(x)[:, :, 0], _rows(dy)[:, :, 0])


def linear_bias(grad_output):
    """Gradient of `linear` with respect to its bias: sums over rows.

    Parameters
    ----------
    grad_output : array_like, shape (..., out_features)

    Returns
    -------
    ndarray, shape (out_features,)
    """
    grad_output = _check_features("linear_bias", "grad_output", grad_output)
    dtype = compute_dtype("linear_bias", grad_output)
    return channel_sums.sums(grad_output, dtype, grad_output.ndim - 1).astype(dtype)


def _check_features(op, name, array, features=None):
    array = as_array(op, name, array)
    expected = "features" if features is None else features
    if array.ndim == 0 or array.shape[-1] == 0 or features not in (None, array.shape[-1]):
        raise ValueError(
            f"{op}: {name} must have shape (..., {expected}), got {name}.shape={array.shape}"
        )
    return array


def _rows(array):
    """Rows of features as signals of one sample: (rows, features, 1)."""
    return array.reshape(math.prod(array.shape[:-1]), array.shape[-1], 1)
