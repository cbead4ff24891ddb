# The gradient kernels as their driver sees them; kernels/gradient.h has the contracts.

cdef extern from "kernels.h" nogil:
    int FC_GRAD_POSITIVE, FC_GRAD_INSIDE, FC_GRAD_SLOPE, FC_GRAD_SIGMOID, FC_GRAD_TANH
    int FC_GRAD_SILU, FC_GRAD_HARDSIGMOID, FC_GRAD_HARDSWISH, FC_GRAD_CHANNEL_SLOPE
    int FC_GRAD_STANDARD
    int FC_LRN_VECTORS

    ctypedef struct fc_gradient_map_args:
        const char *x
        const char *grad
        ptrdiff_t x_row
        ptrdiff_t x_col
        ptrdiff_t grad_row
        ptrdiff_t grad_col
        char *out
        ptrdiff_t out_row
        ptrdiff_t out_col
        ptrdiff_t rows
        ptrdiff_t cols
        const char *table[4]
        ptrdiff_t channel_row
        ptrdiff_t channel_col
        int op
        double alpha
        double beta

    ctypedef struct fc_softmax_gradient_args:
        const char *y
        const char *grad
        ptrdiff_t y_step
        ptrdiff_t y_line
        ptrdiff_t grad_step
        ptrdiff_t grad_line
        char *out
        ptrdiff_t out_step
        ptrdiff_t out_line
        ptrdiff_t length
        ptrdiff_t lines
        int logarithm

    ctypedef struct fc_lrn_gradient_args:
        const char *x
        const char *grad
        ptrdiff_t x_step
        ptrdiff_t x_line
        ptrdiff_t grad_step
        ptrdiff_t grad_line
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

    ctypedef struct fc_gradient_kernels:
        int lanes
        void (*map)(const fc_gradient_map_args *) noexcept nogil
        void (*softmax_along)(const fc_softmax_gradient_args *) noexcept nogil
        void (*softmax_across)(const fc_softmax_gradient_args *) noexcept nogil
        void (*lrn)(const fc_lrn_gradient_args *) noexcept nogil
