"""Gradients of convolutions planned for one signature: the lifecycle that all of them share.

    __init__      begin: the operands' strides, the parameters of the convolution
                  then the way's own plan, and whether it pays
    run(a, b)     compute: a result, memory from the shelf, the way's tasks without the GIL
"""

cimport numpy as cnp

from . cimport threads
from .arrays cimport axes_of, contiguous_strides, raise_for, view_of
from .conv cimport conv_of
from .memory cimport Buffer, borrow_workspace, empty_array, return_workspace
from .op cimport new_blocking

cnp.import_array()


cdef class PlannedGradient:
    """The planned gradient of one signature; its subclasses say with respect to what.

    Attributes
    ----------
    pays : bool
        Whether no other way takes less time; if not, `run` must not be called.
    """

    cdef fc_conv begin(self, geometry, dy, dtype, bint flush_denormals) except *:
        """Look at the strides of dy; return the parameters of the geometry's convolution."""
        self.dtype = dtype
        self.axes = axes_of(geometry, geometry.plane)
        self.call.dy = self.view(dy)
        return conv_of(geometry, dtype.itemsize == 8, flush_denormals)

    cdef void *blocking(self, size_t size) except NULL:
        """Zeroed memory for the way's own plan."""
        self.op = Prepared.__new__(Prepared)
        return new_blocking(self.op, size)

    cdef fc_view view(self, array) except *:
        return view_of(array.strides, self.axes, self.dtype.itemsize)

    cdef int give_input(self, geometry) except -1:
        """The result is the gradient of the input: contiguous, with its shape."""
        self.shape = geometry._replace(out_channels=geometry.in_channels,
                                       out_size=geometry.in_size).out_shape
        self.call.result = view_of(contiguous_strides(self.shape, self.dtype.itemsize), self.axes,
                                   self.dtype.itemsize)
        return 0

    cdef cnp.ndarray compute(self, fc_gradient_run run, cnp.ndarray source, cnp.ndarray dy):
        """A new result; the operands have the signature's shapes, strides and dtype."""
        cdef cnp.ndarray result = empty_array(self.shape, self.dtype)
        cdef fc_gradient_call call = self.call
        cdef Buffer shared, workspace = None
        cdef int code
        call.blocking = self.op.blocking
        call.source.data = <char *> cnp.PyArray_DATA(source)
        call.dy.data = <char *> cnp.PyArray_DATA(dy)
        call.result.data = <char *> cnp.PyArray_DATA(result)
        call.threads = threads.maximum()
        shared = borrow_workspace(self.shared_bytes)
        try:
            workspace = borrow_workspace(self.workspace_bytes * call.threads)
            call.shared, call.workspace = shared.data, workspace.data
            with nogil:
                code = run(&call)
            raise_for(code)
        finally:
            return_workspace(shared)
            if workspace is not None:
                return_workspace(workspace)
        return result


ctypedef fused real:
    float
    double


cdef inline void add(real *total, const real *more, index count) noexcept nogil:
    cdef index i
    for i in range(count):
        total[i] += more[i]


cdef void add_elements(int type, char *total, const char *more, index count) noexcept nogil:
    if type:
        add(<double *> total, <const double *> more, count)
    else:
        add(<float *> total, <const float *> more, count)
