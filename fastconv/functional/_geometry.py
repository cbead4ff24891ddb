"""The geometry of windows: which output element looks at which input elements.

In go shapes and the words of a public function; out comes one immutable tuple that holds every size
the engine needs, already checked against each other. All operations share one picture of an axis:

    pad_before |        in_size        | pad_after
    [kernel, `extent` = dilation * (kernel_size - 1) + 1 wide]
       stride ->  [kernel]
                     stride ->  [kernel]            out_size windows, then columns left over

    out_size = (pad_before + in_size + pad_after - extent) // stride + 1

A transposed convolution swaps the roles of input and output (Dumoulin and Visin, "A guide to
convolution arithmetic for deep learning", 2016). Only shapes are handled here, so the same code
serves arrays, layers and plans for arrays that do not exist yet.
"""

import math
import sys
from typing import NamedTuple

from ._arguments import (
    LAYOUTS,
    flag,
    integer,
    integers,
    normalise_layout,
    padding_pairs,
    shape_tuple,
)

_SPATIAL_AXES = {1: "W", 2: "H, W", 3: "D, H, W"}
_KERNEL_AXES = {1: "S", 2: "R, S", 3: "T, R, S"}

# An array of float64 may not have more elements than this.
_MOST_ELEMENTS = sys.maxsize // 8


class ConvGeometry(NamedTuple):
    """A convolution or transposed convolution, fully described; tuples have `nd` entries.

    `plane` marks an x and a weight without batch and channel axes (one channel each); then
    `batched` is False and both channel counts are 1. Without a batch axis `batch` is 1.
    """

    op: str
    nd: int
    batched: bool
    channels_last: bool
    plane: bool
    batch: int
    in_channels: int
    out_channels: int
    in_size: tuple
    kernel_size: tuple
    stride: tuple
    dilation: tuple
    pad_before: tuple
    pad_after: tuple
    groups: int
    out_size: tuple

    @property
    def out_shape(self):
        """Shape of the result in the logical layout, with the axes the input had."""
        return self.out_size if self.plane else _shape(self, self.out_channels)


class PoolGeometry(NamedTuple):
    """A pooling operation, fully described; tuples have `nd` entries."""

    op: str
    nd: int
    batched: bool
    channels_last: bool
    batch: int
    channels: int
    in_size: tuple
    kernel_size: tuple
    stride: tuple
    dilation: tuple
    pad_before: tuple
    pad_after: tuple
    out_size: tuple

    @property
    def out_shape(self):
        """Shape of the result in the logical layout, with the axes the input had."""
        return _shape(self, self.channels)


class _Input(NamedTuple):
    """The axes of x, told apart."""

    shape: tuple
    batched: bool
    channels_last: bool
    plane: bool
    batch: int
    channels: int
    size: tuple


class _Operands(NamedTuple):
    """x and weight, found to belong together."""

    x: _Input
    groups: int
    out_channels: int
    kernel_size: tuple


def _shape(geometry, channels):
    batch = (geometry.batch,) if geometry.batched else ()
    if geometry.channels_last:
        return (*batch, *geometry.out_size, channels)
    return (*batch, channels, *geometry.out_size)


def _times(sizes):
    """A size for people: 3x5."""
    return "x".join(map(str, sizes))


def _extents(kernel_size, dilation):
    return tuple(d * (k - 1) + 1 for k, d in zip(kernel_size, dilation, strict=True))


def conv_geometry(op, nd, x_shape, weight_shape, stride, padding, dilation, groups, layout):
    """Check the arguments of a convolution against each other and work out its sizes.

    Parameters
    ----------
    op : str
        Public name of the function, for error texts.
    nd : int
        Number of spatial axes: 1, 2 or 3.
    x_shape : tuple of int
        (N, C, H, W) or (C, H, W), in 2-D and layout "NCHW"; (H, W) where weight is (R, S).
    weight_shape : tuple of int
        (K, C/groups, R, S) in either layout, or (R, S): one channel in, one out.
    stride, dilation : int or sequence of nd ints
        At least 1.
    padding : int, sequence of nd ints, sequence of nd (before, after) pairs, "same" or "valid"
        Never negative.
    groups : int
        Divides both channel counts.
    layout : str
        Order of the logical axes of x and of the result, "NCHW" or "NHWC" in 2-D.

    Returns
    -------
    ConvGeometry

    Raises
    ------
    TypeError, ValueError
        For anything that does not fit; the text names `op`, the argument and both shapes.
    MemoryError
        When no array could hold the result.
    """
    operands = _conv_operands(op, nd, x_shape, weight_shape, groups, layout, transposed=False)
    x, kernel_size = operands.x, operands.kernel_size
    stride = integers(op, "stride", stride, nd, minimum=1)
    dilation = integers(op, "dilation", dilation, nd, minimum=1)
    extent = _extents(kernel_size, dilation)
    before, after = padding_pairs(op, padding, x.size, extent, stride)
    out_size = tuple(map(_windows, x.size, extent, stride, before, after))
    _check_windows_fit(op, "weight", x, kernel_size, dilation, before, after, out_size)
    return _conv_result(
        operands,
        op=op,
        nd=nd,
        stride=stride,
        dilation=dilation,
        pad_before=before,
        pad_after=after,
        out_size=out_size,
    )


def conv_transpose_geometry(
    op, nd, x_shape, weight_shape, stride, padding, output_padding, groups, dilation, layout
):
    """Check the arguments of a transposed convolution and work out its sizes, as PyTorch does.

    The arguments are those of `conv_geometry`, with these differences: weight is
    (C, K/groups, R, S); padding is cut off the result, so ``"same"`` has no meaning; and
    `output_padding` (int or nd ints, less than the larger of stride and dilation) adds rows and
    columns at the end. Per axis

        out = (in - 1) * stride - before - after + dilation * (kernel - 1) + output_padding + 1

    Padding may exceed the kernel: then the result is cut further in.

    Returns
    -------
    ConvGeometry
        `in_size` is the size of x, `out_size` that of the result.
    """
    operands = _conv_operands(op, nd, x_shape, weight_shape, groups, layout, transposed=True)
    x = operands.x
    stride = integers(op, "stride", stride, nd, minimum=1)
    dilation = integers(op, "dilation", dilation, nd, minimum=1)
    extra = integers(op, "output_padding", output_padding, nd, minimum=0)
    if any(e >= max(s, d) for e, s, d in zip(extra, stride, dilation, strict=True)):
        raise ValueError(
            f"{op}: output_padding must be less than the larger of stride and dilation, "
            f"got output_padding={extra}, stride={stride}, dilation={dilation}"
        )
    if isinstance(padding, str) and padding == "same":
        raise ValueError(
            f'{op}: padding="same" is not defined here, because padding is cut off the result; '
            'give ints, (before, after) pairs or "valid"'
        )
    extent = _extents(operands.kernel_size, dilation)
    before, after = padding_pairs(op, padding, x.size, extent, stride)
    out_size = tuple(map(_transposed_size, x.size, extent, stride, before, after, extra))
    if min(out_size) < 1:
        raise ValueError(
            f"{op}: padding={tuple(zip(before, after, strict=True))} leaves a result of size "
            f"{out_size} (x.shape={x.shape}, kernel {_times(operands.kernel_size)}); "
            "use less padding"
        )
    return _conv_result(
        operands,
        op=op,
        nd=nd,
        stride=stride,
        dilation=dilation,
        pad_before=before,
        pad_after=after,
        out_size=out_size,
    )


def pool_geometry(op, nd, x_shape, kernel_size, stride, padding, dilation, ceil_mode, layout):
    """Check the arguments of a max or average pool and work out its sizes, as PyTorch does.

    Parameters
    ----------
    op, nd, x_shape, padding, dilation, layout
        As in `conv_geometry`; padding may not exceed half the dilated kernel (PyTorch: half the
        kernel as if it were not dilated, which would rule out ``"same"``).
    kernel_size : int or sequence of nd ints
        At least 1.
    stride : None, int or sequence of nd ints
        None stands for kernel_size.
    ceil_mode : bool
        Also keep a last window that hangs over the end, if it starts inside the input or the
        padding before it. Such a window reaches past `pad_after`, and may be the only one.

    Returns
    -------
    PoolGeometry
    """
    x = split_input(op, nd, x_shape, normalise_layout(op, layout, nd), plane=False)
    kernel_size = integers(op, "kernel_size", kernel_size, nd, minimum=1)
    stride = kernel_size if stride is None else integers(op, "stride", stride, nd, minimum=1)
    dilation = integers(op, "dilation", dilation, nd, minimum=1)
    extent = _extents(kernel_size, dilation)
    before, after = padding_pairs(op, padding, x.size, extent, stride)
    _check_pool_padding(op, kernel_size, dilation, extent, before, after)
    windows = _windows_ceil if flag(op, "ceil_mode", ceil_mode) else _windows
    out_size = tuple(map(windows, x.size, extent, stride, before, after))
    _check_windows_fit(op, "kernel_size", x, kernel_size, dilation, before, after, out_size)
    geometry = PoolGeometry(
        op=op,
        nd=nd,
        batched=x.batched,
        channels_last=x.channels_last,
        batch=x.batch,
        channels=x.channels,
        in_size=x.size,
        kernel_size=kernel_size,
        stride=stride,
        dilation=dilation,
        pad_before=before,
        pad_after=after,
        out_size=out_size,
    )
    _check_memory(op, geometry.out_shape)
    return geometry


def fitted_geometry(op, nd, x_shape, output_size, layout):
    """Check the arguments of an adaptive pool, whose windows are fitted to a wanted size.

    Parameters
    ----------
    op, nd, x_shape, layout
        As in `pool_geometry`.
    output_size : int or sequence of nd ints
        At least 1; None keeps an axis of a sequence as long as it is.

    Returns
    -------
    PoolGeometry
        Its kernel, stride and dilation mean nothing.
    """
    x = split_input(op, nd, x_shape, normalise_layout(op, layout, nd), plane=False)
    if isinstance(output_size, (tuple, list)) and len(output_size) == nd:
        output_size = [size if wanted is None else wanted
                       for wanted, size in zip(output_size, x.size, strict=True)]
    out_size = integers(op, "output_size", output_size, nd, minimum=1)
    one, zero = (1,) * nd, (0,) * nd
    geometry = PoolGeometry(op, nd, x.batched, x.channels_last, x.batch, x.channels, x.size, one,
                            one, one, zero, zero, out_size)
    _check_memory(op, geometry.out_shape)
    return geometry


def _windows(size, extent, stride, before, after):
    return (before + size + after - extent) // stride + 1


def _windows_ceil(size, extent, stride, before, after):
    count = -(-(before + size + after - extent) // stride) + 1
    starts_behind_the_input = (count - 1) * stride >= before + size
    return count - starts_behind_the_input


def _transposed_size(size, extent, stride, before, after, extra):
    return (size - 1) * stride + extent + extra - before - after


def _conv_operands(op, nd, x_shape, weight_shape, groups, layout, transposed):
    """Tell the axes of x and weight apart and check that their channels agree."""
    channels_last = normalise_layout(op, layout, nd)
    groups = integer(op, "groups", groups, minimum=1)
    weight_shape = _check_weight_axes(op, nd, weight_shape, transposed)
    plane = len(weight_shape) == nd
    x = split_input(op, nd, x_shape, channels_last, plane)
    if plane:
        in_channels = out_channels = 1
    elif transposed:
        in_channels, out_channels = weight_shape[0], weight_shape[1] * groups
        _check_channels(op, nd, x, in_channels, groups, f"weight.shape[0]={in_channels}")
    else:
        in_channels, out_channels = weight_shape[1] * groups, weight_shape[0]
        where = f"weight.shape[1]={weight_shape[1]}, groups={groups}"
        _check_channels(op, nd, x, in_channels, groups, where)
    for channels, side in ((in_channels, "input"), (out_channels, "output")):
        if channels % groups:
            raise ValueError(
                f"{op}: groups must divide both channel counts, got groups={groups} for "
                f"{_count(channels, side + ' channel')} (weight.shape={weight_shape})"
            )
    return _Operands(x, groups, out_channels, weight_shape[-nd:])


def _check_weight_axes(op, nd, weight_shape, transposed):
    shape = shape_tuple(op, "weight", weight_shape)
    if len(shape) not in (nd, nd + 2):
        kernel = _KERNEL_AXES[nd]
        channels = "C, K/groups" if transposed else "K, C/groups"
        raise ValueError(
            f"{op}: weight must have {nd + 2} axes ({channels}, {kernel}), or {nd} ({kernel}) "
            f"where x is ({_SPATIAL_AXES[nd]}), got {len(shape)} (weight.shape={shape})"
        )
    if 0 in shape:
        raise ValueError(f"{op}: weight must have no axis of size 0, got weight.shape={shape}")
    return shape


def split_input(op, nd, x_shape, channels_last, plane, name="x"):
    """Tell the axes of x apart: batch and channels may be missing.

    Parameters
    ----------
    op, name : str
        Public name of the function and of the argument, for error texts.
    nd : int
    x_shape : tuple of int
    channels_last, plane : bool
        Whether channels are the last axis; whether x has spatial axes only.
    """
    shape = shape_tuple(op, name, x_shape)
    spatial = _SPATIAL_AXES[nd]
    if plane and len(shape) != nd:
        raise ValueError(
            f"{op}: {name} must have {nd} axes ({spatial}), as weight has {nd}, got {len(shape)} "
            f"({name}.shape={shape}); for an x with channels pass a weight with {nd + 2} axes"
        )
    if not plane and len(shape) not in (nd + 1, nd + 2):
        channels = f"{spatial}, C" if channels_last else f"C, {spatial}"
        message = (
            f"{op}: {name} must have {nd + 2} axes (N, {channels}) or {nd + 1} ({channels}), "
            f"got {len(shape)} ({name}.shape={shape})"
        )
        if len(shape) == nd:
            message += f"; for one channel pass {name}[{'..., None' if channels_last else 'None'}]"
        raise ValueError(message)
    batched = len(shape) == nd + 2
    batch, sample = (shape[0], shape[1:]) if batched else (1, shape)
    if plane:
        channels, size = 1, sample
    elif channels_last:
        channels, size = sample[-1], sample[:-1]
    else:
        channels, size = sample[0], sample[1:]
    if channels == 0 or 0 in size:
        raise ValueError(
            f"{op}: {name} must have no axis of size 0 but the batch, got {name}.shape={shape}"
        )
    return _Input(shape, batched, channels_last, plane, batch, channels, size)


def _check_channels(op, nd, x, expected, groups, where):
    if x.channels == expected:
        return
    message = (
        f"{op}: weight expects {_count(expected, 'input channel')} ({where}), "
        f"x has {x.channels} (x.shape={x.shape})"
    )
    channels_elsewhere = x.size[0] if x.channels_last else x.size[-1]
    if channels_elsewhere == expected:
        other = LAYOUTS[nd][not x.channels_last]
        which = "first" if x.channels_last else "last"
        message += f'; for channels-{which} data pass layout="{other}"'
    elif x.channels % groups:
        message += f"; groups={groups} does not divide {x.channels}"
    raise ValueError(message)


def _count(number, noun):
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def _check_windows_fit(op, argument, x, kernel_size, dilation, before, after, out_size):
    """Raise where an axis has no room for even one window."""
    if min(out_size) >= 1:
        return
    extent = _extents(kernel_size, dilation)
    padded = tuple(map(sum, zip(x.size, before, after, strict=True)))
    kernel = f"a kernel of {_times(kernel_size)}"
    if extent != kernel_size:
        kernel += f" ({_times(extent)} at dilation {dilation})"
    raise ValueError(
        f"{op}: {argument} gives {kernel}, x has only {_times(padded)} with its padding "
        f"(x.shape={x.shape}); use a smaller kernel or more padding"
    )


def _check_pool_padding(op, kernel_size, dilation, extent, before, after):
    limits = tuple(reach // 2 for reach in extent)
    if all(max(b, a) <= most for b, a, most in zip(before, after, limits, strict=True)):
        return
    raise ValueError(
        f"{op}: padding must be at most half of the kernel, {limits} for kernel_size={kernel_size} "
        f"and dilation={dilation}, got {tuple(zip(before, after, strict=True))}"
    )


def _check_memory(op, out_shape):
    """Raise MemoryError for a result that NumPy could not even describe (it counts 0 as 1)."""
    if math.prod(max(size, 1) for size in out_shape) > _MOST_ELEMENTS:
        raise MemoryError(
            f"{op}: the result would have shape {out_shape}, more than {_MOST_ELEMENTS} elements"
        )


def _conv_result(operands, **fields):
    """Put a ConvGeometry together and check that its result can exist."""
    x = operands.x
    geometry = ConvGeometry(
        batched=x.batched,
        channels_last=x.channels_last,
        plane=x.plane,
        batch=x.batch,
        in_channels=x.channels,
        out_channels=operands.out_channels,
        in_size=x.size,
        kernel_size=operands.kernel_size,
        groups=operands.groups,
        **fields,
    )
    _check_memory(geometry.op, geometry.out_shape)
    return geometry
