"""One block of output pixels by tiles: the steps that a task of `amx` takes.

    split_strip       the input that the block's taps see, as bfloat16 halves, zero-padded
    split_rows        instead, for few channels: rows of halves, in which a kernel row is one run
    point_at_result   where each pixel lies, for a result whose channels are contiguous
    multiply          a panel's sums, chain after chain
    finish            bias, residual, activation, and out into the result's strides

A strip has its rows and columns sorted by phase: with stride 2 its even columns are one grid and its
odd ones another, so that neighbouring outputs always see neighbouring pixels of a grid, and a tile
is 16 pixels in a row whatever the stride. Per channel block:

    [slice][row phase][column phase][row][column][32 channels]     high copy, then low copy

Where rows are short, tiles run on from one output row into the next over the columns between them,
whose sums nobody reads.

Of few channels a step is 32 values of a kernel row's run instead: neighbouring pixels' runs overlap in
a row of halves, and a tile is 16 of them, a few bytes apart. What a step sees behind its run has
weights of zero.
"""

from .arithmetic cimport ceil_div, clamp, index
from .epilogue cimport epilogue_of
from .halves_kernels cimport fc_halves_run_args, fc_halves_split_args
from .kernels cimport FC_CACHE_LINE, fc_finish_args, fc_gather_args
from .line cimport rows_touch
from .op cimport fc_conv, fc_view
from .tiles_kernels cimport FC_TILE_PANEL, FC_TILE_PIXEL, FC_TILE_PIXELS
from .tiles_kernels cimport FC_TILE_SUM_ROW, fc_tiles_args

from libc.string cimport memset

# A sum is built from chains of steps, each of which is one addition a product. All tiles of the block
# use a chain's weights, which stay in L2 meanwhile, beside the strip: 72 steps of both halves are 216
# additions. Fewer would fit L1, but the sums go to memory and back in between.
cdef index CHAIN_BYTES = 288 << 10


cdef inline char *address(const fc_view *view, const Task *t, index row) noexcept nogil:
    """The block's first pixel of an output row."""
    return view.data + t.image * view.batch + t.depth * view.space[0] \
        + (t.row + row) * view.space[1] + t.column * view.space[2]


cdef void split_row(const Task *t, const char *row, index phase, char *dst) noexcept nogil:
    """Pixels of one column phase of an input row; NULL stands for a row of zeros."""
    cdef const Blocking *b = t.b
    cdef const Axis *axis = &b.across
    cdef const fc_view *x = &t.call.x
    # the grid's first entry is this input column, the next ones follow at the stride
    cdef index column = t.column * axis.stride - axis.pad + phase * axis.dilation % axis.stride
    cdef index end = ceil_div(max(0, b.conv.in_size[2] - column), axis.stride)
    cdef fc_halves_split_args s
    s.width = t.columns + axis.reach
    s.first = clamp(ceil_div(max(0, -column), axis.stride), 0, s.width)
    s.pixels = clamp(end, s.first, s.width) - s.first if row != NULL else 0
    s.src = row + (column + s.first * axis.stride) * x.space[2]
    s.src_pixel = axis.stride * x.space[2]
    s.src_channel = x.channel
    s.channels = b.group_in
    s.dst = dst
    s.block = b.block_bytes
    s.low = b.low_at
    b.kernels.halves.split(&s)


cdef void split_strip(const Task *t) noexcept nogil:
    cdef const Blocking *b = t.b
    cdef const fc_conv *c = &b.conv
    cdef const Axis *axis = &b.down
    cdef const fc_view *x = &t.call.x
    cdef index slice, depth, phase, entry, row, column_phase
    cdef const char *source = x.data + t.image * x.batch + t.group * b.group_in * x.channel
    cdef const char *line
    cdef char *dst
    for slice in range(c.kernel[0]):
        depth = t.depth * c.stride[0] - c.pad[0] + slice * c.dilation[0]
        for phase in range(axis.phases):
            dst = t.workspace \
                + (slice * b.slice + phase * b.across.phases * b.grid) * FC_TILE_PIXEL
            row = t.row * axis.stride - axis.pad + phase * axis.dilation % axis.stride
            for entry in range(t.rows + axis.reach):
                line = NULL
                if 0 <= depth < c.in_size[0] and 0 <= row < c.in_size[1]:
                    line = source + depth * x.space[0] + row * x.space[1]
                for column_phase in range(b.across.phases):
                    split_row(t, line, column_phase, dst + column_phase * b.grid * FC_TILE_PIXEL)
                row += axis.stride
                dst += b.pitch * FC_TILE_PIXEL


cdef void halve_row(const Task *t, index row, char *dst) noexcept nogil:
    """What the block's columns see of an input row, channels last, zero-padded and in halves."""
    cdef const Blocking *b = t.b
    cdef const fc_conv *c = &b.conv
    cdef const fc_view *x = &t.call.x
    cdef index column = t.column * c.stride[2] - c.pad[2], pixel = b.group_in * 4
    cdef index depth = t.depth * c.stride[0] - c.pad[0]
    cdef index width = (t.columns - 1) * c.stride[2] + c.kernel[2]
    cdef index before = clamp(-column, 0, width), end = clamp(c.in_size[2] - column, before, width)
    cdef char *floats = t.workspace + b.floats_at
    cdef fc_gather_args g
    cdef fc_halves_run_args r
    if not (0 <= depth < c.in_size[0] and 0 <= row < c.in_size[1]):
        before = end = 0
    memset(floats, 0, before * pixel)
    memset(floats + end * pixel, 0, (width - end) * pixel)
    if end > before:
        g.src = x.data + t.image * x.batch + t.group * b.group_in * x.channel \
            + depth * x.space[0] + row * x.space[1] + (column + before) * x.space[2]
        g.src_pixel = x.space[2]
        g.src_channel = x.channel
        g.pixels = end - before
        g.channels = b.group_in
        g.dst = floats + before * pixel
        g.dst_pixel = pixel
        b.kernels.finish.gather(&g)
    r.src = floats
    r.count = width * b.group_in
    r.high = dst
    r.low = dst + b.low_at if b.low else NULL
    b.kernels.halves.run(&r)
    # what the last run's step sees behind it meets weights of zero, and must be finite
    memset(r.high + r.count * 2, 0, FC_TILE_PIXEL)
    if b.low:
        memset(r.low + r.count * 2, 0, FC_TILE_PIXEL)


cdef void split_rows(const Task *t) noexcept nogil:
    cdef const fc_conv *c = &t.b.conv
    cdef index row
    for row in range(input_rows(t.b, t.rows)):
        halve_row(t, t.row * c.stride[1] - c.pad[1] + row, t.workspace + row * t.b.row_bytes)


cdef inline const char *tile_at(const Task *t, index tile) noexcept nogil:
    """The first pixel of a tile, as the first tap sees it."""
    cdef const Blocking *b = t.b
    cdef index tiles_of_row = b.line // FC_TILE_PIXELS
    if not b.by_rows:
        return t.workspace + tile * FC_TILE_PIXELS * b.pixel
    return t.workspace + tile // tiles_of_row * b.row \
        + tile % tiles_of_row * FC_TILE_PIXELS * b.pixel


cdef void multiply_chain(const Task *t, fc_tiles_args *g, index first_block,
                         char *sums) noexcept nogil:
    """A chain of a panel over all tiles of a turn."""
    cdef const Blocking *b = t.b
    cdef index tile = 0, i
    while tile < t.tiles:
        g.down = <int> min(2, t.tiles - tile)
        for i in range(g.down):
            g.a[i] = tile_at(t, t.first_tile + tile + i) + first_block * b.block_bytes
        g.c = sums + tile * FC_TILE_PIXELS * FC_TILE_SUM_ROW
        if b.low:
            b.kernels.tiles.three(g)
        else:
            b.kernels.tiles.one(g)
        g.ahead += g.steps * g.ahead_lines * FC_CACHE_LINE
        tile += 2


cdef void multiply(const Task *t, index panel) noexcept nogil:
    """All chains of a turn's panel: sums[pixel of a tile][channel]."""
    cdef const Blocking *b = t.b
    cdef index longest = CHAIN_BYTES // (2 * step_bytes(b))
    cdef index chain = ceil_div(b.steps, ceil_div(b.steps, longest)), step = 0
    cdef char *sums = t.workspace + b.sums_at
    cdef fc_tiles_args g
    g.across = <int> panel_tiles(b, panel)
    g.pixel = b.pixel
    g.low = b.low_at
    g.block = b.block_bytes
    g.tap = tap_table(b)
    g.taps = b.taps
    g.b = t.call.packed + packed_panel_at(b, t.group, panel)
    g.ahead_lines = ceil_div(g.across * step_bytes(b), FC_CACHE_LINE * ceil_div(t.tiles, 2))
    while step < b.steps:
        g.steps = min(chain, b.steps - step)
        g.first_tap = step % b.taps
        # the next chain's weights come from afar while this one's tiles are multiplied
        g.ahead = g.b + g.steps * g.across * step_bytes(b)
        if t.first_tile or step + g.steps == b.steps and panel + 1 == t.last_panel:
            g.ahead_lines = 0       # all are near, or what other threads write may lie there
        multiply_chain(t, &g, step // b.taps, sums)
        if step:
            b.kernels.halves.add(t.workspace + b.sums_at, sums,
                                 t.tiles * FC_TILE_PIXELS * FC_TILE_PANEL)
        sums = t.workspace + b.chain_at
        g.b += g.steps * g.across * step_bytes(b)
        step += g.steps


cdef void point_at_result(const Task *t) noexcept nogil:
    cdef const fc_view *out = &t.call.out
    cdef const fc_view *residual = &t.call.residual
    cdef char **out_rows = <char **> (t.workspace + t.b.out_rows_at)
    cdef const char **residual_rows = <const char **> (t.workspace + t.b.residual_rows_at)
    cdef index row, column
    for row in range(t.rows):
        for column in range(t.columns):
            out_rows[column] = address(out, t, row) + column * out.space[2]
            if residual.data != NULL:
                residual_rows[column] = address(residual, t, row) + column * residual.space[2]
        out_rows += t.columns
        residual_rows += t.columns


cdef void finish_row(const Task *t, fc_finish_args *f, index row) noexcept nogil:
    """One output row of a panel to a result of any strides."""
    cdef const fc_view *out = &t.call.out
    cdef const fc_view *residual = &t.call.residual
    cdef index channel = f.row_offset // 4
    f.out = address(out, t, row) + channel * out.channel
    f.out_channel = out.channel
    f.out_pixel = out.space[2]
    f.residual = NULL
    if residual.data != NULL:
        f.residual = address(residual, t, row) + channel * residual.channel
        f.residual_channel = residual.channel
        f.residual_pixel = residual.space[2]
    t.b.kernels.finish.planes(f)


cdef bint rows_are_one(const Task *t) noexcept nogil:
    """Whether the sums of the block's rows follow each other, and so does what they go to."""
    cdef const Blocking *b = t.b
    return b.line == t.columns and (b.rows_out or (rows_touch(&t.call.out, t.columns)
                                                   and rows_touch(&t.call.residual, t.columns)))


cdef void finish(const Task *t, index panel) noexcept nogil:
    cdef const Blocking *b = t.b
    cdef index channel = t.group * b.group_out + panel * FC_TILE_PANEL, row = 0
    cdef index step = t.rows if rows_are_one(t) else 1
    cdef index first = t.first_tile * FC_TILE_PIXELS, pixel
    cdef fc_finish_args f
    f.sum_row = FC_TILE_SUM_ROW
    f.channels = min(FC_TILE_PANEL, b.group_out - panel * FC_TILE_PANEL)
    f.epilogue = epilogue_of(&b.conv, t.call, channel)
    f.row_offset = f.residual_row_offset = channel * 4
    f.pixels = min(step * t.columns - first, t.tiles * FC_TILE_PIXELS)
    while row < t.rows:
        f.sums = t.workspace + b.sums_at + row * b.line * FC_TILE_SUM_ROW
        if b.rows_out:
            pixel = first + row * t.columns
            f.out_rows = <char **> (t.workspace + b.out_rows_at) + pixel
            f.residual_rows = NULL
            if t.call.residual.data != NULL:
                f.residual_rows = <const char **> (t.workspace + b.residual_rows_at) + pixel
            b.kernels.finish.rows(&f)
        else:
            finish_row(t, &f, row)
        row += step
