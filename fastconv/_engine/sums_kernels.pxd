# The kernel that sums over channels as its driver sees it; kernels/sums.h has the contract.

cdef extern from "kernels.h" nogil:
    int FC_SUMS_PLAIN, FC_SUMS_MOMENTS, FC_SUMS_GRADIENT, FC_SUMS_NEGATIVE

    ctypedef struct fc_sums_args:
        const char *x
        const char *grad
        ptrdiff_t x_row
        ptrdiff_t x_col
        ptrdiff_t grad_row
        ptrdiff_t grad_col
        ptrdiff_t rows
        ptrdiff_t cols
        const double *center
        double *sums
        int op
        int channel_row
        int channel_col

    ctypedef struct fc_sums_kernels:
        void (*sums)(const fc_sums_args *) noexcept nogil
