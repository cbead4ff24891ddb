# The engine's unit: a prepared operation, its parameters and the views it runs on.
#
#   Prepared  = one algorithm planned for one signature (shapes, strides, dtype, arguments)
#     .pack(blocking, weight, packed)   once per weight array; the result is immutable and shared.
#                                       Not before a single run of one that reads_weight
#     .run(blocking, call)              any number of times, from any thread; allocates nothing
#
# Layouts, crops, groups, concatenations and the phases of transposed convolutions are only
# strides of a view.

cdef struct fc_view:
    char *data               # NULL: absent
    ptrdiff_t batch          # strides in bytes, of any sign
    ptrdiff_t channel
    ptrdiff_t space[3]       # depth, height, width

cdef struct fc_conv:
    int type                 # 0 float32, 1 float64
    Py_ssize_t batch
    Py_ssize_t in_channels
    Py_ssize_t out_channels
    Py_ssize_t groups
    Py_ssize_t in_size[3]    # depth, height, width; 1 where the convolution has fewer axes
    Py_ssize_t out_size[3]
    Py_ssize_t kernel[3]     # 0 is allowed: no tap, every sum is empty
    Py_ssize_t stride[3]
    Py_ssize_t dilation[3]
    Py_ssize_t pad[3]        # before; negative crops. What is read past the end counts as zero
    int activation
    double alpha
    double beta
    bint flush_denormals

cdef struct fc_call:
    fc_view x
    fc_view out
    fc_view residual
    const char *packed
    const char *weight       # read where packed is NULL: contiguous (K, C / groups, *kernel)
    const char *bias         # NULL without bias
    const char *slopes       # one per output channel, for the activation that has them
    char *workspace          # thread t's part starts at workspace + t * workspace_bytes
    int threads              # that many parts

ctypedef int (*fc_pack)(const void *blocking, const char *weight, char *packed) noexcept nogil
ctypedef int (*fc_run)(const void *blocking, const fc_call *call) noexcept nogil

cdef class Prepared:
    cdef void *blocking               # the algorithm's own plain struct, owned
    cdef fc_pack pack                 # weight: contiguous (K, C / groups, *kernel)
    cdef fc_run run
    cdef readonly Py_ssize_t packed_bytes
    cdef readonly Py_ssize_t workspace_bytes   # per thread
    cdef readonly tuple packing       # operations with equal keys read the same packed weights
    cdef readonly bint reads_weight   # can do without packed weights

cdef void *new_blocking(Prepared op, size_t size) except NULL
