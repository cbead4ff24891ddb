"""Prepared operations: the lifecycle that every algorithm shares."""

cdef extern from *:
    """
    #include <stdlib.h>
    """
    void *calloc(size_t, size_t) nogil
    void free(void *) nogil


cdef class Prepared:
    """One algorithm planned for one signature; made by the algorithms' `plan_*` functions."""

    def __dealloc__(self):
        free(self.blocking)


cdef void *new_blocking(Prepared op, size_t size) except NULL:
    """Zeroed memory for the algorithm's blocking struct, freed with the operation."""
    op.blocking = calloc(1, size)
    if op.blocking == NULL:
        raise MemoryError("fastconv: no memory for a plan")
    return op.blocking
