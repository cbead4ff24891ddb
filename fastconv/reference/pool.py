"""Max and average pooling, with fixed windows and with windows fitted to a wanted size.

Every pool looks at windows (N, C, *out, *taps) of its input and reduces the taps. Fixed windows
are a strided view of the padded input; fitted (adaptive) windows differ in length, so they are
gathered through an array of positions and a mask. Maxima can also tell where they were found, as
positions in the flattened spatial axes of the unpadded input.
"""

from math import prod

import numpy as np

from fastconv.reference._shapes import (
    Pairs,
    as_float,
    channels_first,
    dilated,
    pad_spatial,
    per_axis,
    resolve_padding,
    windows,
)

# Position of a cell that lies outside the input.
_OUTSIDE = -1


def _output_size(size: int, extent: int, stride: int, before: int, after: int, ceil_mode) -> int:
    """Count the windows along one axis by PyTorch's rule.

    With ``ceil_mode`` a last window may overhang the end, but only if it starts inside the input
    or the padding before it.
    """
    room = size + before + after - extent
    if not ceil_mode:
        return room // stride + 1
    out = -(-room // stride) + 1
    return out - ((out - 1) * stride >= size + before)


def _stretch(in_size, extent, stride, padding: Pairs, ceil_mode) -> Pairs:
    """Lengthen the padding at the end until the last window fits."""
    axes = zip(in_size, extent, stride, padding, strict=True)
    needed = (
        (before, after, (_output_size(n, e, s, before, after, ceil_mode) - 1) * s + e - n - before)
        for n, e, s, (before, after) in axes
    )
    return tuple((before, max(after, enough)) for before, after, enough in needed)


def _positions(in_size: tuple) -> np.ndarray:
    """Number the cells of the spatial axes in C order."""
    return np.arange(prod(in_size)).reshape(in_size)


def _argmax(cells: np.ndarray, positions: np.ndarray, nd: int) -> np.ndarray:
    """Find the position of the maximum of every window, by PyTorch's rule.

    The first of equals wins, but the last NaN. Cells marked outside never win; a window with
    nothing inside gives `_OUTSIDE`.

    Parameters
    ----------
    cells : ndarray, (N, C, *out, *taps)
    positions : ndarray of int, (*out, *taps)
    nd : int
        Number of spatial axes.
    """
    cells = cells.reshape(*cells.shape[:-nd], prod(cells.shape[-nd:]))
    positions = positions.reshape(*positions.shape[:-nd], cells.shape[-1])
    best = cells.max(axis=-1, keepdims=True)
    winners = ((cells == best) | np.isnan(cells)) & (positions != _OUTSIDE)
    first = winners.argmax(axis=-1)
    last = winners.shape[-1] - 1 - winners[..., ::-1].argmax(axis=-1)
    tap = np.where(np.isnan(best[..., 0]), last, first)
    positions = np.broadcast_to(positions, cells.shape)
    return np.take_along_axis(positions, tap[..., None], axis=-1)[..., 0]


def _tap_axes(nd: int) -> tuple:
    return tuple(range(-nd, 0))


# --- fixed windows -----------------------------------------------------------------------------


def _max_pool(nd, x, kernel_size, stride, padding, dilation, ceil_mode, return_indices, layout):
    (x,) = as_float(x)
    x, restore = channels_first(x, nd, layout)
    kernel_size = per_axis(kernel_size, nd)
    stride = kernel_size if stride is None else per_axis(stride, nd)
    dilation = per_axis(dilation, nd)
    in_size, extent = x.shape[2:], dilated(kernel_size, dilation)
    padding = resolve_padding(padding, in_size, extent, stride)
    padding = _stretch(in_size, extent, stride, padding, ceil_mode)

    def taps(cells, outside):
        return windows(pad_spatial(cells, padding, outside), kernel_size, stride, dilation)

    cells = taps(x, -np.inf)
    y = restore(cells.max(axis=_tap_axes(nd)))
    if not return_indices:
        return y
    return y, restore(_argmax(cells, taps(_positions(in_size), _OUTSIDE), nd))


def _avg_pool(
    nd, x, kernel_size, stride, padding, ceil_mode, count_include_pad, divisor_override, layout
):
    (x,) = as_float(x)
    x, restore = channels_first(x, nd, layout)
    kernel_size = per_axis(kernel_size, nd)
    stride = kernel_size if stride is None else per_axis(stride, nd)
    in_size = x.shape[2:]
    asked = resolve_padding(padding, in_size, kernel_size, stride)
    stretched = _stretch(in_size, kernel_size, stride, asked, ceil_mode)

    def sums(cells, padding):
        taps = windows(pad_spatial(cells, padding), kernel_size, stride, (1,) * nd)
        return taps.sum(axis=_tap_axes(nd))

    if divisor_override is not None:
        divisor = divisor_override
    else:
        # What counts is 1: the input and, if wanted, the padding that was asked for, but never
        # what ceil_mode added to it.
        counted = np.ones(in_size, x.dtype)
        counted = pad_spatial(counted, asked, 1.0 if count_include_pad else 0.0)
        added = tuple(
            (0, after - wanted) for (_, after), (_, wanted) in zip(stretched, asked, strict=True)
        )
        divisor = np.maximum(sums(counted, added), 1)
    return restore(sums(x, stretched) / divisor)


def max_pool2d(
    x, kernel_size, stride=None, padding=0, dilation=1, ceil_mode=False, return_indices=False, *,
    layout="NCHW",
):  # fmt: skip
    """Take the maximum of every window.

    Parameters
    ----------
    x : array_like, (N, C, H, W), or (N, H, W, C) with ``layout="NHWC"``
        The batch axis may be missing.
    kernel_size, dilation : int or (int, int)
    stride : int or (int, int), optional
        Left out, it is the kernel size.
    padding : int, (int, int), ((top, bottom), (left, right)), "same" or "valid"
        Cells of -inf around x.
    ceil_mode : bool
        Let a last window overhang the end, if it starts inside x or the padding before it.
    return_indices : bool
        Return also where each maximum was found.
    layout : {"NCHW", "NHWC"}

    Returns
    -------
    y : ndarray, (N, C, P, Q) in the layout of x, dtype ``np.result_type(x, np.float32)``
        NaN wherever the window holds one.
    indices : ndarray of int64, shape of y
        h * W + w; the first of equal maxima, the last of several NaN. Only if asked for.
    """
    return _max_pool(
        2, x, kernel_size, stride, padding, dilation, ceil_mode, return_indices, layout
    )


def max_pool1d(
    x, kernel_size, stride=None, padding=0, dilation=1, ceil_mode=False, return_indices=False, *,
    layout="NCW",
):  # fmt: skip
    """Do as `max_pool2d` along one axis; indices are w."""
    return _max_pool(
        1, x, kernel_size, stride, padding, dilation, ceil_mode, return_indices, layout
    )


def max_pool3d(
    x, kernel_size, stride=None, padding=0, dilation=1, ceil_mode=False, return_indices=False, *,
    layout="NCDHW",
):  # fmt: skip
    """Do as `max_pool2d` on volumes; indices are (d * H + h) * W + w."""
    return _max_pool(
        3, x, kernel_size, stride, padding, dilation, ceil_mode, return_indices, layout
    )


def avg_pool2d(
    x, kernel_size, stride=None, padding=0, ceil_mode=False, count_include_pad=True,
    divisor_override=None, *, layout="NCHW",
):  # fmt: skip
    """Take the mean of every window.

    Parameters
    ----------
    x, kernel_size, stride, ceil_mode, layout
        As in `max_pool2d`.
    padding : int, (int, int), ((top, bottom), (left, right)), "same" or "valid"
        Zeros around x.
    count_include_pad : bool
        Divide by the cells of the window in x and its padding; otherwise by those in x. What
        ``ceil_mode`` adds beyond the padding never counts.
    divisor_override : int, optional
        Divide every sum by this number.

    Returns
    -------
    ndarray, (N, C, P, Q) in the layout of x, dtype ``np.result_type(x, np.float32)``
    """
    return _avg_pool(
        2, x, kernel_size, stride, padding, ceil_mode, count_include_pad, divisor_override, layout
    )


def avg_pool1d(
    x, kernel_size, stride=None, padding=0, ceil_mode=False, count_include_pad=True,
    divisor_override=None, *, layout="NCW",
):  # fmt: skip
    """Do as `avg_pool2d` along one axis."""
    return _avg_pool(
        1, x, kernel_size, stride, padding, ceil_mode, count_include_pad, divisor_override, layout
    )


def avg_pool3d(
    x, kernel_size, stride=None, padding=0, ceil_mode=False, count_include_pad=True,
    divisor_override=None, *, layout="NCDHW",
):  # fmt: skip
    """Do as `avg_pool2d` on volumes."""
    return _avg_pool(
        3, x, kernel_size, stride, padding, ceil_mode, count_include_pad, divisor_override, layout
    )


# --- windows fitted to a wanted size -----------------------------------------------------------


def _fitted_axis(size: int, out: int) -> tuple[np.ndarray, np.ndarray]:
    """Cover ``size`` cells with ``out`` windows, window i from floor(i * size / out) to
    ceil((i + 1) * size / out).

    Returns
    -------
    positions : ndarray of int, (out, taps)
    inside : ndarray of bool, (out, taps)
        False where a window is shorter than the longest; the position there is any valid one.
    """
    start = np.arange(out) * size // out
    end = -(-np.arange(1, out + 1) * size // out)
    taps = np.arange((end - start).max(initial=0))
    positions = start[:, None] + taps
    inside = positions < end[:, None]
    return np.where(inside, positions, start[:, None]), inside


def _fitted_windows(x: np.ndarray, output_size, nd: int) -> tuple[np.ndarray, np.ndarray]:
    """Gather the fitted windows of (N, C, *in).

    Returns
    -------
    cells : ndarray, (N, C, *out, *taps)
    positions : ndarray of int, (*out, *taps)
        `_OUTSIDE` for the cells that fill up shorter windows.
    """
    in_size = x.shape[2:]
    wanted = per_axis(output_size, nd)
    out_size = tuple(n if out is None else out for n, out in zip(in_size, wanted, strict=True))
    axes = [_fitted_axis(n, out) for n, out in zip(in_size, out_size, strict=True)]

    def spread(axis, table):  # (out, taps) -> its places among (*out, *taps)
        shape = [1] * (2 * nd)
        shape[axis], shape[nd + axis] = table.shape
        return table.reshape(shape)

    index = tuple(spread(axis, positions) for axis, (positions, _) in enumerate(axes))
    inside = np.array(True)
    for axis, (_, mask) in enumerate(axes):
        inside = inside & spread(axis, mask)
    return x[(..., *index)], np.where(inside, _positions(in_size)[index], _OUTSIDE)


def _adaptive_max_pool(nd, x, output_size, return_indices, layout):
    (x,) = as_float(x)
    x, restore = channels_first(x, nd, layout)
    cells, positions = _fitted_windows(x, output_size, nd)
    cells = np.where(positions == _OUTSIDE, x.dtype.type(-np.inf), cells)
    y = restore(cells.max(axis=_tap_axes(nd)))
    if not return_indices:
        return y
    return y, restore(_argmax(cells, positions, nd))


def _adaptive_avg_pool(nd, x, output_size, layout):
    (x,) = as_float(x)
    x, restore = channels_first(x, nd, layout)
    cells, positions = _fitted_windows(x, output_size, nd)
    inside = positions != _OUTSIDE
    count = inside.sum(axis=_tap_axes(nd), dtype=x.dtype)
    return restore(np.where(inside, cells, 0).sum(axis=_tap_axes(nd)) / count)


def adaptive_max_pool2d(x, output_size, return_indices=False, *, layout="NCHW"):
    """Take the maxima of windows fitted to give a result of ``output_size``.

    Along each axis window i reaches from floor(i * in / out) to ceil((i + 1) * in / out), so
    neighbours may overlap by one cell and differ in length by one.

    Parameters
    ----------
    x : array_like, (N, C, H, W), or (N, H, W, C) with ``layout="NHWC"``
        The batch axis may be missing.
    output_size : int or (int or None, int or None)
        None keeps the size of that axis.
    return_indices : bool
        Return also where each maximum was found, as `max_pool2d` does.
    layout : {"NCHW", "NHWC"}
    """
    return _adaptive_max_pool(2, x, output_size, return_indices, layout)


def adaptive_max_pool1d(x, output_size, return_indices=False, *, layout="NCW"):
    """Do as `adaptive_max_pool2d` along one axis."""
    return _adaptive_max_pool(1, x, output_size, return_indices, layout)


def adaptive_max_pool3d(x, output_size, return_indices=False, *, layout="NCDHW"):
    """Do as `adaptive_max_pool2d` on volumes."""
    return _adaptive_max_pool(3, x, output_size, return_indices, layout)


def adaptive_avg_pool2d(x, output_size, *, layout="NCHW"):
    """Take the means of the windows of `adaptive_max_pool2d`."""
    return _adaptive_avg_pool(2, x, output_size, layout)


def adaptive_avg_pool1d(x, output_size, *, layout="NCW"):
    """Do as `adaptive_avg_pool2d` along one axis."""
    return _adaptive_avg_pool(1, x, output_size, layout)


def adaptive_avg_pool3d(x, output_size, *, layout="NCDHW"):
    """Do as `adaptive_avg_pool2d` on volumes."""
    return _adaptive_avg_pool(3, x, output_size, layout)
