"""Winograd's minimal filtering F(m, 3): fewer multiplications between two cheap transforms.

An m x m tile of outputs needs an (m + 2) x (m + 2) tile of inputs; in the transformed domain the
convolution is one small matrix product for each of the (m + 2)^2 points:

    x --input transform--> V[point] (tiles x channels)
                           V[point] x U[point] = M[point]        register tile of gemm, per point
                           M[point] --output transform, bias, residual, activation--> out

Kernels of one row or column (1x3, 3x1, every 1-D convolution) do the same along one axis. Tiles
are numbered through all images; a block of them goes through all three steps while it is in the
cache. With few tiles for the threads, V is made once for all of them (`shared`), and the tasks
are the products of some output channels each, so that every weight is read by one thread only.

Channels-last input is read where it lies, tiles at an edge and any other input through a
zero-padded channels-last copy of a strip. NaN and infinity spread over the tile that they fall in,
m + 2 inputs to m outputs wide, and no further.
"""

from . cimport threads
from .dispatch cimport kernels
from .kernels cimport FC_ACT_NONE, FC_ACT_RELU, fc_finish_args, fc_gather_args, fc_gemm_args
from .kernels cimport fc_kernels
from .op cimport Prepared, fc_call, fc_conv, fc_view, new_blocking
from .winograd_kernels cimport fc_winograd_filter_args, fc_winograd_input_args
from .winograd_kernels cimport fc_winograd_output_args

from libc.string cimport memset

ctypedef Py_ssize_t index

cdef enum:
    TAPS = 3
    MAX_ROWS = 12           # most rows of a register tile
    TABLE_BYTES = 4096      # pointers to the rows of V that one call of the register tile reads

# A sum is built from chains of at most this many multiply-adds.
cdef index CHAIN = 512
# V's channels come in blocks of about this many, a row group's rows one after the other.
cdef index BLOCK_CHANNELS = 64
# Output channels that are multiplied before they are transformed.
cdef index SLAB_CHANNELS = 64
# Tiles of a block: enough to use a weight often, few enough for V and M to stay near.
cdef index MOST_TILES = 112
cdef index WORKSPACE_BYTES = 4 << 20
# Output columns (or rows of one column) of a run of tiles, channels of a copied strip.
cdef index RUN_COLUMNS = 64
cdef index STRIP_CHANNELS = 16
# Costs of a schedule in tiles: to stream a block's weights from L3, and to wait for each other.
cdef index STREAM_TILES = 8
cdef index BARRIER_TILES = 6


cdef struct Blocking:
    fc_conv conv
    const fc_kernels *kernels
    int axes, form          # 0: one axis, 1: two; m / 2 - 1
    index element
    index group_in, group_out
    index points
    index tile_height, tile_width, in_height, in_width   # outputs and inputs of a tile
    index tiles_down, tiles_across, tiles                # of a plane; of all planes
    index run               # tiles of a run at most
    index rows, block       # tiles of a row group, channels of a block of V
    index v_row, v_block, v_group                        # bytes
    index panel, panels, slab, slabs                     # output channels of a panel, of a slab
    index m_row
    index most              # tiles of a block at most
    index strip             # channels of a copied strip
    bint in_place           # the input's channels are contiguous
    bint rows_out           # the result's (and the residual's) channels are contiguous
    bint fused              # the output transform can finish
    index scratch_at, m_at, v_at, workspace              # v_at: also the bytes before V


cdef inline index ceil_div(index a, index b) noexcept nogil:
    return (a + b - 1) // b


cdef inline index round_up(index a, index b) noexcept nogil:
    return ceil_div(a, b) * b


cdef inline index odd_lines(index bytes) noexcept nogil:
    """An odd number of cache lines: points this far apart fall into different cache sets."""
    return (ceil_div(bytes, 64) | 1) * 64


# ---------------------------------------------------------------- planning

cdef void plan_tiles(Blocking *b, index tile) noexcept:
    cdef const fc_conv *c = &b.conv
    cdef index points = tile + TAPS - 1
    b.axes = 1 if c.kernel[1] == TAPS and c.kernel[2] == TAPS else 0
    b.form = <int> (tile // 2 - 1)
    b.points = points * points if b.axes else points
    b.tile_height = tile if c.kernel[1] == TAPS else 1
    b.tile_width = tile if c.kernel[2] == TAPS else 1
    b.in_height = b.tile_height + c.kernel[1] - 1
    b.in_width = b.tile_width + c.kernel[2] - 1
    b.tiles_down = ceil_div(c.out_size[1], b.tile_height)
    b.tiles_across = ceil_div(c.out_size[2], b.tile_width)
    b.tiles = c.batch * c.out_size[0] * b.tiles_down * b.tiles_across
    b.run = min(b.tiles_across, max(1, RUN_COLUMNS // b.tile_width))


cdef void plan_channels(Blocking *b) noexcept:
    cdef index lanes = b.kernels.gemm.lanes
    b.block = round_up(ceil_div(b.group_in, ceil_div(b.group_in, BLOCK_CHANNELS)), lanes)
    b.panel = b.kernels.gemm.tile_rows[0] * lanes
    b.panels = ceil_div(b.group_out, b.panel)
    b.slab = b.panel * max(1, min(b.panels, SLAB_CHANNELS // b.panel))
    b.slabs = ceil_div(b.group_out, b.slab)
    b.m_row = min(b.slab, round_up(b.group_out, lanes)) * b.element
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
    cdef index strip = b.in_height * (b.run * b.tile_width + TAPS - 1) * b.strip * b.element
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
    b.workspace = b.v_at + round_up(b.points * v_point(b, b.most), 4096)


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

cdef inline index panel_width(const Blocking *b, index panel) noexcept nogil:
    """Elements of U's rows: the panel's channels, rounded up to whole vectors."""
    return min(b.panel, round_up(b.group_out - panel * b.panel, b.kernels.gemm.lanes))


cdef inline index packed_group_bytes(const Blocking *b) noexcept nogil:
    return round_up(b.group_out, b.kernels.gemm.lanes) * b.points * b.group_in * b.element


cdef inline index packed_panel_at(const Blocking *b, index group, index panel) noexcept nogil:
    return group * packed_group_bytes(b) + panel * b.panel * b.points * b.group_in * b.element


cdef struct PackContext:
    const Blocking *b
    const char *weight
    char *packed
    index pieces            # of a panel's input channels


cdef int pack_task(void *context, index task, int thread) noexcept nogil:
    cdef PackContext *p = <PackContext *> context
    cdef const Blocking *b = p.b
    cdef index piece = task % p.pieces, panel = task // p.pieces % b.panels
    cdef index group = task // p.pieces // b.panels, first = piece * BLOCK_CHANNELS
    cdef index taps_bytes = b.conv.kernel[1] * b.conv.kernel[2] * b.element
    cdef fc_winograd_filter_args args
    args.row = b.group_in * taps_bytes
    args.weight = p.weight + (group * b.group_out + panel * b.panel) * args.row \
        + first * taps_bytes
    args.depth = min(BLOCK_CHANNELS, b.group_in - first)
    args.channels = min(b.panel, b.group_out - panel * b.panel)
    args.width = panel_width(b, panel)
    args.dst_point = b.group_in * args.width * b.element
    args.dst = p.packed + packed_panel_at(b, group, panel) + first * args.width * b.element
    b.kernels.winograd.filter[b.axes][b.form](&args)
    return threads.FC_OK


cdef int pack(const void *blocking, const char *weight, char *packed) noexcept nogil:
    cdef PackContext p
    p.b = <const Blocking *> blocking
    p.weight = weight
    p.packed = packed
    p.pieces = ceil_div(p.b.group_in, BLOCK_CHANNELS)
    cdef double bytes = packed_group_bytes(p.b) * p.b.conv.groups
    return threads.run(pack_task, &p, p.b.conv.groups * p.b.panels * p.pieces, 4 * bytes, False)


# ---------------------------------------------------------------- one task

cdef struct Task:
    const Blocking *b
    const fc_call *call
    index group
    index block_first       # the first tile in V
    index v_point           # bytes between V's points
    index m_point
    char *workspace
    char *v


cdef struct Run:
    # Tiles beside each other, the place of the first one in the result and in the input.
    index image, depth, row, column, tiles
    index in_depth, in_row, in_column


cdef Run run_at(const Blocking *b, index tile, index left) noexcept nogil:
    """The run that begins with a tile: it ends with the tile row, the block or a full run."""
    cdef Run r
    cdef index plane = tile // (b.tiles_down * b.tiles_across)
    cdef index across = tile % b.tiles_across
    r.image = plane // b.conv.out_size[0]
    r.depth = plane % b.conv.out_size[0]
    r.row = tile // b.tiles_across % b.tiles_down * b.tile_height
    r.column = across * b.tile_width
    r.tiles = min(min(b.run, left), b.tiles_across - across)
    r.in_depth = r.depth - b.conv.pad[0]
    r.in_row = r.row - b.conv.pad[1]
    r.in_column = r.column - b.conv.pad[2]
    return r


cdef inline char *address(const fc_view *view, index image, index depth, index row,
                          index column) noexcept nogil:
    return view.data + image * view.batch + depth * view.space[0] + row * view.space[1] \
        + column * view.space[2]


cdef inline bint inside(index at, index size) noexcept nogil:
    return 0 <= at < size


cdef void copy_strip(const Task *t, const Run *r, index columns, index channel,
                     index channels) noexcept nogil:
    """Input that a run's tiles see into channels-last scratch, zeros outside."""
    cdef const Blocking *b = t.b
    cdef const fc_conv *c = &b.conv
    cdef const fc_view *x = &t.call.x
    cdef index pitch = b.strip * b.element, row
    cdef index before = min(columns, max(0, -r.in_column))
    cdef index end = max(before, min(columns, c.in_size[2] - r.in_column))
    cdef char *dst = t.workspace + b.scratch_at
    cdef fc_gather_args g
    g.src_pixel = x.space[2]
    g.src_channel = x.channel
    g.pixels = end - before
    g.channels = channels
    g.dst_pixel = pitch
    for row in range(r.in_row, r.in_row + b.in_height):
        if not inside(r.in_depth, c.in_size[0]) or not inside(row, c.in_size[1]):
            memset(dst, 0, columns * pitch)
        else:
            memset(dst, 0, before * pitch)
            g.src = address(x, r.image, r.in_depth, row, r.in_column + before) \
                + channel * x.channel
            g.dst = dst + before * pitch
            b.kernels.finish.gather(&g)
            memset(dst + end * pitch, 0, (columns - end) * pitch)
        dst += columns * pitch


cdef inline index pixel_step(const Blocking *b, index row, index pixel) noexcept nogil:
    """From a pixel to the next as the kernels see it: 1-D tiles of a column of taps run down."""
    return row if b.tile_width == 1 else pixel


cdef void transform_copied(const Task *t, fc_winograd_input_args *a, const Run *r, index channel,
                           index channels) noexcept nogil:
    """Some channels of a run's tiles by way of scratch."""
    cdef const Blocking *b = t.b
    cdef index pitch = b.strip * b.element, last = channel + channels
    cdef index columns = (r.tiles - 1) * b.tile_width + b.in_width
    a.src = t.workspace + b.scratch_at
    a.src_row = columns * pitch
    a.src_pixel = pixel_step(b, a.src_row, pitch)
    a.src_tile = b.tile_width * pitch
    while channel < last:
        a.first_channel = channel
        a.channels = min(b.strip, last - channel)
        copy_strip(t, r, columns, t.group * b.group_in + channel, a.channels)
        b.kernels.winograd.input[b.axes][b.form](a)
        channel += b.strip


cdef void transform_in_place(const Task *t, fc_winograd_input_args *a, const Run *r,
                             index channel, index channels) noexcept nogil:
    cdef const Blocking *b = t.b
    cdef const fc_view *x = &t.call.x
    a.src = address(x, r.image, r.in_depth, r.in_row, r.in_column) \
        + (t.group * b.group_in + channel) * b.element
    a.src_row = x.space[1]
    a.src_pixel = pixel_step(b, x.space[1], x.space[2])
    a.src_tile = b.tile_width * x.space[2]
    a.first_channel = channel
    a.channels = channels
    b.kernels.winograd.input[b.axes][b.form](a)


cdef index tiles_inside(const Task *t, const Run *r, index *first) noexcept nogil:
    """How many of a run's tiles lie inside channels-last input, and the first one of them."""
    cdef const Blocking *b = t.b
    cdef const fc_conv *c = &b.conv
    cdef index end
    first[0] = 0
    if not b.in_place or not inside(r.in_depth, c.in_size[0]) or r.in_row < 0 \
            or r.in_row + b.in_height > c.in_size[1]:
        return 0
    if r.in_column < 0:
        first[0] = ceil_div(-r.in_column, b.tile_width)
    if c.in_size[2] < r.in_column + b.in_width:
        return 0
    end = min(r.tiles, (c.in_size[2] - r.in_column - b.in_width) // b.tile_width + 1)
    return max(0, end - first[0])


cdef void transform_part(const Task *t, fc_winograd_input_args *a, const Run *r, index first,
                         index tiles, bint in_place, index channel, index channels) noexcept nogil:
    """The tiles from `first` on of a run, which begins at tile a.first_tile of V."""
    cdef Run part = r[0]
    if tiles <= 0:
        return
    part.in_column += first * t.b.tile_width
    part.tiles = a.tiles = tiles
    a.first_tile += first
    if in_place:
        transform_in_place(t, a, &part, channel, channels)
    else:
        transform_copied(t, a, &part, channel, channels)
    a.first_tile -= first


cdef void transform_input(const Task *t, index first, index count, index channel,
                          index channels) noexcept nogil:
    """Some channels of tiles [first, first + count) into V."""
    cdef const Blocking *b = t.b
    cdef fc_winograd_input_args a
    cdef Run r
    cdef index done = 0, begin, whole
    a.dst = t.v
    a.rows = b.rows
    a.block = b.block
    a.dst_point = t.v_point
    a.dst_group = b.v_group
    a.dst_block = b.v_block
    while done < count:
        r = run_at(b, first + done, count - done)
        a.first_tile = first + done - t.block_first
        whole = tiles_inside(t, &r, &begin)
        if whole == 0:
            begin = r.tiles
        transform_part(t, &a, &r, 0, begin, False, channel, channels)
        transform_part(t, &a, &r, begin, whole, True, channel, channels)
        transform_part(t, &a, &r, begin + whole, r.tiles - begin - whole, False, channel, channels)
        done += r.tiles


cdef void point_into_v(const Task *t) noexcept nogil:
    """Row pointers of the register tile: for each channel block, rows through the row groups."""
    cdef const Blocking *b = t.b
    cdef const char **table = <const char **> t.workspace
    cdef index taps = max(1, min(CHAIN // b.block, ceil_div(b.group_in, b.block))), tap, row
    for tap in range(taps):
        for row in range(MAX_ROWS):
            table[tap * MAX_ROWS + row] = t.v + tap * b.v_block + row // b.rows * b.v_group \
                + row % b.rows * b.v_row


cdef void multiply_panel(const Task *t, fc_gemm_args *g, const char *v, char *m,
                         index count) noexcept nogil:
    """One point's tiles x one panel: m[tile] = sum over channels, chain by chain."""
    cdef const Blocking *b = t.b
    cdef index rows = b.kernels.gemm.tile_rows[g.vectors] // b.rows * b.rows
    cdef index width = g.vectors * b.kernels.gemm.lanes * b.element
    cdef index channel = 0, tile, at = v - t.v
    g.accumulate = False
    while channel < b.group_in:
        g.taps = min(CHAIN // b.block, (b.group_in - channel) // b.block)
        g.depth = b.block
        if g.taps == 0:
            g.taps = 1
            g.depth = b.group_in - channel
        g.c = m
        g.offset = at
        tile = 0
        while tile < count:
            g.rows = <int> min(rows, count - tile)
            b.kernels.gemm.tile(g)
            tile += rows
            g.c += rows * g.c_row
            g.offset += rows // b.rows * b.v_group
        g.b += g.taps * g.depth * width
        g.accumulate = True
        channel += g.taps * g.depth
        at += g.taps * b.v_block


cdef void multiply(const Task *t, index first, index count, index slab) noexcept nogil:
    """All points of a slab of output channels: V x U -> M. `first` begins a row group of V."""
    cdef const Blocking *b = t.b
    cdef index point, panel, first_panel = slab * (b.slab // b.panel)
    cdef index last_panel = min(b.panels, first_panel + b.slab // b.panel)
    cdef const char *v = t.v + (first - t.block_first) // b.rows * b.v_group
    cdef char *m
    cdef fc_gemm_args g
    g.a = <const char *const *> t.workspace
    g.a_step = MAX_ROWS
    g.c_row = b.m_row
    for point in range(b.points):
        m = t.workspace + b.m_at + point * t.m_point
        for panel in range(first_panel, last_panel):
            g.vectors = <int> (panel_width(b, panel) // b.kernels.gemm.lanes)
            g.b = t.call.packed + packed_panel_at(b, t.group, panel) \
                + point * b.group_in * panel_width(b, panel) * b.element
            multiply_panel(t, &g, v, m, count)
            m += b.panel * b.element
        v += t.v_point


cdef void write_in_place(const Task *t, fc_winograd_output_args *a, const Run *r,
                         index channel) noexcept nogil:
    """Output transform straight to a result whose channels are contiguous."""
    cdef const Blocking *b = t.b
    cdef const fc_view *out = &t.call.out
    cdef const fc_view *residual = &t.call.residual
    a.dst = address(out, r.image, r.depth, r.row, r.column) + channel * b.element
    a.dst_row = out.space[1]
    a.dst_pixel = pixel_step(b, out.space[1], out.space[2])
    a.dst_tile = b.tile_width * out.space[2]
    a.bias = t.call.bias + channel * b.element if t.call.bias != NULL else NULL
    a.relu = b.conv.activation == FC_ACT_RELU
    if residual.data != NULL:
        a.residual = address(residual, r.image, r.depth, r.row, r.column) + channel * b.element
        a.residual_row = residual.space[1]
        a.residual_pixel = pixel_step(b, residual.space[1], residual.space[2])
        a.residual_tile = b.tile_width * residual.space[2]
    b.kernels.winograd.output[b.axes][b.form](a)


cdef void finish_rows(const Task *t, fc_finish_args *f, const Run *r, index height, index width,
                      index channel) noexcept nogil:
    """Scratch to a result whose channels are contiguous, pixel by pixel."""
    cdef const Blocking *b = t.b
    cdef index room = b.run * b.tile_height * b.tile_width, row, column
    cdef char **out = <char **> (t.workspace + b.scratch_at + room * f.sum_row)
    cdef const char **residual = <const char **> (out + room)
    f.pixels = 0
    for row in range(r.row, r.row + height):
        for column in range(r.column, r.column + width):
            out[f.pixels] = address(&t.call.out, r.image, r.depth, row, column)
            if t.call.residual.data != NULL:
                residual[f.pixels] = address(&t.call.residual, r.image, r.depth, row, column)
            f.pixels += 1
    f.out_rows = out
    f.residual_rows = residual if t.call.residual.data != NULL else NULL
    f.row_offset = f.residual_row_offset = channel * b.element
    b.kernels.finish.rows(f)


cdef inline bint dense_rows(const fc_view *view, index width) noexcept nogil:
    return view.data == NULL or view.space[1] == width * view.space[2]


cdef void finish_planes(const Task *t, fc_finish_args *f, const Run *r, index height, index width,
                        index channel) noexcept nogil:
    """Scratch to a result of any strides: a channel's rows, all at once where they touch."""
    cdef const fc_view *out = &t.call.out
    cdef const fc_view *residual = &t.call.residual
    cdef index row = r.row, rows = 1
    if dense_rows(out, width) and dense_rows(residual, width):
        rows = height
    f.out_channel = out.channel
    f.out_pixel = out.space[2]
    f.residual_channel = residual.channel
    f.residual_pixel = residual.space[2]
    f.residual = NULL
    f.pixels = rows * width
    while row < r.row + height:
        f.out = address(out, r.image, r.depth, row, r.column) + channel * out.channel
        if residual.data != NULL:
            f.residual = address(residual, r.image, r.depth, row, r.column) \
                + channel * residual.channel
        t.b.kernels.finish.planes(f)
        f.sums += f.pixels * f.sum_row
        row += rows


cdef void write_copied(const Task *t, fc_winograd_output_args *a, const Run *r, index height,
                       index width, index channel) noexcept nogil:
    """Output transform to dense channels-last scratch, a vector of channels, and out from there."""
    cdef const Blocking *b = t.b
    cdef index lanes = b.kernels.gemm.lanes, last = channel + a.channels
    cdef fc_finish_args f
    f.sum_row = lanes * b.element
    f.epilogue.activation = b.conv.activation
    f.epilogue.alpha = b.conv.alpha
    f.epilogue.beta = b.conv.beta
    a.dst = t.workspace + b.scratch_at
    a.dst_row = width * f.sum_row
    a.dst_pixel = pixel_step(b, a.dst_row, f.sum_row)
    a.dst_tile = b.tile_width * f.sum_row
    while channel < last:
        a.channels = lanes
        b.kernels.winograd.output[b.axes][b.form](a)
        f.sums = a.dst
        f.channels = min(lanes, last - channel)
        f.epilogue.bias = t.call.bias + channel * b.element if t.call.bias != NULL else NULL
        if b.rows_out:
            finish_rows(t, &f, r, height, width, channel)
        else:
            finish_planes(t, &f, r, height, width, channel)
        a.src += f.sum_row
        channel += lanes


cdef void transform_output(const Task *t, index first, index count, index slab) noexcept nogil:
    """A slab of M through the inverse transform and the epilogue."""
    cdef const Blocking *b = t.b
    cdef const fc_conv *c = &b.conv
    cdef index channel = t.group * b.group_out + slab * b.slab, done = 0, height, width
    cdef fc_winograd_output_args a
    cdef Run r
    a.src_point = t.m_point
    a.src_tile = b.m_row
    while done < count:
        r = run_at(b, first + done, count - done)
        height = min(b.tile_height, c.out_size[1] - r.row)
        width = min(r.tiles * b.tile_width, c.out_size[2] - r.column)
        a.src = t.workspace + b.m_at + done * b.m_row
        a.tiles = r.tiles
        a.channels = min(b.slab, b.group_out - slab * b.slab)
        a.height = height
        a.width = width
        a.tile_width = b.tile_width
        if b.tile_width == 1:
            a.width = height
            a.tile_width = 0
        a.bias = a.residual = NULL
        a.relu = False
        if b.fused:
            write_in_place(t, &a, &r, channel)
        else:
            write_copied(t, &a, &r, height, width, channel)
        done += r.tiles


# ---------------------------------------------------------------- schedules

cdef struct Schedule:
    # How a call is cut: rounds of `round_units` row groups, each in `pieces` blocks per slab.
    bint shared
    index count             # threads
    index round_units, rounds
    index pieces
    index input_pieces, channel_pieces


cdef struct RunContext:
    const Blocking *b
    const fc_call *call
    Schedule s
    index group, first, tiles   # the round, where V is shared


cdef inline index block_start(const Blocking *b, index units, index pieces,
                              index piece) noexcept nogil:
    """First tile of a piece: row groups are dealt out evenly."""
    return min(b.tiles, units * piece // pieces * b.rows)


cdef index private_cost(const Blocking *b, index units, index count, index pieces) noexcept nogil:
    return ceil_div(b.conv.groups * pieces, count) * b.slabs \
        * (ceil_div(units, pieces) * b.rows + STREAM_TILES)


cdef index shared_cost(const Blocking *b, const Schedule *s, index pieces) noexcept nogil:
    return b.conv.groups * s.rounds * (
        ceil_div(b.slabs * pieces, s.count)
        * (ceil_div(s.round_units, pieces) * b.rows + STREAM_TILES) + BARRIER_TILES * b.slabs)


cdef Schedule schedule(const Blocking *b, index count) noexcept nogil:
    """The cheaper way to keep `count` threads busy; it decides who works, never what comes out."""
    cdef Schedule s
    cdef index units = ceil_div(b.tiles, b.rows), most = b.most // b.rows, pieces, cost, best = -1
    s.shared = False
    s.count = count
    s.pieces = units
    for pieces in range(ceil_div(units, most), min(units, ceil_div(units, most) + count) + 1):
        cost = private_cost(b, units, count, pieces)
        if best < 0 or cost < best:
            best = cost
            s.pieces = pieces
    s.rounds = ceil_div(units, most * count)
    s.round_units = ceil_div(units, s.rounds)
    s.channel_pieces = min(ceil_div(b.group_in, b.strip), 4 * count)
    s.input_pieces = min(s.round_units, ceil_div(4 * count, s.channel_pieces))
    if count == 1:
        return s
    for pieces in range(ceil_div(s.round_units, most),
                        min(s.round_units, ceil_div(s.round_units, most) + count) + 1):
        cost = shared_cost(b, &s, pieces)
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
    cdef index units = ceil_div(b.tiles, b.rows), piece = task % r.s.pieces, slab
    cdef index first = block_start(b, units, r.s.pieces, piece)
    cdef index count = block_start(b, units, r.s.pieces, piece + 1) - first
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
    cdef index units = ceil_div(r.tiles, b.rows)
    cdef index first = units * piece // r.s.pieces * b.rows
    cdef index end = min(r.tiles, units * (piece + 1) // r.s.pieces * b.rows)
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
        r.first = turn % r.s.rounds * r.s.round_units * b.rows
        r.tiles = min(b.tiles - r.first, r.s.round_units * b.rows)
        if r.tiles <= 0:
            continue
        code = threads.run(input_task, r, r.s.input_pieces * r.s.channel_pieces,
                           4.0 * r.tiles * b.points * b.group_in * b.element,
                           b.conv.flush_denormals)
        if code == threads.FC_OK:
            code = threads.run(slab_task, r, b.slabs * r.s.pieces, operations,
                               b.conv.flush_denormals)
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
    r.s = schedule(r.b, threads.maximum())
    operations = 2.0 * r.b.points * r.b.tiles * r.b.group_in * r.b.group_out
    if r.s.shared:
        return run_shared(&r, operations)
    return threads.run(private_task, &r, r.b.conv.groups * r.s.pieces,
                       operations * r.b.conv.groups, r.b.conv.flush_denormals)
