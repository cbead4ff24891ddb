# The tiles as the driver sees them; kernels/tiles.h has the contracts.

cdef extern from "tiles.h" nogil:
    enum:
        FC_TILE_PIXELS
        FC_TILE_COLUMNS
        FC_TILE_DEPTH
        FC_TILE_BYTES
        FC_TILE_PIXEL
        FC_TILE_PANEL
        FC_TILE_SUM_ROW

    ctypedef struct fc_tiles_args:
        int down
        int across
        const char *a[2]
        ptrdiff_t pixel
        ptrdiff_t low
        ptrdiff_t block
        const ptrdiff_t *tap
        ptrdiff_t taps
        ptrdiff_t first_tap
        ptrdiff_t steps
        const char *b
        char *c
        const char *ahead
        ptrdiff_t ahead_lines

    ctypedef struct fc_tiles_kernels:
        void (*configure)() noexcept nogil
        void (*release)() noexcept nogil
        void (*three)(const fc_tiles_args *) noexcept nogil
        void (*one)(const fc_tiles_args *) noexcept nogil
