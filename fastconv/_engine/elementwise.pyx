"""Elementwise operations and reductions along one axis, on arrays of any strides.

Arguments arrive checked: x any real array, dtype float32 or float64, out None or an array that
fits. Every operation fills in its kernel's arguments (elementwise_frame.pyx) and walks x and out in
blocks (grid.pyx).
"""

import numpy as np

cimport numpy as cnp

from .arithmetic cimport ceil_div
from .elementwise_frame cimport Frame, begin, carry_out
from .elementwise_kernels cimport (
    FC_ADD, FC_DIV, FC_LRN_LINES, FC_MUL, FC_SUB, fc_binary_args, fc_lrn_args, fc_map_args,
    fc_softmax_args,
)
from .grid cimport (
    BLOCK_ELEMENTS, TRANSPOSED_COLS, Axis, Cut, Place, bring_contiguous_axis_in, build_grid,
    cut_grid, cut_lines, deliver, lines_in_lanes, moved, prepare, table_data,
)
from .program cimport Recorded, new_array
from .conv import ACTIVATION_CODES

cnp.import_array()

# Rough cost in floating-point operations per element, for the decision about threads.
cdef double EXP_WORK = 30


def empty(shape, dtype):
    """A new C-contiguous array on a 64-byte boundary, not initialised."""
    return new_array(tuple(shape), np.dtype(dtype))


# --- map: activations, affine maps per channel -------------------------------------------------

cdef void map_block(void *context, const Place *place, int thread) noexcept nogil:
    cdef const Frame *frame = <const Frame *> context
    cdef fc_map_args args = frame.args.map
    args.x += place.x
    args.out += place.out
    args.center = moved(args.center, place.channel)
    args.scale = moved(args.scale, place.channel)
    args.shift = moved(args.shift, place.channel)
    args.slope = moved(args.slope, place.channel)
    args.rows = place.rows
    args.cols = place.cols
    frame.kernels.map(&args)


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
    cdef Frame frame
    cdef fc_map_args *args = &frame.args.map
    cdef Cut *cut = &frame.walk.cut
    cdef Axis *row
    cdef Axis *col
    cdef Recorded step
    cdef Py_ssize_t element = cnp.PyArray_ITEMSIZE(x), cols
    if not cnp.PyArray_SIZE(x):
        return 0
    begin(&frame, element)
    build_grid(&cut.grid, x, None, out, -1, channel_axis)
    bring_contiguous_axis_in(&cut.grid, element)
    row = &cut.grid.axis[cut.grid.count - 2]
    col = &cut.grid.axis[cut.grid.count - 1]
    args[0] = fc_map_args(
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
    frame.work = <double> cnp.PyArray_SIZE(x) * (8 * element + work_per_element)
    step = carry_out(&frame, tables[3:] if moving else tables)
    if step is not None:
        step.moves(&frame, &args.x, False)
        step.moves(&frame, &args.out, True)
        if moving:
            step.moves(&frame, &args.center, False)
            step.moves(&frame, &args.scale, False)
            step.moves(&frame, &args.shift, False)
    return 0


# --- binary: arithmetic with broadcasting ------------------------------------------------------

BINARY_OPS = {"Add": FC_ADD, "Sub": FC_SUB, "Mul": FC_MUL, "Div": FC_DIV}


cdef void binary_block(void *context, const Place *place, int thread) noexcept nogil:
    cdef const Frame *frame = <const Frame *> context
    cdef fc_binary_args args = frame.args.binary
    args.x += place.x
    args.y += place.grad
    args.out += place.out
    args.rows = place.rows
    args.cols = place.cols
    frame.kernels.binary(&args)


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
    cdef Frame frame
    cdef fc_binary_args *args = &frame.args.binary
    cdef Cut *cut = &frame.walk.cut
    cdef Axis *row
    cdef Axis *col
    cdef Recorded step
    cdef Py_ssize_t cols
    if not cnp.PyArray_SIZE(x):
        return out
    begin(&frame, cnp.PyArray_ITEMSIZE(x))
    build_grid(&cut.grid, x, y, out, -1, -1)
    row = &cut.grid.axis[cut.grid.count - 2]
    col = &cut.grid.axis[cut.grid.count - 1]
    args[0] = fc_binary_args(
        x=<const char *> cnp.PyArray_DATA(x), x_row=row.x, x_col=col.x,
        y=<const char *> cnp.PyArray_DATA(y), y_row=row.grad, y_col=col.grad,
        out=<char *> cnp.PyArray_DATA(out), out_row=row.out, out_col=col.out,
        rows=0, cols=0, op=BINARY_OPS[op],
    )
    cols = min(<Py_ssize_t> BLOCK_ELEMENTS, col.size)
    cut_grid(cut, BLOCK_ELEMENTS // cols, cols, 1)
    frame.walk.kernel = binary_block
    frame.work = <double> cnp.PyArray_SIZE(x) * 12 * cnp.PyArray_ITEMSIZE(x)
    step = carry_out(&frame, ())
    if step is not None:
        step.moves(&frame, &args.x, False)
        step.moves(&frame, &args.y, False)
        step.moves(&frame, &args.out, True)
    return out


# --- Reductions along one axis -----------------------------------------------------------------

cdef void softmax_block(void *context, const Place *place, int thread) noexcept nogil:
    cdef const Frame *frame = <const Frame *> context
    cdef fc_softmax_args args = frame.args.softmax
    args.x += place.x
    args.out += place.out
    args.lines = place.cols
    if frame.across:
        frame.kernels.softmax_across(&args)
    else:
        frame.kernels.softmax_along(&args)


def softmax(cnp.ndarray x, cnp.dtype dtype, int axis, bint logarithm, out=None):
    """softmax or log-softmax along `axis` (0 <= axis < x.ndim); out may be x."""
    cdef Frame frame
    cdef fc_softmax_args *args = &frame.args.softmax
    cdef Cut *cut = &frame.walk.cut
    cdef Recorded step
    cdef cnp.ndarray source, target
    cdef Axis *line
    cdef Py_ssize_t length = cnp.PyArray_DIM(x, axis)
    source, target = prepare(x, dtype, out, True)
    if not cnp.PyArray_SIZE(source):
        return deliver(target, out)
    begin(&frame, dtype.itemsize)
    build_grid(&cut.grid, source, None, target, axis, -1)
    line = &cut.grid.axis[cut.grid.count - 1]
    args[0] = fc_softmax_args(
        x=<const char *> cnp.PyArray_DATA(source), x_step=cnp.PyArray_STRIDE(source, axis),
        x_line=line.x,
        out=<char *> cnp.PyArray_DATA(target), out_step=cnp.PyArray_STRIDE(target, axis),
        out_line=line.out,
        length=length, lines=0, logarithm=logarithm,
    )
    frame.across = lines_in_lanes(cut, args.x_step, length, dtype.itemsize)
    cut_lines(cut, length, frame.across, frame.kernels.lanes)
    frame.walk.kernel = softmax_block
    frame.work = <double> cnp.PyArray_SIZE(source) * (8 * dtype.itemsize + EXP_WORK)
    step = carry_out(&frame, ())
    if step is not None:
        step.moves(&frame, &args.x, False)
        step.moves(&frame, &args.out, True)
    return deliver(target, out)


cdef void lrn_block(void *context, const Place *place, int thread) noexcept nogil:
    cdef const Frame *frame = <const Frame *> context
    cdef fc_lrn_args args = frame.args.lrn
    args.x += place.x
    args.out += place.out
    args.lines = place.cols
    args.scratch = frame.workspace + thread * frame.workspace_bytes
    if frame.across:
        frame.kernels.lrn_across(&args)
    else:
        frame.kernels.lrn_along(&args)


def local_response_norm(cnp.ndarray x, cnp.dtype dtype, int axis, Py_ssize_t size, double alpha,
                        double beta, double k, out=None):
    """x / (k + alpha / size * sum of x^2 over `size` channels)^beta, channels along `axis`."""
    cdef Frame frame
    cdef fc_lrn_args *args = &frame.args.lrn
    cdef Cut *cut = &frame.walk.cut
    cdef Recorded step
    cdef cnp.ndarray source, target
    cdef Axis *line
    cdef Py_ssize_t length = cnp.PyArray_DIM(x, axis), before, after, scratch_line
    source, target = prepare(x, dtype, out, False)
    if not cnp.PyArray_SIZE(source):
        return deliver(target, out)
    begin(&frame, dtype.itemsize)
    build_grid(&cut.grid, source, None, target, axis, -1)
    line = &cut.grid.axis[cut.grid.count - 1]
    # Windows need not reach further than the channels do.
    before, after = min(size // 2, length - 1), min((size - 1) // 2, length - 1)
    scratch_line = ceil_div(
        (before + after + length + frame.kernels.lanes) * <Py_ssize_t> dtype.itemsize, 64) * 64
    args[0] = fc_lrn_args(
        x=<const char *> cnp.PyArray_DATA(source), x_step=cnp.PyArray_STRIDE(source, axis),
        x_line=line.x,
        out=<char *> cnp.PyArray_DATA(target), out_step=cnp.PyArray_STRIDE(target, axis),
        out_line=line.out, length=length, lines=0, before=before, after=after,
        alpha=alpha / size, beta=beta, k=k, scratch=NULL, scratch_line=scratch_line,
    )
    frame.across = lines_in_lanes(cut, args.x_step, length, dtype.itemsize)
    cut_lines(cut, length, frame.across, frame.kernels.lanes)
    frame.walk.kernel = lrn_block
    frame.work = <double> cnp.PyArray_SIZE(source) * (
        8 * dtype.itemsize + 2 * EXP_WORK + 2 * (before + after))
    frame.workspace_bytes = FC_LRN_LINES * scratch_line
    step = carry_out(&frame, ())
    if step is not None:
        step.moves(&frame, &args.x, False)
        step.moves(&frame, &args.out, True)
    return deliver(target, out)
