from .op cimport Prepared, fc_conv, fc_view

# One input channel for each output channel, channels contiguous in x: vectors along the channels.
# Anything else is handed to plan_planes.
cdef Prepared plan_depthwise(const fc_conv *conv, const fc_view *x, const fc_view *out,
                             const fc_view *residual)
