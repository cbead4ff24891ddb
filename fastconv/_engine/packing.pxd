# Packing weights on all threads: what every algorithm does alike before its tasks can read them.

from . cimport threads
from .arithmetic cimport index


cdef struct Packing:
    # What a task that packs some of the weights needs to know.
    const void *blocking    # or the parameters of the convolution, where these are enough
    const char *weight
    char *packed


cdef inline int pack_pieces(threads.fc_task task, const void *blocking, const char *weight,
                            char *packed, index pieces, double bytes) noexcept nogil:
    """Run a task for each piece; `bytes` is the size of all packed weights."""
    cdef Packing p
    p.blocking = blocking
    p.weight = weight
    p.packed = packed
    return threads.run(task, &p, pieces, 4 * bytes, False, threads.maximum())
