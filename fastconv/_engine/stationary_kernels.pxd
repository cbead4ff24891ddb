# Windows of a few input channels as the drivers see them; kernels/stationary.h has the contract.

from .direct_kernels cimport fc_pixels_out

cdef extern from "kernels.h" nogil:
    int FC_STATIONARY_ROWS

    ctypedef struct fc_stationary_args:
        ptrdiff_t pixels
        int rows
        int run
        int channels
        const char *x[5]
        ptrdiff_t step[5]
        const char *w
        int begun
        int kept
        char *sums
        fc_pixels_out out
        int streams

    ctypedef struct fc_stationary_kernels:
        int weights
        void (*run)(const fc_stationary_args *) noexcept nogil
