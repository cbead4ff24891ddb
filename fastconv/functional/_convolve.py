"""From checked arguments to a result: the way every convolution takes.

A call looks its signature up in one bounded cache of planned calls. Only a new signature, or
arguments that need converting first (lists, integers, unaligned or overlapping arrays), goes the
long way:

    arguments -> _check -> ConvGeometry -> phases -> ConvCall, by plan.choose -> cache
    signature -------------------------------------------------------> ConvCall.run -> result

A prepared convolution need not look at its arguments again for arrays of another size: there a new
call follows from an earlier one.
"""

import math
import os
import sys
from functools import cache
from typing import NamedTuple

import numpy as np

from .. import plan
from .._engine import dispatch
from .._engine.conv import ConvCall
from .._engine.depthwise import depthwise_tile
from .._engine.direct import planes_tile
from .._engine.grouped import grouped_tile
from .._engine.pointwise import pointwise_tile
from .._engine.program import Unheard, address_of, array_at
from .._engine.stationary import stationary_tile, stationary_weights
from ..config import check_precision, get_precision
from ._cache import BoundedCache
from ._check import (
    Activation,
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
        key = _signature(op, x, weight, residual, out, precision, arguments, packed)
        planned = _calls.get(key)
        if planned is None and packed is not None:
            planned = packed.resized(x, residual, out, precision, arguments)
            if planned is not None:
                _remember(key, planned)
    except (TypeError, AttributeError):
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

    Packed ones by `ConvCall.packing`; where the array is given up, how to have it again; the slopes
    of what is negative behind it; and a planned call, which those of other sizes follow from.
    """

    restore = None
    slopes = None
    known = None

    def whole(self, weight):
        """The weights as an array; `weight` is that, or stands for it in shape and dtype."""
        if self.restore is None:
            return weight
        with Unheard():  # weights are there before a recorded operation runs
            return self.restore().astype(weight.dtype, copy=False)

    def learn(self, planned):
        """Keep a planned call, unless padding that follows from the size makes others differ."""
        if not isinstance(planned.facts.arguments[1], str):
            self.known = planned

    def resized(self, x, residual, out, precision, arguments):
        """A call of these arguments for arrays of another size, or None."""
        known = self.known
        if known is None or known.facts.arguments is not arguments \
                or known.facts.precision != precision:
            return None
        return known.resized(x, residual, out)

    def result_shape(self, op, x_shape, weight_shape, arguments):
        """The shape of what becomes of an x of some shape."""
        known, shape = self.known, None
        if known is not None and known.facts.arguments is arguments:
            shape = known.result_shape(x_shape)
        return shape or _geometry_of(op, x_shape, weight_shape, arguments)[0].out_shape


def _signature(op, x, weight, residual, out, precision, arguments, packed, exact=False):
    return (
        op, x.shape, x.strides, x.dtype, weight.shape, weight.dtype, precision, arguments,
        packed is not None, packed is not None and packed.slopes is not None, exact,
        None if residual is None else residual.strides,
        None if out is None else out.strides,
    )


def _run(planned, x, weight, bias, residual, out, packed):
    if packed is None:
        return planned.run(x, weight, None, bias, residual, out)
    weights = packed.get(planned.packing)
    if weights is None:
        weights = packed.setdefault(planned.packing, planned.pack(packed.whole(weight)))
    return planned.run(x, None, weights, bias, residual, out, packed.slopes)


def _convert_and_run(op, x, weight, bias, residual, out, precision, arguments, packed):
    """Check everything, turn operands into plain arrays of the compute dtype, plan, run."""
    x, weight = as_array(op, "x", x), as_array(op, "weight", weight)
    dtype = compute_dtype(op, x, weight)
    # even where a plan is in the cache: it may be for equal arguments, False == 0
    geometry, activation = _geometry_of(op, x.shape, weight.shape, arguments)
    shape = geometry.out_shape
    bias = check_bias(op, bias, geometry.out_channels)
    residual = check_residual(op, residual, shape)
    check_out(op, out, shape, dtype)
    exact = x.dtype.kind not in "f" and weight.dtype.kind not in "f"
    x = plain_array(x, dtype)
    residual = None if residual is None else plain_array(residual, dtype)
    target = out
    if out is not None and not _writable_in_place(out, x, weight, bias, residual):
        target = np.empty_like(out, order="C")
    try:
        key = _signature(op, x, weight, residual, target, precision, arguments, packed, exact)
        planned = _calls.get(key)
    except TypeError:  # an argument is a list
        key = planned = None
    if planned is None:
        check_precision(op, precision)
        facts = Facts(op, weight.shape, arguments, precision, dtype)
        if packed is not None and packed.slopes is not None:
            activation = Activation("prelu")
        planned = _plan(facts, geometry, activation, x, residual, target, exact,
                        packed is not None)
        if packed is not None and not exact:
            packed.learn(planned)
        _remember(key, planned)
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
    facts = Facts(op, weight.shape, arguments, precision, compute_dtype(op, x, weight))
    planned = _plan(facts, geometry, activation, x, None, None, False, packed)
    _announce(planned)
    return planned


class Facts(NamedTuple):
    """What planned calls of all sizes have in common."""

    op: str
    weight_shape: tuple
    arguments: tuple
    precision: str
    dtype: np.dtype


def _plan(facts, geometry, activation, x, residual, out, exact, packed):
    """Plan a call on arrays with these strides, the result's C-contiguous where `out` is None.

    Parameters
    ----------
    exact : bool
        Neither operand is floating: "auto" keeps sums of integers exact.
    packed : bool
        The weights are packed once for many calls, not in each call.
    """
    op, dtype, precision, algorithm = geometry.op, facts.dtype, facts.precision, facts.arguments[5]
    machine = _machine(dtype)

    def choose(*fields):
        problem = plan.Problem(op, *fields, packed, *machine)
        return plan.choose(problem, algorithm, precision, exact)

    transposed = op.startswith("conv_transpose")
    phases = transposed_phases(geometry) if transposed else convolution_phases(geometry)
    return PlannedCall(geometry, phases, x, out, residual, dtype, activation,
                       precision != "highest", packed, choose, facts)


def _remember(key, planned):
    """Keep a new plan; a signature that cannot be a key is None."""
    _announce(planned)
    if key is not None:
        _calls.remember(key, planned)


def _announce(planned):
    """Print a new plan, where FASTCONV_VERBOSE asks for it."""
    if _verbose:
        facts = planned.facts
        head = f"fastconv: {facts.op} {planned.x_shape} {facts.dtype}, " \
            f"weight {facts.weight_shape}: "
        print(head + str(planned.explain()).replace("\n", "; "), file=sys.stderr)


@cache
def _machine(dtype):
    """What a choice asks of the machine: the last fields of a Problem."""
    return dispatch.lanes(dtype), dispatch.has_tiles(dtype), stationary_weights(dtype)


class PlannedCall(ConvCall):
    """A ConvCall that can explain itself."""

    def explain(self):
        """Return the Plan; of a transposed convolution, that of its largest phase."""
        op, weight_shape, arguments, precision, dtype = self.facts
        geometry, _ = _geometry_of(op, self.x_shape, weight_shape, arguments)
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
    if choice.form == "stationary":
        *rows, width = geometry.kernel_size
        run = width * geometry.in_channels // geometry.groups
        return stationary_tile(dtype, math.prod(rows), run)
    if choice.form.endswith("bfloat16"):
        return f"32x32 (pixels x channels), {choice.form}"
    return dispatch.gemm_tile(dtype, geometry.out_channels // geometry.groups)


def _unused(geometry):
    """Rows and columns at the input's end, padding included, that no window reaches."""
    axes = zip(geometry.in_size, geometry.kernel_size, geometry.stride, geometry.dilation,
               geometry.pad_before, geometry.pad_after, strict=True)
    return tuple((n + a + b - d * (k - 1) - 1) % s for n, k, s, d, a, b in axes)
