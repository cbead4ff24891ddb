from .arithmetic cimport index
from .dispatch cimport machine_is_intel
from .op cimport fc_conv, fc_view

cdef enum:
    # A result of so many bytes is in no near cache when it is written; to rows and to planes.
    FAR_ROWS = 4 << 20
    FAR_RESULT = 8 << 20
    # Past the caches go rows that none of them holds until they are read; and smaller ones where
    # Winograd's stores, apart from each other, gain more by it than the next reader loses.
    NEVER_NEAR = 32 << 20
    FAR_TRANSFORMED = 6 << 20
    STREAMED = 64   # bytes: vectors of all levels begin at multiples of it


cdef inline double result_bytes(const fc_conv *c) noexcept nogil:
    return <double> c.batch * c.out_channels * c.out_size[0] * c.out_size[1] * c.out_size[2] \
        * (8 if c.type else 4)


cdef inline bint expects_rows(const fc_conv *c) noexcept nogil:
    """Whether to ask for the lines of a result of rows before they are written."""
    return result_bytes(c) >= FAR_ROWS


cdef inline bint streams(const fc_conv *c, const fc_view *out, double least) noexcept nogil:
    """Whether a result of rows is written past the caches: of so many bytes, all vectors whole.

    What is not fetched before it is overwritten costs half, but its reader must fetch it from
    memory. Measured on AMD alone.
    """
    cdef index bits = c.out_channels // c.groups * (8 if c.type else 4) | out.batch \
        | out.space[0] | out.space[1] | out.space[2]
    return bits % STREAMED == 0 and result_bytes(c) >= least and not machine_is_intel()


cdef inline bint starts_on_boundary(const fc_view *out) noexcept nogil:
    return <size_t> out.data % STREAMED == 0


cdef inline bint expects(const fc_conv *c, const fc_view *out, index far_plane) noexcept nogil:
    """Whether to ask for the lines of a result of planes before they are written.

    Stores to many planes, so many bytes apart and more, wait for one line and one page after the
    other.
    """
    cdef index element = 8 if c.type else 4
    return out.space[2] == element and out.channel >= far_plane and result_bytes(c) >= FAR_RESULT
