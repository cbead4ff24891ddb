# The direct algorithm's kernels as its drivers see them; kernels/direct.h has the contracts.

from .epilogue cimport fc_epilogue

cdef extern from "kernels.h" nogil:
    int FC_PLANES_CHANNELS

    ctypedef struct fc_interleave_args:
        const char *weight
        ptrdiff_t taps
        ptrdiff_t channels
        char *dst

    ctypedef struct fc_split_args:
        const char *src
        ptrdiff_t src_row
        ptrdiff_t src_pixel
        ptrdiff_t rows
        ptrdiff_t first_row
        ptrdiff_t last_row
        ptrdiff_t columns
        ptrdiff_t first
        ptrdiff_t last
        ptrdiff_t stride
        ptrdiff_t dilation
        ptrdiff_t slots
        ptrdiff_t slot
        char *dst
        ptrdiff_t dst_row

    ctypedef struct fc_planes_args:
        int channels
        int load_sums
        int begun
        int broken_off
        char *part
        ptrdiff_t next
        char *copy
        ptrdiff_t copy_plane
        int finish
        ptrdiff_t rows
        ptrdiff_t columns
        ptrdiff_t stride
        ptrdiff_t planes
        ptrdiff_t kernel_rows
        ptrdiff_t taps
        const char *x
        ptrdiff_t x_plane
        ptrdiff_t x_row
        const ptrdiff_t *tap
        const char *w
        ptrdiff_t w_plane
        ptrdiff_t w_channel
        ptrdiff_t w_row
        char *sums
        ptrdiff_t sum_channel
        ptrdiff_t sum_row
        fc_epilogue epilogue
        char *out
        ptrdiff_t out_channel
        ptrdiff_t out_row
        ptrdiff_t out_pixel
        const char *residual
        ptrdiff_t residual_channel
        ptrdiff_t residual_row
        ptrdiff_t residual_pixel
        ptrdiff_t top
        ptrdiff_t left
        ptrdiff_t x_rows
        ptrdiff_t x_columns

    ctypedef struct fc_window_row:
        const char *x
        ptrdiff_t pixel
        ptrdiff_t tap
        const char *first
        size_t span

    ctypedef struct fc_pixels_out:
        fc_epilogue epilogue
        char *out
        ptrdiff_t out_pixel
        const char *residual
        ptrdiff_t residual_pixel

    ctypedef struct fc_depthwise_args:
        ptrdiff_t pixels
        ptrdiff_t channels
        ptrdiff_t inner
        ptrdiff_t inner_end
        ptrdiff_t rows
        ptrdiff_t taps
        ptrdiff_t chain_rows
        const fc_window_row *window
        const char *w
        ptrdiff_t w_tap
        fc_pixels_out out

    ctypedef struct fc_group_lanes:
        int channels_in
        int channels_out
        const char *index

    ctypedef struct fc_grouped_args:
        ptrdiff_t pixels
        ptrdiff_t vectors
        fc_group_lanes usual
        fc_group_lanes last
        ptrdiff_t group_in
        ptrdiff_t rows
        ptrdiff_t taps
        ptrdiff_t chain_rows
        const fc_window_row *window
        const char *w
        ptrdiff_t w_vector
        fc_pixels_out out

    ctypedef struct fc_direct_kernels:
        int lanes
        int planes_vectors
        int planes_rows[7]
        int depthwise_pixels
        int depthwise_vectors
        void (*interleave)(const fc_interleave_args *) noexcept nogil
        void (*split)(const fc_split_args *) noexcept nogil
        void (*planes)(const fc_planes_args *) noexcept nogil
        void (*in_place)(const fc_planes_args *) noexcept nogil
        void (*pointwise)(const fc_planes_args *) noexcept nogil
        void (*depthwise)(const fc_depthwise_args *) noexcept nogil
        void (*grouped)(const fc_grouped_args *) noexcept nogil
