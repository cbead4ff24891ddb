"""Convolutions from arrays: a planned call holds everything that a repeated signature needs.

    ConvCall                     one signature: shapes, strides, dtype, arguments
      parts                      one Prepared each; a transposed convolution has one per phase of
                                 its output, a convolution exactly one
      pack(weight) -> Packed     the parts' weights in their kernels' order
      call(x, packed, ...)       views from pointers and strides, then nogil

Nothing is checked here that `functional` has checked already; only what may differ between two
calls of the same signature (the dtype and contiguity of weight and bias) is looked at.
"""

import numpy as np

cimport numpy as cnp

from .amx cimport plan_amx
from .arrays cimport Axes, axes_of, exact_integers, raise_for, readable, view_of
from .depthwise cimport plan_depthwise
from .direct cimport plan_planes
from .grouped cimport plan_grouped
from .im2col cimport plan_im2col
from .kernels cimport FC_ACT_CLIP, FC_ACT_HARDSIGMOID, FC_ACT_HARDSWISH, FC_ACT_LEAKY_RELU
from .kernels cimport FC_ACT_NONE, FC_ACT_RELU, FC_ACT_SCALED_HARDSWISH, FC_ACT_SIGMOID
from .kernels cimport FC_ACT_SILU, FC_ACT_TANH
from .memory cimport Buffer, allocate, borrow_workspace, return_workspace
from .winograd cimport plan_winograd
from .op cimport Prepared, fc_call, fc_conv, fc_view
from .pointwise cimport plan_pointwise
from .program cimport Recorded, execute, listening, new_array, perform

cnp.import_array()

# What a view's data is while only its strides are known: a plan asks whether it is NULL.
cdef char *PRESENT = <char *> 1

ACTIVATION_CODES = {
    "none": FC_ACT_NONE,
    "relu": FC_ACT_RELU,
    "clip": FC_ACT_CLIP,
    "leaky_relu": FC_ACT_LEAKY_RELU,
    "sigmoid": FC_ACT_SIGMOID,
    "tanh": FC_ACT_TANH,
    "silu": FC_ACT_SILU,
    "hardsigmoid": FC_ACT_HARDSIGMOID,
    "hardswish": FC_ACT_HARDSWISH,
    "scaled_hardswish": FC_ACT_SCALED_HARDSWISH,
}


# A part of a call, for a program.
cdef struct ConvFrame:
    const void *blocking
    int (*run)(const void *, const fc_call *) noexcept nogil
    fc_call call


cdef int run_frame(void *raw, char *workspace, int most) noexcept nogil:
    cdef ConvFrame *frame = <ConvFrame *> raw
    frame.call.workspace = workspace
    frame.call.threads = most
    return frame.run(frame.blocking, &frame.call)


cdef class Packed:
    """Weights in the order of the kernels, one buffer a part; immutable once made."""

    cdef readonly tuple key      # calls with an equal `packing` can share it
    cdef list buffers


cdef class Part:
    """One prepared operation and where in the result it writes."""

    cdef Prepared op
    cdef fc_view out                 # strides only
    cdef fc_view residual
    cdef ptrdiff_t out_offset        # bytes from the array's first element
    cdef ptrdiff_t residual_offset
    cdef object select               # picks the part's weights from the array, None for all


cdef void set_axes(Py_ssize_t *target, tuple values, Py_ssize_t missing) except *:
    """Spread nd entries over depth, height, width."""
    cdef int axis, first = 3 - <int> len(values)
    for axis in range(3):
        target[axis] = missing if axis < first else values[axis - first]


cdef fc_conv conv_of(geometry, int type, bint flush_denormals) except *:
    cdef fc_conv conv
    conv.type = type
    conv.batch = max(1, geometry.batch)     # no picture is planned as one, and never run
    conv.in_channels = geometry.in_channels
    conv.out_channels = geometry.out_channels
    conv.groups = geometry.groups
    set_axes(conv.in_size, geometry.in_size, 1)
    set_axes(conv.out_size, geometry.out_size, 1)
    set_axes(conv.kernel, geometry.kernel_size, 1)
    set_axes(conv.stride, geometry.stride, 1)
    set_axes(conv.dilation, geometry.dilation, 1)
    set_axes(conv.pad, geometry.pad_before, 0)
    conv.activation = FC_ACT_NONE
    conv.alpha = conv.beta = 0
    conv.flush_denormals = flush_denormals
    return conv


cdef Prepared prepare(choice, const fc_conv *conv, const fc_view *x, const fc_view *out,
                      const fc_view *residual, bint packed):
    """The operation that a choice of `plan.choose` stands for."""
    if choice.form == "pointers":
        return plan_im2col(conv, x, out, residual, False, packed)
    if choice.form == "rows":
        return plan_im2col(conv, x, out, residual, True, packed)
    if choice.form == "planes":
        return plan_planes(conv, x, out, residual)
    if choice.form == "pointwise":
        return plan_pointwise(conv, x, out, residual, packed)
    if choice.form == "depthwise":
        return plan_depthwise(conv, x, out, residual)
    if choice.form == "grouped":
        return plan_grouped(conv, x, out, residual)
    if choice.form in ("bfloat16", "3 bfloat16"):
        return plan_amx(conv, x, out, residual, choice.form == "3 bfloat16")
    return plan_winograd(conv, x, out, residual, choice.tile, packed)


cdef class ConvCall:
    """A planned convolution or transposed convolution of one signature.

    Parameters
    ----------
    geometry : ConvGeometry
        Of the public operation.
    phases : list of (ConvGeometry, Choice, offset, step, select)
        The convolutions to run: geometry and choice of each, the first output element and the
        distance of its neighbours along each spatial axis (nd entries), and what picks its
        weights (None: all of them).
    x, out, residual : ndarray
        Arrays with the signature's strides; residual may be None. Only strides are looked at.
    dtype : numpy.dtype
        float32 or float64.
    activation : Activation
    flush_denormals : bool
    packed : bool
        The weights are packed once for many calls, not in each call.
    """

    cdef readonly tuple packing
    cdef readonly list choices
    cdef readonly Py_ssize_t workspace_bytes, packed_bytes
    cdef list parts
    cdef object dtype
    cdef tuple out_shape
    cdef int typenum
    cdef Py_ssize_t out_channels
    cdef fc_view x_view
    cdef bint empty

    def __init__(self, geometry, phases, cnp.ndarray x, cnp.ndarray out, residual, dtype,
                 activation, bint flush_denormals, bint packed):
        cdef Axes axes = axes_of(geometry, geometry.plane)
        cdef fc_view out_view = view_of((<object> out).strides, axes, dtype.itemsize), residual_view
        cdef Part part
        cdef fc_conv conv
        self.dtype = dtype
        self.typenum = dtype.num
        self.out_shape = geometry.out_shape
        self.out_channels = geometry.out_channels
        self.empty = 0 in self.out_shape
        self.x_view = view_of((<object> x).strides, axes, dtype.itemsize)
        residual_view = out_view
        if residual is not None:
            residual_view = view_of(residual.strides, axes, dtype.itemsize)
            residual_view.data = PRESENT
        self.parts = []
        self.choices = [phase[1] for phase in phases]
        for phase_geometry, choice, offset, step, select in phases:
            part = Part.__new__(Part)
            part.select = select
            part.out = every(&out_view, step)
            part.residual = every(&residual_view, step)
            part.out_offset = distance(&out_view, offset)
            part.residual_offset = distance(&residual_view, offset)
            conv = conv_of(phase_geometry, dtype.itemsize == 8, flush_denormals)
            conv.activation = ACTIVATION_CODES[activation.kind]
            conv.alpha = activation.alpha
            conv.beta = activation.beta
            part.op = prepare(choice, &conv, &self.x_view, &part.out, &part.residual, packed)
            self.workspace_bytes = max(self.workspace_bytes, part.op.workspace_bytes)
            self.packed_bytes += part.op.packed_bytes
            self.parts.append(part)
        self.packing = tuple([(<Part> part).op.packing for part in self.parts])

    def accepts(self, x, weight, bias, residual, out, tuple arguments):
        """Whether these arguments, which have the signature, can be run as they are."""
        return (
            readable(x) and type(weight) is cnp.ndarray and exact_integers(arguments)
            and (bias is None or self.is_bias(bias))
            and (residual is None or (readable(residual) and self.is_result(residual)))
            and (out is None or (self.is_result(out) and disjoint(out, x, weight, bias, residual)))
        )

    cdef bint is_bias(self, bias):
        return type(bias) is cnp.ndarray and bias.shape == (self.out_channels,) \
            and bias.dtype.kind in "biuf"

    cdef bint is_result(self, array):
        return type(array) is cnp.ndarray and array.dtype == self.dtype \
            and array.shape == self.out_shape

    def pack(self, weight):
        """Return `weight`, an array of the signature's shape, in the kernels' order."""
        cdef Packed packed = Packed.__new__(Packed)
        packed.key = self.packing
        packed.buffers = [allocate((<Part> part).op.packed_bytes) for part in self.parts]
        for part, buffer in zip(self.parts, packed.buffers):
            self.pack_part(part, self.plain_weight(part, weight), buffer)
        return packed

    cdef cnp.ndarray plain_weight(self, Part part, weight):
        """A part's weights as a contiguous array of the compute dtype."""
        chosen = weight if part.select is None else part.select(weight)
        return np.ascontiguousarray(chosen, self.dtype)

    cdef pack_part(self, Part part, cnp.ndarray plain, Buffer buffer):
        cdef const char *source = <const char *> cnp.PyArray_DATA(plain)
        cdef int code
        with nogil:
            code = part.op.pack(part.op.blocking, source, buffer.data)
        raise_for(code)

    def run(self, cnp.ndarray x, weight, Packed packed, bias, residual, out):
        """Convolve.

        Parameters
        ----------
        x, residual, out : ndarray
            With the signature's shapes, strides and dtype, aligned; the last two may be None.
        weight : ndarray or None
            Packed for this call when `packed` is None.
        packed : Packed or None
        bias : ndarray or None
        """
        cdef cnp.ndarray result = new_array(self.out_shape, self.dtype) if out is None else out
        cdef list buffers
        if self.empty:
            return result
        if packed is not None:
            self.run_parts(x, packed.buffers, bias, residual, result, True)
            return result
        if listening() is not None:
            listening().fail()
        borrowed = []
        try:
            weights = [self.weights_for_once(part, weight, borrowed) for part in self.parts]
            self.run_parts(x, weights, bias, residual, result, False)
        finally:
            for buffer in borrowed:
                return_workspace(buffer)
        return result

    cdef weights_for_once(self, Part part, weight, list borrowed):
        """What a part of a single call reads: the weights, or a buffer packed and `borrowed`."""
        cdef cnp.ndarray plain = self.plain_weight(part, weight)
        cdef Buffer buffer
        if part.op.reads_weight:
            return plain
        buffer = borrow_workspace(part.op.packed_bytes)
        borrowed.append(buffer)
        self.pack_part(part, plain, buffer)
        return buffer

    cdef run_parts(self, cnp.ndarray x, list weights, bias, residual, cnp.ndarray out,
                   bint lasting):
        """Run all parts; `weights` has for each a Buffer of packed ones, or an array.

        Those that are `lasting` stay where they are, as the bias does: a tape may know of them.
        """
        cdef ConvFrame frame
        cdef fc_call *call = &frame.call
        cdef Part part
        cdef Prepared op
        cdef cnp.ndarray vector = None
        call.bias = NULL
        if bias is not None:
            vector = self.plain_bias(bias)
            call.bias = <const char *> cnp.PyArray_DATA(vector)
        for part, source in zip(self.parts, weights):
            op = part.op
            frame.blocking, frame.run = op.blocking, op.run
            call.x, call.out, call.residual = self.x_view, part.out, part.residual
            call.x.data = <char *> cnp.PyArray_DATA(x)
            call.out.data = <char *> cnp.PyArray_DATA(out) + part.out_offset
            if residual is not None:
                call.residual.data = <char *> cnp.PyArray_DATA(<cnp.ndarray> residual) \
                    + part.residual_offset
            call.packed = call.weight = NULL
            if type(source) is Buffer:
                call.packed = (<Buffer> source).data
            else:
                call.weight = <const char *> cnp.PyArray_DATA(<cnp.ndarray> source)
            if lasting:
                perform_part(&frame, op, residual is not None, (op, source, vector))
            else:
                execute(run_frame, &frame, op.workspace_bytes)

    cdef cnp.ndarray plain_bias(self, bias):
        """bias as a contiguous aligned vector of the compute dtype."""
        cdef cnp.ndarray vector = bias
        if cnp.PyArray_TYPE(vector) == self.typenum and cnp.PyArray_IS_C_CONTIGUOUS(vector) \
                and cnp.PyArray_ISBEHAVED_RO(vector):
            return vector
        return np.ascontiguousarray(bias, self.dtype)


cdef int perform_part(ConvFrame *frame, Prepared op, bint residual, tuple keep) except -1:
    """Run a part with packed weights, or let it wait."""
    cdef Recorded step = perform(run_frame, frame, sizeof(frame[0]), op.workspace_bytes, keep)
    if step is not None:
        step.moves(frame, &frame.call.x.data, False)
        step.moves(frame, &frame.call.out.data, True)
        if residual:
            step.moves(frame, &frame.call.residual.data, False)
    return 0


cdef bint disjoint(out, x, weight, bias, residual):
    """Whether `out` is writeable, aligned, and shares memory with no operand."""
    if not cnp.PyArray_ISBEHAVED(<cnp.ndarray> out):
        return False
    for other in (x, weight, bias, residual):
        if other is not None and np.may_share_memory(out, other):
            return False
    return True


cdef fc_view every(const fc_view *whole, tuple step) except *:
    """The view of every step-th element along the spatial axes."""
    cdef fc_view view = whole[0]
    cdef int axis, first = 3 - <int> len(step)
    for axis in range(first, 3):
        view.space[axis] *= <Py_ssize_t> step[axis - first]
    return view


cdef ptrdiff_t distance(const fc_view *view, tuple offset) except? -1:
    """Bytes from a view's first element to the one at a spatial offset."""
    cdef ptrdiff_t bytes = 0
    cdef int axis, first = 3 - <int> len(offset)
    for axis in range(first, 3):
        bytes += <Py_ssize_t> offset[axis - first] * view.space[axis]
    return bytes
