"""Direct convolution with vectors along the width: right for every convolution and every stride.

Input rows are copied into zero-padded scratch, split into the phases of the stride, so that each
tap becomes one contiguous load:

    x --split--> rows[plane][row][phase] --tile--> (sums) --> out
    x ------------------------------------ tile --> out     (one plane, small square kernel)

Fast for single planes, few channels, and depthwise convolutions of NCHW memory: all output channels
of a group share a copy, and results leave as the rows they are made as. A sum is made of
chains of at most 512 multiply-adds in the order channel, kernel depth, height, width; chains are
added in order. Where they begin depends on the convolution alone, so neither tiles nor threads
change a bit. Padding is multiplied like any other zero.
"""

from libc.string cimport memset

from . cimport threads
from .arithmetic cimport ceil_div, clamp, count_on, digits_of, gcd, index, round_up
from .direct_kernels cimport fc_direct_kernels, fc_interleave_args
from .direct_kernels cimport fc_planes_args, fc_split_args
from .epilogue cimport epilogue_of
from .dispatch cimport kernels
from .op cimport Prepared, fc_call, fc_conv, fc_view, new_blocking
from .packing cimport Packing, pack_pieces

# A sum is built from chains of at most CHAIN multiply-adds. One that spans several input planes
# may be shorter: all its planes must be in the cache together.
cdef index CHAIN = 512
cdef index CHAIN_OF_PLANES = 256
# Scratch of one thread: the copied rows, and the sums of chains to come.
cdef index ROWS_BYTES = 160 << 10
cdef index SUMS_BYTES = 128 << 10
# Widest block of output columns, and the widest reach of a chain's taps along the width.
cdef index WIDEST = 1024
cdef index REACH = 4096
# Work is cut into up to this many tasks of at least this many operations for each of a group's
# tiles of output channels, which share a copy; from so many tiles on copies cost little.
cdef index TASKS = 64
cdef double TASK_OPERATIONS = 2e5
cdef index MANY_TILES = 4


# ---------------------------------------------------------------- planes: planning

cdef enum:
    DIGITS = 7

cdef struct Planes:
    fc_conv conv
    const fc_direct_kernels *kernels
    index element
    index group_in, group_out
    index planes                      # (channel, kernel depth) pairs of one output channel's sum
    index tiles, tiles_per_item       # of a group's output channels
    index chain_planes, chain_rows, chain_taps
    bint single_chain
    bint in_place                     # tiles read x itself, masking what is outside
    # Dilation along the height leaves independent combs of output rows `spacing` apart, each of
    # which is an undilated convolution with stride `comb_stride` over every dilation-th input row.
    index spacing, comb_stride
    index rows, row_blocks            # a block's output rows; blocks of one comb
    index columns, column_blocks
    # A copied row keeps a slot for each phase of the stride that taps fall on; bytes.
    index slots, slot, row_pitch, plane_pitch
    index sum_row, sum_channel, sums_at, workspace
    index items, items_per_task
    # Column blocks, row blocks, combs, slices, blocks of tiles, groups, images: an item's digits.
    index extents[DIGITS]


cdef inline ptrdiff_t *tap_table(const Planes *b) noexcept nogil:
    """Distances in bytes of a chain's taps within its copied rows; they follow the struct."""
    return <ptrdiff_t *> (<char *> b + sizeof(Planes))


cdef inline index first_channel(const Planes *b, index tile) noexcept nogil:
    return tile_start(tile, b.group_out)


cdef index taps_of_chain(const fc_conv *c) noexcept nogil:
    """Taps of a kernel row that one chain takes."""
    return clamp(min(CHAIN, 1 + REACH // c.dilation[2]), 0, c.kernel[2])


cdef void plan_chains(Planes *b) noexcept nogil:
    """Nested cuts: whole planes while they fit a chain, else rows of one, else pieces of a row."""
    cdef const fc_conv *c = &b.conv
    cdef index taps = c.kernel[1] * c.kernel[2]
    b.planes = b.group_in * c.kernel[0]
    b.chain_taps = taps_of_chain(c)
    b.chain_rows = min(c.kernel[1], max(1, CHAIN // max(1, c.kernel[2])))
    if b.chain_taps < c.kernel[2]:
        b.chain_rows = min(1, c.kernel[1])
    b.chain_planes = 1
    if b.chain_rows == c.kernel[1] and b.chain_taps == c.kernel[2]:
        b.chain_planes = clamp(CHAIN_OF_PLANES // max(1, taps), 1, max(1, b.planes))
    b.single_chain = b.planes * taps == 0 or (
        b.chain_planes == b.planes and b.chain_rows == c.kernel[1]
        and b.chain_taps == c.kernel[2])


cdef inline index rows_of_tile(const Planes *b) noexcept nogil:
    """Output rows of the tallest tile: the one of the fewest channels."""
    return b.kernels.planes_rows[b.group_out // b.tiles]


cdef index read_rows(const Planes *b) noexcept nogil:
    """Output rows that tiles work on: whole tiles, in narrow blocks below each other."""
    cdef index tile_rows = rows_of_tile(b)
    if b.columns <= b.kernels.lanes:
        tile_rows *= b.kernels.planes_vectors
    return round_up(b.rows, tile_rows)


cdef void measure_scratch(Planes *b) noexcept nogil:
    """Pitches of the copied rows and the sums for the block's present rows and columns."""
    cdef const fc_conv *c = &b.conv
    cdef index lanes = b.kernels.lanes
    cdef index reach = max(0, b.chain_taps - 1) * c.dilation[2] // c.stride[2]
    cdef index columns = round_up(b.columns, lanes)
    cdef index input_rows = (read_rows(b) - 1) * b.comb_stride + max(1, b.chain_rows)
    b.slots = min(c.stride[2] // gcd(c.stride[2], c.dilation[2]), max(1, b.chain_taps))
    # behind a piece: the lead before it, and the vector that its copy may write too much
    b.slot = (round_up(columns + reach + 1, lanes) + 2 * lanes) * b.element
    # an odd number of cache lines: neighbouring rows must not share their cache sets
    b.row_pitch = round_up(b.slots * b.slot, 64) | 64
    b.plane_pitch = 0 if b.in_place else input_rows * b.row_pitch
    b.sum_row = columns * b.element
    b.sum_channel = b.rows * b.sum_row
    b.sums_at = round_up(b.chain_planes * b.plane_pitch, 64)
    b.workspace = b.sums_at
    if not b.single_chain:
        b.workspace += (first_channel(b, b.tiles_per_item) + 1) * b.sum_channel
    b.workspace = round_up(b.workspace, 4096) + 64


cdef void shorten_chains(Planes *b) noexcept nogil:
    """Fewer planes a chain until the smallest block's copies fit, whatever the picture's size."""
    b.rows = rows_of_tile(b)
    b.columns = b.kernels.planes_vectors * b.kernels.lanes
    measure_scratch(b)
    while b.chain_planes > 1 and b.sums_at > ROWS_BYTES:
        b.chain_planes //= 2
        b.single_chain = False
        measure_scratch(b)


cdef void plan_blocks(Planes *b) noexcept nogil:
    """Output rows and columns of a block whose copied rows fit their share of the cache."""
    cdef const fc_conv *c = &b.conv
    cdef index widest = b.kernels.planes_vectors * b.kernels.lanes
    cdef index tile_rows = rows_of_tile(b)
    cdef index comb = ceil_div(c.out_size[1], b.spacing)
    cdef double least = TASK_OPERATIONS * min(b.tiles, MANY_TILES)
    cdef index wanted = clamp(<index> (conv_work(c, b.element) / least), 1, TASKS)
    b.columns = c.out_size[2]
    if b.columns > WIDEST:
        b.columns = round_up(ceil_div(b.columns, ceil_div(b.columns, WIDEST)), widest)
    b.tiles_per_item = b.tiles
    b.rows = comb
    while True:
        measure_scratch(b)
        b.row_blocks = ceil_div(comb, b.rows)
        b.column_blocks = ceil_div(c.out_size[2], b.columns)
        b.items = c.batch * c.groups * ceil_div(b.tiles, b.tiles_per_item) * c.out_size[0] \
            * b.spacing * b.row_blocks * b.column_blocks
        if b.rows > tile_rows and (b.sums_at > ROWS_BYTES or b.items < wanted):
            b.rows = round_up(ceil_div(b.rows, 2), tile_rows)
        elif b.columns > widest and (b.sums_at > ROWS_BYTES or b.items < wanted):
            b.columns = round_up(ceil_div(b.columns, 2), widest)
        elif b.tiles_per_item > 1 and (b.workspace - b.sums_at > SUMS_BYTES or b.items < wanted):
            b.tiles_per_item = ceil_div(b.tiles_per_item, 2)
        else:
            break
    b.items_per_task = max(1, b.items // TASKS)
    b.extents = [b.column_blocks, b.row_blocks, b.spacing, c.out_size[0],
                 ceil_div(b.tiles, b.tiles_per_item), c.groups, c.batch]


cdef bint reads_in_place(const Planes *b, const fc_view *x) noexcept nogil:
    """Whether there is an in-place tile for this kernel, and its few masks are enough.

    Only a row's first and last vector of a tile are masked: the others must lie inside the input.
    """
    cdef const fc_conv *c = &b.conv
    cdef index lanes = b.kernels.lanes, widest = b.kernels.planes_vectors * lanes
    cdef index size = c.kernel[2], stride = c.stride[2], width = c.out_size[2], last, inside
    if b.planes != 1 or b.group_out != 1 or c.kernel[1] != size or c.stride[1] != stride \
            or c.dilation[1] != 1 or c.dilation[2] != 1 or x.space[2] != b.element:
        return False
    if not (size == 3 and stride <= 2 or size == 5 and stride == 1) or c.pad[2] > lanes:
        return False
    last = (width - 1) % widest // lanes * lanes
    inside = width - 1 - (width - 1) % widest + last
    return last == 0 or inside * stride + (size - 2 if stride == 1 else 1) - c.pad[2] < c.in_size[2]


cdef void fill_taps(Planes *b) noexcept nogil:
    """All taps of a chain, in its order; chains with fewer of them use the table's beginning."""
    cdef const fc_conv *c = &b.conv
    cdef index plane, row, tap, slot, phase, at = 0
    for plane in range(b.chain_planes):
        for row in range(b.chain_rows):
            for tap in range(b.chain_taps):
                slot = tap % b.slots
                phase = slot * c.dilation[2] % c.stride[2]
                tap_table(b)[at] = plane * b.plane_pitch + row * b.row_pitch + slot * b.slot \
                    + (tap * c.dilation[2] - phase) // c.stride[2] * b.element
                at += 1


cdef Prepared plan_planes(const fc_conv *conv, const fc_view *x, const fc_view *out,
                          const fc_view *residual):
    cdef Prepared op = Prepared.__new__(Prepared)
    cdef Planes *b = <Planes *> new_blocking(op, sizeof(Planes) + CHAIN * sizeof(ptrdiff_t))
    cdef index common
    b.conv = conv[0]
    b.kernels = kernels(conv.type).direct
    b.element = 8 if conv.type else 4
    b.group_in = conv.in_channels // conv.groups
    b.group_out = conv.out_channels // conv.groups
    b.tiles = tile_count(b.group_out)
    common = gcd(conv.dilation[1], conv.stride[1])
    b.spacing = clamp(conv.dilation[1] // common, 1, max(1, conv.out_size[1]))
    b.comb_stride = conv.stride[1] // common
    plan_chains(b)
    b.in_place = reads_in_place(b, x)
    shorten_chains(b)
    plan_blocks(b)
    fill_taps(b)
    op.pack = pack_planes
    op.run = run_planes
    op.packed_bytes = conv.out_channels * b.planes * conv.kernel[1] * conv.kernel[2] * b.element
    op.workspace_bytes = b.workspace
    op.packing = ("planes", conv.type, conv.groups)
    return op


def planes_tile(dtype="float32", index group_out=1):
    """The largest register tile for a number of output channels a group, as `Plan.tile` shows it.

    Parameters
    ----------
    dtype : str or numpy.dtype
        float32 or float64.
    group_out : int
        Output channels of one group.
    """
    cdef const fc_direct_kernels *k = kernels(str(dtype) == "float64").direct
    cdef index channels = ceil_div(group_out, tile_count(group_out))
    columns = k.planes_vectors * k.lanes
    return f"{channels}x{k.planes_rows[channels]}x{columns} (channels x rows x columns)"


# ---------------------------------------------------------------- planes: weights

cdef int pack_planes(const void *blocking, const char *weight, char *packed) noexcept nogil:
    return pack_tiles(&(<const Planes *> blocking).conv, weight, packed)


cdef int pack_task(void *context, index task, int thread) noexcept nogil:
    """The weights of one tile's channels, tap after tap."""
    cdef const Packing *p = <const Packing *> context
    cdef const fc_conv *c = <const fc_conv *> p.blocking
    cdef index group_out = c.out_channels // c.groups, tiles = tile_count(group_out)
    cdef index tile = task % tiles, at
    cdef fc_interleave_args args
    args.taps = c.in_channels // c.groups * c.kernel[0] * c.kernel[1] * c.kernel[2]
    args.channels = tile_start(tile + 1, group_out) - tile_start(tile, group_out)
    at = (task // tiles * group_out + tile_start(tile, group_out)) * args.taps \
        * (8 if c.type else 4)
    args.weight = p.weight + at
    args.dst = p.packed + at
    kernels(c.type).direct.interleave(&args)
    return threads.FC_OK


cdef int pack_tiles(const fc_conv *conv, const char *weight, char *packed) noexcept nogil:
    cdef index group_out = conv.out_channels // conv.groups
    cdef double weights = 1.0 * conv.out_channels * (conv.in_channels // conv.groups) \
        * conv.kernel[0] * conv.kernel[1] * conv.kernel[2]
    return pack_pieces(pack_task, conv, weight, packed, conv.groups * tile_count(group_out),
                       4 * weights)


# ---------------------------------------------------------------- planes: one block

cdef struct Block:
    const Planes *b
    const fc_call *call
    char *workspace
    index at[DIGITS]         # the item's digits
    index image, group, first_tile, last_tile, depth
    index row, rows          # first output row; rows, `spacing` apart
    index column, columns


cdef struct Chain:
    # Input planes, kernel rows and taps of one chain: [first, first + count) of each.
    index plane, planes, row, rows, tap, taps


cdef inline index lead(const Block *t, const Chain *chain) noexcept nogil:
    """Elements that a copied row is moved by, so that the input behind its padding is aligned."""
    cdef const fc_conv *c = &t.b.conv
    cdef index padding = c.pad[2] - t.column * c.stride[2] - chain.tap * c.dilation[2]
    return -padding & (t.b.kernels.lanes - 1) if padding > 0 and c.stride[2] == 1 else 0


cdef void copy_plane(const Block *t, const Chain *chain, index plane, char *dst) noexcept nogil:
    """Rows of one input plane that the chain's taps see from the block, zeros outside."""
    cdef const Planes *b = t.b
    cdef const fc_conv *c = &b.conv
    cdef const fc_view *x = &t.call.x
    cdef index channel = t.group * b.group_in + plane // c.kernel[0]
    cdef index depth = t.depth * c.stride[0] - c.pad[0] + plane % c.kernel[0] * c.dilation[0]
    cdef index row = t.row * c.stride[1] - c.pad[1] + chain.row * c.dilation[1]
    cdef index column = t.column * c.stride[2] - c.pad[2] + chain.tap * c.dilation[2]
    cdef index window, windows = 1, step = b.comb_stride
    cdef fc_split_args s
    s.columns = (t.columns - 1) * c.stride[2] + (chain.taps - 1) * c.dilation[2] + 1
    s.first = clamp(-column, 0, s.columns)
    s.last = clamp(c.in_size[2] - column, s.first, s.columns)
    s.rows = (t.rows - 1) * step + chain.rows
    s.src_row = c.dilation[1] * x.space[1]
    s.src_pixel = x.space[2]
    s.stride = c.stride[2]
    s.dilation = c.dilation[2]
    s.slots = b.slots
    s.slot = b.slot
    s.dst_row = b.row_pitch
    if step > chain.rows:       # skip the rows between two windows
        windows = t.rows
        s.rows = chain.rows
    for window in range(windows):
        s.first_row = clamp(ceil_div(max(0, -row), c.dilation[1]), 0, s.rows)
        s.last_row = clamp(ceil_div(max(0, c.in_size[1] - row), c.dilation[1]), s.first_row, s.rows)
        if not 0 <= depth < c.in_size[0]:
            s.last_row = s.first_row
        s.src = address(x, t.image, channel, depth, row + s.first_row * c.dilation[1],
                        column + s.first)
        s.dst = dst + window * step * b.row_pitch + lead(t, chain) * b.element
        b.kernels.split(&s)
        row += step * c.dilation[1]


cdef void aim_in_place(const Block *t, fc_planes_args *p) noexcept nogil:
    """The block's own input plane instead of a copy."""
    cdef const fc_conv *c = &t.b.conv
    cdef const fc_view *x = &t.call.x
    cdef index depth = t.depth * c.stride[0] - c.pad[0]
    p.x = address(x, t.image, t.group, depth, 0, 0)
    p.x_row = x.space[1]
    p.x_rows = c.in_size[1] if 0 <= depth < c.in_size[0] else 0
    p.x_columns = c.in_size[2]
    p.top = t.row * c.stride[1] - c.pad[1]
    p.left = t.column * c.stride[2] - c.pad[2]


cdef void add_chain(const Block *t, const Chain *chain, bint is_first, bint is_last) noexcept nogil:
    """One chain of every output element of the block; the last one also finishes them."""
    cdef const Planes *b = t.b
    cdef const fc_conv *c = &b.conv
    cdef const fc_view *out = &t.call.out
    cdef const fc_view *residual = &t.call.residual
    cdef index tile, channel, tap_bytes
    cdef fc_planes_args p
    p.rows = t.rows
    p.stride = b.comb_stride
    p.load_sums = not is_first
    p.finish = is_last
    p.columns = t.columns
    p.planes = chain.planes
    p.kernel_rows = chain.rows
    p.taps = chain.taps
    p.x_plane = b.plane_pitch
    p.x_row = b.row_pitch
    p.tap = tap_table(b)
    p.sum_channel = b.sum_channel
    p.sum_row = b.sum_row
    p.out_channel = out.channel
    p.out_row = out.space[1] * b.spacing
    p.out_pixel = out.space[2]
    p.residual = NULL
    p.residual_channel = residual.channel
    p.residual_row = residual.space[1] * b.spacing
    p.residual_pixel = residual.space[2]
    p.x = t.workspace + lead(t, chain) * b.element
    if b.in_place:
        aim_in_place(t, &p)
    for tile in range(t.first_tile, t.last_tile):
        channel = t.group * b.group_out + first_channel(b, tile)
        p.channels = <int> (first_channel(b, tile + 1) - first_channel(b, tile))
        tap_bytes = p.channels * b.element
        p.w_row = c.kernel[2] * tap_bytes
        p.w_plane = c.kernel[1] * p.w_row
        p.w = t.call.packed + channel * b.planes * c.kernel[1] * c.kernel[2] * b.element \
            + chain.plane * p.w_plane + chain.row * p.w_row + chain.tap * tap_bytes
        p.sums = t.workspace + b.sums_at \
            + (first_channel(b, tile) - first_channel(b, t.first_tile)) * b.sum_channel
        p.epilogue = epilogue_of(c, t.call, channel)
        p.out = address(out, t.image, channel, t.depth, t.row, t.column)
        if residual.data != NULL:
            p.residual = address(residual, t.image, channel, t.depth, t.row, t.column)
        if b.in_place:
            b.kernels.in_place(&p)
        else:
            b.kernels.planes(&p)


cdef void run_block(const Block *t) noexcept nogil:
    """All chains of one block, in order."""
    cdef const Planes *b = t.b
    cdef const fc_conv *c = &b.conv
    cdef Chain chain
    cdef index plane
    cdef bint is_first = True, is_last = False
    memset(&chain, 0, sizeof(Chain))
    if b.planes * c.kernel[1] * c.kernel[2] == 0:
        add_chain(t, &chain, True, True)
        return
    while not is_last:
        chain.planes = min(b.chain_planes, b.planes - chain.plane)
        chain.rows = min(b.chain_rows, c.kernel[1] - chain.row)
        chain.taps = min(b.chain_taps, c.kernel[2] - chain.tap)
        for plane in range(0 if b.in_place else chain.planes):
            copy_plane(t, &chain, chain.plane + plane, t.workspace + plane * b.plane_pitch)
        is_last = chain.plane + chain.planes == b.planes \
            and chain.row + chain.rows == c.kernel[1] and chain.tap + chain.taps == c.kernel[2]
        add_chain(t, &chain, is_first, is_last)
        is_first = False
        chain.tap += chain.taps
        if chain.tap == c.kernel[2]:
            chain.tap = 0
            chain.row += chain.rows
        if chain.row == c.kernel[1]:
            chain.row = 0
            chain.plane += chain.planes


cdef struct PlanesRun:
    const Planes *b
    const fc_call *call


cdef bint locate(Block *t) noexcept nogil:
    """The item's block of the result; False if it holds no row (combs differ by one)."""
    cdef const Planes *b = t.b
    cdef const fc_conv *c = &b.conv
    cdef index comb = t.at[2], comb_rows = c.out_size[1]
    if b.spacing > 1:
        comb_rows = ceil_div(comb_rows - comb, b.spacing)
    t.column = t.at[0] * b.columns
    t.columns = min(b.columns, c.out_size[2] - t.column)
    t.row = t.at[1] * b.rows
    t.rows = min(b.rows, comb_rows - t.row)
    t.row = comb + t.row * b.spacing
    t.depth = t.at[3]
    t.first_tile = t.at[4] * b.tiles_per_item
    t.last_tile = min(t.first_tile + b.tiles_per_item, b.tiles)
    t.group = t.at[5]
    t.image = t.at[6]
    return t.rows > 0


cdef int planes_task(void *context, index task, int thread) noexcept nogil:
    cdef PlanesRun *r = <PlanesRun *> context
    cdef Block t
    cdef index item
    t.b = r.b
    t.call = r.call
    t.workspace = r.call.workspace + thread * r.b.workspace
    digits_of(task * r.b.items_per_task, r.b.extents, DIGITS, t.at)
    for item in range(task * r.b.items_per_task,
                      min((task + 1) * r.b.items_per_task, r.b.items)):
        if locate(&t):
            run_block(&t)
        count_on(r.b.extents, DIGITS, t.at)
    return threads.FC_OK


cdef int run_planes(const void *blocking, const fc_call *call) noexcept nogil:
    cdef PlanesRun r
    r.b = <const Planes *> blocking
    r.call = call
    return threads.run(planes_task, &r, ceil_div(r.b.items, r.b.items_per_task),
                       conv_work(&r.b.conv, r.b.element), r.b.conv.flush_denormals,
                       r.call.threads)


