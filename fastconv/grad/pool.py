"""Gradients of max and average pools in one, two and three dimensions.

In go the gradient of a pool's result and what the pool was: its input's size and, for maxima, the
places that `return_indices` gives, for means the windows. Out comes the gradient of its input.
Where several windows hold an element their gradients add up, in the same order for any number of
threads. The engine reads arrays that are contiguous in their layout; others are copied first.
"""

import numpy as np

from .._engine import elementwise, pool_gradient
from ..functional._arguments import is_sequence, shape_tuple
from ..functional._check import as_array, compute_dtype, fitted_geometry, flag, pool_geometry
from ..functional.pool import _plan_avg
from ._convolutions import remembered

__all__ = [
    "adaptive_avg_pool1d_input",
    "adaptive_avg_pool2d_input",
    "adaptive_avg_pool3d_input",
    "avg_pool1d_input",
    "avg_pool2d_input",
    "avg_pool3d_input",
    "max_pool1d_input",
    "max_pool2d_input",
    "max_pool3d_input",
]


def max_pool1d_input(input_size, indices, grad_output, *, layout="NCW"):
    """Return the gradient of a 1-D max pool's input; see `max_pool2d_input`.

    Parameters
    ----------
    input_size : (N, C, W) or (C, W); channels last with layout="NWC"
    indices, grad_output : array_like, shape (N, C, W')
    """
    return _max_pool("max_pool1d_input", input_size, indices, grad_output, layout)


def max_pool2d_input(input_size, indices, grad_output, *, layout="NCHW"):
    """Return the gradient of a max pool's input: grad_output where the maxima were found.

    Serves `adaptive_max_pool2d` as well.

    Parameters
    ----------
    input_size : sequence of int, (N, C, H, W) or (C, H, W)
        Shape of the pool's input, (N, H, W, C) or (H, W, C) with ``layout="NHWC"``.
    indices : array_like of int, shape (N, C, H', W')
        As the pool returns them with ``return_indices=True``: h * W + w of each maximum in its
        picture, -1 for none.
    grad_output : array_like
        Of the shape of `indices`.
    layout : {"NCHW", "NHWC"}

    Returns
    -------
    ndarray of shape `input_size`
        Of type ``np.result_type(grad_output, np.float32)``, C-contiguous. A place that several
        windows chose gets the sum of their gradients, taken in the order of the windows.

    Raises
    ------
    TypeError, ValueError
        When arguments do not fit each other, or a place lies outside the input.
    """
    return _max_pool("max_pool2d_input", input_size, indices, grad_output, layout)


def max_pool3d_input(input_size, indices, grad_output, *, layout="NCDHW"):
    """Return the gradient of a 3-D max pool's input; see `max_pool2d_input`.

    Parameters
    ----------
    input_size : (N, C, D, H, W) or (C, D, H, W); channels last with layout="NDHWC"
    indices, grad_output : array_like, shape (N, C, D', H', W')
        Indices are (d * H + h) * W + w.
    """
    return _max_pool("max_pool3d_input", input_size, indices, grad_output, layout)


def avg_pool1d_input(input_size, grad_output, kernel_size, stride=None, padding=0, ceil_mode=False,
                     count_include_pad=True, divisor_override=None, *, layout="NCW"):
    """Return the gradient of a 1-D average pool's input; see `avg_pool2d_input`.

    Parameters
    ----------
    input_size : (N, C, W) or (C, W); channels last with layout="NWC"
    grad_output : array_like, shape (N, C, W')
    """
    return _avg_pool("avg_pool1d_input", input_size, grad_output,
                     (kernel_size, stride, padding, divisor_override, layout),
                     (ceil_mode, count_include_pad))


def avg_pool2d_input(input_size, grad_output, kernel_size, stride=None, padding=0, ceil_mode=False,
                     count_include_pad=True, divisor_override=None, *, layout="NCHW"):
    """Return the gradient of an average pool's input: each window's gradient, shared out evenly.

    Parameters
    ----------
    input_size : sequence of int, (N, C, H, W) or (C, H, W)
        Shape of the pool's input, (N, H, W, C) or (H, W, C) with ``layout="NHWC"``.
    grad_output : array_like, shape (N, C, H', W')
        Gradient of the pool's result.
    kernel_size, stride, padding, ceil_mode, count_include_pad, divisor_override, layout
        As `avg_pool2d` had them.

    Returns
    -------
    ndarray of shape `input_size`
        Of type ``np.result_type(grad_output, np.float32)``, C-contiguous.

    Raises
    ------
    TypeError, ValueError
        When arguments do not fit each other.
    """
    return _avg_pool("avg_pool2d_input", input_size, grad_output,
                     (kernel_size, stride, padding, divisor_override, layout),
                     (ceil_mode, count_include_pad))


def avg_pool3d_input(input_size, grad_output, kernel_size, stride=None, padding=0, ceil_mode=False,
                     count_include_pad=True, divisor_override=None, *, layout="NCDHW"):
    """Return the gradient of a 3-D average pool's input; see `avg_pool2d_input`.

    Parameters
    ----------
    input_size : (N, C, D, H, W) or (C, D, H, W); channels last with layout="NDHWC"
    grad_output : array_like, shape (N, C, D', H', W')
    """
    return _avg_pool("avg_pool3d_input", input_size, grad_output,
                     (kernel_size, stride, padding, divisor_override, layout),
                     (ceil_mode, count_include_pad))


def adaptive_avg_pool1d_input(input_size, grad_output, *, layout="NCW"):
    """Return the gradient of a 1-D adaptive pool's input; see `adaptive_avg_pool2d_input`.

    Parameters
    ----------
    input_size : (N, C, W) or (C, W); channels last with layout="NWC"
    grad_output : array_like, shape (N, C, W')
    """
    return _adaptive_avg_pool("adaptive_avg_pool1d_input", input_size, grad_output, layout)


def adaptive_avg_pool2d_input(input_size, grad_output, *, layout="NCHW"):
    """Return the gradient of the input of `adaptive_avg_pool2d`.

    Parameters
    ----------
    input_size : sequence of int, (N, C, H, W) or (C, H, W)
        Shape of the pool's input, (N, H, W, C) or (H, W, C) with ``layout="NHWC"``.
    grad_output : array_like, shape (N, C, H', W')
        Gradient of the pool's result; its shape tells the pool's output_size.
    layout : {"NCHW", "NHWC"}

    Returns
    -------
    ndarray of shape `input_size`
        Of type ``np.result_type(grad_output, np.float32)``, C-contiguous.

    Raises
    ------
    TypeError, ValueError
        When arguments do not fit each other.
    """
    return _adaptive_avg_pool("adaptive_avg_pool2d_input", input_size, grad_output, layout)


def adaptive_avg_pool3d_input(input_size, grad_output, *, layout="NCDHW"):
    """Return the gradient of a 3-D adaptive pool's input; see `adaptive_avg_pool2d_input`.

    Parameters
    ----------
    input_size : (N, C, D, H, W) or (C, D, H, W); channels last with layout="NDHWC"
    grad_output : array_like, shape (N, C, D', H', W')
    """
    return _adaptive_avg_pool("adaptive_avg_pool3d_input", input_size, grad_output, layout)


# --- checks, then one call of the engine ---------------------------------------------------------


def _nd(op):
    """Spatial axes, by the public name: avg_pool2d_input has 2."""
    return int(op.removesuffix("d_input")[-1])


def _input_size(op, input_size):
    if not is_sequence(input_size):
        raise TypeError(f"{op}: input_size must be the shape of the input, got {input_size!r}")
    return shape_tuple(op, "x", input_size)


def _check_result(op, name, array, shape):
    if array.shape != shape:
        raise ValueError(
            f"{op}: {name} must have the shape of the pool's result, {shape}, "
            f"got {name}.shape={array.shape}"
        )


def _max_pool(op, input_size, indices, grad_output, layout):
    size = _input_size(op, input_size)
    axes = remembered(_axes, op, _nd(op), size, layout)
    grad_output = as_array(op, "grad_output", grad_output)
    indices = as_array(op, "indices", indices)
    if indices.dtype.kind not in "iu":
        raise TypeError(f"{op}: indices must be integers, got dtype {indices.dtype}")
    if indices.shape != grad_output.shape:
        raise ValueError(
            f"{op}: grad_output must have the shape of indices, {indices.shape}, "
            f"got grad_output.shape={grad_output.shape}"
        )
    _check_axes(op, axes, "indices", indices.shape)
    dtype = compute_dtype(op, grad_output)
    out = elementwise.empty(size, dtype)
    places = np.ascontiguousarray(indices, np.int64)
    grad_output = np.ascontiguousarray(grad_output, dtype)
    if not pool_gradient.max_pool(
        places, grad_output, out, axes.batch, axes.channels, axes.channels_last
    ):
        bad = places[(places < -1) | (places >= np.prod(axes.in_size))][0]
        raise ValueError(
            f"{op}: indices must be places in the input's {axes.in_size}, or -1, got {bad}"
        )
    return out


def _axes(op, nd, size, layout):
    """The geometry of a pool of windows of one, of which only the axes count."""
    return pool_geometry(op, nd, size, 1, 1, 0, 1, False, layout)


def _window_plan(op, nd, size, arguments, *flags):
    """What the pool itself plans; the flags come as 0 and 1, for no bool is remembered."""
    return _plan_avg(op, nd, size, arguments, tuple(map(bool, flags)))


def _check_axes(op, axes, name, shape):
    """The batch and channel axes of a pool's result are those of its input."""
    wanted = axes._replace(out_size=_spatial(axes, shape)).out_shape
    if shape != wanted:
        expected = axes._replace(out_size=("*",) * axes.nd).out_shape
        raise ValueError(
            f"{op}: {name} must have shape ({', '.join(map(str, expected))}) for "
            f"input_size={axes.out_shape}, got {name}.shape={shape}"
        )


def _spatial(axes, shape):
    """What stands where `axes` has the spatial axes."""
    first = int(axes.batched) + (not axes.channels_last)
    return tuple(shape[first : first + axes.nd])


def _avg_pool(op, input_size, grad_output, arguments, flags):
    size = _input_size(op, input_size)
    names = "ceil_mode", "count_include_pad"
    flags = [int(flag(op, name, value)) for name, value in zip(names, flags, strict=True)]
    geometry, settings = remembered(_window_plan, op, _nd(op), size, arguments, *flags)
    grad_output = as_array(op, "grad_output", grad_output)
    _check_result(op, "grad_output", grad_output, geometry.out_shape)
    return _mean_pool(
        op,
        geometry,
        grad_output,
        count_padding=settings["count_padding"],
        divisor=settings["divisor"],
    )


def _adaptive_avg_pool(op, input_size, grad_output, layout):
    size = _input_size(op, input_size)
    nd = _nd(op)
    axes = remembered(_axes, op, nd, size, layout)
    grad_output = as_array(op, "grad_output", grad_output)
    _check_axes(op, axes, "grad_output", grad_output.shape)
    geometry = fitted_geometry(op, nd, size, _spatial(axes, grad_output.shape), layout)
    return _mean_pool(op, geometry, grad_output, fitted=True)


def _mean_pool(op, geometry, grad_output, **settings):
    dtype = compute_dtype(op, grad_output)
    in_shape = geometry._replace(out_size=geometry.in_size).out_shape
    out = elementwise.empty(in_shape, dtype)
    grad_output = np.ascontiguousarray(grad_output, dtype)
    pool_gradient.mean_pool(grad_output, out, geometry, **settings)
    return out
