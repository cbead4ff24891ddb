# What the filters' drivers share: bands of rows, the axes around them, where positions beyond the
# border read, and how tasks get scratch and run.

cimport numpy as cnp
from libc.stddef cimport ptrdiff_t

from .threads cimport fc_task

cdef enum:
    MAX_AXES = 64
    LEAST_BAND = 32               # rows of a task; and of so many windows at least, for each band
    BAND_OF_WINDOWS = 8           # reads some rows that its neighbours read too
    GUARD = 64                    # bytes between rows, against addresses a power of two apart

# The axes around the ones that a filter runs along, the last one fastest.
cdef struct Outer:
    int axes
    Py_ssize_t size[MAX_AXES]
    ptrdiff_t x_step[MAX_AXES]    # bytes
    ptrdiff_t out_step[MAX_AXES]

cdef void add_outer(Outer *o, cnp.ndarray x, cnp.ndarray out, int axis) noexcept
cdef Py_ssize_t outer_count(const Outer *o) noexcept nogil
cdef void move_outer(const Outer *o, Py_ssize_t place, const char **x, char **out) noexcept nogil

cdef cnp.ndarray sources(Py_ssize_t n, Py_ssize_t outs, Py_ssize_t size, Py_ssize_t before,
                         int mode)

cdef bint is_streamed(cnp.ndarray out)
cdef int run_tasks(fc_task task, void *context, char **scratch, ptrdiff_t scratch_bytes,
                   Py_ssize_t tasks, double work) except -1
