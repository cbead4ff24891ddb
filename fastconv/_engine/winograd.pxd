from .op cimport Prepared, fc_conv, fc_view

# Plan F(tile, r) of stride 1 for a kernel of r taps along the height, the width or both: r is 3 and
# tile 2, 4 or 6, or r is 5 and tile 2 or 4.
cdef Prepared plan_winograd(const fc_conv *conv, const fc_view *x, const fc_view *out,
                            const fc_view *residual, int tile, bint packed)
