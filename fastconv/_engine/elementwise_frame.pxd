# An elementwise operation on its arrays, ready to run; elementwise_frame.pyx says how it does.

from .elementwise_kernels cimport (
    fc_binary_args, fc_elementwise_kernels, fc_lrn_args, fc_map_args, fc_pick_args, fc_softmax_args,
)
from .grid cimport Walk
from .program cimport Recorded

# With pointers to the arrays' first elements.
cdef union Arguments:
    fc_map_args map
    fc_binary_args binary
    fc_pick_args pick
    fc_softmax_args softmax
    fc_lrn_args lrn

cdef struct Frame:
    Walk walk                     # its kernel gets the frame as context
    double work                   # for the decision about threads
    Py_ssize_t workspace_bytes    # per thread
    char *workspace
    bint flush_denormals          # as the tape asks, that waits
    bint across                   # lanes hold lines, not elements of one line
    const fc_elementwise_kernels *kernels
    Arguments args

cdef void begin(Frame *frame, Py_ssize_t element) noexcept
cdef Recorded carry_out(Frame *frame, tuple keep)
