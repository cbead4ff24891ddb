# The Winograd transforms as the driver sees them; kernels/winograd.h has the contracts.

from .epilogue cimport fc_epilogue

cdef extern from "winograd.h" nogil:
    ctypedef struct fc_winograd_input_args:
        const char *src
        ptrdiff_t src_row
        ptrdiff_t src_pixel
        ptrdiff_t src_tile
        ptrdiff_t tiles
        ptrdiff_t channels
        char *dst
        ptrdiff_t first_tile
        ptrdiff_t first_channel
        ptrdiff_t rows
        ptrdiff_t block
        ptrdiff_t dst_point
        ptrdiff_t dst_group
        ptrdiff_t dst_block

    ctypedef struct fc_winograd_output_args:
        const char *src
        ptrdiff_t src_point
        ptrdiff_t src_tile
        ptrdiff_t tiles
        ptrdiff_t channels
        char *dst
        ptrdiff_t dst_row
        ptrdiff_t dst_pixel
        ptrdiff_t dst_tile
        ptrdiff_t height
        ptrdiff_t width
        ptrdiff_t tile_width
        ptrdiff_t dilation
        fc_epilogue epilogue
        const char *residual
        ptrdiff_t residual_row
        ptrdiff_t residual_pixel
        ptrdiff_t residual_tile
        int streams

    ctypedef struct fc_winograd_filter_args:
        const char *weight
        ptrdiff_t row
        ptrdiff_t depth
        ptrdiff_t channels
        ptrdiff_t width
        char *dst
        ptrdiff_t dst_point

    enum: FC_WINOGRAD_FORMS

    ctypedef struct fc_winograd_kernels:
        int forms[FC_WINOGRAD_FORMS][2]
        void (*input[2][3])(const fc_winograd_input_args *) noexcept nogil
        void (*output[2][FC_WINOGRAD_FORMS])(const fc_winograd_output_args *) noexcept nogil
        void (*filter[2][FC_WINOGRAD_FORMS])(const fc_winograd_filter_args *) noexcept nogil
