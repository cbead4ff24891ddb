"""Winograd's minimal filtering F(m, r): fewer multiplications between two cheap transforms.

An m x m tile of outputs of r x r taps needs an n x n tile of inputs, n = m + r - 1; in the
transformed domain the convolution is one small matrix product for each of the n^2 points:

    x --input transform--> V[point] (tiles x channels)
                           V[point] x U[point] = M[point]        register tile of gemm, per point
                           M[point] --output transform, bias, residual, activation--> out

Kernels of one row or column (1x3, 5x1, every 1-D convolution) do the same along one axis. Tiles
are numbered through all images; a block of them goes through all three steps while it is in the
cache. With few tiles for the threads a task makes only some output channels of a block, so that
every weight is read by one thread only. Where there are few blocks, tasks transform the weights of a
single call themselves, a panel of output channels before it is multiplied, always into the same
memory.

A dilated convolution is d grids along an axis, each of every d-th pixel and undilated by itself;
all their tiles are numbered together, and a dilation is only a longer step in the arrays.

Channels-last input is read where it lies, tiles at an edge and any other input through a
zero-padded channels-last copy of a strip. NaN and infinity spread over the tile that they fall in,
n inputs to m outputs wide (of a grid, where there is a dilation), and no further.
"""

from .winograd_cost import tiles_along

from . cimport threads
from .arithmetic cimport ceil_div, index, round_up
from .dispatch cimport kernels
from .epilogue cimport FC_ACT_LAST_INLINE
from .op cimport Prepared, fc_call, fc_conv, fc_view, new_blocking
from .packing cimport Packing, pack_pieces
from .panels cimport panel_count
from .result cimport FAR_TRANSFORMED, expects, streams
from .winograd_block cimport TABLE_BYTES, Blocking, Task, odd_lines, packed_group_bytes
from .winograd_block cimport packed_panel_at, strip_of, transform_input, transform_output
from .winograd_block cimport width_bytes
from .winograd_kernels cimport FC_WINOGRAD_FORMS
from .winograd_products cimport find_weights, multiply, pack_panel, point_into_v

# V's channels come in blocks of this many, a row group's rows one after the other; few channels
# are one block.
cdef index BLOCK_CHANNELS = 16
cdef index ONE_BLOCK_CHANNELS = 64
# Tiles of a block: enough to use a weight often, few enough for V and M to stay near.
cdef index MOST_TILES = 112
cdef index WORKSPACE_BYTES = 5 << 20
# Output columns (or rows of one column) of a run of tiles, channels of a copied strip.
cdef index RUN_COLUMNS = 64
cdef index STRIP_CHANNELS = 16
# Input channels of a panel that one task packs.
cdef index PACK_CHANNELS = 64
# To stream a block's weights from L3 costs as much as so many tiles more, and to transform a vector
# of input as so many vector multiply-adds for each point.
cdef index STREAM_TILES = 8
cdef double INPUT_TRANSFORM = 8
# So many bytes of U go through far caches or memory: that costs more than transforming them twice.
cdef index FAR_BYTES = 8 << 20
cdef index FAR_PLANE = 32 << 10     # of a result whose lines are asked for


# ---------------------------------------------------------------- planning

cdef int form_index(const Blocking *b, index tile, index taps) except -1:
    """Where the kernel tables have F(tile, taps)."""
    cdef int form
    for form in range(FC_WINOGRAD_FORMS):
        if b.kernels.winograd.forms[form][0] == tile and b.kernels.winograd.forms[form][1] == taps:
            return form
    raise AssertionError(f"no F({tile}, {taps}) in the kernel tables")


cdef void plan_tiles(Blocking *b, index tile) except *:
    cdef const fc_conv *c = &b.conv
    cdef index taps = max(c.kernel[1], c.kernel[2]), points = tile + taps - 1
    b.axes = 1 if c.kernel[1] == c.kernel[2] else 0
    b.input_form = <int> (points // 2 - 2)
    b.form = form_index(b, tile, taps)
    b.points = points * points if b.axes else points
    b.tile_height = tile if c.kernel[1] == taps else 1
    b.tile_width = tile if c.kernel[2] == taps else 1
    b.in_height = b.tile_height + c.kernel[1] - 1
    b.in_width = b.tile_width + c.kernel[2] - 1
    b.dilation_down = c.dilation[1] if c.kernel[1] == taps else 1
    b.dilation_across = c.dilation[2] if c.kernel[2] == taps else 1
    b.tiles_down = tiles_along(c.out_size[1], b.tile_height, b.dilation_down)
    b.tiles_across = tiles_along(c.out_size[2], b.tile_width, b.dilation_across)
    # an empty batch is planned like any other, and never run
    b.tiles = max(1, c.batch * c.out_size[0] * b.tiles_down * b.tiles_across)
    b.tile_step = b.tile_width if b.dilation_across == 1 else 1
    b.run = min(b.tiles_across, max(1, RUN_COLUMNS // b.tile_width))
    if b.dilation_across > 1:
        b.run = min(b.run, b.dilation_across)


cdef void plan_channels(Blocking *b) noexcept:
    cdef index lanes = b.kernels.gemm.lanes
    b.block = round_up(BLOCK_CHANNELS, lanes)
    if b.group_in <= ONE_BLOCK_CHANNELS:
        b.block = round_up(b.group_in, lanes)
    b.vectors = ceil_div(b.group_out, lanes)
    b.panels = panel_count(b.vectors, b.kernels.gemm.tile_rows)
    b.m_row = ceil_div(b.vectors, b.panels) * lanes * b.element
    b.strip = max(STRIP_CHANNELS, lanes)


cdef void plan_rows(Blocking *b, index rows) noexcept:
    b.rows = rows
    b.v_row = b.block * b.element
    b.v_block = b.rows * b.v_row
    b.v_group = ceil_div(b.group_in, b.block) * b.v_block


cdef index panel_bytes(const Blocking *b) noexcept:
    """Packed weights of a panel at most."""
    return b.points * width_bytes(b, ceil_div(b.vectors, b.panels))


cdef void plan_block(Blocking *b) noexcept:
    """Most tiles of a block."""
    cdef index most
    plan_rows(b, min(b.tiles, b.kernels.gemm.tile_rows[b.kernels.gemm.tile_rows[0]]))
    most = WORKSPACE_BYTES // (b.points * (b.v_group // b.rows + b.m_row))
    if most < b.rows:
        plan_rows(b, max(1, most))
    b.most = min(round_up(b.tiles, b.rows),
                 max(b.rows, min(most, MOST_TILES) // b.rows * b.rows))


cdef void plan_workspace(Blocking *b, bint with_panel) noexcept:
    """Where a thread keeps its pointers, strip, M and V, and perhaps a panel of U."""
    cdef index strip = b.in_height * strip_of(b, b.run, b.in_width).width * b.strip * b.element
    cdef index sums = b.run * b.tile_height * b.tile_width \
        * (b.kernels.gemm.lanes * b.element + 2 * sizeof(void *))
    b.v_point = odd_lines(ceil_div(b.most, b.rows) * b.v_group)
    b.m_point = odd_lines(b.most * b.m_row)
    b.scratch_at = TABLE_BYTES
    b.m_at = b.scratch_at + round_up(max(strip, sums), 4096)
    b.v_at = b.m_at + round_up(b.points * b.m_point, 4096)
    b.u_at = b.v_at + round_up(b.points * b.v_point, 4096)
    b.workspace = b.u_at + round_up(panel_bytes(b) * with_panel, 4096)


cdef Prepared plan_winograd(const fc_conv *conv, const fc_view *x, const fc_view *out,
                            const fc_view *residual, int tile, bint packed):
    cdef Prepared op = Prepared.__new__(Prepared)
    cdef Blocking *b = <Blocking *> new_blocking(op, sizeof(Blocking))
    b.conv = conv[0]
    b.kernels = kernels(conv.type)
    b.element = 8 if conv.type else 4
    b.group_in = conv.in_channels // conv.groups
    b.group_out = conv.out_channels // conv.groups
    b.in_place = x.channel == b.element
    b.rows_out = out.channel == b.element and \
        (residual.data == NULL or residual.channel == b.element)
    b.expects = not b.rows_out and expects(conv, out, FAR_PLANE)
    b.fused = b.rows_out and conv.activation <= FC_ACT_LAST_INLINE
    b.streams = b.fused and streams(conv, out, FAR_TRANSFORMED)
    plan_tiles(b, tile)
    plan_channels(b)
    plan_block(b)
    op.reads_weight = not packed and packs_panels(b, threads.maximum())
    plan_workspace(b, op.reads_weight)
    op.pack = pack
    op.run = run
    op.packed_bytes = packed_group_bytes(b) * conv.groups
    op.workspace_bytes = b.workspace
    op.packing = ("winograd", tile, conv.type, conv.groups)
    return op


# ---------------------------------------------------------------- weights

cdef inline index pieces_of(const Blocking *b) noexcept nogil:
    """Pieces that a panel's input channels are packed in."""
    return ceil_div(b.group_in, PACK_CHANNELS)


cdef int pack_task(void *context, index task, int thread) noexcept nogil:
    cdef const Packing *p = <const Packing *> context
    cdef const Blocking *b = <const Blocking *> p.blocking
    cdef index pieces = pieces_of(b), panel = task // pieces % b.panels
    cdef index group = task // pieces // b.panels, first = task % pieces * PACK_CHANNELS
    pack_panel(b, p.weight, group, panel, first, min(PACK_CHANNELS, b.group_in - first),
               p.packed + group * packed_group_bytes(b) + packed_panel_at(b, panel))
    return threads.FC_OK


cdef int pack(const void *blocking, const char *weight, char *packed) noexcept nogil:
    cdef const Blocking *b = <const Blocking *> blocking
    return pack_pieces(pack_task, b, weight, packed, b.conv.groups * b.panels * pieces_of(b),
                       packed_group_bytes(b) * b.conv.groups)


# ---------------------------------------------------------------- schedule

cdef struct Schedule:
    # A group's tiles in `pieces` blocks, the output channels of each in `parts`. The parts of a
    # block each make V for themselves: to read a V that another core made takes longer.
    index pieces, parts


cdef struct RunContext:
    const Blocking *b
    const fc_call *call
    Schedule s


cdef inline double block_cost(const Blocking *b, index tiles, index panels) noexcept nogil:
    """Vector multiply-adds, and the like, of a block of tiles and some panels."""
    cdef double vectors = ceil_div(b.vectors * panels, b.panels) * (tiles + STREAM_TILES)
    cdef double transforms = INPUT_TRANSFORM * tiles / b.kernels.gemm.lanes
    return b.points * b.group_in * (vectors + transforms)


cdef Schedule schedule(const Blocking *b, index count) noexcept nogil:
    """The cheapest cut for `count` threads; it decides who works, never what comes out."""
    cdef Schedule s
    cdef index fewest = ceil_div(b.tiles, b.most), pieces, parts
    cdef double cost, best = -1
    s.pieces = fewest
    s.parts = 1
    for pieces in range(fewest, min(b.tiles, fewest + count) + 1):
        for parts in range(1, min(b.panels, count) + 1):
            cost = ceil_div(b.conv.groups * pieces * parts, count) \
                * block_cost(b, ceil_div(b.tiles, pieces), ceil_div(b.panels, parts))
            if best < 0 or cost < best:
                best = cost
                s.pieces = pieces
                s.parts = parts
    return s


cdef bint packs_panels(const Blocking *b, index count) noexcept:
    """Whether tasks transform a single call's weights for themselves: where that is cheaper, and
    the threads' panels of U are no more than all of it."""
    cdef index bytes = packed_group_bytes(b) * b.conv.groups
    return schedule(b, count).pieces <= (2 if bytes >= FAR_BYTES else 1) \
        and panel_bytes(b) * count <= bytes


cdef int run_task(void *context, index task, int thread) noexcept nogil:
    """Some output channels of a block of tiles, from input to result."""
    cdef RunContext *r = <RunContext *> context
    cdef const Blocking *b = r.b
    cdef index part = task % r.s.parts, piece = task // r.s.parts % r.s.pieces, panel
    cdef Task t
    t.b = b
    t.call = r.call
    t.group = task // r.s.parts // r.s.pieces
    t.first = b.tiles * piece // r.s.pieces
    t.tiles = b.tiles * (piece + 1) // r.s.pieces - t.first
    t.workspace = r.call.workspace + thread * b.workspace
    t.v = t.workspace + b.v_at
    transform_input(&t)
    point_into_v(&t)
    for panel in range(b.panels * part // r.s.parts, b.panels * (part + 1) // r.s.parts):
        find_weights(&t, panel)
        multiply(&t, panel)
        transform_output(&t, panel)
    if b.streams:
        b.kernels.finish.end_stream()
    return threads.FC_OK


cdef int run(const void *blocking, const fc_call *call) noexcept nogil:
    cdef RunContext r
    cdef const Blocking *b = <const Blocking *> blocking
    r.b = b
    r.call = call
    r.s = schedule(b, call.threads)
    return threads.run(run_task, &r, b.conv.groups * r.s.pieces * r.s.parts,
                       2.0 * b.conv.groups * b.points * b.tiles * b.group_in * b.group_out,
                       b.conv.flush_denormals, call.threads)
