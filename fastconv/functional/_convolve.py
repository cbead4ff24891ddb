"""From checked arguments to a result: the way every convolution takes.

A call looks its signature up in one bounded cache of planned calls. Only a new signature, or
arguments that need converting first (lists, integers, unaligned or overlapping arrays), goes the
long way:

    arguments -> _check -> ConvGeometry -> phases -> plan.choose -> ConvCall -> cache
    signature ------------------------------------------------------> ConvCall.run -> result
"""

import math
import os
import sys

import numpy as np

from .. import plan
from .._engine import dispatch
from .._engine.conv import ConvCall
from .._engine.depthwise import depthwise_tile
from .._engine.direct import planes_tile
from .._engine.grouped import grouped_tile
from .._engine.pointwise import pointwise_tile
from ..config import check_precision, get_precision
from ._cache import BoundedCache
from ._check import (
    as_array,
    check_bias,
    check_out,
    check_residual,
    compute_dtype,
    conv_geometry,
    conv_transpose_geometry,
    parse_activation,
    plain_array,
)
from ._phases import convolution_phases, transposed_phases

_calls = BoundedCache(512)
_verbose = os.environ.get("FASTCONV_VERBOSE", "0") not in ("", "0")


def convolve(op, x, weight, bias, residual, out, precision, arguments, packed=None):
    """Run a convolution or transposed convolution.

    Parameters
    ----------
    op : str
        Public name; its last digit but one is the number of spatial axes.
    x, weight, bias, residual, out
        As the public function got them.
    precision : str or None
    arguments : tuple
        (stride, padding, dilation, groups, layout, algorithm, activation), and output_padding for
        transposed convolutions.
    packed : dict, optional
        Where a prepared convolution keeps its packed weights, by `ConvCall.packing`.
    """
    if precision is None:
        precision = get_precision()
    try:
        key = _signature(op, x, weight, residual, out, precision, arguments, packed is not None)
        planned = _calls[key]
    except (KeyError, TypeError, AttributeError):
        planned = None
    if planned is None or not planned.accepts(x, weight, bias, residual, out, arguments):
        return _convert_and_run(op, x, weight, bias, residual, out, precision, arguments, packed)
    return _run(planned, x, weight, bias, residual, out, packed)


def shape_only(shape, dtype):
    """Return a stand-in for a C-contiguous array: shape and strides, but no memory behind them."""
    strides, step = [], np.dtype(dtype).itemsize
    for size in reversed(shape):
        strides.append(step)
        step *= size
    seed = np.zeros(1, dtype)
    return np.lib.stride_tricks.as_strided(seed, shape, tuple(reversed(strides)), writeable=False)


class Packings(dict):
    """Packed weights by `ConvCall.packing`; where the array is given up, how to have it again."""

    restore = None

    def whole(self, weight):
        """The weights as an array; `weight` is that, or stands for it in shape and dtype."""
        return weight if self.restore is None else self.restore().astype(weight.dtype, copy=False)


def _signature(op, x, weight, residual, out, precision, arguments, packed, exact=False):
    return (
        op, x.shape, x.strides, x.dtype, weight.shape, weight.dtype, precision, arguments, packed,
        exact,
        None if residual is None else residual.strides,
        None if out is None else out.strides,
    )


def _run(planned, x, weight, bias, residual, out, packed):
    if packed is None:
        return planned.run(x, weight, None, bias, residual, out)
    weights = packed.get(planned.packing)
    if weights is None:
        weights = packed.setdefault(planned.packing, planned.pack(packed.whole(weight)))
    return planned.run(x, None, weights, bias, residual, out)


def _convert_and_run(op, x, weight, bias, residual, out, precision, arguments, packed):
    """Check everything, turn operands into plain arrays of the compute dtype, plan, run."""
    x, weight = as_array(op, "x", x), as_array(op, "weight", weight)
    dtype = compute_dtype(op, x, weight)
    geometry = _geometry(op, x.shape, weight.shape, arguments)
    parse_activation(op, arguments[6])  # a cached plan may be for an equal one: False == 0
    bias = check_bias(op, bias, geometry.out_channels)
    residual = check_residual(op, residual, geometry.out_shape)
    check_out(op, out, geometry.out_shape, dtype)
    exact = x.dtype.kind not in "f" and weight.dtype.kind not in "f"
    x = plain_array(x, dtype)
    residual = None if residual is None else plain_array(residual, dtype)
    target = out
    if out is not None and not _writable_in_place(out, x, weight, bias, residual):
        target = np.empty_like(out, order="C")
    try:
        key = _signature(op, x, weight, residual, target, precision, arguments,
                         packed is not None, exact)
        planned = _calls.get(key)
    except TypeError:  # an argument is a list
        key = planned = None
    if planned is None:
        planned = plan_call(op, x, weight, residual, target, precision, arguments, exact,
                            packed is not None, geometry)
        if key is not None:
            _calls.remember(key, planned)
    result = _run(planned, x, weight, bias, residual, target, packed)
    if target is not out:
        out[...] = result
        return out
    return result


def _writable_in_place(out, x, weight, bias, residual):
    """Whether writing `out` piece by piece cannot change what is still to be read.

    A residual at the very same place is fine: each element is read just before it is written.
    """
    if not out.flags.aligned or (out.size > 1 and 0 in out.strides):
        return False
    same = residual is not None and (
        residual.__array_interface__["data"][0] == out.__array_interface__["data"][0]
        and residual.strides == out.strides
    )
    others = [x, weight, bias, None if same else residual]
    return not any(other is not None and np.may_share_memory(out, other) for other in others)


def _geometry(op, x_shape, weight_shape, arguments):
    nd = int(op[-2])
    stride, padding, dilation, groups, layout, _, _, *output_padding = arguments
    if output_padding:
        return conv_transpose_geometry(op, nd, x_shape, weight_shape, stride, padding,
                                       output_padding[0], groups, dilation, layout)
    return conv_geometry(op, nd, x_shape, weight_shape, stride, padding, dilation, groups, layout)


def plan_call(op, x, weight, residual, out, precision, arguments, exact=False, packed=True,
              geometry=None):
    """Plan a call; see `convolve` for the parameters.

    Parameters
    ----------
    exact : bool
        Neither operand is floating: "auto" keeps sums of integers exact.
    packed : bool
        The weights are packed once for many calls, not in each call.
    geometry : ConvGeometry, optional
        Where the caller has worked it out.

    Returns
    -------
    PlannedCall
    """
    check_precision(op, precision)
    if geometry is None:
        geometry = _geometry(op, x.shape, weight.shape, arguments)
    algorithm, activation = arguments[5], parse_activation(op, arguments[6])
    dtype = compute_dtype(op, x, weight)
    transposed = len(arguments) > 7
    phases = transposed_phases(geometry) if transposed else convolution_phases(geometry)
    result = shape_only(geometry.out_shape, dtype) if out is None else out
    # one channel has no stride worth the name: there the result tells
    channels = x if geometry.in_channels > 1 else result
    contiguous = _channel_stride(channels, geometry) == dtype.itemsize
    arrays = [x, result] if residual is None else [x, result, residual]
    planned = []
    for phase in phases:
        run = _pixel_run(phase, arrays)
        problem = _problem(phase.geometry, contiguous, run, dtype, packed)
        choice = plan.choose(problem, algorithm, precision, exact)
        planned.append((phase.geometry, choice, phase.offset, phase.step, phase.select))
    call = PlannedCall(geometry, planned, x, result, residual, dtype, activation,
                       precision != "highest", packed)
    call.describe(geometry, precision, str(dtype))
    if _verbose:
        head = f"fastconv: {op} {x.shape} {dtype}, weight {weight.shape}: "
        print(head + str(call.explain()).replace("\n", "; "), file=sys.stderr)
    return call


class PlannedCall(ConvCall):
    """A ConvCall that can explain itself."""

    def describe(self, geometry, precision, dtype):
        """Keep what `explain` needs."""
        self._facts = geometry, precision, dtype

    def explain(self):
        """Return the Plan; of a transposed convolution, that of its largest phase."""
        geometry, precision, dtype = self._facts
        choice = self.choices[0]
        taps = math.prod(geometry.kernel_size) * geometry.in_channels // geometry.groups
        windows = geometry.batch * math.prod(geometry.out_size)
        return plan.Plan(
            algorithm=choice.algorithm,
            form=choice.form,
            tile=_tile(choice, geometry, dtype),
            isa=dispatch.isa(),
            workspace_bytes=self.workspace_bytes,
            packed_bytes=self.packed_bytes,
            flops=2 * windows * geometry.out_channels * taps,
            precision=precision,
            unused=_unused(geometry),
            reason=choice.reason,
        )


def _tile(choice, geometry, dtype):
    """The register tile of a choice, as text."""
    if choice.form == "planes":
        return planes_tile(dtype, geometry.out_channels // geometry.groups)
    if choice.form == "pointwise":
        return pointwise_tile(dtype, geometry.out_channels // geometry.groups)
    if choice.form == "depthwise":
        return depthwise_tile(dtype)
    if choice.form == "grouped":
        return grouped_tile(dtype, geometry.in_channels // geometry.groups,
                            geometry.out_channels // geometry.groups)
    if choice.form.endswith("bfloat16"):
        return f"32x32 (pixels x channels), {choice.form}"
    rows, columns = dispatch.gemm_tiles(dtype)[-1]
    return f"{rows}x{columns} (pixels x channels)"


def _unused(geometry):
    """Rows and columns at the input's end, padding included, that no window reaches."""
    axes = zip(geometry.in_size, geometry.kernel_size, geometry.stride, geometry.dilation,
               geometry.pad_before, geometry.pad_after, strict=True)
    return tuple((n + a + b - d * (k - 1) - 1) % s for n, k, s, d, a, b in axes)


def _channel_stride(x, geometry):
    if geometry.plane:
        return x.itemsize
    first = 1 if geometry.batched else 0
    return x.strides[-1 if geometry.channels_last else first]


def _pixel_run(phase, arrays):
    """How many of a phase's pixels lie side by side in every array."""
    geometry, run = phase.geometry, 1
    if any(step > 1 for step in phase.step):
        return run
    first = 0 if geometry.plane else int(geometry.batched) + (not geometry.channels_last)
    for axis in reversed(range(geometry.nd)):
        size = geometry.out_size[axis]
        if size > 1 and any(a.strides[first + axis] != run * a.itemsize for a in arrays):
            break
        run *= size
    return run


def _problem(geometry, channels_contiguous, run, dtype, packed):
    def three(values, missing=1):
        return (missing,) * (3 - geometry.nd) + tuple(values)

    return plan.Problem(
        op=geometry.op,
        batch=geometry.batch,
        in_channels=geometry.in_channels,
        out_channels=geometry.out_channels,
        groups=geometry.groups,
        kernel=three(geometry.kernel_size),
        stride=three(geometry.stride),
        dilation=three(geometry.dilation),
        padded=any(geometry.pad_before) or geometry.in_size != geometry.out_size,
        out_size=three(geometry.out_size),
        channels_contiguous=channels_contiguous,
        run=run,
        lanes=dispatch.lanes(dtype),
        packed=packed,
        tiles=dispatch.has_tiles(dtype),
    )
