from .op cimport Prepared, fc_conv, fc_view

# Plan implicit GEMM of float32 by tiles, at the level amx: each product of floats is three of
# bfloat16 with `low`, else one. With `merged`, for few channels and taps that touch, a step is a part
# of a kernel row's run.
cdef Prepared plan_amx(const fc_conv *conv, const fc_view *x, const fc_view *out,
                       const fc_view *residual, bint low, bint merged)
