# A block of pixels from input to result: what amx.pyx plans and amx_block.pyx does.

from .arithmetic cimport ceil_div, index
from .kernels cimport fc_kernels
from .op cimport fc_call, fc_conv
from .tiles_kernels cimport FC_TILE_BYTES, FC_TILE_COLUMNS, FC_TILE_PANEL


cdef struct Axis:
    # Rows or columns of a strip: every stride-th one is a grid, one for each phase that taps see.
    index stride, dilation, pad
    index phases            # a tap's phase is its number modulo this
    index reach             # entries of a grid beside the outputs'


cdef struct Blocking:
    fc_conv conv
    const fc_kernels *kernels
    bint low                # three products of halves, else one of the high ones
    bint merged             # a step is 32 values of a kernel row's run, not of one tap
    bint rows_out           # the result's (and residual's) channels are contiguous
    index group_in, group_out
    index depth             # values that a tap sums over: channels, or 32 of a run
    index run_blocks        # steps of a run
    index taps, channel_blocks, steps
    index panels            # of output channels, in a group
    index panel_tasks, panels_per_task
    index stripe, stripes   # output columns of a stripe
    index units             # stripes of all slices of all images
    index rows, blocks      # output rows of a block; blocks of a stripe
    Axis down, across
    index pitch, grid       # pixels of a grid's row and of a grid
    index slice             # pixels of a slice of the strip
    index low_at, block_bytes       # bytes from a high copy to the low one, to the next channels
    bint by_rows            # tiles begin anew in every output row, else they run through
    index line              # rows of sums from an output row to the next
    index tiles             # of pixels, at most
    index turn              # tiles of pixels whose panels all come before the next tiles'
    index pixel, row        # bytes from an output pixel's input to the next one's and next row's
    index row_bytes, floats_at      # of an input row of merged runs; where it is put together
    index sums_at, chain_at, out_rows_at, residual_rows_at, workspace


cdef struct Task:
    const Blocking *b
    const fc_call *call
    char *workspace
    index group, first_panel, last_panel
    index image, depth
    index row, rows         # output rows of the block
    index column, columns
    index first_tile, tiles     # of a turn


cdef inline const ptrdiff_t *tap_table(const Blocking *b) noexcept nogil:
    """Bytes in a copy from an output pixel to what each tap sees; behind the struct."""
    return <const ptrdiff_t *> (b + 1)


cdef inline index input_rows(const Blocking *b, index rows) noexcept nogil:
    """That so many output rows see, first to last."""
    return (rows - 1) * b.conv.stride[1] + (b.conv.kernel[1] - 1) * b.conv.dilation[1] + 1


cdef inline index step_bytes(const Blocking *b) noexcept nogil:
    """Packed weights of a step, for 16 output channels."""
    return FC_TILE_BYTES * (2 if b.low else 1)


cdef inline index panel_tiles(const Blocking *b, index panel) noexcept nogil:
    """Tiles beside each other in a panel: two, but for a narrow last one."""
    return 2 if b.group_out - panel * FC_TILE_PANEL > FC_TILE_COLUMNS else 1


cdef inline index packed_panel_at(const Blocking *b, index group, index panel) noexcept nogil:
    cdef index of_group = ceil_div(b.group_out, FC_TILE_COLUMNS)
    return (group * of_group + 2 * panel) * b.steps * step_bytes(b)


cdef bint rows_are_one(const Task *t) noexcept nogil
cdef void split_strip(const Task *t) noexcept nogil
cdef void split_rows(const Task *t) noexcept nogil
cdef void point_at_result(const Task *t) noexcept nogil
cdef void multiply(const Task *t, index panel) noexcept nogil
cdef void finish(const Task *t, index panel) noexcept nogil
