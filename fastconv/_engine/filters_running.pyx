"""Boxes, maxima and minima of lines with NaN and infinities, as scipy.ndimage's loops leave them.

SciPy keeps a running sum, which a NaN never leaves, and a queue of candidates, whose comparisons
with NaN are all false. What comes out is no function of the window alone, so it is made by the same
steps, in the same order. Only lines that need it come here.
"""

import numpy as np

cimport numpy as cnp

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


def running(cnp.ndarray line, Py_ssize_t size, str op):
    """Boxes, maxima or minima along extended lines.

    Parameters
    ----------
    line : ndarray of float64, (lines, n + size - 1), C-contiguous
    size : int
        Of the window.
    op : str
        "box", "max" or "min".

    Returns
    -------
    ndarray of float64, (lines, n)
    """
    cdef Py_ssize_t lines = cnp.PyArray_DIM(line, 0), width = cnp.PyArray_DIM(line, 1), i
    cdef Py_ssize_t n = width - size + 1
    cdef cnp.ndarray out = np.empty((lines, n))
    cdef cnp.ndarray values = np.empty(size), ends = np.empty(size, np.intp)
    cdef const double *p = <const double *> cnp.PyArray_DATA(line)
    cdef double *to = <double *> cnp.PyArray_DATA(out)
    cdef double *value = <double *> cnp.PyArray_DATA(values)
    cdef Py_ssize_t *end = <Py_ssize_t *> cnp.PyArray_DATA(ends)
    cdef bint box = op == "box"
    cdef double sign = -1 if op == "min" else 1
    if size == 1 and not box:
        return line.copy()
    with nogil:
        for i in range(lines):
            if box:
                run_box(p + i * width, n, size, to + i * n)
            else:
                run_max(p + i * width, n, size, sign, to + i * n, value, end)
    return out
