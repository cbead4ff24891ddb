"""Convolution as one matrix product, the way courses teach it, and as fast as NumPy can do it.

`im2col` writes every window of the input as a column, `col2im` is its adjoint (it adds the
columns back where they came from), and ``weight.reshape(K, -1) @ im2col(x)`` is the convolution::

    x (N, C, H, W) --im2col--> (N, C*R*S, P*Q) --weight (K, C*R*S) @--> (N, K, P*Q) = y

`conv2d_blas` does the same in strips of output rows, so that the columns of a strip are still in
cache when the product reads them, and memory stays bounded. It is the baseline that the
benchmarks race against; NumPy's BLAS brings its own threads.
"""

from collections.abc import Iterator
from itertools import pairwise
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

# A strip has about so many bytes of columns, to stay in a second-level cache, but never fewer
# than _WEIGHT_SHARE times the weights, which BLAS reads and packs again for every strip.
_STRIP_BYTES = 2 * 2**20
_WEIGHT_SHARE = 4


def _geometry(in_size, kernel_size, stride, padding, dilation):
    """Return kernel size, stride, (before, after) pads and dilation for each of two axes."""
    kernel_size, stride, dilation = (per_axis(v, 2) for v in (kernel_size, stride, dilation))
    extent = dilated(kernel_size, dilation)
    return kernel_size, stride, resolve_padding(padding, in_size, extent, stride), dilation


def im2col(x, kernel_size, stride=1, padding=0, dilation=1):
    """Write each window of x as a column; PyTorch's ``unfold``.

    Parameters
    ----------
    x : array_like, (N, C, H, W) or (C, H, W)
    kernel_size, stride, dilation : int or (int, int)
    padding : int, (int, int), ((top, bottom), (left, right)), "same" or "valid"

    Returns
    -------
    ndarray, (N, C * R * S, P * Q) or (C * R * S, P * Q)
        A column for each place of the window, in the order (c, r, s).
    """
    (x,) = as_float(x)
    kernel_size, stride, padding, dilation = _geometry(
        x.shape[-2:], kernel_size, stride, padding, dilation
    )
    taps = windows(pad_spatial(x, padding), kernel_size, stride, dilation)
    *batch, c, p, q, r, s = taps.shape
    return np.moveaxis(taps, (-2, -1), (-4, -3)).reshape(*batch, c * r * s, p * q)


def col2im(columns, output_size, kernel_size, stride=1, padding=0, dilation=1):
    """Add each column back into its window: the adjoint of `im2col`, PyTorch's ``fold``.

    Parameters
    ----------
    columns : array_like, (N, C * R * S, P * Q) or (C * R * S, P * Q)
    output_size : (int, int)
        H and W of the result.
    kernel_size, stride, padding, dilation
        As given to `im2col`.

    Returns
    -------
    ndarray, (N, C, H, W) or (C, H, W)
    """
    (columns,) = as_float(columns)
    (height, width) = output_size
    (r, s), stride, padding, dilation = _geometry(
        output_size, kernel_size, stride, padding, dilation
    )
    (top, bottom), (left, right) = padding
    *batch, rows, _ = columns.shape
    c = rows // (r * s)
    padded = np.zeros((*batch, c, top + height + bottom, left + width + right), columns.dtype)

    # Windows overlap, so no single indexed assignment can add them; the cells of one tap do not.
    places = windows(padded, (r, s), stride, dilation, writeable=True)
    columns = columns.reshape(*batch, c, r, s, *places.shape[-4:-2])
    for i, j in np.ndindex(r, s):
        places[..., i, j] += columns[..., i, j, :, :]
    return np.ascontiguousarray(padded[..., top : top + height, left : left + width])


def conv2d_blas(x, weight, bias=None, stride=1, padding=0, dilation=1, groups=1, *, layout="NCHW"):
    """Convolve as `reference.conv2d` does, as fast as NumPy can: im2col and BLAS, in strips.

    Parameters
    ----------
    x : array_like, (N, C, H, W), or (N, H, W, C) with ``layout="NHWC"``
        The batch axis may be missing.
    weight : array_like, (K, C / groups, R, S)
        With "NHWC" best a transposed view of (K, R, S, C / groups) memory, which needs no copy.
    bias, stride, padding, dilation, groups, layout
        As in `conv2d`.

    Returns
    -------
    ndarray, (N, K, P, Q) in the layout of x, dtype ``np.result_type(x, weight, np.float32)``
    """
    x, weight = as_float(x, weight)
    x, restore = channels_first(x, 2, layout)
    kernel_size, stride, padding, dilation = _geometry(
        x.shape[2:], weight.shape[2:], stride, padding, dilation
    )
    taps = windows(pad_spatial(x, padding), kernel_size, stride, dilation)
    if not layout.endswith("C"):
        y = _strips_channels_first(taps, weight, groups)
    elif weight.shape[1] > 1:
        y = _strips_channels_last(taps, weight, groups)
    else:
        y = _depthwise_channels_last(taps, weight)
    if bias is not None:
        y += np.asarray(bias, y.dtype)[:, None, None]
    return restore(y)


def _strips(taps: np.ndarray, weight: np.ndarray) -> Iterator[tuple[int, slice, slice]]:
    """Cut the output rows into strips of about equal height.

    Parameters
    ----------
    taps : ndarray, (N, C, P, Q, R, S)
    weight : ndarray, (K, C / groups, R, S)

    Yields
    ------
    image : int
    rows : slice of the P output rows
    pixels : slice of the P * Q output pixels
    """
    n, c, p, q, r, s = taps.shape
    row_bytes = max(c * q * r * s * taps.itemsize, 1)
    height = max(max(_STRIP_BYTES, _WEIGHT_SHARE * weight.nbytes) // row_bytes, 1)
    count = -(-p // height)
    edges = [i * p // count for i in range(count + 1)]
    for image in range(n):
        for first, last in pairwise(edges):
            yield image, slice(first, last), slice(first * q, last * q)


def _strips_channels_first(taps, weight, groups) -> np.ndarray:
    """Multiply weights (K, C*R*S) by columns (C*R*S, pixels), group by group."""
    n, _, p, q, _, _ = taps.shape
    k, products = weight.shape[0], prod(weight.shape[1:])
    weights = weight.reshape(groups, k // groups, products)
    y = np.empty((n, groups, k // groups, p * q), taps.dtype)
    places = np.moveaxis(taps, (4, 5), (2, 3))  # (N, C, R, S, P, Q)
    for image, rows, pixels in _strips(taps, weight):
        columns = places[image, ..., rows, :].reshape(groups, products, pixels.stop - pixels.start)
        np.matmul(weights, columns, out=y[image, :, :, pixels])
    return y.reshape(n, k, p, q)


def _strips_channels_last(taps, weight, groups) -> np.ndarray:
    """Multiply rows (pixels, R*S*C) by weights (R*S*C, K), group by group."""
    n, c, p, q, r, s = taps.shape
    k, products = weight.shape[0], prod(weight.shape[1:])
    weights = weight.transpose(0, 2, 3, 1).reshape(groups, k // groups, products).swapaxes(1, 2)
    y = np.empty((n, p * q, groups, k // groups), taps.dtype)
    places = taps.reshape(n, groups, c // groups, p, q, r, s)
    places = np.moveaxis(places, 2, -1)  # (N, G, P, Q, R, S, C / G)
    for image, rows, pixels in _strips(taps, weight):
        matrix = places[image, :, rows].reshape(groups, pixels.stop - pixels.start, products)
        np.matmul(matrix, weights, out=y[image, pixels].swapaxes(0, 1))
    return y.reshape(n, p, q, k).transpose(0, 3, 1, 2)


def _depthwise_channels_last(taps, weight) -> np.ndarray:
    """Add scaled taps: with one channel a group, BLAS would see matrices one column wide."""
    n, c, p, q, r, s = taps.shape
    weights = np.moveaxis(weight.reshape(c, -1, r, s), (2, 3), (0, 1))  # (R, S, C, K / C)
    places = taps.transpose(4, 5, 0, 2, 3, 1)[..., None]  # (R, S, N, P, Q, C, 1)
    y = np.zeros((n, p, q, *weights.shape[2:]), taps.dtype)
    term = np.empty_like(y)
    for tap in np.ndindex(r, s):
        y += np.multiply(places[tap], weights[tap], out=term)
    return y.reshape(n, p, q, weight.shape[0]).transpose(0, 3, 1, 2)
