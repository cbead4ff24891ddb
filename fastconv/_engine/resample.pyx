"""Lines of an array along one axis, each a weighted sum of a few lines of another: resizing.

    out[o, j, :] = sum over t of weights[j, t] * x[o, lines[j, t], :]

A line is contiguous; tasks are runs of output lines, each summed by one thread in the order of its
taps.
"""

cimport numpy as cnp
from libc.stddef cimport ptrdiff_t

from . cimport dispatch, threads
from .arithmetic cimport ceil_div
from .arrays cimport raise_for
from .elementwise_kernels cimport fc_elementwise_kernels, fc_weigh_args

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
    cdef double work
    cdef int code
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
    work = <double> cnp.PyArray_SIZE(out) * context.taps * 4 * cnp.PyArray_ITEMSIZE(x)
    with nogil:
        code = threads.run(weigh_task, &context,
                           ceil_div(context.all_lines, context.lines_per_task), work, False,
                           threads.maximum())
    raise_for(code)
    return out
