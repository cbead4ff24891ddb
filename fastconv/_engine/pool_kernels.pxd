# The pooling kernels as their driver sees them; kernels/pool.h has the contracts.

from libc.stdint cimport int64_t

cdef extern from "kernels.h" nogil:
    int FC_POOL_LINE_BYTES, FC_POOL_LINE_VECTORS
    int FC_POOL_MAX, FC_POOL_MEAN, FC_POOL_ARGMAX
    int FC_POOL_LINES, FC_POOL_WINDOWS, FC_POOL_SEGMENTS
    int FC_POOL_COUNT_INSIDE, FC_POOL_COUNT_PADDED, FC_POOL_COUNT_ONE

    ctypedef struct fc_pool_axis:
        ptrdiff_t size
        ptrdiff_t outs
        ptrdiff_t kernel
        ptrdiff_t stride
        ptrdiff_t dilation
        ptrdiff_t before
        ptrdiff_t after
        int fitted

    ctypedef struct fc_pool_span:
        ptrdiff_t first
        ptrdiff_t count

    fc_pool_span fc_pool_window(const fc_pool_axis *axis, ptrdiff_t o)
    ptrdiff_t fc_pool_cells(const fc_pool_axis *axis, ptrdiff_t o, int counting)

    ctypedef struct fc_pool_args:
        const char *x
        ptrdiff_t x_row
        ptrdiff_t x_column
        ptrdiff_t depth_taps
        ptrdiff_t x_depth
        ptrdiff_t channels
        const fc_pool_axis *height
        const fc_pool_axis *width
        ptrdiff_t row
        ptrdiff_t rows
        ptrdiff_t column
        ptrdiff_t columns
        char *out
        ptrdiff_t out_row
        ptrdiff_t out_column
        ptrdiff_t out_channel
        const ptrdiff_t *taps
        ptrdiff_t phase
        ptrdiff_t line
        ptrdiff_t held
        int counting
        double cells
        char *index
        ptrdiff_t index_row
        ptrdiff_t index_column
        ptrdiff_t index_channel
        ptrdiff_t place
        ptrdiff_t place_depth

    ctypedef struct fc_pool_kernels:
        void (*run[3][3])(const fc_pool_args *) noexcept nogil
