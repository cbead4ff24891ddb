from .arithmetic cimport index
from .op cimport fc_conv, fc_view

cdef enum:
    # A result of so many bytes is in no near cache when it is written, and where its planes are so
    # far apart, stores to many of them wait for one line and one page after the other.
    FAR_RESULT = 8 << 20
    FAR_PLANE = 128 << 10


cdef inline bint expects(const fc_conv *c, const fc_view *out) noexcept nogil:
    """Whether to ask for a result's lines before the sums that go there are made."""
    cdef index element = 8 if c.type else 4
    cdef double outputs = <double> c.batch * c.out_channels * c.out_size[0] * c.out_size[1] \
        * c.out_size[2]
    return out.space[2] == element and out.channel >= FAR_PLANE and outputs * element >= FAR_RESULT
