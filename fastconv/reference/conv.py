"""Convolutions, transposed convolutions and the fully connected layer, as definitions.

A convolution is a product: every place of the kernel gives one row, the input cells under it,
and every output channel one column of weights::

    x (N, C, *in) --pad, windows--> (N, C, *out, *kernel) --product for each group--> (N, K, *out)

A transposed convolution is the same product after its input has been spread out with zeros. In
both the kernel is not flipped (correlation), as in PyTorch; then come bias, residual, activation.
"""

from math import prod

import numpy as np

from fastconv.reference._shapes import (
    along,
    as_float,
    channels_first,
    dilated,
    pad_spatial,
    per_axis,
    resolve_padding,
    windows,
)
from fastconv.reference.activation import apply_activation


def _correlate(x, weight, stride: tuple, dilation: tuple, groups: int) -> np.ndarray:
    """Correlate (N, C, *in), already padded, with (K, C/groups, *kernel) to (N, K, *out)."""
    n, k, nd = x.shape[0], weight.shape[0], x.ndim - 2
    taps = windows(x, weight.shape[2:], stride, dilation)
    out_size = taps.shape[2 : 2 + nd]

    # One row for each output pixel, one column for each product of its sum; groups in front.
    taps = taps.reshape(n, groups, weight.shape[1], *taps.shape[2:])
    batch, group, channel, *spatial = range(taps.ndim)
    taps = taps.transpose(group, batch, *spatial[:nd], channel, *spatial[nd:])
    products = prod(weight.shape[1:])
    rows = taps.reshape(groups, n * prod(out_size), products)

    sums = rows @ weight.reshape(groups, k // groups, products).transpose(0, 2, 1)
    sums = sums.reshape(groups, n, *out_size, k // groups)
    return np.moveaxis(sums, (1, 0, -1), (0, 1, 2)).reshape(n, k, *out_size)


def _spread(x: np.ndarray, stride: tuple) -> np.ndarray:
    """Put ``stride - 1`` zeros between neighbouring cells of (N, C, *in)."""
    size = tuple((n - 1) * s + 1 for n, s in zip(x.shape[2:], stride, strict=True))
    spread = np.zeros(x.shape[:2] + size, x.dtype)
    steps: tuple = (..., *(slice(None, None, s) for s in stride))
    spread[steps] = x
    return spread


def _finish(y, bias, activation, residual, restore) -> np.ndarray:
    """Bring (N, K, *out) into the caller's layout, adding bias and residual, then activate."""
    if bias is not None:
        y = y + along(1, y.ndim, np.asarray(bias, y.dtype))
    y = restore(y)
    if residual is not None:
        y = y + np.asarray(residual, y.dtype)
    return apply_activation(y, activation)


def _conv(
    nd, x, weight, bias, stride, padding, dilation, groups, layout, activation, residual
) -> np.ndarray:
    x, weight = as_float(x, weight)
    x, restore = channels_first(x, nd, layout)
    if weight.ndim == nd:
        weight = weight[None, None]
    stride, dilation = per_axis(stride, nd), per_axis(dilation, nd)
    extent = dilated(weight.shape[2:], dilation)
    padding = resolve_padding(padding, x.shape[2:], extent, stride)
    y = _correlate(pad_spatial(x, padding), weight, stride, dilation, groups)
    return _finish(y, bias, activation, residual, restore)


def _conv_transpose(
    nd, x, weight, bias, stride, padding, output_padding, groups, dilation, layout, activation,
    residual,
) -> np.ndarray:  # fmt: skip
    x, weight = as_float(x, weight)
    x, restore = channels_first(x, nd, layout)
    if weight.ndim == nd:
        weight = weight[None, None]
    c, k_group, *kernel_size = weight.shape
    stride, dilation = per_axis(stride, nd), per_axis(dilation, nd)
    output_padding = per_axis(output_padding, nd)
    extent = dilated(kernel_size, dilation)
    padding = resolve_padding(padding, x.shape[2:], extent, stride)

    # The weights of the matching convolution: input and output channels change places within
    # each group, and the kernel is turned round because it now gathers what it used to scatter.
    weight = weight.reshape(groups, c // groups, k_group, *kernel_size).swapaxes(1, 2)
    weight = weight.reshape(groups * k_group, c // groups, *kernel_size)
    weight = np.flip(weight, axis=tuple(range(2, 2 + nd)))

    around = tuple((e - 1, e - 1 + op) for e, op in zip(extent, output_padding, strict=True))
    full = _correlate(pad_spatial(_spread(x, stride), around), weight, (1,) * nd, dilation, groups)
    sizes = zip(padding, full.shape[2:], strict=True)
    crop: tuple = (..., *(slice(before, size - after) for (before, after), size in sizes))
    return _finish(full[crop], bias, activation, residual, restore)


def conv2d(
    x, weight, bias=None, stride=1, padding=0, dilation=1, groups=1, *, layout="NCHW",
    activation=None, residual=None,
):  # fmt: skip
    """Convolve pictures with a bank of kernels.

    ``y[n, k, p, q] = activation(sum over c, r, s of x[n, c, h, w] * weight[k, c, r, s] + bias[k] +
    residual[n, k, p, q])`` with ``h = p * stride - pad + r * dilation``, likewise w. x is zero
    outside its edges, and c runs over the channels of k's group.

    Parameters
    ----------
    x : array_like, (N, C, H, W), or (N, H, W, C) with ``layout="NHWC"``
        The batch axis may be missing. A 2-D x with a 2-D weight is one channel.
    weight : array_like, (K, C / groups, R, S)
        In every layout.
    bias : array_like, (K,), optional
    stride, dilation : int or (int, int)
    padding : int, (int, int), ((top, bottom), (left, right)), "same" or "valid"
        "same" gives out = ceil(in / stride) with the odd row or column at the end.
    groups : int
        Divides C and K; each block of K / groups channels sees its own C / groups.
    layout : {"NCHW", "NHWC"}
    activation : str or tuple, optional
        "relu", "relu6", "leaky_relu", ("leaky_relu", slope), ("clip", lo, hi), "sigmoid",
        "tanh", "silu", "hardsigmoid" or "hardswish".
    residual : array_like, shape of the result, optional

    Returns
    -------
    ndarray, (N, K, P, Q) in the layout of x, dtype ``np.result_type(x, weight, np.float32)``
    """
    return _conv(
        2, x, weight, bias, stride, padding, dilation, groups, layout, activation, residual
    )


def conv1d(
    x, weight, bias=None, stride=1, padding=0, dilation=1, groups=1, *, layout="NCW",
    activation=None, residual=None,
):  # fmt: skip
    """Do as `conv2d` along one axis: x (N, C, W) or (N, W, C), weight (K, C / groups, S)."""
    return _conv(
        1, x, weight, bias, stride, padding, dilation, groups, layout, activation, residual
    )


def conv3d(
    x, weight, bias=None, stride=1, padding=0, dilation=1, groups=1, *, layout="NCDHW",
    activation=None, residual=None,
):  # fmt: skip
    """Do as `conv2d` on volumes: x (N, C, D, H, W) or (N, D, H, W, C), weight (K, C / groups,
    T, R, S).
    """
    return _conv(
        3, x, weight, bias, stride, padding, dilation, groups, layout, activation, residual
    )


def conv_transpose2d(
    x, weight, bias=None, stride=1, padding=0, output_padding=0, groups=1, dilation=1, *,
    layout="NCHW", activation=None, residual=None,
):  # fmt: skip
    """Scatter every pixel of x, times a kernel, into a larger picture: the adjoint of `conv2d`.

    Each x[n, c, h, w] adds ``x[n, c, h, w] * weight[c, k, r, s]`` to the cell
    ``(h * stride - pad + r * dilation, w * stride - pad + s * dilation)`` of y[n, k].

    Parameters
    ----------
    x : array_like, (N, C, H, W), or (N, H, W, C) with ``layout="NHWC"``
        The batch axis may be missing. A 2-D x with a 2-D weight is one channel.
    weight : array_like, (C, K / groups, R, S)
        In every layout.
    bias : array_like, (K,), optional
    stride, dilation : int or (int, int)
    padding : int, (int, int) or ((top, bottom), (left, right))
        Rows and columns taken off the edges of the result.
    output_padding : int or (int, int)
        Rows and columns added at the end of the result.
    groups, layout, activation, residual
        As in `conv2d`.

    Returns
    -------
    ndarray, (N, K, P, Q) in the layout of x, where
        P = (H - 1) * stride - top - bottom + dilation * (R - 1) + output_padding + 1.
    """
    return _conv_transpose(
        2, x, weight, bias, stride, padding, output_padding, groups, dilation, layout, activation,
        residual,
    )  # fmt: skip


def conv_transpose1d(
    x, weight, bias=None, stride=1, padding=0, output_padding=0, groups=1, dilation=1, *,
    layout="NCW", activation=None, residual=None,
):  # fmt: skip
    """Do as `conv_transpose2d` along one axis: weight (C, K / groups, S)."""
    return _conv_transpose(
        1, x, weight, bias, stride, padding, output_padding, groups, dilation, layout, activation,
        residual,
    )  # fmt: skip


def conv_transpose3d(
    x, weight, bias=None, stride=1, padding=0, output_padding=0, groups=1, dilation=1, *,
    layout="NCDHW", activation=None, residual=None,
):  # fmt: skip
    """Do as `conv_transpose2d` on volumes: weight (C, K / groups, T, R, S)."""
    return _conv_transpose(
        3, x, weight, bias, stride, padding, output_padding, groups, dilation, layout, activation,
        residual,
    )  # fmt: skip


def linear(x, weight, bias=None, *, activation=None, residual=None):
    """Multiply the last axis of x (..., C) by weight (K, C), as a fully connected layer does.

    Returns
    -------
    ndarray, (..., K)
        ``activation(x @ weight.T + bias + residual)``.
    """
    x, weight = as_float(x, weight)
    y = x @ weight.T
    if bias is not None:
        y = y + np.asarray(bias, y.dtype)
    if residual is not None:
        y = y + np.asarray(residual, y.dtype)
    return apply_activation(y, activation)
