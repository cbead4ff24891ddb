# A block of tiles from input to result: what winograd.pyx plans, winograd_block.pyx transforms and
# winograd_products.pyx multiplies.

from .arithmetic cimport ceil_div, index
from .kernels cimport fc_kernels
from .op cimport fc_call, fc_conv
from .panels cimport first_vector

cdef enum:
    CHAIN = 512             # a sum is built from chains of at most this many multiply-adds
    TABLE_ROWS = 24         # most rows of a register tile, from any row of a group on
    TABLE_BYTES = 16384     # pointers to the rows of V that one call of the register tile reads


cdef struct Blocking:
    fc_conv conv
    const fc_kernels *kernels
    int axes                # 0: one axis, 1: two
    int input_form, form    # which input transform, and which of the others: winograd.h
    index element
    index group_in, group_out
    index points
    index tile_height, tile_width, in_height, in_width   # outputs and inputs of a tile
    index dilation_down, dilation_across                 # of its pixels: 1 where there is one tap
    index tiles_down, tiles_across, tiles                # of a plane; of all planes
    index tile_step         # columns from a tile of a run to the next
    index run               # tiles of a run at most
    index rows, block       # tiles of a row group, channels of a block of V
    index v_row, v_block, v_group                        # bytes
    index vectors, panels                                # of a group's output channels
    index m_row             # bytes of the widest panel
    index v_point, m_point  # bytes between the points of V and M
    index most              # tiles of a block at most
    index strip             # channels of a copied strip
    bint in_place           # the input's channels are contiguous
    bint rows_out           # the result's (and the residual's) channels are contiguous
    bint expects            # the result's lines are asked for before they are written
    bint streams            # the result is written past the caches, where it begins on a boundary
    bint fused              # the output transform can finish
    index scratch_at, m_at, v_at, u_at, workspace


cdef struct Strip:
    # A row of a run's pixels, side by side in scratch: `stretch` pixels that are so in the picture
    # too, then as many a dilation further on.
    index width, stretch    # pixels
    index pixel, tile       # scratch pixels to the next pixel of a tile, to the next tile


cdef struct Task:
    const Blocking *b
    const fc_call *call
    index group
    index first, tiles      # of the block
    char *workspace
    char *v
    const char *u           # weights of the panel at hand


# A block makes panel after panel of M: as wide as the widest register tile, so that M is small, and
# V, of which every point is one run, streams by.

cdef inline index panel_start(const Blocking *b, index panel) noexcept nogil:
    """First output channel of a panel; of the one past the last, the channels rounded up."""
    return first_vector(b.vectors, b.panels, panel) * b.kernels.gemm.lanes


cdef inline index panel_width(const Blocking *b, index panel) noexcept nogil:
    """Elements of U's rows: the panel's channels, rounded up to whole vectors."""
    return panel_start(b, panel + 1) - panel_start(b, panel)


cdef inline index odd_lines(index bytes) noexcept nogil:
    """An odd number of cache lines: points this far apart fall into different cache sets."""
    return (ceil_div(bytes, 64) | 1) * 64


cdef inline index width_bytes(const Blocking *b, index vectors) noexcept nogil:
    """Bytes between the points of a panel of so many vectors of U."""
    return odd_lines(b.group_in * vectors * b.kernels.gemm.lanes * b.element)


cdef inline index point_bytes(const Blocking *b, index panel) noexcept nogil:
    """Bytes between the points of a panel of U."""
    return width_bytes(b, panel_width(b, panel) // b.kernels.gemm.lanes)


cdef inline index packed_panel_at(const Blocking *b, index panel) noexcept nogil:
    """Where a group's panel begins; the one past the last: where the group ends."""
    cdef index narrow = b.vectors // b.panels    # vectors; others have one more
    cdef index wide = first_vector(b.vectors, b.panels, panel) - panel * narrow
    return b.points * (wide * width_bytes(b, narrow + 1) + (panel - wide) * width_bytes(b, narrow))


cdef inline index packed_group_bytes(const Blocking *b) noexcept nogil:
    return packed_panel_at(b, b.panels)


# A row of tiles of a run, so many pixels of each across.
cdef Strip strip_of(const Blocking *b, index tiles, index pixels) noexcept nogil

# The block's tiles into V.
cdef void transform_input(const Task *t) noexcept nogil

# A panel of M through the inverse transform and the epilogue.
cdef void transform_output(const Task *t, index panel) noexcept nogil
