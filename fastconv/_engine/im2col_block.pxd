# A block of pixels from input to result: what im2col.pyx plans and im2col_block.pyx does.

from .arithmetic cimport index
from .kernels cimport fc_kernels
from .op cimport fc_call, fc_conv
from .panels cimport first_vector


cdef struct Blocking:
    fc_conv conv
    const fc_kernels *kernels
    index element
    bint merged             # kernel rows are single runs
    bint copied             # input is gathered into strips
    bint rows_out           # finish by rows: the result's (and residual's) channels are contiguous
    bint expects            # the result's lines are asked for before they are written
    bint streams            # the result is written past the caches, where it begins on a boundary
    bint fused              # the register tile finishes the last chain's sums itself
    index group_in, group_out
    index taps, depth       # the reduction as the tile sees it: taps runs of depth elements
    index taps_per_pass, depth_per_pass
    bint skips              # taps that meet padding in all pixels of a tile are left out
    index vectors, panels   # of a group's output channels
    index panel             # channels of the widest panel
    index panels_per_task, panel_tasks
    index group_turn        # groups whose tasks of the same pixels follow each other: all, or 1
    index stripe, stripes   # output columns of a stripe
    index units, blocks, pixels   # each unit is cut into blocks of at most `pixels` pixels
    index grain             # of which copied blocks are multiples: a register tile's; 0 for rows
    index row_step, column_step   # input rows and columns that strips skip where no tap looks
    index pixel_pitch, row_pitch, slice_pitch
    index copied_run        # bytes of a merged run, that is copied where it crosses an edge; or 0
    index zeros_at, copies_at, pointers_at, ranges_at, out_rows_at, residual_rows_at, sums_at
    index panel_at          # where a panel is packed by the task that multiplies by it
    index workspace


cdef struct TapRange:
    index first, end


cdef struct Pixel:
    index image, depth, row, column


cdef struct Task:
    const Blocking *b
    const fc_call *call
    char *workspace
    index group, first_panel, last_panel
    const char *weights         # of the panel at hand, packed
    bint finite                 # whether these are
    index unit, first, count     # pixels [first, first + count) of the unit
    index image, depth, stripe_at, stripe_width   # copied units are one stripe of one slice


cdef inline index panel_start(const Blocking *b, index panel) noexcept nogil:
    """First output channel of a panel; of the one past the last, the channels rounded up."""
    return first_vector(b.vectors, b.panels, panel) * b.kernels.gemm.lanes


cdef inline index panel_width(const Blocking *b, index panel) noexcept nogil:
    """Elements per packed row of a panel: its channels, rounded up to whole vectors."""
    return panel_start(b, panel + 1) - panel_start(b, panel)


cdef inline index panel_channels(const Blocking *b, index panel) noexcept nogil:
    return min(panel_width(b, panel), b.group_out - panel_start(b, panel))


cdef inline index packed_group_bytes(const Blocking *b) noexcept nogil:
    return panel_start(b, b.panels) * b.taps * b.depth * b.element


cdef inline index packed_panel_at(const Blocking *b, index group, index panel) noexcept nogil:
    return group * packed_group_bytes(b) + panel_start(b, panel) * b.taps * b.depth * b.element


cdef inline index finite_flag_at(const Blocking *b, index group, index panel) noexcept nogil:
    """Behind all weights each panel has a byte: whether its weights are finite."""
    return b.conv.groups * packed_group_bytes(b) + group * b.panels + panel


cdef inline index room_behind(const fc_conv *c, int axis) noexcept nogil:
    """Outputs whose stride times coordinate is less have no tap behind the input."""
    return c.in_size[axis] + c.pad[axis] - (c.kernel[axis] - 1) * c.dilation[axis]


cdef inline index block_start(const Blocking *b, index width, index block) noexcept nogil:
    """Pixels of a copied unit before a block, in rows of `width`; of one past all, every one."""
    cdef index pixels = b.conv.out_size[1] * width, grain = b.grain or width
    return block * pixels // b.blocks // grain * grain if block < b.blocks else pixels


cdef void locate_block(Task *t, index block) noexcept nogil
cdef void gather_strip(const Task *t) noexcept nogil
cdef void point_into_strip(const Task *t, const char **pointers) noexcept nogil
cdef void point_into_input(const Task *t, const char **pointers) noexcept nogil
cdef void find_tap_ranges(const Task *t) noexcept nogil
cdef void point_at_result(const Task *t) noexcept nogil
cdef bint pack_panel(const Blocking *b, const char *weight, index group, index panel,
                     char *dst) noexcept nogil
cdef void find_weights(Task *t, index panel) noexcept nogil
cdef void multiply(const Task *t, index panel) noexcept nogil
cdef void finish_planes(const Task *t, index panel, bint ahead) noexcept nogil
cdef void finish(const Task *t, index panel) noexcept nogil
