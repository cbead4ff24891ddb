"""The products between Winograd's transforms: V x U -> M, point by point on the register tile.

    V --(pointers to its rows)--> register tile --> M
    weights --(filter kernel)--> U --> register tile

A block of tiles reads a panel's weights once. The task transforms them itself where nobody has done
so before.
"""

from .arithmetic cimport ceil_div, index
from .kernels cimport FC_CACHE_LINE, fc_gemm_args
from .winograd_block cimport CHAIN, TABLE_ROWS, Blocking, Task, packed_group_bytes
from .winograd_block cimport packed_panel_at, panel_start, panel_width, point_bytes
from .winograd_kernels cimport fc_winograd_filter_args


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


cdef void multiply_point(const Task *t, fc_gemm_args *g, index at, char *m) noexcept nogil:
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


cdef void find_weights(Task *t, index panel) noexcept nogil:
    cdef const Blocking *b = t.b
    if t.call.packed != NULL:
        t.u = t.call.packed + t.group * packed_group_bytes(b) + packed_panel_at(b, panel)
        return
    t.u = t.workspace + b.u_at
    pack_panel(b, t.call.weight, t.group, panel, 0, b.group_in, t.workspace + b.u_at)


cdef void look_ahead(const Task *t, fc_gemm_args *g, index panel, index point) noexcept nogil:
    """Bring the next point's weights near, a little by every tile of this one.

    A block's weights are read once and come from afar: it is waiting for their first register tile
    that takes time. A single one streams them, and asking for lines besides gets in its way.
    """
    cdef const Blocking *b = t.b
    cdef index register_tiles = ceil_div(t.tiles, b.kernels.gemm.tile_rows[g.vectors])
    cdef index steps = register_tiles * ceil_div(b.group_in, b.block)
    g.ahead_lines = 0
    if register_tiles > 1 and point + 1 < b.points:
        g.ahead = g.b + point_bytes(b, panel)
        g.ahead_lines = ceil_div(b.group_in * panel_width(b, panel) * b.element,
                                 steps * FC_CACHE_LINE)


cdef void multiply(const Task *t, index panel) noexcept nogil:
    cdef const Blocking *b = t.b
    cdef index point
    cdef fc_gemm_args g
    g.a_step = TABLE_ROWS
    g.next = 0
    g.c_row = b.m_row
    g.vectors = <int> (panel_width(b, panel) // b.kernels.gemm.lanes)
    for point in range(b.points):
        g.b = t.u + point * point_bytes(b, panel)
        look_ahead(t, &g, panel, point)
        multiply_point(t, &g, point * b.v_point, t.workspace + b.m_at + point * b.m_point)
