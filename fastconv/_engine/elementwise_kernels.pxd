# The elementwise kernels as the driver sees them; kernels/elementwise.h has the contracts.

cdef extern from "kernels.h" nogil:
    int FC_LRN_LINES

    ctypedef struct fc_map_args:
        const char *x
        ptrdiff_t x_row
        ptrdiff_t x_col
        char *out
        ptrdiff_t out_row
        ptrdiff_t out_col
        ptrdiff_t rows
        ptrdiff_t cols
        const char *center
        const char *scale
        const char *shift
        const char *slope
        ptrdiff_t channel_row
        ptrdiff_t channel_col
        int activation
        double alpha
        double beta

    int FC_ADD, FC_SUB, FC_MUL, FC_DIV

    ctypedef struct fc_binary_args:
        const char *x
        const char *y
        ptrdiff_t x_row
        ptrdiff_t x_col
        ptrdiff_t y_row
        ptrdiff_t y_col
        char *out
        ptrdiff_t out_row
        ptrdiff_t out_col
        ptrdiff_t rows
        ptrdiff_t cols
        int op

    ctypedef struct fc_weigh_args:
        const char *x
        const ptrdiff_t *offset
        const double *weight
        int taps
        char *out
        ptrdiff_t count

    ctypedef struct fc_pick_args:
        const char *x
        ptrdiff_t x_row
        const ptrdiff_t *index
        char *out
        ptrdiff_t out_row
        ptrdiff_t rows
        ptrdiff_t cols

    ctypedef struct fc_softmax_args:
        const char *x
        ptrdiff_t x_step
        ptrdiff_t x_line
        char *out
        ptrdiff_t out_step
        ptrdiff_t out_line
        ptrdiff_t length
        ptrdiff_t lines
        int logarithm

    ctypedef struct fc_lrn_args:
        const char *x
        ptrdiff_t x_step
        ptrdiff_t x_line
        char *out
        ptrdiff_t out_step
        ptrdiff_t out_line
        ptrdiff_t length
        ptrdiff_t lines
        ptrdiff_t before
        ptrdiff_t after
        double alpha
        double beta
        double k
        char *scratch
        ptrdiff_t scratch_line

    ctypedef struct fc_elementwise_kernels:
        int lanes
        void (*map)(const fc_map_args *) noexcept nogil
        void (*binary)(const fc_binary_args *) noexcept nogil
        void (*weigh)(const fc_weigh_args *) noexcept nogil
        void (*pick)(const fc_pick_args *) noexcept nogil
        void (*softmax_along)(const fc_softmax_args *) noexcept nogil
        void (*softmax_across)(const fc_softmax_args *) noexcept nogil
        void (*lrn_along)(const fc_lrn_args *) noexcept nogil
        void (*lrn_across)(const fc_lrn_args *) noexcept nogil
