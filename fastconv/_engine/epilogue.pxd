# What happens to sums on their way out; all kernels with sums share it.

from .op cimport fc_call, fc_conv

cdef extern from "kernels.h" nogil:
    int FC_ACT_NONE, FC_ACT_RELU, FC_ACT_CLIP, FC_ACT_HARDSWISH, FC_ACT_SCALED_HARDSWISH
    int FC_ACT_LAST_INLINE
    int FC_ACT_LEAKY_RELU, FC_ACT_SIGMOID, FC_ACT_TANH, FC_ACT_SILU, FC_ACT_HARDSIGMOID
    int FC_ACT_PRELU

    ctypedef struct fc_epilogue:
        const char *bias
        const char *slopes
        int activation
        double alpha
        double beta


cdef inline const char *from_channel(const char *table, const fc_conv *c,
                                     Py_ssize_t channel) noexcept nogil:
    return table + channel * (8 if c.type else 4) if table != NULL else NULL


cdef inline fc_epilogue epilogue_of(const fc_conv *c, const fc_call *call,
                                    Py_ssize_t channel) noexcept nogil:
    """That of a call, from an output channel on."""
    cdef fc_epilogue epilogue
    epilogue.bias = from_channel(call.bias, c, channel)
    epilogue.slopes = from_channel(call.slopes, c, channel)
    epilogue.activation = c.activation
    epilogue.alpha = c.alpha
    epilogue.beta = c.beta
    return epilogue


cdef inline fc_epilogue no_epilogue() noexcept nogil:
    """Where the sums themselves are wanted."""
    cdef fc_epilogue epilogue
    epilogue.bias = epilogue.slopes = NULL
    epilogue.activation = FC_ACT_NONE
    epilogue.alpha = epilogue.beta = 0
    return epilogue
