from .op cimport Prepared, fc_conv, fc_view

# Several groups of a few channels in one vector: vectors along the channels. What does not suit it
# is handed to plan_planes.
cdef Prepared plan_grouped(const fc_conv *conv, const fc_view *x, const fc_view *out,
                           const fc_view *residual)
