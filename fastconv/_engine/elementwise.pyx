"""Elementwise operations and reductions along one axis, on arrays of any strides.

Arguments arrive checked: x any real array, dtype float32 or float64, out None or an array that
fits. Every operation fills in its kernel's arguments and walks x and out in blocks (grid.pyx).
"""

import numpy as np

cimport numpy as cnp
from libc.stddef cimport ptrdiff_t

from . cimport dispatch, memory, threads
from .arithmetic cimport ceil_div
from .elementwise_kernels cimport (
    FC_LRN_LINES, fc_elementwise_kernels, fc_lrn_args, fc_map_args, fc_softmax_args,
)
from .grid cimport (
    BLOCK_ELEMENTS, TRANSPOSED_COLS, Axis, Place, Walk, bring_contiguous_axis_in, build_grid,
    cut_grid, cut_lines, deliver, lines_in_lanes, moved, prepare, run_walk, table_data,
)
from .conv import ACTIVATION_CODES

cnp.import_array()

# Rough cost in floating-point operations per element, for the decision about threads.
cdef double EXP_WORK = 30


def empty(shape, dtype):
    """A new C-contiguous array on a 64-byte boundary, not initialised."""
    return memory.empty_array(tuple(shape), np.dtype(dtype))


# --- map: activations, affine maps per channel -------------------------------------------------

cdef struct MapContext:
    fc_map_args args              # pointers to the first element
    const fc_elementwise_kernels *kernels


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
        shift=None, slope=None, activation="none", double alpha=0, double beta=0):
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
    """
    cdef MapContext context
    cdef Walk walk
    cdef cnp.ndarray source, target
    cdef Axis *row
    cdef Axis *col
    cdef double work
    source, target = prepare(x, dtype, out, True)
    if cnp.PyArray_SIZE(source):
        context.kernels = dispatch.kernels(dtype.itemsize == 8).elementwise
        build_grid(&walk.cut.grid, source, None, target, -1, channel_axis)
        bring_contiguous_axis_in(&walk.cut.grid, dtype.itemsize)
        row = &walk.cut.grid.axis[walk.cut.grid.count - 2]
        col = &walk.cut.grid.axis[walk.cut.grid.count - 1]
        context.args = fc_map_args(
            x=<const char *> cnp.PyArray_DATA(source), x_row=row.x, x_col=col.x,
            out=<char *> cnp.PyArray_DATA(target), out_row=row.out, out_col=col.out,
            rows=0, cols=0,
            center=table_data(center), scale=table_data(scale), shift=table_data(shift),
            slope=table_data(slope), channel_row=row.channel, channel_col=col.channel,
            activation=ACTIVATION_CODES[activation], alpha=alpha, beta=beta,
        )
        cols = BLOCK_ELEMENTS if col.x == dtype.itemsize or row.size == 1 else TRANSPOSED_COLS
        cols = min(cols, col.size)
        cut_grid(&walk.cut, BLOCK_ELEMENTS // cols, cols, 1)
        walk.kernel = map_block
        walk.context = &context
        work = <double> cnp.PyArray_SIZE(source) * (8 * dtype.itemsize + EXP_WORK)
        with nogil:
            run_walk(&walk, work, threads.maximum())
    return deliver(target, out)


# --- Reductions along one axis -----------------------------------------------------------------

cdef struct SoftmaxContext:
    fc_softmax_args args
    void (*kernel)(const fc_softmax_args *) noexcept nogil


cdef void softmax_block(void *context, const Place *place, int thread) noexcept nogil:
    cdef SoftmaxContext *softmax = <SoftmaxContext *> context
    cdef fc_softmax_args args = softmax.args
    args.x += place.x
    args.out += place.out
    args.lines = place.cols
    softmax.kernel(&args)


def softmax(cnp.ndarray x, cnp.dtype dtype, int axis, bint logarithm, out=None):
    """softmax or log-softmax along `axis` (0 <= axis < x.ndim); out may be x."""
    cdef SoftmaxContext context
    cdef Walk walk
    cdef cnp.ndarray source, target
    cdef const fc_elementwise_kernels *kernels = dispatch.kernels(dtype.itemsize == 8).elementwise
    cdef Axis *line
    cdef Py_ssize_t length = cnp.PyArray_DIM(x, axis)
    cdef bint across
    cdef double work
    source, target = prepare(x, dtype, out, True)
    if cnp.PyArray_SIZE(source):
        build_grid(&walk.cut.grid, source, None, target, axis, -1)
        line = &walk.cut.grid.axis[walk.cut.grid.count - 1]
        context.args = fc_softmax_args(
            x=<const char *> cnp.PyArray_DATA(source), x_step=cnp.PyArray_STRIDE(source, axis),
            x_line=line.x,
            out=<char *> cnp.PyArray_DATA(target), out_step=cnp.PyArray_STRIDE(target, axis),
            out_line=line.out,
            length=length, lines=0, logarithm=logarithm,
        )
        across = lines_in_lanes(&walk.cut, context.args.x_step, length, dtype.itemsize)
        context.kernel = kernels.softmax_across if across else kernels.softmax_along
        cut_lines(&walk.cut, length, across, kernels.lanes)
        walk.kernel = softmax_block
        walk.context = &context
        work = <double> cnp.PyArray_SIZE(source) * (8 * dtype.itemsize + EXP_WORK)
        with nogil:
            run_walk(&walk, work, threads.maximum())
    return deliver(target, out)


cdef struct LrnContext:
    fc_lrn_args args
    void (*kernel)(const fc_lrn_args *) noexcept nogil


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
    cdef LrnContext context
    cdef Walk walk
    cdef cnp.ndarray source, target
    cdef memory.Buffer scratch
    cdef const fc_elementwise_kernels *kernels = dispatch.kernels(dtype.itemsize == 8).elementwise
    cdef Axis *line
    cdef Py_ssize_t length = cnp.PyArray_DIM(x, axis), before, after, scratch_line
    cdef int most
    cdef bint across
    cdef double work
    source, target = prepare(x, dtype, out, False)
    if cnp.PyArray_SIZE(source):
        build_grid(&walk.cut.grid, source, None, target, axis, -1)
        line = &walk.cut.grid.axis[walk.cut.grid.count - 1]
        # Windows need not reach further than the channels do.
        before, after = min(size // 2, length - 1), min((size - 1) // 2, length - 1)
        scratch_line = ceil_div(
            (before + after + length + kernels.lanes) * <Py_ssize_t> dtype.itemsize, 64) * 64
        most = threads.maximum()
        scratch = memory.borrow_workspace(most * FC_LRN_LINES * scratch_line)
        context.args = fc_lrn_args(
            x=<const char *> cnp.PyArray_DATA(source), x_step=cnp.PyArray_STRIDE(source, axis),
            x_line=line.x,
            out=<char *> cnp.PyArray_DATA(target), out_step=cnp.PyArray_STRIDE(target, axis),
            out_line=line.out, length=length, lines=0, before=before, after=after,
            alpha=alpha / size, beta=beta, k=k, scratch=scratch.data,
            scratch_line=scratch_line,
        )
        across = lines_in_lanes(&walk.cut, context.args.x_step, length, dtype.itemsize)
        context.kernel = kernels.lrn_across if across else kernels.lrn_along
        cut_lines(&walk.cut, length, across, kernels.lanes)
        walk.kernel = lrn_block
        walk.context = &context
        work = <double> cnp.PyArray_SIZE(source) * (
            8 * dtype.itemsize + 2 * EXP_WORK + 2 * (before + after))
        try:
            with nogil:
                run_walk(&walk, work, most)
        finally:
            memory.return_workspace(scratch)
    return deliver(target, out)
