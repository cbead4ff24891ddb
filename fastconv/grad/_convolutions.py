"""What the gradients of all convolutions come down to.

    with respect to    is                                        made by
    the input          the transposed convolution of dy          functional's convolutions, or the
                                                                 engine's input gradient
    the weight         products of dy and x, summed over pixels  the engine's weight gradient
    the bias           sums of dy over all but the channels      the engine's channel sums

and for a transposed convolution the input's is the convolution of dy, the weight's that of the
convolution whose input is dy.
"""

import numpy as np

from .._engine import channel_sums
from .._engine.depthwise_gradient import DepthwiseGradient
from .._engine.input_gradient import InputGradient, turned
from .._engine.overlap_gradient import OverlapGradient
from .._engine.planes_product import planes_product
from .._engine.weight_gradient import WeightGradient, exact
from ..config import check_precision, get_precision
from ..functional._cache import BoundedCache
from ..functional._check import (
    as_array,
    compute_dtype,
    conv_geometry,
    conv_transpose_geometry,
    integers,
    normalise_layout,
    plain_array,
    split_input,
)
from ..functional._convolve import convolve

# Fewer leave lanes empty, and other ways fill them with pixels.
FEWEST_CHANNELS = 16
# What is remembered of an input gradient that is a transposed convolution like any other.
NOT_SHORTER = object()

_planned = BoundedCache(512)
_planned_inputs = BoundedCache(512)
_remembered = BoundedCache(512)


def check_grad_output(op, grad_output, shape):
    """Return `grad_output` as an ndarray of the result's `shape`."""
    array = as_array(op, "grad_output", grad_output)
    if array.shape != shape:
        raise ValueError(
            f"{op}: grad_output must have shape {shape}, the result's, "
            f"got grad_output.shape={array.shape}"
        )
    return array


def remembered(make, *arguments):
    """``make(*arguments)``, which depends on nothing else, from the cache where it can be."""
    try:
        key = make, *arguments
        value = _remembered.get(key)
    except TypeError:  # an argument is a list
        return make(*arguments)
    if value is None or not exact(arguments[1:]):  # a number after a name may be a float
        value = make(*arguments)
        _remembered.remember(key, value)
    return value


def weight_gradient(op, geometry, x, dy, transposed=False, precision=None):
    """Sum dy * x over the pixels of a convolution.

    Parameters
    ----------
    op : str
        Public name, for error texts.
    geometry : ConvGeometry
        Of the convolution whose input is x and whose result has the gradient dy.
    x, dy : ndarray
        Of the shapes that the geometry says.
    transposed : bool
        Of a 1-wide kernel and one group: return (C, K).
    precision : str or None

    Returns
    -------
    ndarray, shape (K, C / groups, *kernel)
    """
    dtype = compute_dtype(op, x, dy)
    x, dy = plain_array(x, dtype), plain_array(dy, dtype)
    flush_denormals = (precision or get_precision()) != "highest"
    key = geometry, x.strides, dy.strides, dtype, flush_denormals, transposed
    planned = _planned.get(key)
    if planned is None:
        planned = DepthwiseGradient(geometry, x, dy, dtype, flush_denormals)
        if not planned.pays:
            planned = WeightGradient(geometry, x, dy, dtype, flush_denormals, transposed)
        _planned.remember(key, planned)
    return planned.run(x, dy)


def conv_input(op, nd, input_size, weight, grad_output, options, layout, precision):
    """Spread dy over the input; `options` are stride, padding, dilation, groups."""
    weight = as_array(op, "weight", weight)
    stride, padding, dilation, groups = options
    geometry = remembered(conv_geometry, op, nd, _as_tuple(input_size), weight.shape, stride,
                          padding, dilation, groups, layout)
    grad_output = check_grad_output(op, grad_output, geometry.out_shape)
    dtype = _check_call(op, precision, grad_output, weight)
    if _is_pointwise(geometry):
        return _pointwise_input(geometry, weight, grad_output, dtype, precision, layout)
    dx = _spread_small(geometry, weight, grad_output, dtype, precision)
    if dx is not None:
        return dx
    pads = tuple(zip(geometry.pad_before, geometry.pad_after, strict=True))
    arguments = (geometry.stride, pads, geometry.dilation, groups, layout, "auto", None,
                 _left_over(geometry))
    return convolve(f"conv_transpose{nd}d", grad_output, weight, None, None, None, precision,
                    arguments)


def product(op, x, dy, transposed=False, precision=None):
    """``dy.T @ x`` of matrices with equal numbers of rows; its transpose where asked for.

    It is the weight gradient of a fully connected layer, and so of a 1-wide convolution whose batch
    is the rows.
    """
    size = (dy.shape[1], x.shape[1], 1)
    x, dy = x[:, :, None], dy[:, :, None]
    geometry = remembered(conv_geometry, op, 1, x.shape, size, 1, 0, 1, 1, "NCW")
    result = weight_gradient(op, geometry, x, dy, transposed, precision)
    return result if transposed else result.reshape(size[:2])


def _is_pointwise(geometry):
    """Whether every pixel of the result sees all channels of the pixel at its own place."""
    return (
        not geometry.plane
        and geometry.groups == 1
        and {*geometry.kernel_size, *geometry.stride} == {1}
        and not any(geometry.pad_before)
        and geometry.in_size == geometry.out_size
    )


def _pointwise_input(geometry, weight, dy, dtype, precision, layout):
    """The input's gradient of a 1x1 convolution: a product with the weight as it lies where
    channels lie side by side, with its transpose where pixels do."""
    op, channels = geometry.op, weight.shape[:2]
    weight = np.ascontiguousarray(plain_array(weight, dtype).reshape(channels))
    if dy.flags.c_contiguous and dy.size and min(channels) >= FEWEST_CHANNELS:
        dy = plain_array(dy, dtype)
        if geometry.channels_last:
            dx = product(op, dy.reshape(-1, channels[0]).T, weight, True, precision)
        else:
            planes = dy.reshape(geometry.batch, channels[0], -1)
            flush_denormals = (precision or get_precision()) != "highest"
            dx = planes_product(turned(weight), planes, flush_denormals)
        return dx.reshape(_shape_of_input(geometry))
    size = (*reversed(channels), *geometry.kernel_size)
    arguments = (1, 0, 1, 1, layout, "auto", None)
    return convolve(f"conv{geometry.nd}d", dy, turned(weight).reshape(size), None, None, None,
                    precision, arguments)


def _spread_small(geometry, weight, dy, dtype, precision):
    """The gradient of the input where the engine has a shorter way than convolving, else None.

    From few channels of small pictures to any, or from many channels to a few.
    """
    dy = plain_array(dy, dtype)
    flush_denormals = (precision or get_precision()) != "highest"
    key = geometry, dy.strides, dtype, flush_denormals
    planned = _planned_inputs.get(key)
    if planned is None:
        ways = (way(geometry, dy, dtype, flush_denormals)
                for way in (InputGradient, OverlapGradient))
        planned = next((way for way in ways if way.pays), NOT_SHORTER)
        _planned_inputs.remember(key, planned)
    if planned is NOT_SHORTER:
        return None
    return planned.run(np.ascontiguousarray(plain_array(weight, dtype)), dy)


def conv_weight(op, nd, x, weight_size, grad_output, options, layout):
    """Correlate dy with the input; `options` are stride, padding, dilation, groups."""
    x = as_array(op, "input", x)
    geometry = remembered(conv_geometry, op, nd, x.shape, _as_tuple(weight_size), *options, layout)
    grad_output = check_grad_output(op, grad_output, geometry.out_shape)
    return weight_gradient(op, geometry, x, grad_output)


def conv_bias(op, nd, grad_output, layout):
    """Sum dy over all but the channels."""
    grad_output = as_array(op, "grad_output", grad_output)
    dtype = compute_dtype(op, grad_output)
    axis = remembered(_channel_axis, op, nd, grad_output.shape, layout)
    return channel_sums.sums(grad_output, dtype, axis).astype(dtype)


def conv_transpose_input(op, nd, weight, grad_output, options, layout, precision):
    """Convolve dy; `options` are stride, padding, output_padding, groups, dilation."""
    weight = as_array(op, "weight", weight)
    grad_output = as_array(op, "grad_output", grad_output)
    _check_call(op, precision, grad_output, weight)
    geometry, output_padding = _transposed_from_result(op, nd, grad_output, weight, options,
                                                       layout)
    # what output_padding added is cut off again: padding of the convolution, or dy's last rows
    after = zip(geometry.pad_after, output_padding, strict=True)
    pads = tuple(zip(geometry.pad_before, (max(0, p - e) for p, e in after), strict=True))
    sizes = zip(geometry.out_size, geometry.pad_after, output_padding, strict=True)
    seen = tuple(n - max(0, e - p) for n, p, e in sizes)
    if min(seen) < 1:
        return np.zeros(_shape_of_input(geometry), compute_dtype(op, grad_output, weight))
    arguments = (geometry.stride, pads, geometry.dilation, geometry.groups, layout, "auto", None)
    return convolve(f"conv{nd}d", grad_output[_corner(geometry, seen)], weight, None, None, None,
                    precision, arguments)


def conv_transpose_weight(op, nd, x, weight_size, grad_output, options, layout):
    """Correlate the input with dy; `options` as in `conv_transpose_input`."""
    x = as_array(op, "input", x)
    stride, padding, output_padding, groups, dilation = options
    geometry = conv_transpose_geometry(op, nd, x.shape, weight_size, stride, padding,
                                       output_padding, groups, dilation, layout)
    grad_output = check_grad_output(op, grad_output, geometry.out_shape)
    convolution = geometry._replace(
        in_channels=geometry.out_channels, out_channels=geometry.in_channels,
        in_size=geometry.out_size, out_size=geometry.in_size,
    )
    return weight_gradient(op, convolution, grad_output, x)


def _check_call(op, precision, *operands):
    """Check in the name of the gradient what `convolve` would check in its own; return the dtype
    to compute in."""
    if precision is not None:
        check_precision(op, precision)
    return compute_dtype(op, *operands)


def _as_tuple(sizes):
    """A shape that can be remembered, where it is one; what is none goes on to be refused."""
    return tuple(sizes) if isinstance(sizes, list) else sizes


def _channel_axis(op, nd, shape, layout):
    """Which axis of a result with this shape holds the channels."""
    channels_last = normalise_layout(op, layout, nd)
    dy = split_input(op, nd, shape, channels_last, plane=False, name="grad_output")
    return len(shape) - 1 if channels_last else int(dy.batched)


def _left_over(geometry):
    """Rows and columns at the input's end that no window reaches: always below the stride."""
    axes = zip(geometry.in_size, geometry.kernel_size, geometry.stride, geometry.dilation,
               geometry.pad_before, geometry.pad_after, strict=True)
    return tuple((n + a + b - d * (k - 1) - 1) % s for n, k, s, d, a, b in axes)


def _transposed_from_result(op, nd, grad_output, weight, options, layout):
    """The transposed convolution whose result has the shape of `grad_output`, and its
    output_padding as a tuple."""
    stride, padding, output_padding, groups, dilation = options
    extra = integers(op, "output_padding", output_padding, nd, minimum=0)
    back = conv_geometry(op, nd, grad_output.shape, weight.shape, stride, padding, dilation,
                         groups, layout)
    axes = zip(back.in_size, back.kernel_size, back.stride, back.dilation, back.pad_before,
               back.pad_after, extra, strict=True)
    size = tuple((n + a + b - e - d * (k - 1) - 1) // s + 1 for n, k, s, d, a, b, e in axes)
    x_shape = _shape_of_input(back._replace(in_channels=back.out_channels, in_size=size))
    geometry = conv_transpose_geometry(op, nd, x_shape, weight.shape, stride, padding, extra,
                                       groups, dilation, layout)
    if geometry.out_size != back.in_size:
        raise ValueError(
            f"{op}: grad_output must have a size that these arguments can give, got {back.in_size} "
            f"(grad_output.shape={grad_output.shape}); the nearest is {geometry.out_size}, "
            f"of an input of {size}"
        )
    return geometry, extra


def _shape_of_input(geometry):
    """Shape of a convolution's input, with the axes it had."""
    if geometry.plane:
        return geometry.in_size
    batch = (geometry.batch,) if geometry.batched else ()
    if geometry.channels_last:
        return (*batch, *geometry.in_size, geometry.in_channels)
    return (*batch, geometry.in_channels, *geometry.in_size)


def _corner(geometry, size):
    """Index of the first `size` rows and columns of an array of the geometry's layout."""
    first = 0 if geometry.plane else int(geometry.batched) + (not geometry.channels_last)
    return (slice(None),) * first + tuple(map(slice, size))
