"""Gradients of max and average pools.

A pool reads cells of its input through windows; its gradient adds what each window sends back to
the same cells. `np.add.at` does the adding: to the places of the maxima, or to all cells that a
window of positions (*out, *taps) names.
"""

from math import prod

import numpy as np

from fastconv.reference._shapes import (
    as_float,
    channels_first,
    dilated,
    pad_spatial,
    per_axis,
    resolve_padding,
    windows,
)
from fastconv.reference.pool import (
    _OUTSIDE,
    _fitted_windows,
    _positions,
    _stretch,
    _tap_axes,
    avg_pool1d,
    avg_pool2d,
    avg_pool3d,
)

_AVG_POOLS = {1: avg_pool1d, 2: avg_pool2d, 3: avg_pool3d}


def _scatter(input_size, positions, values, nd, layout):
    """Add values, (N, C, *any), to flat places of an array of input_size; _OUTSIDE is left out."""
    out, restore = channels_first(np.zeros(input_size, values.dtype), nd, layout)
    planes = np.zeros((*out.shape[:2], prod(out.shape[2:]) + 1), values.dtype)
    positions = np.broadcast_to(positions, values.shape)
    image, channel = np.ogrid[: out.shape[0], : out.shape[1]]
    spread = (...,) + (None,) * (values.ndim - 2)
    # _OUTSIDE is -1: the extra cell at the end.
    np.add.at(planes, (image[spread], channel[spread], positions), values)
    return restore(planes[..., :-1].reshape(out.shape))


def _max_pool(nd, input_size, indices, grad_output, layout):
    (grad_output,) = as_float(grad_output)
    values, _ = channels_first(grad_output, nd, layout)
    positions, _ = channels_first(np.asarray(indices), nd, layout)
    return _scatter(input_size, positions, values, nd, layout)


def _share(nd, input_size, grad_output, positions, count, layout):
    """Send every window's gradient, divided by count, to its positions (*out, *taps)."""
    (grad_output,) = as_float(grad_output)
    values, _ = channels_first(grad_output, nd, layout)
    values = (values / count)[(...,) + (None,) * nd]
    values = np.broadcast_to(values, values.shape[:-nd] + positions.shape[-nd:])
    return _scatter(input_size, positions, values, nd, layout)


def _avg_pool(
    nd, input_size, grad_output, kernel_size, stride, padding, ceil_mode, count_include_pad,
    divisor_override, layout,
):  # fmt: skip
    in_size = channels_first(np.empty(input_size, bool), nd, layout)[0].shape[2:]
    kernel_size = per_axis(kernel_size, nd)
    stride = kernel_size if stride is None else per_axis(stride, nd)
    asked = resolve_padding(padding, in_size, kernel_size, stride)
    stretched = _stretch(in_size, dilated(kernel_size, (1,) * nd), stride, asked, ceil_mode)
    padded = pad_spatial(_positions(in_size), stretched, _OUTSIDE)
    positions = windows(padded, kernel_size, stride, (1,) * nd)
    # The mean of ones where nothing but the input counts tells how many cells a window has, ...
    if divisor_override is not None:
        count = divisor_override
    else:
        # ... and what is lost when padding counts too is the padding's share.
        inside = (positions != _OUTSIDE).sum(axis=_tap_axes(nd))
        ones = np.ones((1, 1, *in_size), np.float64)
        mean = _AVG_POOLS[nd](ones, kernel_size, stride, asked, ceil_mode, count_include_pad)
        count = np.rint(inside / mean[0, 0])
    return _share(nd, input_size, grad_output, positions, count, layout)


def _adaptive_avg_pool(nd, input_size, grad_output, layout):
    shape = channels_first(np.empty(input_size, bool), nd, layout)[0].shape
    out_size = channels_first(np.asarray(grad_output), nd, layout)[0].shape[2:]
    _, positions = _fitted_windows(np.empty((1, 1, *shape[2:]), bool), out_size, nd)
    count = (positions != _OUTSIDE).sum(axis=_tap_axes(nd))
    return _share(nd, input_size, grad_output, positions, count, layout)


def max_pool2d_input(input_size, indices, grad_output, *, layout="NCHW"):
    """Add each output's gradient at the place of its maximum.

    Parameters
    ----------
    input_size : tuple of int
        Shape of the pool's input.
    indices : ndarray of int
        Places as the pool returns them, h * W + w; -1 for none.
    grad_output : ndarray, shape of indices
    layout : {"NCHW", "NHWC"}

    Returns
    -------
    ndarray of shape input_size
    """
    return _max_pool(2, input_size, indices, grad_output, layout)


def max_pool1d_input(input_size, indices, grad_output, *, layout="NCW"):
    """Do as `max_pool2d_input` along one axis."""
    return _max_pool(1, input_size, indices, grad_output, layout)


def max_pool3d_input(input_size, indices, grad_output, *, layout="NCDHW"):
    """Do as `max_pool2d_input` on volumes."""
    return _max_pool(3, input_size, indices, grad_output, layout)


def avg_pool2d_input(
    input_size, grad_output, kernel_size, stride=None, padding=0, ceil_mode=False,
    count_include_pad=True, divisor_override=None, *, layout="NCHW",
):  # fmt: skip
    """Add each window's gradient, divided by what its sum was divided by, to all its cells.

    Parameters
    ----------
    input_size : tuple of int
        Shape of the pool's input.
    grad_output : ndarray
    kernel_size, stride, padding, ceil_mode, count_include_pad, divisor_override, layout
        As `avg_pool2d` had them.
    """
    return _avg_pool(
        2, input_size, grad_output, kernel_size, stride, padding, ceil_mode, count_include_pad,
        divisor_override, layout,
    )  # fmt: skip


def avg_pool1d_input(
    input_size, grad_output, kernel_size, stride=None, padding=0, ceil_mode=False,
    count_include_pad=True, divisor_override=None, *, layout="NCW",
):  # fmt: skip
    """Do as `avg_pool2d_input` along one axis."""
    return _avg_pool(
        1, input_size, grad_output, kernel_size, stride, padding, ceil_mode, count_include_pad,
        divisor_override, layout,
    )  # fmt: skip


def avg_pool3d_input(
    input_size, grad_output, kernel_size, stride=None, padding=0, ceil_mode=False,
    count_include_pad=True, divisor_override=None, *, layout="NCDHW",
):  # fmt: skip
    """Do as `avg_pool2d_input` on volumes."""
    return _avg_pool(
        3, input_size, grad_output, kernel_size, stride, padding, ceil_mode, count_include_pad,
        divisor_override, layout,
    )  # fmt: skip


def adaptive_avg_pool2d_input(input_size, grad_output, *, layout="NCHW"):
    """Add each fitted window's gradient, divided by its cells, to all of them."""
    return _adaptive_avg_pool(2, input_size, grad_output, layout)


def adaptive_avg_pool1d_input(input_size, grad_output, *, layout="NCW"):
    """Do as `adaptive_avg_pool2d_input` along one axis."""
    return _adaptive_avg_pool(1, input_size, grad_output, layout)


def adaptive_avg_pool3d_input(input_size, grad_output, *, layout="NCDHW"):
    """Do as `adaptive_avg_pool2d_input` on volumes."""
    return _adaptive_avg_pool(3, input_size, grad_output, layout)
