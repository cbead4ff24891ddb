from .op cimport Prepared, fc_conv, fc_view

# A few input channels, dense channels-last pixels, an undilated width: weights stay in registers.
# Memory of another kind is handed to plan_im2col.
cdef Prepared plan_stationary(const fc_conv *conv, const fc_view *x, const fc_view *out,
                              const fc_view *residual, bint packed)
