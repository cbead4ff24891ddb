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
from functools import cache

import numpy as np

from .. import plan
from .._engine import dispatch
from .._engine.conv import ConvCall
from .._engine.depthwise import depthwise_tile
from .._engine.direct import planes_tile
from .._engine.grouped import grouped_tile
from .._engine.pointwise import pointwise_tile
from .._engine.program import Unheard, address_of, array_at
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
    resized,
)
from ._phases import convolution_phases, transposed_phases

_calls = BoundedCache(512)
_CONV_ARGUMENTS = 7  # transposed convolutions have one more
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
    dtype = np.dtype(dtype)
    strides, step = [], dtype.itemsize
    for size in reversed(shape):
        strides.append(step)
        step *= size
    seed = np.zeros(1, dtype)
    array = array_at(address_of(seed), tuple(shape), tuple(reversed(strides)), dtype, seed)
    array.flags.writeable = False
    return array


class Packings(dict):
    """What a prepared convolution keeps for its weights.

    Packed ones by `ConvCall.packing`; where the array is given up, how to have it again; and a
    geometry and its arguments, since that of most other inputs differs in sizes alone.
    """

    restore = None
    known = None, None, None

    def whole(self, weight):
        """The weights as an array; `weight` is that, or stands for it in shape and dtype."""
        if self.restore is None:
            return weight
        with Unheard():  # weights are there before a recorded operation runs
            return self.restore().astype(weight.dtype, copy=False)

    def geometry_of(self, op, x_shape, weight_shape, arguments):
        """The geometry of the convolution of an x of some shape, and its activation."""
        geometry, activation, of = self.known
        geometry = resized(geometry, x_shape) if of is arguments else None
        if geometry is None:
            geometry, activation = _geometry_of(op, x_shape, weight_shape, arguments)
            if len(arguments) == _CONV_ARGUMENTS and not isinstance(arguments[1], str):
                self.known = geometry, activation, arguments
        return geometry, activation


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
    # even where a plan is in the cache: it may be for equal arguments, False == 0
    check = _geometry_of if packed is None else packed.geometry_of
    geometry, activation = check(op, x.shape, weight.shape, arguments)
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
        check_precision(op, precision)
        planned = _plan(geometry, x, residual, target, dtype, activation, precision,
                        arguments[5], exact, packed is not None)
        _announce(op, x, weight, dtype, planned)
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


def _geometry_of(op, x_shape, weight_shape, arguments):
    """Check the arguments; return a ConvGeometry and an Activation."""
    nd = int(op[-2])
    stride, padding, dilation, groups, layout, _, activation, *output_padding = arguments
    if output_padding:
        geometry = conv_transpose_geometry(op, nd, x_shape, weight_shape, stride, padding,
                                           output_padding[0], groups, dilation, layout)
    else:
        geometry = conv_geometry(op, nd, x_shape, weight_shape, stride, padding, dilation, groups,
                                 layout)
    return geometry, parse_activation(op, activation)


def plan_call(op, x, weight, precision, arguments, packed=True):
    """Plan a call; see `convolve` for the parameters.

    Parameters
    ----------
    packed : bool
        The weights are packed once for many calls, not in each call.

    Returns
    -------
    PlannedCall
    """
    check_precision(op, precision)
    geometry, activation = _geometry_of(op, x.shape, weight.shape, arguments)
    dtype = compute_dtype(op, x, weight)
    planned = _plan(geometry, x, None, None, dtype, activation, precision, arguments[5], False,
                    packed)
    _announce(op, x, weight, dtype, planned)
    return planned


def _plan(geometry, x, residual, out, dtype, activation, precision, algorithm, exact, packed):
    """Plan a call on arrays with these strides, the result's C-contiguous where `out` is None.

    Parameters
    ----------
    exact : bool
        Neither operand is floating: "auto" keeps sums of integers exact.
    packed : bool
        The weights are packed once for many calls, not in each call.
    """
    transposed = geometry.op.startswith("conv_transpose")
    phases = transposed_phases(geometry) if transposed else convolution_phases(geometry)
    result = shape_only(geometry.out_shape, dtype) if out is None else out
    # one channel has no stride worth the name: there the result tells
    channels = x if geometry.in_channels > 1 else result
    contiguous = _channel_stride(channels, geometry) == dtype.itemsize
    arrays = [x, result] if residual is None else [x, result, residual]
    planned, machine = [], _machine(dtype)
    for phase in phases:
        run = _pixel_run(phase, arrays)
        problem = _problem(phase.geometry, contiguous, run, machine, packed)
        choice = plan.choose(problem, algorithm, precision, exact)
        planned.append((phase.geometry, choice, phase.offset, phase.step, phase.select))
    call = PlannedCall(geometry, planned, x, result, residual, dtype, activation,
                       precision != "highest", packed)
    call.describe(geometry, precision, dtype)
    return call


def _announce(op, x, weight, dtype, planned):
    """Print a new plan, where FASTCONV_VERBOSE asks for it."""
    if _verbose:
        head = f"fastconv: {op} {x.shape} {dtype}, weight {weight.shape}: "
        print(head + str(planned.explain()).replace("\n", "; "), file=sys.stderr)


@cache
def _machine(dtype):
    """What a choice asks of the machine: a vector's lanes, and whether there are tiles."""
    return {"lanes": dispatch.lanes(dtype), "tiles": dispatch.has_tiles(dtype)}


class PlannedCall(ConvCall):
    """A ConvCall that can explain itself."""

    def describe(self, geometry, precision, dtype):
        """Keep what `explain` needs."""
        self._facts = geometry, precision, dtype

    def explain(self):
        """Return the Plan; of a transposed convolution, that of its largest phase."""
        geometry, precision, dtype = self._facts
        dtype = str(dtype)
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


def _problem(geometry, channels_contiguous, run, machine, packed):
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
        packed=packed,
        **machine,
    )
