"""Gradients of fully connected layers: those of 1-wide convolutions whose batch is the rows."""

import math

from ..functional._check import as_array, conv_geometry
from ..functional.linear import linear
from ._convolutions import conv_bias, weight_gradient


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
    return linear(grad_output, weight.T)


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
    x, dy = _rows(x), _rows(dy)
    shape = (dy.shape[1], x.shape[1])
    geometry = conv_geometry("linear_weight", 1, x.shape, (*shape, 1), 1, 0, 1, 1, "NCW")
    return weight_gradient("linear_weight", geometry, x, dy).reshape(shape)


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
    return conv_bias("linear_bias", 1, _rows(grad_output), "NCW")


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
