# Products of runs as the drivers see them; kernels/dots.h has the contract.

cdef extern from "kernels.h" nogil:
    ctypedef struct fc_dots_args:
        int rows
        int columns
        int accumulate
        ptrdiff_t lines
        ptrdiff_t length
        const char *const *a
        ptrdiff_t a_step
        const char *const *b
        ptrdiff_t b_step
        char *c
        ptrdiff_t c_row

    ctypedef struct fc_taps_args:
        ptrdiff_t taps
        ptrdiff_t pixels
        ptrdiff_t channels
        const char *const *a
        ptrdiff_t a_pixel
        const char *b
        ptrdiff_t b_pixel
        char *c

    ctypedef struct fc_dots_kernels:
        int rows
        int columns
        void (*tile)(const fc_dots_args *) noexcept nogil
        void (*taps)(const fc_taps_args *) noexcept nogil
