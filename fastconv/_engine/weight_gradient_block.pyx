"""One block of a weight gradient: the steps that a task of `weight_gradient` takes.

    locate          which pixels
    gather_strip    lines of x that cannot be read where they lie: a zero-padded copy
    point_at_lines, measure_taps
                    where the rows of the product find them
    gather_panel    some channels of dy, pixel by pixel
    multiply        their products, chain after chain, added to the sums

By lines, dy is read where it lies, too:

    point_at_gradient, multiply_lines
"""

from libc.string cimport memset

from .arithmetic cimport ceil_div, index
from .dots_kernels cimport fc_dots_args
from .kernels cimport fc_gather_args, fc_gemm_args
from .op cimport fc_conv, fc_view


cdef Block locate(const Reduction *b, index number) noexcept nogil:
    cdef Block block
    block.column = (number % b.stripes) * b.stripe
    block.columns = min(b.stripe, b.conv.out_size[2] - block.column)
    number //= b.stripes
    block.line = (number % b.unit_blocks) * b.block_lines
    block.lines = min(b.block_lines, b.conv.out_size[1] - block.line)
    block.unit = (number // b.unit_blocks) * b.block_units
    block.units = min(b.block_units, b.units - block.unit)
    return block


cdef void gather_line(const Task *t, const char *source, char *dst) noexcept nogil:
    """One line of x, all channels: each phase of the stride that taps see, zeros outside."""
    cdef const Reduction *b = t.b
    cdef const fc_conv *c = &b.conv
    cdef const fc_view *x = &t.o.x
    cdef fc_gather_args g
    cdef index columns = b.phase_pitch // b.element, phase, first, inside, end
    g.src_pixel = x.channel
    g.src_channel = x.space[2] * c.stride[2]
    g.pixels = t.channels
    g.dst_pixel = b.channel_pitch
    first = t.block.column * c.stride[2] - c.pad[2]
    if first < 0 or first + columns * c.stride[2] > c.in_size[2]:
        memset(dst, 0, t.channels * b.channel_pitch)
    for phase in range(b.phases):
        first = t.block.column * c.stride[2] - c.pad[2] + phase * c.dilation[2] % c.stride[2]
        inside = ceil_div(max(0, -first), c.stride[2])
        end = min(columns, ceil_div(max(0, c.in_size[2] - first), c.stride[2]))
        if inside >= end:
            continue
        g.src = source + (first + inside * c.stride[2]) * x.space[2]
        g.channels = end - inside
        g.dst = dst + phase * b.phase_pitch + inside * b.element
        b.kernels.finish.gather(&g)


cdef void gather_strip(const Task *t) noexcept nogil:
    """All lines of x that the block's taps see: [unit][slice][line][channel][phase][column]."""
    cdef const Reduction *b = t.b
    cdef const fc_conv *c = &b.conv
    cdef const fc_view *x = &t.o.x
    cdef index unit, slice, line, depth, row
    cdef const char *source
    cdef char *dst
    for unit in range(t.block.units):
        for slice in range(c.kernel[0]):
            depth = (t.block.unit + unit) % c.out_size[0] * c.stride[0] - c.pad[0] \
                + slice * c.dilation[0]
            source = x.data + (t.block.unit + unit) // c.out_size[0] * x.batch \
                + depth * x.space[0] + (t.group * b.group_in + t.channel) * x.channel
            dst = t.workspace + unit * b.unit_pitch + slice * b.slice_pitch
            for line in range(b.strip_lines):
                row = t.block.line * c.stride[1] - c.pad[1] + line * b.row_step
                if 0 <= depth < c.in_size[0] and 0 <= row < c.in_size[1]:
                    gather_line(t, source + row * x.space[1], dst)
                else:
                    memset(dst, 0, b.row_pitch)
                dst += b.row_pitch


cdef void point_at_lines(const Task *t) noexcept nogil:
    """Where the first tap of the task's first channel sees each line of the block."""
    cdef const Reduction *b = t.b
    cdef const fc_conv *c = &b.conv
    cdef const fc_view *x = &t.o.x
    cdef const char **lines = <const char **> (t.workspace + b.lines_at)
    cdef const char *first
    cdef index unit, line, step
    for unit in range(t.block.units):
        if b.in_place:
            step = c.stride[1] * x.space[1]
            first = x.data + (t.group * b.group_in + t.channel) * x.channel \
                + (t.block.unit + unit) // c.out_size[0] * x.batch \
                + ((t.block.unit + unit) % c.out_size[0] * c.stride[0] - c.pad[0]) * x.space[0] \
                + (t.block.line * c.stride[1] - c.pad[1]) * x.space[1] \
                + (t.block.column - c.pad[2]) * x.space[2]
        else:
            step = c.stride[1] // b.row_step * b.row_pitch
            first = t.workspace + unit * b.unit_pitch
        for line in range(t.block.lines):
            lines[unit * t.block.lines + line] = first + line * step


cdef void measure_taps(const Task *t) noexcept nogil:
    """How far each tap sees from the first, in bytes."""
    cdef const Reduction *b = t.b
    cdef const fc_conv *c = &b.conv
    cdef const fc_view *x = &t.o.x
    cdef index *taps = <index *> (t.workspace + b.taps_at)
    cdef index slice, row, column, at
    for slice in range(c.kernel[0]):
        for row in range(c.kernel[1]):
            for column in range(c.kernel[2]):
                at = column * c.dilation[2]
                if b.in_place:
                    taps[0] = slice * c.dilation[0] * x.space[0] \
                        + row * c.dilation[1] * x.space[1] + at * x.space[2]
                else:
                    # rows are stepped over only where there is a single one
                    taps[0] = slice * b.slice_pitch + row * c.dilation[1] * b.row_pitch \
                        + column % b.phases * b.phase_pitch + at // c.stride[2] * b.element
                taps += 1


cdef void gather_panel(const Task *t, index panel) noexcept nogil:
    """A panel's channels of dy, pixel by pixel; lanes past the last channel are zero."""
    cdef const Reduction *b = t.b
    cdef const fc_conv *c = &b.conv
    cdef const fc_view *dy = &t.o.call.dy
    cdef index width = panel_width(b, panel), unit, line
    cdef bint whole = t.block.columns * dy.space[2] == dy.space[1]
    cdef const char *source
    cdef fc_gather_args g
    g.src_pixel = dy.space[2]
    g.src_channel = dy.channel
    g.pixels = t.block.columns * (t.block.lines if whole else 1)
    g.channels = min(b.panel, b.group_out - panel * b.panel)
    g.dst = t.workspace + b.panel_at
    g.dst_pixel = width * b.element
    if g.channels < width:
        memset(g.dst, 0, t.block.units * t.block.lines * t.block.columns * g.dst_pixel)
    for unit in range(t.block.unit, t.block.unit + t.block.units):
        source = dy.data + unit // c.out_size[0] * dy.batch + unit % c.out_size[0] * dy.space[0] \
            + (t.group * b.group_out + panel * b.panel) * dy.channel \
            + t.block.line * dy.space[1] + t.block.column * dy.space[2]
        for line in range(1 if whole else t.block.lines):
            g.src = source + line * dy.space[1]
            b.kernels.finish.gather(&g)
            g.dst += g.pixels * g.dst_pixel


cdef void point_at_rows(const Task *t, index row, index rows) noexcept nogil:
    """The pointer table of one tile, [line][row]; rows count from the task's first."""
    cdef const Reduction *b = t.b
    cdef const char **lines = <const char **> (t.workspace + b.lines_at)
    cdef const index *taps = <const index *> (t.workspace + b.taps_at)
    cdef const char **table = <const char **> (t.workspace + b.table_at)
    cdef index offset[MOST_ROWS]
    cdef index count = t.block.units * t.block.lines, line, i
    for i in range(rows):
        offset[i] = (row + i) // b.taps * b.channel_pitch + taps[(row + i) % b.taps]
    for line in range(count):
        for i in range(rows):
            table[line * MOST_ROWS + i] = lines[line] + offset[i]


cdef void multiply(const Task *t, index panel, bint first) noexcept nogil:
    """Add a block's products to one panel of the sums; the first block's begin them."""
    cdef const Reduction *b = t.b
    cdef index lines = t.block.units * t.block.lines, width = panel_width(b, panel)
    cdef index last = t.channels * b.taps, tile, row = 0
    cdef const char **table = <const char **> (t.workspace + b.table_at)
    cdef char *sums
    cdef fc_gemm_args g
    g.vectors = <int> (width // b.kernels.gemm.lanes)
    g.depth = t.block.columns
    g.a_step = MOST_ROWS
    g.offset = 0
    g.c_row = sums_row(b, panel)
    g.ahead_lines = 0
    g.next = 0
    g.finish = NULL
    g.first = 0
    g.accumulate = not first
    sums = t.sums + sums_panel(b, panel) + t.channel * b.taps * g.c_row
    g.taps = lines
    g.a = table
    g.b = t.workspace + b.panel_at
    tile = b.kernels.gemm.tile_rows[g.vectors]
    while row < last:
        g.rows = <int> min(tile, last - row)
        point_at_rows(t, row, g.rows)
        g.c = sums + row * g.c_row
        b.kernels.gemm.tile(&g)
        row += tile


cdef void point_at_gradient(const Task *t) noexcept nogil:
    """Where each line of the block lies in dy, in the group's first channel."""
    cdef const Reduction *b = t.b
    cdef const fc_view *dy = &t.o.call.dy
    cdef const char **lines = <const char **> (t.workspace + b.panel_at)
    cdef const char *first
    cdef index unit, line, depths = b.conv.out_size[0]
    for unit in range(t.block.unit, t.block.unit + t.block.units):
        first = dy.data + unit // depths * dy.batch + unit % depths * dy.space[0] \
            + t.group * b.group_out * dy.channel + t.block.line * dy.space[1] \
            + t.block.column * dy.space[2]
        for line in range(t.block.lines):
            lines[0] = first + line * dy.space[1]
            lines += 1


cdef void multiply_lines(const Task *t, bint first) noexcept nogil:
    """As `multiply`, all channels of dy at once, each sum a vector."""
    cdef const Reduction *b = t.b
    cdef index lines = t.block.units * t.block.lines, last = t.channels * b.taps
    cdef index column = 0, row, line, j
    cdef index vector = b.kernels.gemm.lanes * b.element
    cdef const char **source = <const char **> (t.workspace + b.panel_at)
    cdef const char **columns = source + lines
    cdef const char **table = <const char **> (t.workspace + b.table_at)
    cdef fc_dots_args d
    d.length = t.block.columns
    d.a_step = d.b_step = MOST_ROWS
    d.c_row = panel_width(b, 0) * b.element
    d.accumulate = not first
    d.lines = lines
    d.a = table
    d.b = columns
    while column < b.group_out:
        d.columns = <int> min(b.kernels.dots.columns, b.group_out - column)
        for line in range(lines):
            for j in range(d.columns):
                columns[line * MOST_ROWS + j] = source[line] + (column + j) * t.o.call.dy.channel
        row = 0
        while row < last:
            d.rows = <int> min(b.kernels.dots.rows, last - row)
            point_at_rows(t, row, d.rows)
            d.c = t.sums + (t.channel * b.taps + row) * d.c_row + column * vector
            b.kernels.dots.tile(&d)
            row += d.rows
        column += d.columns
