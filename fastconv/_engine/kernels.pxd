# The C kernels as the drivers see them; kernels/kernels.h has the contracts.

from .direct_kernels cimport fc_direct_kernels
from .dots_kernels cimport fc_dots_kernels
from .elementwise_kernels cimport fc_elementwise_kernels
from .epilogue cimport fc_epilogue
from .filters_kernels cimport fc_filters_kernels
from .gradient_kernels cimport fc_gradient_kernels
from .halves_kernels cimport fc_halves_kernels
from .overlap_kernels cimport fc_overlap_kernels
from .pool_gradient_kernels cimport fc_pool_gradient_kernels
from .pool_kernels cimport fc_pool_kernels
from .stationary_kernels cimport fc_stationary_kernels
from .sums_kernels cimport fc_sums_kernels
from .tiles_kernels cimport fc_tiles_kernels
from .winograd_kernels cimport fc_winograd_kernels

cdef extern from "kernels.h" nogil:
    int FC_MAX_VECTORS

    ctypedef struct fc_finish_args:
        const char *sums
        ptrdiff_t sum_row
        ptrdiff_t pixels
        ptrdiff_t channels
        fc_epilogue epilogue
        char *const *out_rows
        int expects_rows
        int streams
        const char *const *residual_rows
        ptrdiff_t row_offset
        ptrdiff_t residual_row_offset
        char *out
        ptrdiff_t out_channel
        ptrdiff_t out_pixel
        const char *residual
        ptrdiff_t residual_channel
        ptrdiff_t residual_pixel

    enum: FC_CACHE_LINE
    enum: FC_AHEAD_STEPS

    ctypedef struct fc_gemm_args:
        int rows
        int vectors
        int accumulate
        ptrdiff_t taps
        ptrdiff_t depth
        const char *const *a
        ptrdiff_t a_step
        ptrdiff_t offset
        const char *b
        char *c
        ptrdiff_t c_row
        const fc_finish_args *finish
        ptrdiff_t first
        const char *ahead
        ptrdiff_t ahead_lines
        ptrdiff_t next

    ptrdiff_t fc_gemm_ahead_bytes(const fc_gemm_args *)

    ctypedef struct fc_pack_args:
        const char *weight
        ptrdiff_t row
        ptrdiff_t depth
        ptrdiff_t taps
        ptrdiff_t channels
        ptrdiff_t width
        char *dst

    ctypedef struct fc_gemm_kernels:
        int lanes
        int tile_rows[5]
        void (*tile)(const fc_gemm_args *) noexcept nogil
        void (*tiles)(const fc_gemm_args *, ptrdiff_t) noexcept nogil
        void (*point)(const char **, const char *, ptrdiff_t, ptrdiff_t) noexcept nogil
        void (*shift)(const char **, const char *const *, ptrdiff_t, ptrdiff_t) noexcept nogil
        int (*pack)(const fc_pack_args *) noexcept nogil
        double (*peak)(ptrdiff_t) noexcept nogil

    ctypedef struct fc_gather_args:
        const char *src
        ptrdiff_t src_pixel
        ptrdiff_t src_channel
        ptrdiff_t pixels
        ptrdiff_t channels
        char *dst
        ptrdiff_t dst_pixel

    ctypedef struct fc_finish_kernels:
        void (*rows)(const fc_finish_args *) noexcept nogil
        void (*planes)(const fc_finish_args *) noexcept nogil
        void (*expect)(const fc_finish_args *) noexcept nogil
        void (*gather)(const fc_gather_args *) noexcept nogil
        void (*end_stream)() noexcept nogil

    ctypedef struct fc_kernels:
        const char *level
        const fc_gemm_kernels *gemm
        const fc_finish_kernels *finish
        const fc_pool_kernels *pool
        const fc_winograd_kernels *winograd
        const fc_direct_kernels *direct
        const fc_elementwise_kernels *elementwise
        const fc_gradient_kernels *gradient
        const fc_pool_gradient_kernels *pool_gradient
        const fc_stationary_kernels *stationary
        const fc_sums_kernels *sums
        const fc_dots_kernels *dots
        const fc_overlap_kernels *overlap
        const fc_filters_kernels *filters
        const fc_halves_kernels *halves
        const fc_tiles_kernels *tiles

    const fc_kernels *fc_kernels_for(int level, int tiles, int type)
