"""Winograd's minimal filtering F(m, r): fewer multiplications between two cheap transforms.

An m x m tile of outputs of r x r taps needs an n x n tile of inputs, n = m + r - 1; in the
transformed domain the convolution is one small matrix product for each of the n^2 points:

    x --input transform--> V[point] (tiles x channels)
                           V[point] x U[point] = M[point]        register tile of gemm, per point
                           M[point] --output transform, bias, residual, activation--> out

Kernels of one row or column (1x3, 5x1, every 1-D convolution) do the same along one axis. Tiles
are numbered through all images; a block of them goes through all three steps while it is in the
cache. With few tiles for the threads, V is made once for all of them (`shared`), and the tasks
are the products of some output channels each, so that every weight is read by one thread only.

A dilated convolution is d grids along an axis, each of every d-th pixel and undilated by itself;
all their tiles are numbered together, and a dilation is only a longer step in the arrays.

Channels-last input is read where it lies, tiles at an edge and any other input through a
zero-padded channels-last copy of a strip. NaN and infinity spread over the tile that they fall in,
n inputs to m outputs wide (of a grid, where there is a dilation), and no further.
"""

from .winograd_cost import tiles_along
from .winograd_matrices import FORMS

from . cimport threads
from .arithmetic cimport ceil_div, index, round_up
from .dispatch cimport kernels
from .kernels cimport FC_ACT_NONE, FC_ACT_RELU
from .op cimport Prepared, fc_call, fc_conv, fc_view, new_blocking
from .winograd_block cimport TABLE_BYTES, Blocking, Task, multiply
from .winograd_block cimport packed_group_bytes, packed_panel_at, panel_start, panel_width
from .winograd_block cimport point_into_v, strip_of, transform_input, transform_output
from .winograd_kernels cimport fc_winograd_filter_args

# V's channels come in blocks of this many, a row group's rows one after the other; few channels
# are one block.
cdef index BLOCK_CHANNELS = 16
cdef index ONE_BLOCK_CHANNELS = 64
# Output channels that are multiplied before they are transformed.
cdef index SLAB_CHANNELS = 64
# Tiles of a block: enough to use a weight often, few enough for V and M to stay near.
cdef index MOST_TILES = 112
cdef index WORKSPACE_BYTES = 4 << 20
# Output columns (or rows of one column) of a run of tiles, channels of a copied strip.
cdef index RUN_COLUMNS = 64
cdef index STRIP_CHANNELS = 16
# Input channels of a panel that one task packs.
cdef index PACK_CHANNELS = 64
# To stream a block's weights from L3 costs as much as so many tiles more, and to wait for each
# other as so many vector multiply-adds.
cdef index STREAM_TILES = 8
cdef double BARRIER = 2e4


cdef inline index odd_lines(index bytes) noexcept nogil:
    """An odd number of cache lines: points this far apart fall into different cache sets."""
    return (ceil_div(bytes, 64) | 1) * 64


# ---------------------------------------------------------------- planning

cdef void plan_tiles(Blocking *b, index tile) except *:
    cdef const fc_conv *c = &b.conv
    cdef index taps = max(c.kernel[1], c.kernel[2]), points = tile + taps - 1
    b.axes = 1 if c.kernel[1] == c.kernel[2] else 0
    b.input_form = <int> (points // 2 - 2)
    b.form = FORMS.index((tile, taps))
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
    b.panels = ceil_div(b.vectors, b.kernels.gemm.tile_rows[0])
    b.slabs = ceil_div(b.vectors, SLAB_CHANNELS // lanes)
    b.m_row = ceil_div(b.panels, b.slabs) * ceil_div(b.vectors, b.panels) * lanes * b.element
    b.strip = max(STRIP_CHANNELS, lanes)


cdef void plan_rows(Blocking *b, index rows) noexcept:
    b.rows = rows
    b.v_row = b.block * b.element
    b.v_block = b.rows * b.v_row
    b.v_group = ceil_div(b.group_in, b.block) * b.v_block


cdef inline index v_point(const Blocking *b, index tiles) noexcept nogil:
    """Bytes between the points of a V of so many tiles."""
    return odd_lines(ceil_div(tiles, b.rows) * b.v_group)


cdef inline index m_point(const Blocking *b, index tiles) noexcept nogil:
    return odd_lines(tiles * b.m_row)


cdef void plan_workspace(Blocking *b) noexcept:
    """Most tiles of a block, and where a thread keeps its pointers, strip, M and V.

    V comes last: the threads' Vs lie side by side and can be used as one.
    """
    cdef index strip = b.in_height * strip_of(b, b.run, b.in_width).width * b.strip * b.element
    cdef index sums = b.run * b.tile_height * b.tile_width \
        * (b.kernels.gemm.lanes * b.element + 2 * sizeof(void *))
    cdef index most
    plan_rows(b, min(b.tiles, b.kernels.gemm.tile_rows[b.kernels.gemm.tile_rows[0]]))
    most = WORKSPACE_BYTES // (b.points * (b.v_group // b.rows + b.m_row))
    if most < b.rows:
        plan_rows(b, max(1, most))
    b.most = min(round_up(b.tiles, b.rows),
                 max(b.rows, min(most, MOST_TILES) // b.rows * b.rows))
    b.scratch_at = TABLE_BYTES
    b.m_at = b.scratch_at + round_up(max(strip, sums), 4096)
    b.v_at = b.m_at + round_up(b.points * m_point(b, b.most), 4096)
    # a line more per point: one V of many blocks may need it to keep its points apart
    b.workspace = b.v_at + round_up(b.points * (v_point(b, b.most) + 64), 4096)


cdef Prepared plan_winograd(const fc_conv *conv, const fc_view *x, const fc_view *out,
                            const fc_view *residual, int tile):
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
    b.fused = b.rows_out and conv.activation in (FC_ACT_NONE, FC_ACT_RELU)
    plan_tiles(b, tile)
    plan_channels(b)
    plan_workspace(b)
    op.pack = pack
    op.run = run
    op.packed_bytes = packed_group_bytes(b) * conv.groups
    op.workspace_bytes = b.workspace
    op.packing = ("winograd", tile, conv.type, conv.groups)
    return op


# ---------------------------------------------------------------- weights

cdef struct PackContext:
    const Blocking *b
    const char *weight
    char *packed
    index pieces            # of a panel's input channels


cdef int pack_task(void *context, index task, int thread) noexcept nogil:
    cdef PackContext *p = <PackContext *> context
    cdef const Blocking *b = p.b
    cdef index piece = task % p.pieces, panel = task // p.pieces % b.panels
    cdef index group = task // p.pieces // b.panels, first = piece * PACK_CHANNELS
    cdef index taps_bytes = b.conv.kernel[1] * b.conv.kernel[2] * b.element
    cdef fc_winograd_filter_args args
    args.row = b.group_in * taps_bytes
    args.weight = p.weight + (group * b.group_out + panel_start(b, panel)) * args.row \
        + first * taps_bytes
    args.depth = min(PACK_CHANNELS, b.group_in - first)
    args.width = panel_width(b, panel)
    args.channels = min(args.width, b.group_out - panel_start(b, panel))
    args.dst_point = b.group_in * args.width * b.element
    args.dst = p.packed + packed_panel_at(b, group, panel) + first * args.width * b.element
    b.kernels.winograd.filter[b.axes][b.form](&args)
    return threads.FC_OK


cdef int pack(const void *blocking, const char *weight, char *packed) noexcept nogil:
    cdef PackContext p
    p.b = <const Blocking *> blocking
    p.weight = weight
    p.packed = packed
    p.pieces = ceil_div(p.b.group_in, PACK_CHANNELS)
    cdef double bytes = packed_group_bytes(p.b) * p.b.conv.groups
    return threads.run(pack_task, &p, p.b.conv.groups * p.b.panels * p.pieces, 4 * bytes, False,
                       threads.maximum())


# ---------------------------------------------------------------- schedules

cdef struct Schedule:
    # How a call is cut. V private: all tiles in `pieces` blocks. V shared: `rounds` of at most
    # `round_tiles` tiles; of each, the input by tiles and channels, then every slab in `pieces`.
    bint shared
    index count             # threads
    index round_tiles, rounds
    index pieces
    index input_pieces, channel_pieces


cdef struct RunContext:
    const Blocking *b
    const fc_call *call
    Schedule s
    index group, first, tiles   # the round, where V is shared


cdef inline double block_cost(const Blocking *b, index tiles, index slabs) noexcept nogil:
    """Vector multiply-adds, and the like, of a block of tiles and some slabs."""
    return <double> b.points * b.group_in * b.vectors * slabs / b.slabs * (tiles + STREAM_TILES)


cdef Schedule schedule(const Blocking *b, index count) noexcept nogil:
    """The cheaper way to keep `count` threads busy; it decides who works, never what comes out."""
    cdef Schedule s
    cdef index fewest = ceil_div(b.tiles, b.most), pieces
    cdef double cost, best = -1
    s.shared = False
    s.count = count
    s.pieces = fewest
    for pieces in range(fewest, min(b.tiles, fewest + count) + 1):
        cost = ceil_div(b.conv.groups * pieces, count) \
            * block_cost(b, ceil_div(b.tiles, pieces), b.slabs)
        if best < 0 or cost < best:
            best = cost
            s.pieces = pieces
    s.rounds = ceil_div(b.tiles, b.most * count)
    s.round_tiles = ceil_div(b.tiles, s.rounds)
    s.channel_pieces = min(ceil_div(b.group_in, b.strip), 4 * count)
    s.input_pieces = min(s.round_tiles, ceil_div(4 * count, s.channel_pieces))
    if count == 1:
        return s
    fewest = ceil_div(s.round_tiles, b.most)
    for pieces in range(fewest, min(s.round_tiles, fewest + count) + 1):
        cost = b.conv.groups * s.rounds * (BARRIER + ceil_div(b.slabs * pieces, count)
                                           * block_cost(b, ceil_div(s.round_tiles, pieces), 1))
        if cost < best:
            best = cost
            s.pieces = pieces
            s.shared = True
    return s


cdef Task task_of(const RunContext *r, int thread) noexcept nogil:
    cdef Task t
    cdef const Blocking *b = r.b
    t.b = b
    t.call = r.call
    t.group = r.group
    t.workspace = r.call.workspace + thread * b.v_at
    t.v = r.call.workspace + r.s.count * b.v_at
    t.block_first = r.first
    t.v_point = v_point(b, r.tiles)
    t.m_point = m_point(b, b.most)
    return t


cdef int private_task(void *context, index task, int thread) noexcept nogil:
    """One block of tiles from input to result."""
    cdef RunContext *r = <RunContext *> context
    cdef const Blocking *b = r.b
    cdef index piece = task % r.s.pieces, slab
    cdef index first = b.tiles * piece // r.s.pieces
    cdef index count = b.tiles * (piece + 1) // r.s.pieces - first
    cdef Task t = task_of(r, thread)
    t.group = task // r.s.pieces
    t.v += thread * (b.workspace - b.v_at)
    t.block_first = first
    t.v_point = v_point(b, b.most)
    transform_input(&t, first, count, 0, b.group_in)
    point_into_v(&t)
    for slab in range(b.slabs):
        multiply(&t, first, count, slab)
        transform_output(&t, first, count, slab)
    return threads.FC_OK


cdef int input_task(void *context, index task, int thread) noexcept nogil:
    """Some channels of some of a round's tiles into the shared V."""
    cdef RunContext *r = <RunContext *> context
    cdef const Blocking *b = r.b
    cdef Task t = task_of(r, thread)
    cdef index strips = ceil_div(b.group_in, b.strip)
    cdef index part = task % r.s.channel_pieces, piece = task // r.s.channel_pieces
    cdef index channel = strips * part // r.s.channel_pieces * b.strip
    cdef index last = min(b.group_in, strips * (part + 1) // r.s.channel_pieces * b.strip)
    cdef index begin = r.tiles * piece // r.s.input_pieces
    cdef index end = r.tiles * (piece + 1) // r.s.input_pieces
    transform_input(&t, r.first + begin, end - begin, channel, last - channel)
    return threads.FC_OK


cdef int slab_task(void *context, index task, int thread) noexcept nogil:
    """Some of a round's tiles, some output channels: from the shared V to the result."""
    cdef RunContext *r = <RunContext *> context
    cdef const Blocking *b = r.b
    cdef Task t = task_of(r, thread)
    cdef index piece = task % r.s.pieces, slab = task // r.s.pieces
    cdef index first = r.tiles * piece // r.s.pieces
    cdef index end = r.tiles * (piece + 1) // r.s.pieces
    point_into_v(&t)
    multiply(&t, r.first + first, end - first, slab)
    transform_output(&t, r.first + first, end - first, slab)
    return threads.FC_OK


cdef int run_shared(RunContext *r, double operations) noexcept nogil:
    """Round by round: everybody transforms input, then everybody multiplies."""
    cdef const Blocking *b = r.b
    cdef index turn, code
    for turn in range(b.conv.groups * r.s.rounds):
        r.group = turn // r.s.rounds
        r.first = b.tiles * (turn % r.s.rounds) // r.s.rounds
        r.tiles = b.tiles * (turn % r.s.rounds + 1) // r.s.rounds - r.first
        code = threads.run(input_task, r, r.s.input_pieces * r.s.channel_pieces,
                           4.0 * r.tiles * b.points * b.group_in * b.element,
                           b.conv.flush_denormals, r.call.threads)
        if code == threads.FC_OK:
            code = threads.run(slab_task, r, b.slabs * r.s.pieces, operations,
                               b.conv.flush_denormals, r.call.threads)
        if code != threads.FC_OK:
            return <int> code
    return threads.FC_OK


cdef int run(const void *blocking, const fc_call *call) noexcept nogil:
    cdef RunContext r
    cdef double operations
    r.b = <const Blocking *> blocking
    r.call = call
    r.group = r.first = 0
    r.tiles = r.b.tiles
    r.s = schedule(r.b, call.threads)
    operations = 2.0 * r.b.points * r.b.tiles * r.b.group_in * r.b.group_out
    if r.s.shared:
        return run_shared(&r, operations)
    return threads.run(private_task, &r, r.b.conv.groups * r.s.pieces,
                       operations * r.b.conv.groups, r.b.conv.flush_denormals, r.call.threads)

