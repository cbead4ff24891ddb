from .kernels cimport fc_kernels

cdef const fc_kernels *kernels(int type) noexcept nogil
cpdef bint machine_is_intel() noexcept nogil
