from .op cimport Prepared, fc_conv, fc_view

# Plan implicit GEMM. `merged` takes each kernel row (width x channels) as one contiguous run of a
# zero-padded copy: the direct algorithm for inputs of few channels; it needs dilation[2] == 1.
cdef Prepared plan_im2col(const fc_conv *conv, const fc_view *x, const fc_view *out,
                          const fc_view *residual, bint merged, bint packed)
