# The kernels of pools' gradients as their driver sees them; kernels/pool_gradient.h has the
# contracts.

from libc.stdint cimport int64_t

from .pool_kernels cimport fc_pool_axis, fc_pool_span

cdef extern from "kernels.h" nogil:
    int FC_MEAN_HELD

    ctypedef struct fc_max_gradient_args:
        const int64_t *index
        const char *grad
        char *out
        ptrdiff_t places
        ptrdiff_t outs
        ptrdiff_t channels
        ptrdiff_t step

    ctypedef struct fc_mean_gradient_args:
        const char *grad
        char *out
        const fc_pool_axis *height
        const fc_pool_axis *width
        fc_pool_span slices
        const fc_pool_span *rows_of
        const fc_pool_span *columns_of
        const char *depth_share
        const char *row_share
        const char *column_share
        ptrdiff_t row
        ptrdiff_t rows
        ptrdiff_t channels
        ptrdiff_t step
        char *line

    ptrdiff_t fc_mean_line(const fc_pool_axis *width, ptrdiff_t channels, int lanes)

    ctypedef struct fc_pool_gradient_kernels:
        int lanes
        int (*max_planes)(const fc_max_gradient_args *) noexcept nogil
        int (*max_pixels)(const fc_max_gradient_args *) noexcept nogil
        void (*mean_planes)(const fc_mean_gradient_args *) noexcept nogil
        void (*mean_pixels)(const fc_mean_gradient_args *) noexcept nogil
