"""Implicit GEMM by tiles (Intel AMX): float32 from products of bfloat16.

A float32 is the sum of a high and a low bfloat16 to a relative 2^-17, so three products of halves
(low x high, high x high, high x low) stand for one of floats, at several times the speed of float32
vectors; with precision "medium" the high halves alone do. The tiles add in float32.

    x --split--> strip of halves [32 channels][pixel][32] --tiles--> sums --finish--> out
                                weights, split and packed once ---^

A task owns a block of output pixels and some panels of 32 output channels of one group. It splits
the input that the block sees, with padding, layout and stride dealt with in the same pass, and then
every step (a tap of 32 input channels) of every 16 pixels is one tile at a constant distance.
Tasks configure their thread's tiles and release them: nothing of the tiles outlives a task.

Sums are chains of up to 72 steps (144 of high halves alone), added in order. Blocks follow the number of threads, the bits do not.
"""

from . cimport threads
from .amx_block cimport Axis, Blocking, Task, finish, input_rows, multiply, packed_panel_at
from .amx_block cimport panel_tiles, point_at_result, rows_are_one, split_rows, split_strip
from .amx_block cimport step_bytes
from .arithmetic cimport ceil_div, gcd, index, round_up
from .dispatch cimport kernels
from .halves_kernels cimport fc_halves_pack_args
from .op cimport Prepared, fc_call, fc_conv, fc_view, new_blocking
from .packing cimport Packing, pack_pieces
from .tiles_kernels cimport FC_TILE_COLUMNS, FC_TILE_DEPTH, FC_TILE_PANEL, FC_TILE_PIXEL
from .tiles_kernels cimport FC_TILE_PIXELS, FC_TILE_SUM_ROW

from libc.string cimport memset

# A strip with both copies, half of L2; the sums of a block beside it.
cdef index STRIP_BYTES = 1 << 20
cdef index BLOCK_PIXELS = 512
# Output columns of a stripe, where there are rows to share what it reads.
cdef index STRIPE_COLUMNS = 128
# Fewer pixels than this are one tile.
cdef index LEAST_COLUMNS = 16
# Blocks that are tried beyond the fewest, in search of even work for the threads.
cdef index MORE_BLOCKS = 64
# Weights of a task that stay in L2 beside a strip, so that few tiles at a time may use all of them.
cdef index NEAR_WEIGHTS = 512 << 10
# What a task costs, in cycles: a product of tiles, to split an element, to finish one, to begin.
cdef double TILE_PRODUCT = 16
# A tile of pixels that has no other beside it waits for its own products: it takes as long as so many.
cdef double LONE_TILE = 1.6
cdef double SPLIT = 0.6
cdef double FINISH = 0.5
cdef double BEGIN = 2e4
# So many operations of the definition take as long as one that threads.run counts.
cdef double FASTER = 4

cdef enum:
    MOST_RUNS = 24          # steps of merged runs: plan.py has it, too


cdef Axis axis_of(const fc_conv *c, int axis) noexcept:
    cdef Axis a
    a.stride, a.dilation, a.pad = c.stride[axis], c.dilation[axis], c.pad[axis]
    # taps see stride / gcd phases in turn
    a.phases = min(c.kernel[axis], a.stride // gcd(a.stride, a.dilation))
    a.reach = (c.kernel[axis] - 1) * a.dilation // a.stride
    return a


cdef index row_floats(const Blocking *b) noexcept:
    """Of an input row that a block sees."""
    return ((b.stripe - 1) * b.conv.stride[2] + b.conv.kernel[2]) * b.group_in


cdef void measure_rows(Blocking *b) noexcept:
    """The same of rows of merged runs: a vector is written past their ends."""
    b.row_bytes = round_up(row_floats(b) * 2 + FC_TILE_PIXEL, FC_TILE_PIXEL)
    b.row = b.conv.stride[1] * b.row_bytes
    b.low_at = input_rows(b, b.rows) * b.row_bytes * (1 if b.low else 0)
    b.block_bytes = 0


cdef void measure_block(Blocking *b) noexcept:
    """Sizes that follow from a block's rows and columns."""
    cdef index copies = 2 if b.low else 1, last_row
    b.pitch = b.stripe + b.across.reach
    b.grid = (b.rows + b.down.reach) * b.pitch
    b.slice = b.down.phases * b.across.phases * b.grid
    # an odd number of pixels: copies must not meet in the same cache sets
    b.low_at = (b.conv.kernel[0] * b.slice | 1) * FC_TILE_PIXEL * (copies - 1)
    b.block_bytes = (b.conv.kernel[0] * b.slice | 1) * FC_TILE_PIXEL * copies
    b.row = b.pitch * FC_TILE_PIXEL
    if b.merged:
        measure_rows(b)
    last_row = (b.rows - 1) * b.pitch + b.stripe
    b.tiles = b.rows * ceil_div(b.stripe, FC_TILE_PIXELS)
    b.by_rows = b.merged or b.tiles < ceil_div(last_row, FC_TILE_PIXELS)
    b.line = round_up(b.stripe, FC_TILE_PIXELS) if b.by_rows else b.pitch
    if not b.by_rows:
        b.tiles = ceil_div(last_row, FC_TILE_PIXELS)


cdef index strip_bytes(const Blocking *b) noexcept:
    """All channel blocks, and what the last tiles read past their pixels."""
    cdef index past = 2 * FC_TILE_PIXELS * b.pixel + b.run_blocks * FC_TILE_PIXEL
    if b.merged:
        return b.low_at + input_rows(b, b.rows) * b.row_bytes + past
    return b.channel_blocks * b.block_bytes + past


cdef bint too_large(const Blocking *b) noexcept:
    return strip_bytes(b) > STRIP_BYTES or b.tiles * FC_TILE_PIXELS > BLOCK_PIXELS


cdef void plan_largest(Blocking *b) noexcept:
    """The most output rows of a stripe that fit the cache; fewer columns where one row does not."""
    cdef const fc_conv *c = &b.conv
    cdef index columns = c.out_size[2]
    cdef index widest = BLOCK_PIXELS if c.out_size[1] == 1 else STRIPE_COLUMNS
    b.stripe = columns
    if columns > widest:
        b.stripe = round_up(ceil_div(columns, ceil_div(columns, widest)), FC_TILE_PIXELS)
    b.rows = c.out_size[1]
    measure_block(b)
    while too_large(b):
        if b.rows > 1:
            b.rows -= 1 if b.rows <= 2 * BLOCK_PIXELS // b.stripe else b.rows // 2
        elif b.stripe > LEAST_COLUMNS:
            b.stripe = round_up(ceil_div(b.stripe, 2), FC_TILE_PIXELS)
        else:
            break
        measure_block(b)
    b.stripes = ceil_div(columns, b.stripe)
    b.units = c.batch * c.out_size[0] * b.stripes
    b.blocks = ceil_div(c.out_size[1], b.rows)


cdef index task_count(const Blocking *b) noexcept nogil:
    return b.conv.groups * b.panel_tasks * b.units * b.blocks


cdef double makespan(const Blocking *b) noexcept:
    """Cycles of the thread with most to do."""
    cdef double tiles = b.tiles - 1 + LONE_TILE if b.tiles % 2 else b.tiles
    cdef double products = tiles * b.steps * (3 if b.low else 1) \
        * ceil_div(min(b.panels_per_task * FC_TILE_PANEL, b.group_out), FC_TILE_COLUMNS)
    cdef double elements = <double> input_rows(b, b.rows) * row_floats(b) if b.merged else \
        <double> b.conv.kernel[0] * b.slice * b.channel_blocks * FC_TILE_DEPTH
    cdef double sums = <double> b.tiles * FC_TILE_PIXELS * b.panels_per_task * FC_TILE_PANEL
    return ceil_div(task_count(b), threads.maximum()) \
        * (TILE_PRODUCT * products + SPLIT * elements + FINISH * sums + BEGIN)


cdef void split_work(Blocking *b, index pieces, index panel_tasks) noexcept:
    """Cut the output rows into so many blocks, a single one into stripes, and share the panels."""
    cdef index columns = b.conv.out_size[2]
    if b.conv.out_size[1] > 1:
        b.rows = ceil_div(b.conv.out_size[1], pieces)
        b.blocks = ceil_div(b.conv.out_size[1], b.rows)
    else:
        b.stripe = ceil_div(columns, pieces)
        b.stripes = ceil_div(columns, b.stripe)
        b.units = b.conv.batch * b.conv.out_size[0] * b.stripes
    b.panels_per_task = ceil_div(b.panels, panel_tasks)
    b.panel_tasks = ceil_div(b.panels, b.panels_per_task)
    measure_block(b)


cdef void plan_tasks(Blocking *b) noexcept:
    """Pixels of a block and panels of a task, for the present number of threads: it moves no bit."""
    cdef bint by_rows = b.conv.out_size[1] > 1
    cdef index fewest = b.blocks if by_rows else b.stripes
    cdef index most = b.conv.out_size[1] if by_rows \
        else ceil_div(b.conv.out_size[2], FC_TILE_PIXELS)
    cdef index best_pieces = fewest, best_panels = 1, pieces, panel_tasks
    cdef double least = -1, cost
    for pieces in range(fewest, min(most, fewest + MORE_BLOCKS) + 1):
        for panel_tasks in range(1, min(b.panels, threads.maximum()) + 1):
            split_work(b, pieces, panel_tasks)
            cost = makespan(b)
            if least < 0 or cost < least:
                least, best_pieces, best_panels = cost, pieces, panel_tasks
    split_work(b, best_pieces, best_panels)


cdef void plan_turns(Blocking *b) noexcept:
    """All channels of 32 pixels before the next pixels', where a result's pixel is all its channels.

    Else a panel would write a bit of each of many pages, and a processor has 16 of them at hand.
    """
    cdef index weights = 2 * b.panels_per_task * b.steps * step_bytes(b)
    b.turn = 2 if b.rows_out and b.panels_per_task > 1 and weights <= NEAR_WEIGHTS else b.tiles


cdef void fill_taps(Blocking *b) noexcept:
    """Where each tap finds an output pixel in a copy: grid of its phase, row and column in it."""
    cdef const fc_conv *c = &b.conv
    cdef index *tap = <index *> (b + 1)
    cdef index slice, row, column, phase, block
    if b.merged:
        for row in range(c.kernel[1]):
            for block in range(b.run_blocks):
                tap[0] = row * c.dilation[1] * b.row_bytes + block * FC_TILE_PIXEL
                tap += 1
        return
    for slice in range(c.kernel[0]):
        for row in range(c.kernel[1]):
            for column in range(c.kernel[2]):
                phase = row % b.down.phases * b.across.phases + column % b.across.phases
                tap[0] = FC_TILE_PIXEL * (
                    slice * b.slice + phase * b.grid
                    + row * c.dilation[1] // c.stride[1] * b.pitch
                    + column * c.dilation[2] // c.stride[2])
                tap += 1


cdef void plan_workspace(Blocking *b) noexcept:
    """Offsets of a thread's scratch: strip, sums, those of a later chain, pointers."""
    cdef index sums = b.tiles * FC_TILE_PIXELS * FC_TILE_SUM_ROW
    cdef index pointers = round_up(b.rows * b.stripe * sizeof(void *), 64) * b.rows_out
    b.floats_at = round_up(strip_bytes(b), 64)
    b.sums_at = b.floats_at + round_up(row_floats(b) * 4, 64) * b.merged
    # the sums of a last, single tile are those of two
    b.chain_at = b.sums_at + sums
    b.out_rows_at = b.chain_at + sums
    b.residual_rows_at = b.out_rows_at + pointers
    b.workspace = round_up(b.residual_rows_at + pointers, 4096) + 64


cdef Prepared plan_amx(const fc_conv *conv, const fc_view *x, const fc_view *out,
                       const fc_view *residual, bint low, bint merged):
    cdef Prepared op = Prepared.__new__(Prepared)
    cdef index taps = conv.kernel[0] * conv.kernel[1] * conv.kernel[2]
    cdef Blocking *b = <Blocking *> new_blocking(op, sizeof(Blocking) + taps * sizeof(index))
    b.conv = conv[0]
    b.kernels = kernels(conv.type)
    b.low = low
    b.rows_out = out.channel == 4 and (residual.data == NULL or residual.channel == 4)
    b.group_in = conv.in_channels // conv.groups
    b.group_out = conv.out_channels // conv.groups
    b.merged = merged
    b.taps = taps
    b.depth = b.group_in
    b.pixel = FC_TILE_PIXEL
    b.run_blocks = 0
    if merged:
        b.run_blocks = ceil_div(conv.kernel[2] * b.group_in, FC_TILE_DEPTH)
        b.taps = conv.kernel[1] * b.run_blocks
        b.depth = FC_TILE_DEPTH
        b.pixel = conv.stride[2] * b.group_in * 2
    b.channel_blocks = ceil_div(b.depth, FC_TILE_DEPTH)
    b.steps = b.taps * b.channel_blocks
    b.panels = ceil_div(b.group_out, FC_TILE_PANEL)
    b.down = axis_of(&b.conv, 1)
    b.across = axis_of(&b.conv, 2)
    plan_largest(b)
    plan_tasks(b)
    plan_turns(b)
    fill_taps(b)
    plan_workspace(b)
    op.pack = pack
    op.run = run
    op.packed_bytes = packed_panel_at(b, conv.groups, 0)
    op.workspace_bytes = b.workspace
    op.packing = ("tiles", low, merged, conv.groups)
    return op


# ---------------------------------------------------------------- weights

cdef inline index weights_of(const Blocking *b) noexcept nogil:
    """Of one output channel."""
    return b.group_in * b.conv.kernel[0] * b.conv.kernel[1] * b.conv.kernel[2]


cdef void turn_filters(const Blocking *b, const float *weight, index filters,
                       float *dst) noexcept nogil:
    """Filters [channel][tap] as [32 values of a run][kernel row and block of it].

    Of the 32 the even ones come first, then the odd ones: tiles multiply neighbours in a row of
    halves, and packing pairs weights that are 16 apart.
    """
    cdef index width = b.conv.kernel[2], row, at, filter, value
    memset(dst, 0, filters * FC_TILE_DEPTH * b.taps * sizeof(float))
    for filter in range(filters):
        for row in range(b.conv.kernel[1]):
            for at in range(width * b.group_in):
                value = at % 2 * (FC_TILE_DEPTH // 2) + at % FC_TILE_DEPTH // 2
                dst[value * b.taps + row * b.run_blocks + at // FC_TILE_DEPTH] = \
                    weight[(at % b.group_in * b.conv.kernel[1] + row) * width + at // b.group_in]
        weight += b.group_in * b.conv.kernel[1] * width
        dst += FC_TILE_DEPTH * b.taps


cdef int pack_task(void *context, index task, int thread) noexcept nogil:
    cdef const Packing *p = <const Packing *> context
    cdef const Blocking *b = <const Blocking *> p.blocking
    cdef index group = task // b.panels, panel = task % b.panels
    cdef index first = panel * FC_TILE_PANEL
    cdef fc_halves_pack_args args
    cdef float turned[FC_TILE_PANEL * FC_TILE_DEPTH * MOST_RUNS]
    args.depth = b.depth
    args.taps = b.taps
    args.row = args.depth * args.taps * 4
    args.weight = p.weight + (group * b.group_out + first) * weights_of(b) * 4
    args.channels = min(FC_TILE_PANEL, b.group_out - first)
    if b.merged:
        turn_filters(b, <const float *> args.weight, args.channels, turned)
        args.weight = <const char *> turned
    args.across = panel_tiles(b, panel)
    args.low = b.low
    args.dst = p.packed + packed_panel_at(b, group, panel)
    b.kernels.halves.pack(&args)
    return threads.FC_OK


cdef int pack(const void *blocking, const char *weight, char *packed) noexcept nogil:
    cdef const Blocking *b = <const Blocking *> blocking
    return pack_pieces(pack_task, b, weight, packed, b.conv.groups * b.panels,
                       packed_panel_at(b, b.conv.groups, 0))


# ---------------------------------------------------------------- tasks

cdef struct RunContext:
    const Blocking *b
    const fc_call *call


cdef void locate(Task *t, index task) noexcept nogil:
    """Which panels of which pixels a task makes."""
    cdef const Blocking *b = t.b
    cdef const fc_conv *c = &b.conv
    t.row = task % b.blocks * b.rows
    task //= b.blocks
    t.rows = min(b.rows, c.out_size[1] - t.row)
    t.column = task % b.stripes * b.stripe
    task //= b.stripes
    t.columns = min(b.stripe, c.out_size[2] - t.column)
    t.depth = task % c.out_size[0]
    task //= c.out_size[0]
    t.image = task % c.batch
    task //= c.batch
    t.first_panel = task % b.panel_tasks * b.panels_per_task
    t.last_panel = min(t.first_panel + b.panels_per_task, b.panels)
    t.group = task // b.panel_tasks
    t.first_tile = 0
    t.tiles = t.rows * b.line // FC_TILE_PIXELS if b.by_rows \
        else ceil_div((t.rows - 1) * b.pitch + t.columns, FC_TILE_PIXELS)


cdef int run_task(void *context, index task, int thread) noexcept nogil:
    cdef RunContext *r = <RunContext *> context
    cdef const Blocking *b = r.b
    cdef Task t
    cdef index tiles, turn, panel
    t.b = b
    t.call = r.call
    t.workspace = r.call.workspace + thread * b.workspace
    locate(&t, task)
    if b.merged:
        split_rows(&t)
    else:
        split_strip(&t)
    if b.rows_out:
        point_at_result(&t)
    b.kernels.tiles.configure()
    tiles, turn = t.tiles, b.turn if rows_are_one(&t) else t.tiles
    while t.first_tile < tiles:
        t.tiles = min(turn, tiles - t.first_tile)
        for panel in range(t.first_panel, t.last_panel):
            multiply(&t, panel)
            finish(&t, panel)
        t.first_tile += turn
    b.kernels.tiles.release()
    return threads.FC_OK


cdef int run(const void *blocking, const fc_call *call) noexcept nogil:
    cdef RunContext r
    cdef const Blocking *b = <const Blocking *> blocking
    cdef const fc_conv *c = &b.conv
    cdef double work = 2.0 * c.batch * c.out_channels * c.out_size[0] * c.out_size[1] \
        * c.out_size[2] * weights_of(b) / FASTER
    r.b = b
    r.call = call
    return threads.run(run_task, &r, task_count(b), work, c.flush_denormals, call.threads)
