# Between ndarrays and the engine: views, and whether an array or argument can be used as it is.

from .op cimport fc_view

cdef struct Axes:
    # Position of each axis in the array, -1 where it has none.
    int batch
    int channel
    int space[3]

cdef Axes axes_of(geometry, bint plane=*) except *
cdef fc_view view_of(tuple strides, Axes axes, Py_ssize_t element) except *
cdef tuple contiguous_strides(tuple shape, Py_ssize_t element)
cdef bint readable(array) noexcept
cdef bint exact_integers(tuple arguments) noexcept
cdef int raise_for(int code) except -1
