# Adding overlapping runs as the drivers see it; kernels/overlap.h has the contract.

cdef extern from "kernels.h" nogil:
    ctypedef struct fc_overlap_args:
        const char *src
        ptrdiff_t src_pixel
        ptrdiff_t pixels
        ptrdiff_t rows
        ptrdiff_t run
        char *sums
        ptrdiff_t pixel_step
        ptrdiff_t row_step

    ctypedef struct fc_overlap_kernels:
        void (*add)(const fc_overlap_args *) noexcept nogil
