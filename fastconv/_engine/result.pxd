from .arithmetic cimport index
from .op cimport fc_conv, fc_view

cdef enum:
    # A result of so many bytes is in no near cache when it is written.
    FAR_RESULT = 8 << 20


cdef inline bint expects(const fc_conv *c, const fc_view *out, index far_plane) noexcept nogil:
    """Whether to ask for a result's lines before they are written.

    Stores to many planes, so many bytes apart and more, wait for one line and one page after the
    other.
    """
    cdef index element = 8 if c.type else 4
    cdef double outputs = <double> c.batch * c.out_channels * c.out_size[0] * c.out_size[1] \
        * c.out_size[2]
    return out.space[2] == element and out.channel >= far_plane and outputs * element >= FAR_RESULT
