from .op cimport Prepared, fc_conv, fc_view

# Plan F(tile, 3), tile 2, 4 or 6, for a 1x3x3, 1x1x3 or 1x3x1 kernel of stride 1.
cdef Prepared plan_winograd(const fc_conv *conv, const fc_view *x, const fc_view *out,
                            const fc_view *residual, int tile)
