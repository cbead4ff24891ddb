# What happens to sums on their way out; all kernels with sums share it.

cdef extern from "kernels.h" nogil:
    ctypedef struct fc_epilogue:
        const char *bias
        int activation
        double alpha
        double beta
