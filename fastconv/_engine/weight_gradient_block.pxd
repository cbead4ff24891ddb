# A block of pixels and its share of a weight gradient: what weight_gradient.pyx plans and
# weight_gradient_block.pyx does.

from .arithmetic cimport index, round_up
from .kernels cimport fc_kernels
from .op cimport fc_conv, fc_view
from .planned_gradient cimport fc_gradient_call


cdef enum:
    MOST_ROWS = 12      # of a register tile


cdef struct Reduction:
    fc_conv conv            # without the axes that were folded into others
    fc_view x               # as the strips read it: as it lies, or its turned copy
    const fc_kernels *kernels
    index element
    bint in_place           # every tap of every pixel lies in x, pixels side by side
    bint transposed         # the result is [row][channel], not [channel][row]; one group
    bint swapped            # of a single tap: x and dy have changed roles
    bint direct             # sums are made where the result lies
    index turned_pitch      # of a channel's pixels in the copy of x that is read; 0 without
    index turned_at         # where the copy is, behind the parts' sums
    bint by_lines           # lanes hold pixels of both factors, not channels of dy
    index group_in, group_out
    index taps, rows        # rows of the product: (channel, tap)
    index panel, panels     # its columns: output channels, a panel at a time
    index chain             # pixels that one chain takes
    index stripe, stripes   # columns of a line that a block takes
    index units             # depth slices of all images
    index block_units, block_lines, unit_blocks, blocks
    index strip_lines       # input lines that a block of one unit sees
    index row_step          # input rows that strips skip where no tap looks
    index phases            # of a strided line that taps see, each contiguous in the strip
    index phase_pitch, channel_pitch, row_pitch, slice_pitch, unit_pitch
    index parts             # partial sums of so many ranges of blocks
    index panel_tasks, panels_per_task, channel_tasks, channels_per_task
    index lines_at, taps_at, table_at, panel_at, workspace
    index part_bytes        # of one partial sum: [group][panel][row][channel of the panel], or by
                            # lines [group][row][channel][lane]


cdef struct Block:
    index unit, units       # consecutive slices
    index line, lines       # of each
    index column, columns   # of each line


cdef struct Operands:
    const Reduction *b
    const fc_gradient_call *call
    fc_view x               # the plan's, with its data


cdef struct Task:
    const Reduction *b
    const Operands *o
    char *workspace
    Block block
    index group, channel, channels     # of the group's input channels
    index first_panel, last_panel
    char *sums                         # of the task's part and group


cdef inline index panel_width(const Reduction *b, index panel) noexcept nogil:
    """Elements per row of a panel's sums: its channels, rounded up to whole vectors."""
    if b.by_lines:
        return b.group_out * b.kernels.gemm.lanes
    return min(b.panel, round_up(b.group_out - panel * b.panel, b.kernels.gemm.lanes))


cdef inline index sums_row(const Reduction *b, index panel) noexcept nogil:
    """Bytes between the rows of a panel's sums."""
    return (b.group_out if b.direct else panel_width(b, panel)) * b.element


cdef inline index sums_panel(const Reduction *b, index panel) noexcept nogil:
    """Where a panel's sums begin among a group's."""
    return panel * b.panel * b.element * (1 if b.direct else b.rows)


cdef Block locate(const Reduction *b, index number) noexcept nogil
cdef void gather_strip(const Task *t) noexcept nogil
cdef void point_at_lines(const Task *t) noexcept nogil
cdef void measure_taps(const Task *t) noexcept nogil
cdef void gather_panel(const Task *t, index panel) noexcept nogil
cdef void multiply(const Task *t, index panel, bint first) noexcept nogil
cdef void point_at_gradient(const Task *t) noexcept nogil
cdef void multiply_lines(const Task *t, bint first) noexcept nogil
