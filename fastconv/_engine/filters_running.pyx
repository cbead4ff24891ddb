"""Boxes, maxima and minima of arrays with NaN and infinities, as scipy.ndimage's loops leave them.

SciPy keeps a running sum, which a NaN never leaves, and a queue of candidates, whose comparisons
with NaN are all false. What comes out is no function of the window alone, so it is made by the same
steps, in the same order: slower than filters.pyx, and only where that has met such numbers.
"""

cimport numpy as cnp
from libc.stddef cimport ptrdiff_t

from . cimport dispatch, threads
from .arithmetic cimport round_up
from .filters cimport Outer, add_outer, move_outer, outer_count, run_tasks, sources
from .filters_kernels cimport fc_filters_kernels

from .filters import MODES, TYPES

cnp.import_array()


cdef void run_box(const double *p, Py_ssize_t n, Py_ssize_t size, double *out) noexcept nogil:
    cdef double mean = 0
    cdef Py_ssize_t i
    for i in range(size):
        mean += p[i]
    mean /= <double> size
    out[0] = mean
    for i in range(1, n):
        mean += (p[i + size - 1] - p[i - 1]) / <double> size
        out[i] = mean


cdef void run_max(const double *p, Py_ssize_t n, Py_ssize_t size, double sign, double *out,
                  double *value, Py_ssize_t *end) noexcept nogil:
    """`value` and `end` have room for `size` candidates: numbers, and where their windows end."""
    cdef Py_ssize_t first = 0, last = 0, i
    cdef double v
    value[0], end[0] = sign * p[0], size
    out[0] = p[0]
    for i in range(1, n + size - 1):
        v = sign * p[i]
        if end[first] == i:
            first = (first + 1) % size
        if v >= value[first]:
            last = first
        else:
            while value[last] <= v:
                last = (last + size - 1) % size
            last = (last + 1) % size
        value[last], end[last] = v, i + size
        if i >= size - 1:
            out[i - size + 1] = sign * value[first]


cdef struct Running:
    const fc_filters_kernels *kernels
    const char *x
    char *out
    int x_type, out_type
    Outer outer
    Py_ssize_t n, size, before
    ptrdiff_t x_step, out_step
    const ptrdiff_t *source
    double fill, sign             # sign 0: boxes
    char *scratch
    ptrdiff_t scratch_bytes


cdef int running_task(void *context, Py_ssize_t task, int thread) noexcept nogil:
    """One line: read, extended, filtered, written."""
    cdef Running *r = <Running *> context
    cdef double *line = <double *> (r.scratch + thread * r.scratch_bytes)
    cdef double *result = line + r.n + r.size - 1
    cdef double *value = result + r.n
    cdef const char *x = r.x
    cdef char *out = r.out
    move_outer(&r.outer, task, &x, &out)
    r.kernels.load[r.x_type](x, r.x_step, r.n, <char *> (line + r.before))
    r.kernels.extend(<char *> line, r.before, r.n, r.size - 1 - r.before, r.source, r.fill)
    if r.sign == 0:
        run_box(line, r.n, r.size, result)
    elif r.size > 1:
        run_max(line, r.n, r.size, r.sign, result, value, <Py_ssize_t *> (value + r.size))
    else:
        result = line
    r.kernels.store[r.out_type](<const char *> result, r.n, out, r.out_step)
    return threads.FC_OK


def running(cnp.ndarray x, cnp.ndarray out, line):
    """Boxes, maxima or minima along an axis.

    Parameters
    ----------
    x, out : ndarray
        Of one shape, of `filters.TYPES`, aligned, in this machine's byte order; one array or
        without shared memory.
    line : tuple
        (axis, op, size, before, mode, fill, terms) as `filters.lines` takes it; op is "box", "max"
        or "min".
    """
    cdef Running r
    cdef int axis, along = line[0]
    cdef cnp.ndarray table
    if not cnp.PyArray_SIZE(x):
        return
    _, op, r.size, r.before, mode, r.fill, _ = line
    r.sign = {"box": 0, "max": 1, "min": -1}[op]
    r.kernels = dispatch.kernels(True).filters
    r.x, r.out = <const char *> cnp.PyArray_DATA(x), <char *> cnp.PyArray_DATA(out)
    r.x_type, r.out_type = TYPES[x.dtype], TYPES[out.dtype]
    r.n = cnp.PyArray_DIM(x, along)
    r.x_step, r.out_step = cnp.PyArray_STRIDE(x, along), cnp.PyArray_STRIDE(out, along)
    table = sources(r.n, r.n, r.size, r.before, MODES[mode])
    r.source = <const ptrdiff_t *> cnp.PyArray_DATA(table)
    r.outer.axes = 0
    for axis in range(cnp.PyArray_NDIM(x)):
        if axis != along:
            add_outer(&r.outer, x, out, axis)
    r.scratch_bytes = round_up((2 * r.n + 3 * r.size) * sizeof(double), 64)
    run_tasks(running_task, &r, &r.scratch, r.scratch_bytes, outer_count(&r.outer),
              20 * <double> cnp.PyArray_SIZE(x))
