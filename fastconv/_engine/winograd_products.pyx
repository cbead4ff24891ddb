"""The products between Winograd's transforms: V x U -> M, point by point on the register tile.

    V --(pointers to its rows)--> register tile --> M
    weights --(filter kernel)--> U --> register tile

A slab is some panels of output channels, whose weights a block of tiles reads once. The task
transforms weights itself where nobody has done so before.
"""

from .arithmetic cimport ceil_div, index
from .kernels cimport FC_CACHE_LINE, fc_gemm_args
from .winograd_block cimport CHAIN, TABLE_ROWS, Blocking, Task, first_panel, packed_group_bytes
from .winograd_block cimport packed_panel_at, panel_start, panel_width, point_bytes
from .winograd_kernels cimport fc_winograd_filter_args

# Tiles of a block from which on it asks for the weights that follow.
cdef index LOOK_AHEAD_TILES = 64


cdef void point_into_v(const Task *t) noexcept nogil:
    """Row pointers of the register tile: for each channel block, rows through the row groups."""
    cdef const Blocking *b = t.b
    cdef const char **table = <const char **> t.workspace
    cdef index taps = max(1, min(CHAIN // b.block, ceil_div(b.group_in, b.block))), tap, row
    for tap in range(taps):
        for row in range(TABLE_ROWS):
            table[tap * TABLE_ROWS + row] = t.v + tap * b.v_block + row // b.rows * b.v_group \
                + row % b.rows * b.v_row


cdef inline index rows_of(index left, index rows) noexcept nogil:
    """Rows of the next register tile: the last two share what is left, thin ones are slow."""
    if left <= rows:
        return left
    return rows if left >= 2 * rows else ceil_div(left, 2)


cdef void multiply_panel(const Task *t, fc_gemm_args *g, index at, char *m) noexcept nogil:
    """One point's tiles x one panel: m[tile] = sum over channels, chain by chain.

    `at` is the point's place in V.
    """
    cdef const Blocking *b = t.b
    cdef const char *const *table = <const char *const *> t.workspace
    cdef index rows = b.kernels.gemm.tile_rows[g.vectors]
    cdef index width = g.vectors * b.kernels.gemm.lanes * b.element
    cdef index channel = 0, tile
    g.accumulate = False
    g.finish = NULL
    while channel < b.group_in:
        g.taps = min(CHAIN // b.block, (b.group_in - channel) // b.block)
        g.depth = b.block
        if g.taps == 0:
            g.taps = 1
            g.depth = b.group_in - channel
        tile = 0
        while tile < t.tiles:
            g.rows = <int> rows_of(t.tiles - tile, rows)
            g.a = table + tile % b.rows
            g.offset = at + tile // b.rows * b.v_group
            g.c = m + tile * g.c_row
            b.kernels.gemm.tile(g)
            g.ahead += g.taps * g.ahead_lines * FC_CACHE_LINE
            tile += g.rows
        g.b += g.taps * g.depth * width
        g.accumulate = True
        channel += g.taps * g.depth
        at += g.taps * b.v_block


cdef void pack_panel(const Blocking *b, const char *weight, index group, index panel, index first,
                     index depth, char *dst) noexcept nogil:
    cdef index taps_bytes = b.conv.kernel[1] * b.conv.kernel[2] * b.element
    cdef fc_winograd_filter_args args
    args.row = b.group_in * taps_bytes
    args.weight = weight + (group * b.group_out + panel_start(b, panel)) * args.row \
        + first * taps_bytes
    args.depth = depth
    args.width = panel_width(b, panel)
    args.channels = min(args.width, b.group_out - panel_start(b, panel))
    args.dst_point = point_bytes(b, panel)
    args.dst = dst + first * args.width * b.element
    b.kernels.winograd.filter[b.axes][b.form](&args)


cdef void find_weights(Task *t, index slab) noexcept nogil:
    cdef const Blocking *b = t.b
    cdef index panel, at = packed_panel_at(b, first_panel(b, slab))
    if t.call.packed != NULL:
        t.u = t.call.packed + t.group * packed_group_bytes(b) + at
        return
    t.u = t.workspace + b.u_at
    for panel in range(first_panel(b, slab), first_panel(b, slab + 1)):
        pack_panel(b, t.call.weight, t.group, panel, 0, b.group_in,
                   t.workspace + b.u_at + packed_panel_at(b, panel) - at)


cdef inline const char *weights_at(const Task *t, index slab, index point,
                                   index panel) noexcept nogil:
    return t.u + packed_panel_at(t.b, panel) - packed_panel_at(t.b, first_panel(t.b, slab)) \
        + point * point_bytes(t.b, panel)


cdef void look_ahead(const Task *t, fc_gemm_args *g, index slab, index point,
                     index panel) noexcept nogil:
    """Bring the weights that follow in a slab near, a little by every tile of these.

    A block's weights are read once and come from afar: it is waiting for their first tile that
    takes time. Where few tiles use a weight it is streaming that takes time, and asking for lines
    besides gets in its way.
    """
    cdef const Blocking *b = t.b
    cdef index steps = ceil_div(b.group_in, b.block) \
        * ceil_div(t.tiles, b.kernels.gemm.tile_rows[g.vectors])
    panel += 1
    if panel == first_panel(b, slab + 1):
        panel = first_panel(b, slab)
        point += 1
    g.ahead_lines = 0
    if point < b.points and t.tiles >= LOOK_AHEAD_TILES:
        g.ahead = weights_at(t, slab, point, panel)
        g.ahead_lines = ceil_div(b.group_in * panel_width(b, panel) * b.element,
                                 steps * FC_CACHE_LINE)


cdef void multiply(const Task *t, index slab) noexcept nogil:
    """All points of a slab of output channels: V x U -> M."""
    cdef const Blocking *b = t.b
    cdef index point, panel, width
    cdef char *m
    cdef fc_gemm_args g
    g.a_step = TABLE_ROWS
    g.c_row = b.m_row
    for point in range(b.points):
        m = t.workspace + b.m_at + point * b.m_point
        for panel in range(first_panel(b, slab), first_panel(b, slab + 1)):
            width = panel_width(b, panel)
            g.vectors = <int> (width // b.kernels.gemm.lanes)
            g.b = weights_at(t, slab, point, panel)
            look_ahead(t, &g, slab, point, panel)
            multiply_panel(t, &g, point * b.v_point, m)
            m += width * b.element
