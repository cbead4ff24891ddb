# What the filters' two drivers share: bands of rows, where positions beyond the border read, and how
# their tasks get scratch and run.

cimport numpy as cnp
from libc.stddef cimport ptrdiff_t

from .threads cimport fc_task

cdef enum:
    MAX_AXES = 64
    LEAST_BAND = 32               # rows of a task; and of so many windows at least, for each band
    BAND_OF_WINDOWS = 8           # reads some rows that its neighbours read too
    GUARD = 64                    # bytes between rows, against addresses a power of two apart

cdef cnp.ndarray sources(Py_ssize_t n, Py_ssize_t outs, Py_ssize_t size, Py_ssize_t before,
                         int mode)

cdef bint is_streamed(cnp.ndarray out)
cdef int run_tasks(fc_task task, void *context, char **scratch, ptrdiff_t scratch_bytes,
                   Py_ssize_t tasks, double work) except -1
