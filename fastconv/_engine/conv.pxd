# The engine's parameters of a convolution, from a geometry; no activation.

from .op cimport fc_conv

cdef fc_conv conv_of(geometry, int type, bint flush_denormals) except *
