# The roles of x and dy in a weight gradient; weight_gradient_roles.pyx says which there are.

from .op cimport fc_view
from .weight_gradient_block cimport Reduction

cdef enum:
    TURNED = 13     # what it costs to turn an element while packing it, in multiply-adds

cdef void plan_roles(Reduction *b, fc_view *x, fc_view *dy) noexcept
