# The axes of a pool from its geometry, for its gradient.

from .pool_kernels cimport fc_pool_axis

cdef fc_pool_axis axis_of(geometry, int axis, bint fitted) except *
