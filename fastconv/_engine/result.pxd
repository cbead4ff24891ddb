from .arithmetic cimport index
from .dispatch cimport machine_is_intel
from .op cimport fc_conv, fc_view

cdef enum:
    # A result of so many bytes is in no near cache when it is written; to rows and to planes, and
    # to rows by stores past the caches, which need not be asked for.
    FAR_ROWS = 4 << 20
    FAR_RESULT = 8 << 20
    FAR_STREAM = 3 << 20
    STREAMED = 64   # bytes: vectors of all levels begin at multiples of it


cdef inline double result_bytes(const fc_conv *c) noexcept nogil:
    return <double> c.batch * c.out_channels * c.out_size[0] * c.out_size[1] * c.out_size[2] \
        * (8 if c.type else 4)


cdef inline bint expects_rows(const fc_conv *c) noexcept nogil:
    """Whether to ask for the lines of a result of rows before they are written."""
    return result_bytes(c) >= FAR_ROWS


cdef inline bint streams(const fc_conv *c, const fc_view *out) noexcept nogil:
    """Whether a result of rows may be written past the caches: all its vectors are whole.

    What is not fetched before it is overwritten costs half. Measured on AMD alone.
    """
    cdef index bits = c.out_channels // c.groups * (8 if c.type else 4) | out.batch \
        | out.space[0] | out.space[1] | out.space[2]
    return bits % STREAMED == 0 and result_bytes(c) >= FAR_STREAM and not machine_is_intel()


cdef inline bint starts_on_boundary(const fc_view *out) noexcept nogil:
    return <size_t> out.data % STREAMED == 0


cdef inline bint expects(const fc_conv *c, const fc_view *out, index far_plane) noexcept nogil:
    """Whether to ask for the lines of a result of planes before they are written.

    Stores to many planes, so many bytes apart and more, wait for one line and one page after the
    other.
    """
    cdef index element = 8 if c.type else 4
    return out.space[2] == element and out.channel >= far_plane and result_bytes(c) >= FAR_RESULT
