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
from .arrays cimport Axes, axes_of, contiguous_strides, exact_integers, raise_for, readable
from .arrays cimport view_of
from .depthwise cimport plan_depthwise
from .direct cimport plan_planes
from .epilogue cimport FC_ACT_CLIP, FC_ACT_HARDSIGMOID, FC_ACT_HARDSWISH, FC_ACT_LEAKY_RELU
from .epilogue cimport FC_ACT_NONE, FC_ACT_PRELU, FC_ACT_RELU, FC_ACT_SCALED_HARDSWISH
from .epilogue cimport FC_ACT_SIGMOID, FC_ACT_SILU, FC_ACT_TANH
from .grid cimport table_data
from .grouped cimport plan_grouped
from .im2col cimport plan_im2col
from .line cimport join_rows
from .memory cimport Buffer, allocate, borrow_workspace, return_workspace
from .winograd cimport plan_winograd
from .op cimport Prepared, fc_call, fc_conv, fc_view
from .pointwise cimport plan_pointwise
from .program cimport Recorded, execute, listening, new_array, perform
from .stationary cimport plan_stationary

cdef extern from "Python.h":
    Py_ssize_t PY_SSIZE_T_MAX

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
    "prelu": FC_ACT_PRELU,
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
    if choice.form == "stationary":
        return plan_stationary(conv, x, out, residual, packed)
    if choice.form == "planes":
        return plan_planes(conv, x, out, residual)
    if choice.form == "pointwise":
        return plan_pointwise(conv, x, out, residual, packed)
    if choice.form == "depthwise":
        return plan_depthwise(conv, x, out, residual)
    if choice.form == "grouped":
        return plan_grouped(conv, x, out, residual)
    if choice.form.endswith("bfloat16"):
        return plan_amx(conv, x, out, residual, choice.form.endswith("3 bfloat16"),
                        choice.form.startswith("runs"))
    return plan_winograd(conv, x, out, residual, choice.tile, packed)


cdef tuple triple(const Py_ssize_t *axes):
    return axes[0], axes[1], axes[2]


cdef class ConvCall:
    """A planned convolution or transposed convolution of one signature.

    Parameters
    ----------
    geometry : ConvGeometry
        Of the public operation.
    phases : list of Phase
        The convolutions to run.
    x, out, residual : ndarray
        Arrays with the signature's strides, `out` None for a C-contiguous result; residual may be
        None. Only shapes and strides are looked at.
    dtype : numpy.dtype
        float32 or float64.
    activation : Activation
    flush_denormals : bool
    packed : bool
        The weights are packed once for many calls, not in each call.
    choose : callable
        From the fields of a `plan.Problem`, batch to run, to a phase's `plan.Choice`.
    facts : object
        Kept for the caller, in calls of other sizes too.
    """

    cdef readonly tuple packing
    cdef readonly list choices
    cdef readonly Py_ssize_t workspace_bytes, packed_bytes
    cdef readonly tuple x_shape
    cdef readonly object facts
    cdef list parts
    cdef object dtype, choose
    cdef tuple out_shape
    cdef int typenum
    cdef Py_ssize_t out_channels
    cdef Axes axes
    cdef fc_view x_view, out_view, residual_view
    cdef bint empty, packed, channels_contiguous, one_part
    # of the one part, what other sizes have in common
    cdef fc_conv conv
    cdef Py_ssize_t pad_after[3]

    def __init__(self, geometry, list phases, cnp.ndarray x, out, residual, dtype, activation,
                 bint flush_denormals, bint packed, choose, facts):
        cdef fc_conv conv
        self.dtype, self.choose, self.packed, self.facts = dtype, choose, packed, facts
        self.typenum = dtype.num
        self.out_channels = geometry.out_channels
        self.axes = axes_of(geometry, geometry.plane)
        self.look_at(x, geometry.in_channels, geometry.out_shape, out, residual)
        for phase in phases:
            conv = conv_of(phase.geometry, dtype.itemsize == 8, flush_denormals)
            conv.activation = ACTIVATION_CODES[activation.kind]
            conv.alpha = activation.alpha
            conv.beta = activation.beta
            self.add_part(&conv, phase.offset, phase.step, phase.select)
        self.packing = tuple([(<Part> part).op.packing for part in self.parts])
        self.one_part = phases[0].select is None if phases else False
        if self.one_part:
            self.conv = conv
            set_axes(self.pad_after, geometry.pad_after, 0)

    cdef int look_at(self, cnp.ndarray x, Py_ssize_t in_channels, tuple out_shape, out,
                     residual) except -1:
        """Note the shapes and strides of the arrays to come."""
        cdef Py_ssize_t element = self.dtype.itemsize
        self.x_shape, self.out_shape = (<object> x).shape, out_shape
        self.empty = 0 in out_shape
        self.parts, self.choices = [], []
        self.x_view = view_of((<object> x).strides, self.axes, element)
        self.out_view = view_of(contiguous_strides(out_shape, element) if out is None
                                else out.strides, self.axes, element)
        self.residual_view = self.out_view
        if residual is not None:
            self.residual_view = view_of(residual.strides, self.axes, element)
            self.residual_view.data = PRESENT
        # one channel has no stride worth the name: there the result tells
        self.channels_contiguous = element == (
            self.x_view.channel if in_channels > 1 else self.out_view.channel)
        return 0

    cdef int add_part(self, const fc_conv *whole, tuple offset, tuple step, select) except -1:
        """Choose how to run a convolution, and plan it."""
        cdef Part part = Part.__new__(Part)
        cdef fc_conv joined = whole[0]
        cdef const fc_conv *conv = &joined
        part.select = select
        part.out = every(&self.out_view, step)
        part.residual = every(&self.residual_view, step)
        join_rows(&joined, &self.x_view, &part.out, &part.residual)
        choice = self.choose(
            conv.batch, conv.in_channels, conv.out_channels, conv.groups, triple(conv.kernel),
            triple(conv.stride), triple(conv.dilation), is_padded(conv), triple(conv.out_size),
            self.channels_contiguous, self.pixel_run(conv, step))
        part.out_offset = distance(&self.out_view, offset)
        part.residual_offset = distance(&self.residual_view, offset)
        part.op = prepare(choice, conv, &self.x_view, &part.out, &part.residual, self.packed)
        self.workspace_bytes = max(self.workspace_bytes, part.op.workspace_bytes)
        self.packed_bytes += part.op.packed_bytes
        self.parts.append(part)
        self.choices.append(choice)
        return 0

    cdef Py_ssize_t pixel_run(self, const fc_conv *conv, tuple step) except -1:
        """How many of a part's pixels lie side by side in every array."""
        cdef Py_ssize_t run = 1, bytes = self.dtype.itemsize
        cdef int axis
        if max(step) > 1:
            return 1
        for axis in range(2, -1, -1):
            if conv.out_size[axis] > 1 and (
                    self.x_view.space[axis] != bytes or self.out_view.space[axis] != bytes
                    or self.residual_view.space[axis] != bytes):
                break
            run *= conv.out_size[axis]
            bytes *= conv.out_size[axis]
        return run

    def result_shape(self, tuple x_shape):
        """The shape of what becomes of an x of another size; None where `resized` gives none."""
        cdef fc_conv conv
        return self.fit(x_shape, &conv)

    cdef tuple fit(self, tuple x_shape, fc_conv *conv):
        """Put the sizes of an x into `conv`; return the result's shape, None without one."""
        cdef int axis, at
        cdef Py_ssize_t elements = self.out_channels, inside
        if not self.one_part or self.axes.batch < 0 or len(x_shape) != len(self.x_shape) \
                or x_shape[self.axes.channel] != self.conv.in_channels:
            return None
        shape = list(x_shape)
        conv[0] = self.conv
        conv.batch = max(1, <Py_ssize_t> x_shape[self.axes.batch])
        elements *= conv.batch
        for axis in range(3):
            at = self.axes.space[axis]
            if at < 0:
                continue
            conv.in_size[axis] = x_shape[at]
            inside = conv.pad[axis] + conv.in_size[axis] + self.pad_after[axis] \
                - conv.dilation[axis] * (conv.kernel[axis] - 1) - 1
            if conv.in_size[axis] < 1 or inside < 0:
                return None
            conv.out_size[axis] = shape[at] = inside // conv.stride[axis] + 1
            if elements > PY_SSIZE_T_MAX // 8 // conv.out_size[axis]:
                return None
            elements *= conv.out_size[axis]
        shape[self.axes.channel] = self.out_channels
        return tuple(shape)

    def resized(self, x, residual, out):
        """The same convolution of arrays of other sizes, with a batch axis.

        Returns
        -------
        ConvCall or None
            None where something does not fit: who checks the arguments says what. Of transposed
            convolutions, too, whose parts follow from the size.
        """
        cdef ConvCall other
        cdef fc_conv conv
        cdef tuple shape, first = (0, 0, 0)
        if type(x) is not cnp.ndarray or x.dtype != self.dtype:
            return None
        shape = self.fit(x.shape, &conv)
        if shape is None or not fits(residual, shape) or not fits(out, shape):
            return None
        other = ConvCall.__new__(type(self))
        other.dtype, other.choose, other.packed, other.facts = \
            self.dtype, self.choose, self.packed, self.facts
        other.typenum, other.out_channels, other.axes = self.typenum, self.out_channels, self.axes
        other.look_at(x, conv.in_channels, shape, out, residual)
        other.add_part(&conv, first, (1, 1, 1), None)
        other.packing = ((<Part> other.parts[0]).op.packing,)
        other.one_part, other.conv = True, conv
        other.pad_after = self.pad_after
        return other

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

    def run(self, cnp.ndarray x, weight, Packed packed, bias, residual, out, slopes=None):
        """Convolve.

        Parameters
        ----------
        x, residual, out : ndarray
            With the signature's shapes, strides and dtype, aligned; the last two may be None.
        weight : ndarray or None
            Packed for this call when `packed` is None.
        packed : Packed or None
        bias : ndarray or None
        slopes : ndarray or None
            Of the activation "prelu", one per output channel.
        """
        cdef cnp.ndarray result = new_array(self.out_shape, self.dtype) if out is None else out
        cdef list buffers
        if self.empty:
            return result
        if packed is not None:
            self.run_parts(x, packed.buffers, bias, slopes, residual, result, True)
            return result
        if listening() is not None:
            listening().fail()
        borrowed = []
        try:
            weights = [self.weights_for_once(part, weight, borrowed) for part in self.parts]
            self.run_parts(x, weights, bias, slopes, residual, result, False)
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

    cdef run_parts(self, cnp.ndarray x, list weights, bias, slopes, residual, cnp.ndarray out,
                   bint lasting):
        """Run all parts; `weights` has for each a Buffer of packed ones, or an array.

        Those that are `lasting` stay where they are, as bias and slopes do: a tape may know of them.
        """
        cdef ConvFrame frame
        cdef fc_call *call = &frame.call
        cdef Part part
        cdef Prepared op
        cdef tuple tables = (self.plain_table(bias), self.plain_table(slopes))
        call.bias, call.slopes = table_data(tables[0]), table_data(tables[1])
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
                perform_part(&frame, op, residual is not None, (op, source, *tables))
            else:
                execute(run_frame, &frame, op.workspace_bytes)

    cdef cnp.ndarray plain_table(self, table):
        """A number for each channel as a contiguous aligned vector of the compute dtype."""
        cdef cnp.ndarray vector = table
        if table is None or cnp.PyArray_TYPE(vector) == self.typenum and cnp.PyArray_IS_C_CONTIGUOUS(vector) \
                and cnp.PyArray_ISBEHAVED_RO(vector):
            return vector
        return np.ascontiguousarray(table, self.dtype)


cdef int perform_part(ConvFrame *frame, Prepared op, bint residual, tuple keep) except -1:
    """Run a part with packed weights, or let it wait."""
    cdef Recorded step = perform(run_frame, frame, sizeof(frame[0]), op.workspace_bytes, keep)
    if step is not None:
        step.moves(frame, &frame.call.x.data, False)
        step.moves(frame, &frame.call.out.data, True)
        if residual:
            step.moves(frame, &frame.call.residual.data, False)
    return 0


cdef bint is_padded(const fc_conv *conv) noexcept:
    """Whether windows reach beyond the input, or the output has another size."""
    cdef int axis
    for axis in range(3):
        if conv.pad[axis] or conv.in_size[axis] != conv.out_size[axis]:
            return True
    return False


cdef bint fits(array, tuple shape):
    """Whether an array, if there is one, has a shape."""
    return array is None or (type(array) is cnp.ndarray and array.shape == shape)


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
