# What planned gradients of convolutions share: two operands, a result, and memory for one run.

cimport numpy as cnp

from .arithmetic cimport index
from .arrays cimport Axes
from .op cimport Prepared, fc_conv, fc_view

cdef struct fc_gradient_call:
    const void *blocking     # the gradient's own plain struct
    fc_view source           # x, or contiguous weights, of which only `data` is set
    fc_view dy
    fc_view result           # dx, or contiguous weights, of which only `data` is set
    char *shared             # of all threads: packed weights, partial sums
    char *workspace          # thread t's part starts at workspace + t * workspace_bytes
    int threads              # that many parts

ctypedef int (*fc_gradient_run)(const fc_gradient_call *call) noexcept nogil

cdef class PlannedGradient:
    cdef Prepared op                  # owner of the blocking
    cdef fc_gradient_call call        # the views' strides; what lies there differs from run to run
    cdef Axes axes
    cdef object dtype
    cdef tuple shape                  # of the result
    cdef Py_ssize_t shared_bytes
    cdef Py_ssize_t workspace_bytes   # per thread
    cdef readonly bint pays

    cdef fc_conv begin(self, geometry, dy, dtype, bint flush_denormals) except *
    cdef void *blocking(self, size_t size) except NULL
    cdef fc_view view(self, array) except *
    cdef int give_input(self, geometry) except -1
    cdef cnp.ndarray compute(self, fc_gradient_run run, cnp.ndarray source, cnp.ndarray dy)

# Add `count` elements of float (0) or double (1) to as many others.
cdef void add_elements(int type, char *total, const char *more, index count) noexcept nogil
