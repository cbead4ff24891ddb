from .op cimport Prepared, fc_conv, fc_view

# 1x1 convolutions, stride 1, no padding, of planes: pixels follow each other in x along the width.
cdef Prepared plan_pointwise(const fc_conv *conv, const fc_view *x, const fc_view *out,
                             const fc_view *residual, bint packed)
