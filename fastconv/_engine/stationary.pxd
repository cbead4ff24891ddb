from .op cimport Prepared, fc_conv, fc_view

# A few input channels, an undilated width, channels last: weights stay in registers. Results whose
# channels are apart are handed to plan_im2col.
cdef Prepared plan_stationary(const fc_conv *conv, const fc_view *x, const fc_view *out,
                              const fc_view *residual, bint packed)
