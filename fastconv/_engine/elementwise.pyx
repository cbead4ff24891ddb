"""Elementwise operations and reductions along one axis, on arrays of any strides.

Arguments arrive checked: x any real array, dtype float32 or float64, out None or an array that
fits. Every operation fills in its kernel's arguments and walks x and out in blocks (grid.pyx).
"""

import numpy as np

cimport numpy as cnp
from libc.stddef cimport ptrdiff_t

from . cimport dispatch, threads
from .arithmetic cimport ceil_div
from .elementwise_kernels cimport (
    FC_ADD, FC_DIV, FC_LRN_LINES, FC_MUL, FC_SUB, fc_binary_args, fc_elementwise_kernels,
    fc_lrn_args, fc_map_args, fc_softmax_args,
)
from .grid cimport (
    BLOCK_ELEMENTS, TRANSPOSED_COLS, Axis, Cut, Place, Walk, bring_contiguous_axis_in, build_grid,
    cut_grid, cut_lines, deliver, lines_in_lanes, moved, prepare, table_data, walk_blocks,
)
from .program cimport Recorded, new_array, perform
from .conv import ACTIVATION_CODES

cnp.import_array()

# Rough cost in floating-point operations per element, for the decision about threads.
cdef double EXP_WORK = 30


def empty(shape, dtype):
    """A new C-contiguous array on a 64-byte boundary, not initialised."""
    return new_array(tuple(shape), np.dtype(dtype))


# --- map: activations, affine maps per channel -------------------------------------------------

cdef struct MapContext:
    fc_map_args args              # pointers to the first element
    const fc_elementwise_kernels *kernels

# What a program copies and runs; walk.context is set anew there.
cdef struct MapFrame:
    Walk walk
    MapContext context
    double work


cdef int run_map_frame(void *raw, char *workspace, int most) noexcept nogil:
    cdef MapFrame *frame = <MapFrame *> raw
    frame.walk.context = &frame.context
    return walk_blocks(&frame.walk, frame.work, most)


cdef void map_block(void *context, const Place *place, int thread) noexcept nogil:
    cdef MapContext *map = <MapContext *> context
    cdef fc_map_args args = map.args
    args.x += place.x
    args.out += place.out
    args.center = moved(args.center, place.channel)
    args.scale = moved(args.scale, place.channel)
    args.shift = moved(args.shift, place.channel)
    args.slope = moved(args.slope, place.channel)
    args.rows = place.rows
    args.cols = place.cols
    map.kernels.map(&args)


def map(cnp.ndarray x, cnp.dtype dtype, out=None, *, int channel_axis=-1, center=None, scale=None,
        shift=None, slope=None, activation="none", double alpha=0, double beta=0,
        bint moving=False):
    """activation((x - center) * scale + shift), results below 0 times slope; all parts optional.

    Parameters
    ----------
    x : ndarray
    dtype : float32 or float64
    out : ndarray or None
        Of x's shape and `dtype`; may be x.
    channel_axis : int
        The axis that the tables belong to; -1 for tables of one element.
    center, scale, shift, slope : ndarray or None
        Contiguous, of `dtype`, one element per channel. The first three come together.
    activation : str
        Its kind, as `parse_activation` calls it; alpha and beta are its numbers.
    moving : bool
        Center, scale and shift are computed: a plan has them elsewhere, too.
    """
    cdef cnp.ndarray source, target
    source, target = prepare(x, dtype, out, True)
    run_map(source, target, channel_axis, (center, scale, shift, slope),
            ACTIVATION_CODES[activation], alpha, beta, EXP_WORK, moving)
    return deliver(target, out)


def copy(cnp.ndarray x, cnp.ndarray out):
    """Put x into `out`, of the same shape and dtype, float32 or float64; they share no element.

    x may be a broadcast view.
    """
    run_map(x, out, -1, (None, None, None, None), ACTIVATION_CODES["none"], 0, 0, 0, False)
    return out


cdef int run_map(cnp.ndarray x, cnp.ndarray out, int channel_axis, tuple tables, int activation,
                 double alpha, double beta, double work_per_element, bint moving) except -1:
    """The walk of `map`; tables are center, scale, shift and slope."""
    cdef MapFrame frame
    cdef Cut *cut = &frame.walk.cut
    cdef Axis *row
    cdef Axis *col
    cdef Recorded step
    cdef Py_ssize_t element = cnp.PyArray_ITEMSIZE(x), cols
    if not cnp.PyArray_SIZE(x):
        return 0
    frame.context.kernels = dispatch.kernels(element == 8).elementwise
    build_grid(&cut.grid, x, None, out, -1, channel_axis)
    bring_contiguous_axis_in(&cut.grid, element)
    row = &cut.grid.axis[cut.grid.count - 2]
    col = &cut.grid.axis[cut.grid.count - 1]
    frame.context.args = fc_map_args(
        x=<const char *> cnp.PyArray_DATA(x), x_row=row.x, x_col=col.x,
        out=<char *> cnp.PyArray_DATA(out), out_row=row.out, out_col=col.out,
        rows=0, cols=0,
        center=table_data(tables[0]), scale=table_data(tables[1]), shift=table_data(tables[2]),
        slope=table_data(tables[3]), channel_row=row.channel, channel_col=col.channel,
        activation=activation, alpha=alpha, beta=beta,
    )
    cols = BLOCK_ELEMENTS if col.x == element or row.size == 1 else TRANSPOSED_COLS
    cols = min(cols, col.size)
    cut_grid(cut, BLOCK_ELEMENTS // cols, cols, 1)
    frame.walk.kernel = map_block
    frame.walk.context = &frame.context
    frame.work = <double> cnp.PyArray_SIZE(x) * (8 * element + work_per_element)
    step = perform(run_map_frame, &frame, sizeof(frame), 0, tables[3:] if moving else tables)
    if step is not None:
        step.moves(&frame, &frame.context.args.x, False)
        step.moves(&frame, &frame.context.args.out, True)
        if moving:
            step.moves(&frame, &frame.context.args.center, False)
            step.moves(&frame, &frame.context.args.scale, False)
            step.moves(&frame, &frame.context.args.shift, False)
    return 0


# --- binary: arithmetic with broadcasting ------------------------------------------------------

BINARY_OPS = {"Add": FC_ADD, "Sub": FC_SUB, "Mul": FC_MUL, "Div": FC_DIV}

cdef struct BinaryContext:
    fc_binary_args args           # pointers to the first element
    const fc_elementwise_kernels *kernels

cdef struct BinaryFrame:
    Walk walk
    BinaryContext context
    double work


cdef int run_binary_frame(void *raw, char *workspace, int most) noexcept nogil:
    cdef BinaryFrame *frame = <BinaryFrame *> raw
    frame.walk.context = &frame.context
    return walk_blocks(&frame.walk, frame.work, most)


cdef void binary_block(void *context, const Place *place, int thread) noexcept nogil:
    cdef BinaryContext *binary = <BinaryContext *> context
    cdef fc_binary_args args = binary.args
    args.x += place.x
    args.y += place.grad
    args.out += place.out
    args.rows = place.rows
    args.cols = place.cols
    binary.kernels.binary(&args)


def binary(str op, cnp.ndarray x, cnp.ndarray y, cnp.ndarray out):
    """x op y, element by element, into `out`, which is also returned.

    Parameters
    ----------
    op : str
        A key of BINARY_OPS.
    x, y, out : ndarray
        Of one shape and dtype, float32 or float64, aligned; x and y may be broadcast views. `out`
        shares no memory with them.
    """
    cdef BinaryFrame frame
    cdef Cut *cut = &frame.walk.cut
    cdef Axis *row
    cdef Axis *col
    cdef Recorded step
    cdef Py_ssize_t cols
    cdef bint wide = cnp.PyArray_ITEMSIZE(x) == 8
    if not cnp.PyArray_SIZE(x):
        return out
    frame.context.kernels = dispatch.kernels(wide).elementwise
    build_grid(&cut.grid, x, y, out, -1, -1)
    row = &cut.grid.axis[cut.grid.count - 2]
    col = &cut.grid.axis[cut.grid.count - 1]
    frame.context.args = fc_binary_args(
        x=<const char *> cnp.PyArray_DATA(x), x_row=row.x, x_col=col.x,
        y=<const char *> cnp.PyArray_DATA(y), y_row=row.grad, y_col=col.grad,
        out=<char *> cnp.PyArray_DATA(out), out_row=row.out, out_col=col.out,
        rows=0, cols=0, op=BINARY_OPS[op],
    )
    cols = min(<Py_ssize_t> BLOCK_ELEMENTS, col.size)
    cut_grid(cut, BLOCK_ELEMENTS // cols, cols, 1)
    frame.walk.kernel = binary_block
    frame.walk.context = &frame.context
    frame.work = <double> cnp.PyArray_SIZE(x) * 12 * cnp.PyArray_ITEMSIZE(x)
    step = perform(run_binary_frame, &frame, sizeof(frame), 0, ())
    if step is not None:
        step.moves(&frame, &frame.context.args.x, False)
        step.moves(&frame, &frame.context.args.y, False)
        step.moves(&frame, &frame.context.args.out, True)
    return out


# --- Reductions along one axis -----------------------------------------------------------------

cdef struct SoftmaxContext:
    fc_softmax_args args
    void (*kernel)(const fc_softmax_args *) noexcept nogil

cdef struct SoftmaxFrame:
    Walk walk
    SoftmaxContext context
    double work


cdef int run_softmax_frame(void *raw, char *workspace, int most) noexcept nogil:
    cdef SoftmaxFrame *frame = <SoftmaxFrame *> raw
    frame.walk.context = &frame.context
    return walk_blocks(&frame.walk, frame.work, most)


cdef void softmax_block(void *context, const Place *place, int thread) noexcept nogil:
    cdef SoftmaxContext *softmax = <SoftmaxContext *> context
    cdef fc_softmax_args args = softmax.args
    args.x += place.x
    args.out += place.out
    args.lines = place.cols
    softmax.kernel(&args)


def softmax(cnp.ndarray x, cnp.dtype dtype, int axis, bint logarithm, out=None):
    """softmax or log-softmax along `axis` (0 <= axis < x.ndim); out may be x."""
    cdef SoftmaxFrame frame
    cdef Cut *cut = &frame.walk.cut
    cdef Recorded step
    cdef cnp.ndarray source, target
    cdef const fc_elementwise_kernels *kernels = dispatch.kernels(dtype.itemsize == 8).elementwise
    cdef Axis *line
    cdef Py_ssize_t length = cnp.PyArray_DIM(x, axis)
    cdef bint across
    source, target = prepare(x, dtype, out, True)
    if cnp.PyArray_SIZE(source):
        build_grid(&cut.grid, source, None, target, axis, -1)
        line = &cut.grid.axis[cut.grid.count - 1]
        frame.context.args = fc_softmax_args(
            x=<const char *> cnp.PyArray_DATA(source), x_step=cnp.PyArray_STRIDE(source, axis),
            x_line=line.x,
            out=<char *> cnp.PyArray_DATA(target), out_step=cnp.PyArray_STRIDE(target, axis),
            out_line=line.out,
            length=length, lines=0, logarithm=logarithm,
        )
        across = lines_in_lanes(cut, frame.context.args.x_step, length, dtype.itemsize)
        frame.context.kernel = kernels.softmax_across if across else kernels.softmax_along
        cut_lines(cut, length, across, kernels.lanes)
        frame.walk.kernel = softmax_block
        frame.walk.context = &frame.context
        frame.work = <double> cnp.PyArray_SIZE(source) * (8 * dtype.itemsize + EXP_WORK)
        step = perform(run_softmax_frame, &frame, sizeof(frame), 0, ())
        if step is not None:
            step.moves(&frame, &frame.context.args.x, False)
            step.moves(&frame, &frame.context.args.out, True)
    return deliver(target, out)


cdef struct LrnContext:
    fc_lrn_args args
    void (*kernel)(const fc_lrn_args *) noexcept nogil

cdef struct LrnFrame:
    Walk walk
    LrnContext context
    double work


cdef int run_lrn_frame(void *raw, char *workspace, int most) noexcept nogil:
    cdef LrnFrame *frame = <LrnFrame *> raw
    frame.walk.context = &frame.context
    frame.context.args.scratch = workspace
    return walk_blocks(&frame.walk, frame.work, most)


cdef void lrn_block(void *context, const Place *place, int thread) noexcept nogil:
    cdef LrnContext *lrn = <LrnContext *> context
    cdef fc_lrn_args args = lrn.args
    args.x += place.x
    args.out += place.out
    args.lines = place.cols
    args.scratch += thread * FC_LRN_LINES * args.scratch_line
    lrn.kernel(&args)


def local_response_norm(cnp.ndarray x, cnp.dtype dtype, int axis, Py_ssize_t size, double alpha,
                        double beta, double k, out=None):
    """x / (k + alpha / size * sum of x^2 over `size` channels)^beta, channels along `axis`."""
    cdef LrnFrame frame
    cdef Cut *cut = &frame.walk.cut
    cdef Recorded step
    cdef cnp.ndarray source, target
    cdef const fc_elementwise_kernels *kernels = dispatch.kernels(dtype.itemsize == 8).elementwise
    cdef Axis *line
    cdef Py_ssize_t length = cnp.PyArray_DIM(x, axis), before, after, scratch_line
    cdef bint across
    source, target = prepare(x, dtype, out, False)
    if cnp.PyArray_SIZE(source):
        build_grid(&cut.grid, source, None, target, axis, -1)
        line = &cut.grid.axis[cut.grid.count - 1]
        # Windows need not reach further than the channels do.
        before, after = min(size // 2, length - 1), min((size - 1) // 2, length - 1)
        scratch_line = ceil_div(
            (before + after + length + kernels.lanes) * <Py_ssize_t> dtype.itemsize, 64) * 64
        frame.context.args = fc_lrn_args(
            x=<const char *> cnp.PyArray_DATA(source), x_step=cnp.PyArray_STRIDE(source, axis),
            x_line=line.x,
            out=<char *> cnp.PyArray_DATA(target), out_step=cnp.PyArray_STRIDE(target, axis),
            out_line=line.out, length=length, lines=0, before=before, after=after,
            alpha=alpha / size, beta=beta, k=k, scratch=NULL,
            scratch_line=scratch_line,
        )
        across = lines_in_lanes(cut, frame.context.args.x_step, length, dtype.itemsize)
        frame.context.kernel = kernels.lrn_across if across else kernels.lrn_along
        cut_lines(cut, length, across, kernels.lanes)
        frame.walk.kernel = lrn_block
        frame.walk.context = &frame.context
        frame.work = <double> cnp.PyArray_SIZE(source) * (
            8 * dtype.itemsize + 2 * EXP_WORK + 2 * (before + after))
        step = perform(run_lrn_frame, &frame, sizeof(frame), FC_LRN_LINES * scratch_line, ())
        if step is not None:
            step.moves(&frame, &frame.context.args.x, False)
            step.moves(&frame, &frame.context.args.out, True)
    return deliver(target, out)
