"""Gradients of convolutions, as definitions: the adjoints of the windows that they read.

With the windows of x written as ``taps`` (N, C, *out, *kernel), a convolution is
``y[n, k, o] = sum over c, t of taps[n, c, o, t] * weight[k, c, t]``; hence

    d weight[k, c, t]  = sum over n, o of dy[n, k, o] * taps[n, c, o, t]
    d taps[n, c, o, t] = sum over k of dy[n, k, o] * weight[k, c, t]

and the gradient of x adds each window back where it came from. The number of spatial axes is that
of the weight; arrays are channels first, or last with ``layout`` ending in "C".
"""

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


def _axes(size, kernel_size, stride, padding, dilation):
    """Stride, (before, after) pads and dilation of every axis."""
    nd = len(kernel_size)
    stride, dilation = per_axis(stride, nd), per_axis(dilation, nd)
    extent = dilated(kernel_size, dilation)
    return stride, resolve_padding(padding, size, extent, stride), dilation


def _letters(nd):
    """Subscripts of the output's and the kernel's axes."""
    return "opq"[:nd], "rst"[:nd]


def conv_input(
    input_size, weight, grad_output, stride=1, padding=0, dilation=1, groups=1, *, layout
):
    """Gradient of a convolution with respect to its input.

    Parameters
    ----------
    input_size : tuple of int, (N, C, *in) in the layout
    weight : array_like, (K, C / groups, *kernel)
    grad_output : array_like, (N, K, *out) in the layout
    stride, padding, dilation, groups
        As in `reference.conv2d`.
    layout : str

    Returns
    -------
    ndarray, of shape `input_size`
    """
    weight, dy = as_float(weight, grad_output)
    nd = weight.ndim - 2
    dy, restore = channels_first(dy, nd, layout)
    c = weight.shape[1]
    batch = input_size[: len(input_size) - nd - 1]
    size = input_size[len(batch) : -1] if layout.endswith("C") else input_size[-nd:]
    stride, padding, dilation = _axes(size, weight.shape[2:], stride, padding, dilation)
    padded = pad_spatial(np.zeros((len(dy), c * groups, *size), dy.dtype), padding)

    # Windows overlap, so no single indexed assignment can add them; the cells of one tap do not.
    places = windows(padded, weight.shape[2:], stride, dilation, writeable=True)
    dy = dy.reshape(len(dy), groups, dy.shape[1] // groups, *dy.shape[2:])
    weight = weight.reshape(groups, -1, *weight.shape[1:])
    for tap in np.ndindex(*weight.shape[3:]):
        part = np.einsum("ngk...,gkc->ngc...", dy, weight[(..., *tap)])
        places[(..., *tap)] += part.reshape(len(dy), c * groups, *dy.shape[3:])
    inside = (slice(before, before + n) for n, (before, _) in zip(size, padding, strict=True))
    return restore(padded[(..., *inside)])


def conv_weight(
    input, weight_size, grad_output, stride=1, padding=0, dilation=1, groups=1, *, layout
):
    """Gradient of a convolution with respect to its weight.

    Parameters
    ----------
    input : array_like, (N, C, *in) in the layout
    weight_size : tuple of int, (K, C / groups, *kernel)
    grad_output : array_like, (N, K, *out) in the layout
    stride, padding, dilation, groups, layout
        As in `conv_input`.

    Returns
    -------
    ndarray, of shape `weight_size`
    """
    x, dy = as_float(input, grad_output)
    nd = len(weight_size) - 2
    x, dy = channels_first(x, nd, layout)[0], channels_first(dy, nd, layout)[0]
    stride, padding, dilation = _axes(x.shape[2:], weight_size[2:], stride, padding, dilation)
    taps = windows(pad_spatial(x, padding), weight_size[2:], stride, dilation)
    taps = taps[(slice(None), slice(None), *map(slice, dy.shape[2:]))]
    taps = taps.reshape(len(x), groups, weight_size[1], *taps.shape[2:])
    dy = dy.reshape(len(dy), groups, dy.shape[1] // groups, *dy.shape[2:])
    out, kernel = _letters(nd)
    terms = f"ngc{out}{kernel},ngk{out}->gkc{kernel}"
    return np.einsum(terms, taps, dy, optimize=True).reshape(weight_size)
