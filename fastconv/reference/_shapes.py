"""What the reference operations share: dtypes, layouts, paddings, windows.

In goes what a caller may write (an int or a tuple, "same", channels last, no batch axis); out
comes one canonical form, (N, C, *spatial) arrays and one number or pair for each spatial axis.
Nothing here checks anything: the reference assumes valid arguments.
"""

from collections.abc import Callable, Sequence

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

Pairs = tuple[tuple[int, int], ...]


def as_float(*values) -> list[np.ndarray]:
    """Turn values into arrays of the dtype to compute in, at least float32, native byte order."""
    arrays = [np.asarray(value) for value in values]
    dtype = np.result_type(*arrays, np.float32)
    return [array.astype(dtype, copy=False) for array in arrays]


def per_axis(value, nd: int) -> tuple:
    """One entry for each of the ``nd`` spatial axes; a single number goes for all of them."""
    return tuple(value) if isinstance(value, Sequence | np.ndarray) else (value,) * nd


def dilated(kernel_size: tuple, dilation: tuple) -> tuple:
    """Cells from the first to the last tap of a kernel, both included, along each axis."""
    return tuple(d * (k - 1) + 1 for k, d in zip(kernel_size, dilation, strict=True))


def same_padding(in_size: tuple, extent: tuple, stride: tuple) -> Pairs:
    """Padding that makes out = ceil(in / stride); an odd cell goes to the end."""
    total = (
        max((-(-size // s) - 1) * s + e - size, 0)
        for size, e, s in zip(in_size, extent, stride, strict=True)
    )
    return tuple((t // 2, t - t // 2) for t in total)


def resolve_padding(padding, in_size: tuple, extent: tuple, stride: tuple) -> Pairs:
    """Turn any spelling of ``padding`` into (before, after) for each spatial axis.

    Parameters
    ----------
    padding : int, tuple of ints, tuple of pairs, "same" or "valid"
    in_size, extent, stride : tuple of int
        Sizes of the input and of the dilated kernel, and the stride, along each spatial axis.
    """
    if padding == "same":
        return same_padding(in_size, extent, stride)
    entries = per_axis(0 if padding == "valid" else padding, len(in_size))
    return tuple(per_axis(entry, 2) for entry in entries)


def pad_spatial(x: np.ndarray, padding: Pairs, value: float = 0.0) -> np.ndarray:
    """Surround the trailing, spatial axes of ``x`` with ``value``; the order in memory stays."""
    if not np.any(padding):
        return x
    in_size = x.shape[-len(padding) :]
    axes = list(zip(in_size, padding, strict=True))
    size = tuple(n + before + after for n, (before, after) in axes)
    padded = np.full_like(x, value, shape=x.shape[: -len(padding)] + size)
    inside: tuple = (..., *(slice(before, before + n) for n, (before, _) in axes))
    padded[inside] = x
    return padded


def windows(
    x: np.ndarray, kernel_size: tuple, stride: tuple, dilation: tuple, *, writeable: bool = False
) -> np.ndarray:
    """View (..., *in) as (..., *out, *kernel): the cells under the kernel, for each of its places.

    Nothing is copied: a window is the same memory with other strides. Writing to it, if allowed,
    writes to x.
    """
    nd = len(kernel_size)
    extent = dilated(kernel_size, dilation)
    view = sliding_window_view(x, extent, axis=tuple(range(-nd, 0)), writeable=writeable)
    steps: tuple = (..., *(slice(None, None, step) for step in (*stride, *dilation)))
    return view[steps]


def channels_first(
    x: np.ndarray, nd: int, layout: str
) -> tuple[np.ndarray, Callable[[np.ndarray], np.ndarray]]:
    """View ``x`` as (N, C, *spatial), and return the way back.

    Parameters
    ----------
    x : ndarray
        ``nd + 2`` axes in the order of ``layout``; ``nd + 1`` when there is no batch axis; ``nd``
        when there is one channel and no axis for it either.
    nd : int
        Number of spatial axes.
    layout : str
        Channels are last where this ends in "C".

    Returns
    -------
    x : ndarray of shape (N, C, *spatial)
    restore : callable
        Turns an (N, K, *out) array into the axes and the order ``x`` came in, C-contiguous.
    """
    missing = nd + 2 - x.ndim
    channels_last = layout.endswith("C") and missing < 2
    x = x[(None,) * missing]
    if channels_last:
        x = np.moveaxis(x, -1, 1)

    def restore(y: np.ndarray) -> np.ndarray:
        if channels_last:
            y = np.moveaxis(y, 1, -1)
        return np.ascontiguousarray(y[(0,) * missing])

    return x, restore


def channel_axis(ndim: int, layout: str | None) -> int:
    """Find the channel axis of an array whose number of spatial axes is left open.

    ``None`` is PyTorch's rule, the second axis (the only one of a vector). A layout names all
    axes, or all but the batch axis where ``ndim`` is one less than its length.
    """
    if layout is None:
        return min(1, ndim - 1)
    return layout.index("C") - (len(layout) - ndim)


def along(axis: int, ndim: int, values: np.ndarray) -> np.ndarray:
    """Reshape a vector so that it broadcasts along ``axis`` of an array with ``ndim`` axes."""
    return values.reshape((-1,) + (1,) * (ndim - 1 - axis))
