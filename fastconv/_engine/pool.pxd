# Pools as prepared operations, for drivers that hold several operations (the graph executor).

from .op cimport Prepared, fc_view
from .pool_kernels cimport fc_pool_axis

# What a pool reduces and how it counts, independent of strides.
cdef struct fc_pool:
    int type                 # 0 float32, 1 float64
    int op                   # FC_POOL_MAX, FC_POOL_MEAN, FC_POOL_ARGMAX
    int counting             # FC_POOL_COUNT_...: what a mean divides by
    double divisor           # and times this number: 1, or divisor_override
    Py_ssize_t batch
    Py_ssize_t channels
    fc_pool_axis axis[3]     # depth, height, width; size, kernel and outs 1 where absent

# `op.run(op.blocking, call)` pools call.x into call.out; the strides must be those planned for.
# Needs neither packed weights nor workspace.
cdef Prepared plan_pool(const fc_pool *pool, const fc_view *x)

# The same, for maxima with places: `places` is a view of int64.
cdef int run_pool(const void *blocking, const fc_view *x, const fc_view *out,
                  const fc_view *places) noexcept nogil

# Fitted windows that are all alike become fixed ones.
cdef void simplify_axis(fc_pool_axis *axis) noexcept nogil
