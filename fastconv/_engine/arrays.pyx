"""Between ndarrays and the engine: views of memory, and what a planned call may take as it is."""

cimport numpy as cnp
from cpython.exc cimport PyErr_Occurred

from . cimport threads
from .op cimport fc_view

cnp.import_array()


cdef Axes axes_of(geometry, bint plane=False) except *:
    """Where an array of a geometry's layout has its axes; a plane has spatial axes only."""
    cdef Axes axes
    cdef int batched = geometry.batched, nd = geometry.nd, axis
    cdef int first = batched + (0 if plane or geometry.channels_last else 1)
    axes.batch = 0 if batched else -1
    axes.channel = batched + nd if geometry.channels_last else batched
    if plane:
        axes.channel = -1
    for axis in range(3):
        axes.space[axis] = first + axis - (3 - nd) if axis >= 3 - nd else -1
    return axes


cdef inline ptrdiff_t stride_at(tuple strides, int axis, ptrdiff_t missing) except? -1:
    return <ptrdiff_t> strides[axis] if axis >= 0 else missing


cdef fc_view view_of(tuple strides, Axes axes, Py_ssize_t element) except *:
    """An array's strides as a view; `data` stays empty, it differs from call to call."""
    cdef fc_view view
    cdef int axis
    view.data = NULL
    view.batch = stride_at(strides, axes.batch, 0)
    view.channel = stride_at(strides, axes.channel, element)
    for axis in range(3):
        view.space[axis] = stride_at(strides, axes.space[axis], 0)
    return view


cdef tuple contiguous_strides(tuple shape, Py_ssize_t element):
    """Strides of a C-contiguous array of elements of so many bytes."""
    cdef list strides = []
    for size in reversed(shape):
        strides.append(element)
        element *= max(size, 1)
    return tuple(reversed(strides))


cdef bint readable(array) noexcept:
    """Whether the engine can read an array's memory: aligned, this machine's byte order."""
    return type(array) is cnp.ndarray and cnp.PyArray_ISBEHAVED_RO(<cnp.ndarray> array)


cdef bint exact_integers(tuple arguments) noexcept:
    """Whether no bool or float stands where an equal int was planned (True == 1 == 1.0).

    In a tuple that starts with a name, an activation's, floats are as good as ints.
    """
    cdef bint named = len(arguments) > 0 and type(arguments[0]) is str
    for value in arguments:
        kind = type(value)
        if kind is tuple:
            if not exact_integers(<tuple> value):
                return False
        elif not (kind is int or kind is str or value is None or (named and kind is float)):
            return False
    return True


cdef int raise_for(int code) except -1:
    """Turn an operation's return code into the exception it stands for."""
    if code == threads.FC_OK:
        return 0
    if PyErr_Occurred() == NULL:
        raise RuntimeError(f"fastconv: the engine stopped with code {code}")
    return -1
