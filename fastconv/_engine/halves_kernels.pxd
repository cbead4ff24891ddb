# The splitting into bfloat16 halves as the driver sees it; kernels/halves.h has the contracts.

cdef extern from "halves.h" nogil:
    ctypedef struct fc_halves_split_args:
        const char *src
        ptrdiff_t src_pixel
        ptrdiff_t src_channel
        ptrdiff_t channels
        ptrdiff_t width
        ptrdiff_t first
        ptrdiff_t pixels
        char *dst
        ptrdiff_t block
        ptrdiff_t low

    ctypedef struct fc_halves_run_args:
        const char *src
        ptrdiff_t count
        char *high
        char *low

    ctypedef struct fc_halves_pack_args:
        const char *weight
        ptrdiff_t row
        ptrdiff_t depth
        ptrdiff_t taps
        ptrdiff_t channels
        ptrdiff_t across
        int low
        char *dst

    ctypedef struct fc_halves_kernels:
        void (*split)(const fc_halves_split_args *) noexcept nogil
        void (*pack)(const fc_halves_pack_args *) noexcept nogil
        void (*add)(char *, const char *, ptrdiff_t) noexcept nogil
        void (*run)(const fc_halves_run_args *) noexcept nogil
