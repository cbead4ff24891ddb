"""Gradients of elementwise operations and of reductions along one axis, on arrays of any strides.

Arguments arrive checked: two real arrays of one shape, dtype float32 or float64. Results are new
C-contiguous arrays. Each function fills in its kernel's arguments and walks the arrays in blocks
(grid.pyx).
"""

cimport numpy as cnp

from . cimport dispatch, memory, threads
from .arithmetic cimport ceil_div
from .gradient_kernels cimport (
    FC_GRAD_CHANNEL_SLOPE, FC_GRAD_HARDSIGMOID, FC_GRAD_HARDSWISH, FC_GRAD_INSIDE,
    FC_GRAD_POSITIVE, FC_GRAD_SIGMOID, FC_GRAD_SILU, FC_GRAD_SLOPE, FC_GRAD_STANDARD, FC_GRAD_TANH,
    FC_LRN_VECTORS, fc_gradient_kernels, fc_gradient_map_args, fc_lrn_gradient_args,
    fc_softmax_gradient_args,
)
from .grid cimport (
    BLOCK_ELEMENTS, Axis, Place, Walk, build_grid, converted, cut_grid, cut_lines, lines_in_lanes,
    moved, run_walk, table_data,
)

cnp.import_array()

# Rough cost in floating-point operations per element, for the decision about threads.
cdef double EXP_WORK = 30

# What multiplies the gradient; "standard" is batch normalisation's, with four tables.
OPS = {
    "positive": FC_GRAD_POSITIVE,
    "inside": FC_GRAD_INSIDE,
    "slope": FC_GRAD_SLOPE,
    "sigmoid": FC_GRAD_SIGMOID,
    "tanh": FC_GRAD_TANH,
    "silu": FC_GRAD_SILU,
    "hardsigmoid": FC_GRAD_HARDSIGMOID,
    "hardswish": FC_GRAD_HARDSWISH,
    "channel_slope": FC_GRAD_CHANNEL_SLOPE,
    "standard": FC_GRAD_STANDARD,
}


# --- map: activations, affine maps per channel -------------------------------------------------

cdef struct MapContext:
    fc_gradient_map_args args     # pointers to the first element
    const fc_gradient_kernels *kernels


cdef void map_block(void *context, const Place *place, int thread) noexcept nogil:
    cdef MapContext *map = <MapContext *> context
    cdef fc_gradient_map_args args = map.args
    cdef int table
    args.x += place.x
    args.grad += place.grad
    args.out += place.out
    for table in range(4):
        args.table[table] = moved(args.table[table], place.channel)
    args.rows = place.rows
    args.cols = place.cols
    map.kernels.map(&args)


def map(cnp.ndarray x, cnp.ndarray grad, cnp.dtype dtype, str op, *, int channel_axis=-1,
        tuple tables=(), double alpha=0, double beta=0):
    """grad times what `op` makes of x (kernels/gradient.h), element by element.

    Parameters
    ----------
    x, grad : ndarray
        Of one shape.
    dtype : float32 or float64
    op : str
        A key of OPS; alpha and beta are its numbers.
    channel_axis : int
        The axis that the tables belong to; -1 for tables of one element.
    tables : tuple of ndarray
        Contiguous, of `dtype`, one element per channel.
    """
    cdef MapContext context
    cdef Walk walk
    cdef Axis *row
    cdef Axis *col
    cdef Py_ssize_t cols
    cdef int at
    cdef double work
    cdef cnp.ndarray out = memory.empty_array((<object> x).shape, dtype)
    x, grad = converted(x, dtype), converted(grad, dtype)
    if not cnp.PyArray_SIZE(x):
        return out
    context.kernels = dispatch.kernels(dtype.itemsize == 8).gradient
    build_grid(&walk.cut.grid, x, grad, out, -1, channel_axis)
    row = &walk.cut.grid.axis[walk.cut.grid.count - 2]
    col = &walk.cut.grid.axis[walk.cut.grid.count - 1]
    context.args.x = <const char *> cnp.PyArray_DATA(x)
    context.args.x_row, context.args.x_col = row.x, col.x
    context.args.grad = <const char *> cnp.PyArray_DATA(grad)
    context.args.grad_row, context.args.grad_col = row.grad, col.grad
    context.args.out = <char *> cnp.PyArray_DATA(out)
    context.args.out_row, context.args.out_col = row.out, col.out
    context.args.channel_row, context.args.channel_col = row.channel, col.channel
    context.args.op, context.args.alpha, context.args.beta = OPS[op], alpha, beta
    for at in range(4):
        context.args.table[at] = NULL
    for at in range(len(tables)):
        context.args.table[at] = table_data(tables[at])
    cols = min(<Py_ssize_t> BLOCK_ELEMENTS, col.size)
    cut_grid(&walk.cut, BLOCK_ELEMENTS // cols, cols, 1)
    walk.kernel = map_block
    walk.context = &context
    work = <double> cnp.PyArray_SIZE(x) * (12 * dtype.itemsize + EXP_WORK)
    with nogil:
        run_walk(&walk, work, threads.maximum())
    return out


# --- Reductions along one axis -----------------------------------------------------------------

cdef struct SoftmaxContext:
    fc_softmax_gradient_args args
    void (*kernel)(const fc_softmax_gradient_args *) noexcept nogil


cdef void softmax_block(void *context, const Place *place, int thread) noexcept nogil:
    cdef SoftmaxContext *softmax = <SoftmaxContext *> context
    cdef fc_softmax_gradient_args args = softmax.args
    args.y += place.x
    args.grad += place.grad
    args.out += place.out
    args.lines = place.cols
    softmax.kernel(&args)


def softmax(cnp.ndarray y, cnp.ndarray grad, cnp.dtype dtype, int axis, bint logarithm):
    """Gradient through softmax or log-softmax along `axis` (0 <= axis < y.ndim), from its result.

    y * (grad - sum(y * grad)), or grad - exp(y) * sum(grad).
    """
    cdef SoftmaxContext context
    cdef Walk walk
    cdef const fc_gradient_kernels *kernels = dispatch.kernels(dtype.itemsize == 8).gradient
    cdef Axis *line
    cdef Py_ssize_t length = cnp.PyArray_DIM(y, axis)
    cdef bint across
    cdef double work
    cdef cnp.ndarray out = memory.empty_array((<object> y).shape, dtype)
    y, grad = converted(y, dtype), converted(grad, dtype)
    if not cnp.PyArray_SIZE(y):
        return out
    build_grid(&walk.cut.grid, y, grad, out, axis, -1)
    line = &walk.cut.grid.axis[walk.cut.grid.count - 1]
    context.args = fc_softmax_gradient_args(
        y=<const char *> cnp.PyArray_DATA(y), y_step=cnp.PyArray_STRIDE(y, axis), y_line=line.x,
        grad=<const char *> cnp.PyArray_DATA(grad), grad_step=cnp.PyArray_STRIDE(grad, axis),
        grad_line=line.grad,
        out=<char *> cnp.PyArray_DATA(out), out_step=cnp.PyArray_STRIDE(out, axis),
        out_line=line.out,
        length=length, lines=0, logarithm=logarithm,
    )
    across = lines_in_lanes(&walk.cut, context.args.y_step, length, dtype.itemsize)
    context.kernel = kernels.softmax_across if across else kernels.softmax_along
    cut_lines(&walk.cut, length, across, kernels.lanes)
    walk.kernel = softmax_block
    walk.context = &context
    work = <double> cnp.PyArray_SIZE(y) * (12 * dtype.itemsize + EXP_WORK)
    with nogil:
        run_walk(&walk, work, threads.maximum())
    return out


cdef struct LrnContext:
    fc_lrn_gradient_args args
    Py_ssize_t scratch_bytes      # per thread
    void (*kernel)(const fc_lrn_gradient_args *) noexcept nogil


cdef void lrn_block(void *context, const Place *place, int thread) noexcept nogil:
    cdef LrnContext *lrn = <LrnContext *> context
    cdef fc_lrn_gradient_args args = lrn.args
    args.x += place.x
    args.grad += place.grad
    args.out += place.out
    args.lines = place.cols
    args.scratch += thread * lrn.scratch_bytes
    lrn.kernel(&args)


def local_response_norm(cnp.ndarray x, cnp.ndarray grad, cnp.dtype dtype, int axis,
                        Py_ssize_t size, double alpha, double beta, double k):
    """Gradient through local response normalisation along `axis`, from its input."""
    cdef LrnContext context
    cdef Walk walk
    cdef memory.Buffer scratch
    cdef const fc_gradient_kernels *kernels = dispatch.kernels(dtype.itemsize == 8).gradient
    cdef Axis *line
    cdef Py_ssize_t length = cnp.PyArray_DIM(x, axis), before, after
    cdef int most
    cdef double work
    cdef cnp.ndarray out = memory.empty_array((<object> x).shape, dtype)
    x, grad = converted(x, dtype), converted(grad, dtype)
    if not cnp.PyArray_SIZE(x):
        return out
    build_grid(&walk.cut.grid, x, grad, out, axis, -1)
    line = &walk.cut.grid.axis[walk.cut.grid.count - 1]
    # Windows need not reach further than the channels do.
    before, after = min(size // 2, length - 1), min((size - 1) // 2, length - 1)
    context.scratch_bytes = ceil_div(
        FC_LRN_VECTORS * length * kernels.lanes * <Py_ssize_t> dtype.itemsize, 64) * 64
    context.kernel = kernels.lrn
    most = threads.maximum()
    scratch = memory.borrow_workspace(most * context.scratch_bytes)
    context.args = fc_lrn_gradient_args(
        x=<const char *> cnp.PyArray_DATA(x), x_step=cnp.PyArray_STRIDE(x, axis), x_line=line.x,
        grad=<const char *> cnp.PyArray_DATA(grad), grad_step=cnp.PyArray_STRIDE(grad, axis),
        grad_line=line.grad,
        out=<char *> cnp.PyArray_DATA(out), out_step=cnp.PyArray_STRIDE(out, axis),
        out_line=line.out, length=length, lines=0, before=before, after=after,
        alpha=alpha / size, beta=beta, k=k, scratch=scratch.data,
    )
    cut_lines(&walk.cut, length, True, kernels.lanes)
    walk.kernel = lrn_block
    walk.context = &context
    work = <double> cnp.PyArray_SIZE(x) * (
        12 * dtype.itemsize + 2 * EXP_WORK + 4 * (before + after))
    try:
        with nogil:
            run_walk(&walk, work, most)
    finally:
        memory.return_workspace(scratch)
    return out
