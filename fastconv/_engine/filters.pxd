# What the filters' two drivers share: bands of rows, and where positions beyond the border read.

cimport numpy as cnp

cdef enum:
    MAX_AXES = 64
    LEAST_BAND = 32               # rows of a task; and of so many windows at least, for each band
    BAND_OF_WINDOWS = 8           # reads some rows that its neighbours read too
    GUARD = 64                    # bytes between rows, against addresses a power of two apart

cdef cnp.ndarray sources(Py_ssize_t n, Py_ssize_t outs, Py_ssize_t size, Py_ssize_t before,
                         int mode)
