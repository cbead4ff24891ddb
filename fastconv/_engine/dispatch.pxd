from .kernels cimport fc_kernels

cdef const fc_kernels *kernels(int type) noexcept nogil
cdef bint machine_is_intel() noexcept nogil
