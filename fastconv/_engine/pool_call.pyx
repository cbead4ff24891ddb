"""Pools from arrays: a planned call holds everything that a repeated signature needs.

    PoolCall         one signature: shapes, strides, dtype, arguments
      accepts(...)   whether arguments with that signature can be run as they are
      run(x, out)    views from pointers and strides, then nogil

Nothing is checked here that `functional` has checked already.
"""

import numpy as np

cimport numpy as cnp

from .arrays cimport Axes, axes_of, contiguous_strides, exact_integers, readable, view_of
from .op cimport Prepared, fc_view
from .program cimport Recorded, listening, new_array, perform
from .pool cimport fc_pool, plan_pool, run_pool
from .pool_kernels cimport FC_POOL_ARGMAX, FC_POOL_COUNT_INSIDE, FC_POOL_COUNT_ONE
from .pool_kernels cimport FC_POOL_COUNT_PADDED, FC_POOL_MAX, FC_POOL_MEAN, fc_pool_axis

cnp.import_array()

REDUCTIONS = {"max": FC_POOL_MAX, "argmax": FC_POOL_ARGMAX, "mean": FC_POOL_MEAN}
INT64 = np.dtype(np.int64)


cdef fc_pool_axis axis_of(geometry, int axis, bint fitted) except *:
    cdef fc_pool_axis result
    cdef int at = axis - (3 - <int> geometry.nd)
    result.size = result.outs = result.kernel = result.stride = result.dilation = 1
    result.before = result.after = 0
    result.fitted = 0
    if at >= 0:
        result.size = geometry.in_size[at]
        result.outs = geometry.out_size[at]
        result.kernel = geometry.kernel_size[at]
        result.stride = geometry.stride[at]
        result.dilation = geometry.dilation[at]
        result.before = geometry.pad_before[at]
        result.after = geometry.pad_after[at]
        result.fitted = fitted
    return result


cdef class PoolCall:
    """A planned pool of one signature: shapes, strides, dtype and arguments.

    Parameters
    ----------
    geometry : PoolGeometry
    reduce : {"max", "argmax", "mean"}
        "argmax" gives the maxima and their places.
    x_strides : tuple of int
        Of the arrays to come, in bytes.
    out_strides : tuple of int or None
        None for results that `run` makes, C-contiguous.
    dtype : numpy.dtype
        float32 or float64.
    fitted : bool
        Windows cover the axes as adaptive pools want it; of `geometry` only the sizes count.
    count_padding : bool
        Whether means count padding.
    divisor : int, optional
        Divides sums in place of the count.
    """

    cdef Prepared op
    cdef fc_view x, out, places
    cdef object dtype
    cdef tuple shape
    cdef bint with_places, empty

    def __init__(self, geometry, str reduce, tuple x_strides, out_strides, dtype, *,
                 bint fitted=False, bint count_padding=False, divisor=None):
        cdef Axes axes = axes_of(geometry)
        cdef fc_pool pool
        cdef int axis
        self.dtype = dtype
        self.shape = geometry.out_shape
        self.empty = 0 in self.shape
        self.with_places = reduce == "argmax"
        if out_strides is None:
            out_strides = contiguous_strides(self.shape, dtype.itemsize)
        self.x = view_of(x_strides, axes, dtype.itemsize)
        self.out = view_of(out_strides, axes, dtype.itemsize)
        self.places = view_of(contiguous_strides(self.shape, 8), axes, 8)
        pool.type = dtype.itemsize == 8
        pool.op = REDUCTIONS[reduce]
        pool.counting = FC_POOL_COUNT_PADDED if count_padding else FC_POOL_COUNT_INSIDE
        pool.divisor = 1
        if divisor is not None:
            pool.counting = FC_POOL_COUNT_ONE
            pool.divisor = divisor
        pool.batch = geometry.batch
        pool.channels = geometry.channels
        for axis in range(3):
            pool.axis[axis] = axis_of(geometry, axis, fitted)
        self.op = plan_pool(&pool, &self.x)

    def accepts(self, x, out, tuple arguments, tuple flags):
        """Whether these arguments, which have the signature, can be run as they are."""
        return readable(x) and exact_integers(arguments) and exact_flags(flags) \
            and (out is None or self.writable(x, out))

    cdef bint writable(self, x, out):
        """Whether `out` is a result's array that can be filled while x is read."""
        return type(out) is cnp.ndarray and out.dtype == self.dtype and out.shape == self.shape \
            and cnp.PyArray_ISBEHAVED(<cnp.ndarray> out) and not np.may_share_memory(x, out)

    def run(self, cnp.ndarray x, out):
        """Pool x into `out`, or into a new array where it is None.

        Returns
        -------
        ndarray, or (maxima, places) with "argmax"
        """
        cdef cnp.ndarray result = new_array(self.shape, self.dtype) if out is None else out
        cdef cnp.ndarray places = None
        cdef PoolFrame frame
        cdef Recorded step
        frame.blocking, frame.x, frame.out, frame.places = \
            self.op.blocking, self.x, self.out, self.places
        frame.x.data = <char *> cnp.PyArray_DATA(x)
        frame.out.data = <char *> cnp.PyArray_DATA(result)
        if self.with_places:
            places = new_array(self.shape, INT64)
            frame.places.data = <char *> cnp.PyArray_DATA(places)
        if self.empty:
            if listening() is not None:
                listening().fail()
            return (result, places) if self.with_places else result
        step = perform(run_frame, &frame, sizeof(frame), 0, (self.op,))
        if step is not None:
            step.moves(&frame, &frame.x.data, False)
            step.moves(&frame, &frame.out.data, True)
            if self.with_places:
                step.moves(&frame, &frame.places.data, True)
        return (result, places) if self.with_places else result


cdef struct PoolFrame:
    const void *blocking
    fc_view x
    fc_view out
    fc_view places                       # only where they are asked for


cdef int run_frame(void *raw, char *workspace, int most) noexcept nogil:
    cdef PoolFrame *frame = <PoolFrame *> raw
    return run_pool(frame.blocking, &frame.x, &frame.out, &frame.places)


cdef bint exact_flags(tuple flags) noexcept:
    """Whether no number stands where an equal bool was planned."""
    for value in flags:
        if type(value) is not bool:
            return False
    return True
