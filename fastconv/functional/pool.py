"""Max and average pools in one, two and three dimensions.

A call looks its signature (shapes, strides, dtype, arguments) up in a bounded cache of planned
pools. Only a new signature, or arguments that need converting first (lists, integers, unaligned or
overlapping arrays), goes the long way:

    arguments -> _check -> PoolGeometry -> PoolCall -> cache
    signature -----------------------------> PoolCall.run -> result
"""

import numpy as np

from .._engine.pool_call import PoolCall
from ._cache import BoundedCache
from ._check import (
    as_array,
    check_out,
    compute_dtype,
    fitted_geometry,
    flag,
    integer,
    pool_geometry,
)

_calls = BoundedCache(256)

# Inside a window places are counted with 32 bits.
_LARGEST_SPAN = 2**31 - 1


def max_pool1d(x, kernel_size, stride=None, padding=0, dilation=1, ceil_mode=False,
               return_indices=False, *, layout="NCW", out=None):
    """Take the maximum of every window of signals; see `max_pool2d`.

    Parameters
    ----------
    x : array_like, shape (N, C, W) or (C, W); channels last with layout="NWC"

    Returns
    -------
    ndarray, shape (N, C, W') in the layout and with the axes of `x`
    """
    return _pool("max_pool1d", x, (kernel_size, stride, padding, dilation, layout),
                 (ceil_mode, return_indices), out)


def max_pool2d(x, kernel_size, stride=None, padding=0, dilation=1, ceil_mode=False,
               return_indices=False, *, layout="NCHW", out=None):
    """Take the maximum of every window of pictures.

    Integer arrays give floating results, of type ``np.result_type(x, np.float32)``.

    Parameters
    ----------
    x : array_like, shape (N, C, H, W) or (C, H, W)
        Pictures; (N, H, W, C) or (H, W, C) with ``layout="NHWC"``. Any strides: pictures are read
        where they lie, in the order of their memory.
    kernel_size : int or (int, int)
        Taps of a window.
    stride : int or (int, int), optional
        Distance of neighbouring windows; `kernel_size` by default.
    padding : int, (int, int), ((top, bottom), (left, right)), "same" or "valid"
        Cells around the picture that are never the maximum; at most half of the dilated kernel.
    dilation : int or (int, int)
        Distance of neighbouring taps.
    ceil_mode : bool
        Also keep a last window that is only partly inside, if it starts inside the picture or the
        padding before it.
    return_indices : bool
        Also return where each maximum was found.
    layout : {"NCHW", "NHWC"}
        Names the axes of `x` and of the result.
    out : ndarray, optional
        Where to write the maxima: the result's shape and type, any strides.

    Returns
    -------
    y : ndarray, shape (N, C, H', W') in the layout and with the axes of `x`
        H' = (H + pads - dilation * (kernel_size - 1) - 1) // stride + 1, W' likewise. NaN where a
        window holds one.
    indices : ndarray of int64, shape of y
        Only with `return_indices`: h * W + w of each maximum in its picture, as PyTorch counts. The
        first of equal maxima, the last of several NaN, -1 for a window with no tap inside.

    Raises
    ------
    ValueError, TypeError
        When arguments do not fit each other; nothing has been written then.

    Examples
    --------
    >>> import numpy as np, fastconv
    >>> x = np.arange(16, dtype=np.float32).reshape(1, 4, 4)
    >>> fastconv.max_pool2d(x, 2)
    array([[[ 5.,  7.],
            [13., 15.]]], dtype=float32)
    """
    return _pool("max_pool2d", x, (kernel_size, stride, padding, dilation, layout),
                 (ceil_mode, return_indices), out)


def max_pool3d(x, kernel_size, stride=None, padding=0, dilation=1, ceil_mode=False,
               return_indices=False, *, layout="NCDHW", out=None):
    """Take the maximum of every window of volumes; see `max_pool2d`.

    Parameters
    ----------
    x : array_like, shape (N, C, D, H, W) or (C, D, H, W); channels last with layout="NDHWC"

    Returns
    -------
    ndarray, shape (N, C, D', H', W') in the layout and with the axes of `x`
        Indices are (d * H + h) * W + w.
    """
    return _pool("max_pool3d", x, (kernel_size, stride, padding, dilation, layout),
                 (ceil_mode, return_indices), out)


def avg_pool1d(x, kernel_size, stride=None, padding=0, ceil_mode=False, count_include_pad=True,
               divisor_override=None, *, layout="NCW", out=None):
    """Take the mean of every window of signals; see `avg_pool2d`.

    Parameters
    ----------
    x : array_like, shape (N, C, W) or (C, W); channels last with layout="NWC"

    Returns
    -------
    ndarray, shape (N, C, W') in the layout and with the axes of `x`
    """
    return _pool("avg_pool1d", x, (kernel_size, stride, padding, divisor_override, layout),
                 (ceil_mode, count_include_pad), out)


def avg_pool2d(x, kernel_size, stride=None, padding=0, ceil_mode=False, count_include_pad=True,
               divisor_override=None, *, layout="NCHW", out=None):
    """Take the mean of every window of pictures.

    Integer arrays give floating results, of type ``np.result_type(x, np.float32)``.

    Parameters
    ----------
    x, kernel_size, stride, ceil_mode, layout, out
        As in `max_pool2d`.
    padding : int, (int, int), ((top, bottom), (left, right)), "same" or "valid"
        Zeros around the picture; at most half of the kernel.
    count_include_pad : bool
        Divide by the window's cells in the picture and its padding; otherwise by those in the
        picture. What `ceil_mode` adds beyond the padding never counts.
    divisor_override : int, optional
        Divide every window's sum by this number.

    Returns
    -------
    ndarray, shape (N, C, H', W') in the layout and with the axes of `x`
        H' = (H + pads - kernel_size) // stride + 1, W' likewise. Long sums are compensated: the
        error stays below 2e-6 times the mean of abs(x) in float32, for windows of any size.

    Raises
    ------
    ValueError, TypeError
        When arguments do not fit each other; nothing has been written then.
    """
    return _pool("avg_pool2d", x, (kernel_size, stride, padding, divisor_override, layout),
                 (ceil_mode, count_include_pad), out)


def avg_pool3d(x, kernel_size, stride=None, padding=0, ceil_mode=False, count_include_pad=True,
               divisor_override=None, *, layout="NCDHW", out=None):
    """Take the mean of every window of volumes; see `avg_pool2d`.

    Parameters
    ----------
    x : array_like, shape (N, C, D, H, W) or (C, D, H, W); channels last with layout="NDHWC"

    Returns
    -------
    ndarray, shape (N, C, D', H', W') in the layout and with the axes of `x`
    """
    return _pool("avg_pool3d", x, (kernel_size, stride, padding, divisor_override, layout),
                 (ceil_mode, count_include_pad), out)


def adaptive_avg_pool1d(x, output_size, *, layout="NCW", out=None):
    """Take the means of windows fitted to a wanted size; see `adaptive_avg_pool2d`.

    Parameters
    ----------
    x : array_like, shape (N, C, W) or (C, W); channels last with layout="NWC"
    output_size : int or (int,)
    """
    return _pool("adaptive_avg_pool1d", x, (output_size, layout), (), out)


def adaptive_avg_pool2d(x, output_size, *, layout="NCHW", out=None):
    """Take the means of windows that are fitted to give `output_size` of them.

    Along each axis window i reaches from floor(i * in / out) to ceil((i + 1) * in / out), so
    neighbours may overlap by one cell and differ in length by one. ``output_size=1`` is the global
    mean. Integer arrays give floating results, of type ``np.result_type(x, np.float32)``.

    Parameters
    ----------
    x : array_like, shape (N, C, H, W) or (C, H, W)
        (N, H, W, C) or (H, W, C) with ``layout="NHWC"``. Any strides.
    output_size : int or (int or None, int or None)
        At least 1; None keeps the size of that axis.
    layout : {"NCHW", "NHWC"}
        Names the axes of `x` and of the result.
    out : ndarray, optional
        Where to write the result: its shape and type, any strides.

    Returns
    -------
    ndarray, shape (N, C, *output_size) in the layout and with the axes of `x`

    Raises
    ------
    ValueError, TypeError
        When arguments do not fit each other; nothing has been written then.
    """
    return _pool("adaptive_avg_pool2d", x, (output_size, layout), (), out)


def adaptive_avg_pool3d(x, output_size, *, layout="NCDHW", out=None):
    """Take the means of windows fitted to a wanted size; see `adaptive_avg_pool2d`.

    Parameters
    ----------
    x : array_like, shape (N, C, D, H, W) or (C, D, H, W); channels last with layout="NDHWC"
    output_size : int or (int or None, int or None, int or None)
    """
    return _pool("adaptive_avg_pool3d", x, (output_size, layout), (), out)


def adaptive_max_pool1d(x, output_size, return_indices=False, *, layout="NCW", out=None):
    """Take the maxima of windows fitted to a wanted size; see `adaptive_max_pool2d`.

    Parameters
    ----------
    x : array_like, shape (N, C, W) or (C, W); channels last with layout="NWC"
    output_size : int or (int,)
    """
    return _pool("adaptive_max_pool1d", x, (output_size, layout), (return_indices,), out)


def adaptive_max_pool2d(x, output_size, return_indices=False, *, layout="NCHW", out=None):
    """Take the maxima of the windows of `adaptive_avg_pool2d`.

    Parameters
    ----------
    x, output_size, layout, out
        As in `adaptive_avg_pool2d`.
    return_indices : bool
        Also return where each maximum was found, as `max_pool2d` does.

    Returns
    -------
    ndarray, shape (N, C, *output_size) in the layout and with the axes of `x`
        (maxima, indices) with `return_indices`.
    """
    return _pool("adaptive_max_pool2d", x, (output_size, layout), (return_indices,), out)


def adaptive_max_pool3d(x, output_size, return_indices=False, *, layout="NCDHW", out=None):
    """Take the maxima of windows fitted to a wanted size; see `adaptive_max_pool2d`.

    Parameters
    ----------
    x : array_like, shape (N, C, D, H, W) or (C, D, H, W); channels last with layout="NDHWC"
    output_size : int or (int or None, int or None, int or None)
    """
    return _pool("adaptive_max_pool3d", x, (output_size, layout), (return_indices,), out)


# --- from arguments to a planned call ------------------------------------------------------------


def _pool(op, x, arguments, flags, out):
    """Run the pool with the public name `op`.

    Parameters
    ----------
    op : str
        Its last digit but one is the number of spatial axes.
    x, out
        As the public function got them.
    arguments : tuple
        Its integers, and the layout last.
    flags : tuple
        Its booleans.
    """
    try:
        planned = _calls[_signature(op, x, arguments, flags, out)]
    except (KeyError, TypeError, AttributeError):
        planned = None
    if planned is None or not planned.accepts(x, out, arguments, flags):
        return _convert_and_run(op, x, arguments, flags, out)
    return planned.run(x, out)


def _signature(op, x, arguments, flags, out):
    out_strides = None if out is None else out.strides
    return op, x.shape, x.strides, x.dtype, arguments, flags, out_strides


def _convert_and_run(op, x, arguments, flags, out):
    """Check everything, turn x into an array the engine can read, plan, run."""
    x = as_array(op, "x", x)
    dtype = compute_dtype(op, x)
    geometry, settings = _PLANS[op[:-2]](op, int(op[-2]), x.shape, arguments, flags)
    check_out(op, out, geometry.out_shape, dtype)
    x = _plain(x, dtype)
    target = out
    if out is not None and not _writable_in_place(out, x):
        target = np.empty_like(out, order="C", subok=False)
    key = _signature(op, x, arguments, flags, target)
    try:
        planned = _calls.get(key)
    except TypeError:  # an argument is a list
        key = planned = None
    if planned is None:
        out_strides = None if target is None else target.strides
        planned = PoolCall(geometry, settings.pop("reduce"), x.strides, out_strides, dtype,
                           **settings)
        if key is not None:
            _calls.remember(key, planned)
    result = planned.run(x, target)
    if target is out:
        return result
    if not isinstance(result, tuple):
        out[...] = result
        return out
    out[...], indices = result
    return out, indices


def _plain(array, dtype):
    """`array` itself where the engine can read it, else a copy in the compute dtype."""
    if array.dtype == dtype and array.dtype.isnative and array.flags.aligned:
        return array
    return array.astype(dtype)


def _writable_in_place(out, x):
    """Whether writing `out` piece by piece cannot change what is still to be read."""
    repeats = out.size > 1 and 0 in out.strides
    return out.flags.aligned and not repeats and not np.may_share_memory(out, x)


def _plan_max(op, nd, x_shape, arguments, flags):
    kernel_size, stride, padding, dilation, layout = arguments
    ceil_mode, return_indices = flags
    with_indices = flag(op, "return_indices", return_indices)
    geometry = pool_geometry(op, nd, x_shape, kernel_size, stride, padding, dilation, ceil_mode,
                             layout)
    if with_indices:
        _check_span(geometry, geometry.kernel_size)
    return geometry, {"reduce": "argmax" if with_indices else "max"}


def _plan_avg(op, nd, x_shape, arguments, flags):
    kernel_size, stride, padding, divisor, layout = arguments
    ceil_mode, count_include_pad = flags
    geometry = pool_geometry(op, nd, x_shape, kernel_size, stride, padding, 1, ceil_mode, layout)
    count_padding = flag(op, "count_include_pad", count_include_pad)
    if divisor is not None:
        divisor = integer(op, "divisor_override", divisor, minimum=-_LARGEST_SPAN)
        if divisor == 0:
            raise ValueError(f"{op}: divisor_override must not be 0")
    return geometry, {"reduce": "mean", "count_padding": count_padding, "divisor": divisor}


def _plan_adaptive_max(op, nd, x_shape, arguments, flags):
    with_indices = flag(op, "return_indices", flags[0])
    geometry = fitted_geometry(op, nd, x_shape, *arguments)
    if with_indices:
        sizes = zip(geometry.in_size, geometry.out_size, strict=True)
        _check_span(geometry, [min(size, size // outs + 2) for size, outs in sizes])
    return geometry, {"reduce": "argmax" if with_indices else "max", "fitted": True}


def _plan_adaptive_avg(op, nd, x_shape, arguments, flags):
    return fitted_geometry(op, nd, x_shape, *arguments), {"reduce": "mean", "fitted": True}


def _check_span(geometry, taps):
    """Refuse windows in which places would not fit their 32 bits."""
    span = 0
    for size, count, step in zip(geometry.in_size, taps, geometry.dilation, strict=True):
        span = span * size + (count - 1) * step
    if span > _LARGEST_SPAN:
        raise ValueError(
            f"{geometry.op}: return_indices needs windows that span at most {_LARGEST_SPAN} "
            f"elements of x, these span {span}; use smaller windows"
        )


_PLANS = {
    "max_pool": _plan_max,
    "avg_pool": _plan_avg,
    "adaptive_max_pool": _plan_adaptive_max,
    "adaptive_avg_pool": _plan_adaptive_avg,
}
