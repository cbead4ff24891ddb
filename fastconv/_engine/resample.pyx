"""Lines of an array along one axis, each a weighted sum of a few lines of another: resizing.
And elements of the last axis at other places: shuffled channels.

    out[o, j, :] = sum over t of weights[j, t] * x[o, lines[j, t], :]

A line is contiguous; tasks are runs of output lines, each summed by one thread in the order of its
taps.
"""

cimport numpy as cnp
from libc.stddef cimport ptrdiff_t

from . cimport dispatch, threads
from .arithmetic cimport ceil_div
from .elementwise_frame cimport Frame, begin, carry_out
from .elementwise_kernels cimport fc_elementwise_kernels, fc_pick_args, fc_weigh_args
from .grid cimport Axis, Cut, Place, build_grid, cut_grid
from .program cimport Recorded, perform

cnp.import_array()

# Elements that a task writes at least.
cdef Py_ssize_t TASK_ELEMENTS = 4096

cdef struct Context:
    const fc_elementwise_kernels *kernels
    const char *x
    char *out
    const ptrdiff_t *offsets      # [lines][taps], bytes
    const double *weights         # [lines][taps]
    int taps
    ptrdiff_t x_outer             # strides in bytes
    ptrdiff_t out_outer
    ptrdiff_t out_line
    Py_ssize_t lines              # of one step along the outer axis
    Py_ssize_t all_lines
    Py_ssize_t lines_per_task
    Py_ssize_t count              # elements of a line
    double work


cdef int weigh_task(void *raw, Py_ssize_t task, int thread) noexcept nogil:
    cdef const Context *context = <const Context *> raw
    cdef Py_ssize_t line, first = task * context.lines_per_task, outer, j
    cdef fc_weigh_args args
    args.taps = context.taps
    args.count = context.count
    for line in range(first, min(first + context.lines_per_task, context.all_lines)):
        outer, j = line // context.lines, line % context.lines
        args.x = context.x + outer * context.x_outer
        args.offset = context.offsets + j * context.taps
        args.weight = context.weights + j * context.taps
        args.out = context.out + outer * context.out_outer + j * context.out_line
        context.kernels.weigh(&args)
    return threads.FC_OK


cdef int run_weigh(void *raw, char *workspace, int most) noexcept nogil:
    cdef Context *context = <Context *> raw
    return threads.run(weigh_task, context, ceil_div(context.all_lines, context.lines_per_task),
                       context.work, False, most)


def weigh(cnp.ndarray x, cnp.ndarray offsets, cnp.ndarray weights, cnp.ndarray out):
    """Fill `out` with weighted sums of lines of x, and return it.

    Parameters
    ----------
    x : ndarray, (outer, n, count)
        float32 or float64, aligned, the last axis contiguous.
    offsets : ndarray of intp, (m, taps)
        Bytes from x's first line to each line that is summed; contiguous.
    weights : ndarray of float64, (m, taps)
        Contiguous.
    out : ndarray, (outer, m, count)
        Of x's dtype, the last axis contiguous; shares no memory with x.
    """
    cdef Context context
    cdef Recorded step
    if not cnp.PyArray_SIZE(out):
        return out
    context.kernels = dispatch.kernels(cnp.PyArray_ITEMSIZE(x) == 8).elementwise
    context.x = <const char *> cnp.PyArray_DATA(x)
    context.out = <char *> cnp.PyArray_DATA(out)
    context.offsets = <const ptrdiff_t *> cnp.PyArray_DATA(offsets)
    context.weights = <const double *> cnp.PyArray_DATA(weights)
    context.taps = <int> cnp.PyArray_DIM(offsets, 1)
    context.x_outer = cnp.PyArray_STRIDE(x, 0)
    context.out_outer, context.out_line = cnp.PyArray_STRIDE(out, 0), cnp.PyArray_STRIDE(out, 1)
    context.lines = cnp.PyArray_DIM(out, 1)
    context.count = cnp.PyArray_DIM(out, 2)
    context.all_lines = cnp.PyArray_DIM(out, 0) * context.lines
    context.lines_per_task = max(1, TASK_ELEMENTS // context.count)
    context.work = <double> cnp.PyArray_SIZE(out) * context.taps * 4 * cnp.PyArray_ITEMSIZE(x)
    step = perform(run_weigh, &context, sizeof(context), 0, (offsets, weights))
    if step is not None:
        step.moves(&context, &context.x, False)
        step.moves(&context, &context.out, True)
    return out


# --- pick: other places along the last axis -----------------------------------------------------

cdef void pick_block(void *context, const Place *place, int thread) noexcept nogil:
    cdef const Frame *frame = <const Frame *> context
    cdef fc_pick_args args = frame.args.pick
    args.x += place.x
    args.out += place.out
    args.rows = place.cols
    frame.kernels.pick(&args)


def pick(cnp.ndarray x, cnp.ndarray index, cnp.ndarray out):
    """Fill `out` with x[..., index], and return it.

    Parameters
    ----------
    x : ndarray, (..., n)
        float32 or float64, aligned, the last axis contiguous.
    index : ndarray of intp, (m,)
        Contiguous, from 0 to n - 1.
    out : ndarray, (..., m)
        Of x's dtype, the last axis contiguous; shares no memory with x.
    """
    cdef Frame frame
    cdef fc_pick_args *args = &frame.args.pick
    cdef Cut *cut = &frame.walk.cut
    cdef Axis *row
    cdef Recorded step
    cdef Py_ssize_t cols = cnp.PyArray_DIM(index, 0), last = cnp.PyArray_NDIM(x) - 1
    if not cnp.PyArray_SIZE(out):
        return out
    begin(&frame, cnp.PyArray_ITEMSIZE(x))
    build_grid(&cut.grid, x, None, out, <int> last, -1)
    row = &cut.grid.axis[cut.grid.count - 1]
    args[0] = fc_pick_args(
        x=<const char *> cnp.PyArray_DATA(x), x_row=row.x,
        index=<const ptrdiff_t *> cnp.PyArray_DATA(index),
        out=<char *> cnp.PyArray_DATA(out), out_row=row.out, rows=0, cols=cols,
    )
    cut_grid(cut, 1, max(<Py_ssize_t> 1, TASK_ELEMENTS // cols), cols)
    frame.walk.kernel = pick_block
    frame.work = <double> cnp.PyArray_SIZE(out) * 8 * cnp.PyArray_ITEMSIZE(x)
    step = carry_out(&frame, (index,))
    if step is not None:
        step.moves(&frame, &args.x, False)
        step.moves(&frame, &args.out, True)
    return out
