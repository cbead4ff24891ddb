"""Implicit GEMM by indirection: the column matrix exists only as pointers.

    block of output pixels x panel of output channels = sum over taps of
        rows of the input, found through pointers[tap][pixel]  x  packed weights[tap][channel][panel]

A task owns a block of pixels and some panels of one group. It fills the pointer table once, then
per panel runs the register tile over passes of at most 512 multiply-adds, and finishes the sums
(bias, residual, activation) into the result. Kernel rows that lie in the padding for all pixels of
a tile are left out: adding zeros moves no bit, unless a weight is infinite or NaN. Input whose
channels are contiguous is read where it lies, taps outside it point at a row of zeros; any other
input is first gathered, strip by strip, into zero-padded channels-last scratch that stays in the
cache:

    x --gather--> strip --pointers--> tile --> sums --finish--> out
    x ------------------- pointers--> tile --> sums --finish--> out      (channels contiguous)

Weights for a single call are packed by the task that multiplies by them, panel after panel in the
same memory, where each panel has only one such task: so packed weights never leave its cache.
"""

from . cimport threads
from .arithmetic cimport ceil_div, index, round_up
from .dispatch cimport kernels
from .epilogue cimport FC_ACT_LAST_INLINE
from .im2col_block cimport Blocking, TapRange, Task, block_start, find_tap_ranges, finish
from .im2col_block cimport finish_planes, finite_flag_at
from .im2col_block cimport find_weights, gather_strip, locate_block, multiply, pack_panel
from .im2col_block cimport packed_group_bytes, packed_panel_at, point_at_result, point_into_input
from .im2col_block cimport point_into_strip, room_behind
from .kernels cimport FC_CACHE_LINE
from .op cimport Prepared, fc_call, fc_conv, fc_view, new_blocking
from .packing cimport Packing, pack_pieces
from .panels cimport panel_count
from .result cimport NEVER_NEAR, expects, expects_rows, streams

# A sum is built from chains of at most this many multiply-adds; one longer chain loses a digit.
cdef index CHAIN = 512
# Pixels of one block: enough to reuse a panel's weights from L2, few enough to leave it room. A
# strip has rows and columns beside its block's, fewer where the block is large.
cdef index BLOCK_PIXELS = 192
cdef index COPIED_BLOCK_PIXELS = 448
cdef index MERGED_BLOCK_PIXELS = 512    # of few channels, whose strips are small
cdef index STRIP_BYTES = 320 << 10
cdef index ROW_BYTES = 512 << 10      # of a block in a single row, which has nothing beside it
cdef index FAR_PLANE = 128 << 10    # of a result whose lines are asked for
cdef index COPIES_BYTES = 2 << 20    # of single windows that cross the input's edge
cdef index POINTER_BYTES = 256 << 10
cdef index STRIPE_COLUMNS = 112
cdef index MERGED_STRIPE_COLUMNS = 64
# Work is cut into up to this many tasks of at least this many operations.
cdef index TASKS = 64
cdef index TASKS_PER_THREAD = 4     # this many are enough: a late thread's are done by the others
cdef double TASK_OPERATIONS = 4e6
# No block is made smaller than this to balance the tasks.
cdef index LEAST_PIXELS = 24
# Taps that meet padding are left out where they are this share of the products.
cdef double WORTH_SKIPPING = 0.02
# What a task costs besides its products, in multiply-adds: to begin with, and for each element
# that it gathers.
cdef double TASK_PRODUCTS = 5e4
cdef double GATHERED = 16
# ... and for a line of the result that goes from one thread to another and back, since both write it.
cdef double SHARED_LINE = 5e3
# Tasks for each thread up to which a plan looks at how its blocks add up.
cdef index SHARES = 16
# Nanoseconds to copy a single run that crosses an edge, and a row of a strip and an element of it.
cdef double COPIED_RUN = 25
cdef double COPIED_ROW = 30
cdef double COPIED_ELEMENT = 0.03
# To pack one weight costs as much as so many multiply-adds, where packed weights go through memory.
cdef double PACKED = 12


# ---------------------------------------------------------------- planning

cdef index edge_columns(const fc_conv *c) noexcept:
    """Output columns whose windows cross an edge of the input."""
    cdef index end = ceil_div(max(0, room_behind(c, 2)), c.stride[2])
    return c.out_size[2] - max(0, min(end, c.out_size[2]) - ceil_div(c.pad[2], c.stride[2]))


cdef bint edges_cost_less(const Blocking *b) noexcept:
    """Whether a row's runs that cross an edge, copied one by one, cost less than strips of it."""
    cdef const fc_conv *c = &b.conv
    cdef index stripes = ceil_div(c.out_size[2], MERGED_STRIPE_COLUMNS), rows
    rows = max(1, min(c.out_size[1], MERGED_BLOCK_PIXELS * stripes // max(1, c.out_size[2])))
    cdef double read = ((rows - 1) * c.stride[1] + c.kernel[1]) / <double> rows
    return edge_columns(c) * c.kernel[1] * COPIED_RUN \
        < read * (stripes * COPIED_ROW + c.in_size[2] * b.group_in * COPIED_ELEMENT)


cdef bint reads_in_place(const Blocking *b, const fc_view *x) noexcept:
    cdef index pixel = b.group_in * b.element, window = pixel
    cdef int axis
    if b.merged:
        for axis in range(3):
            window *= b.conv.kernel[axis]
        if x.space[2] != pixel or BLOCK_PIXELS * window > COPIES_BYTES or not edges_cost_less(b):
            return False
    return x.channel == b.element or b.group_in == 1


cdef void plan_reduction(Blocking *b) noexcept:
    """Split taps x depth into chains of at most CHAIN multiply-adds."""
    cdef const fc_conv *c = &b.conv
    b.taps = c.kernel[0] * c.kernel[1] * (1 if b.merged else c.kernel[2])
    b.depth = b.group_in * (c.kernel[2] if b.merged else 1)
    if b.depth > CHAIN:
        b.taps_per_pass = 1
        b.depth_per_pass = CHAIN
    else:
        b.taps_per_pass = max(1, CHAIN // max(1, b.depth))
        b.depth_per_pass = b.depth


cdef double padded_share(const fc_conv *c) noexcept:
    """The share of the products whose input row lies above or below x, or in no slice of it."""
    cdef double inside = 1
    cdef index at, k, first, count
    cdef int axis
    for axis in range(2):
        count = 0
        for k in range(c.kernel[axis]):
            first = k * c.dilation[axis] - c.pad[axis]
            # output coordinates `at` with 0 <= first + at * stride < in_size
            at = max(0, ceil_div(-first, c.stride[axis])) if first < 0 else 0
            count += max(0, min(c.out_size[axis],
                                ceil_div(max(0, c.in_size[axis] - first), c.stride[axis])) - at)
        inside *= count / <double> max(1, c.kernel[axis] * c.out_size[axis])
    return 1 - inside


cdef index tile_pixels(const Blocking *b) noexcept:
    """Pixels of the register tiles that the widest panel takes."""
    return b.kernels.gemm.tile_rows[b.panel // b.kernels.gemm.lanes]


cdef index strip_rows(const Blocking *b) noexcept nogil:
    """Input rows that a block's strip holds at most."""
    cdef const fc_conv *c = &b.conv
    cdef index rows = b.pixels // b.stripe
    if b.grain:     # a block may begin with the last pixel of a row
        rows = min(c.out_size[1], (b.pixels + b.stripe - 2) // b.stripe + 1)
    return ((rows - 1) * c.stride[1]
            + max(0, c.kernel[1] - 1) * c.dilation[1]) // b.row_step + 1


cdef index strip_columns(const Blocking *b) noexcept nogil:
    cdef const fc_conv *c = &b.conv
    return ((b.stripe - 1) * c.stride[2] + max(0, c.kernel[2] - 1) * c.dilation[2]) \
        // b.column_step + 1


cdef index strip_bytes(const Blocking *b) noexcept nogil:
    return max(1, b.conv.kernel[0]) * strip_rows(b) * strip_columns(b) * b.pixel_pitch


cdef index as_many_for_each(index blocks, index rows) noexcept:
    """A few blocks more, where that gives every thread the same number of them."""
    cdef index even = round_up(blocks, threads.maximum())
    return even if even <= min(rows, blocks + blocks // 4) else blocks


cdef void plan_copied(Blocking *b, index most, bint ragged) noexcept:
    """Blocks of whole output rows of a stripe, as many as the strip's share of L2 allows.

    Some have a row more than others; `ragged` ones share a single stripe's pixels evenly, tile by
    tile.
    """
    cdef const fc_conv *c = &b.conv
    cdef index columns = c.out_size[2], rows, unit = 8
    cdef index widest = MERGED_STRIPE_COLUMNS if b.merged else STRIPE_COLUMNS
    b.pixel_pitch = b.group_in * b.element
    if not b.merged and b.group_in >= 64:
        b.pixel_pitch += 64     # neighbouring pixels must not fall into the same cache sets
    if c.out_size[1] == 1:
        widest = min(most, max(LEAST_PIXELS, ROW_BYTES // max(1, b.pixel_pitch)))
        unit = 1
    b.row_step = c.stride[1] if c.kernel[1] == 1 else 1
    b.column_step = c.stride[2] if c.kernel[2] == 1 else 1
    b.stripe = columns
    if columns > widest:
        b.stripe = min(columns, round_up(ceil_div(columns, ceil_div(columns, widest)), unit))
    b.stripes = ceil_div(columns, b.stripe)
    b.units = c.batch * c.out_size[0] * b.stripes
    b.grain = 0
    rows = max(1, min(most // b.stripe, c.out_size[1]))
    b.pixels = rows * b.stripe
    while rows > 1 and strip_bytes(b) > STRIP_BYTES:
        rows -= 1
        b.pixels = rows * b.stripe
    b.blocks = as_many_for_each(ceil_div(c.out_size[1], rows), c.out_size[1])
    b.pixels = ceil_div(c.out_size[1], b.blocks) * b.stripe
    if ragged:
        b.grain = tile_pixels(b)
        b.pixels = ceil_div(c.out_size[1] * b.stripe, b.blocks) + b.grain - 1
    b.row_pitch = strip_columns(b) * b.pixel_pitch
    b.slice_pitch = strip_rows(b) * b.row_pitch


cdef void plan_in_place(Blocking *b, index most) noexcept:
    """Blocks of equal numbers of pixels over all images."""
    cdef const fc_conv *c = &b.conv
    b.stripe = c.out_size[2]
    b.stripes = 1
    b.units = 1
    cdef index pixels = c.batch * c.out_size[0] * c.out_size[1] * c.out_size[2]
    b.pixels = max(1, ceil_div(pixels, max(1, ceil_div(pixels, most))))
    b.blocks = ceil_div(pixels, b.pixels)


cdef index task_count(const Blocking *b) noexcept nogil:
    return b.conv.groups * b.panel_tasks * b.units * b.blocks


cdef void split_panels(Blocking *b, index wanted) noexcept:
    """Share the panels among tasks until there are `wanted` tasks, or one for every panel."""
    b.panel_tasks = min(b.panels, ceil_div(wanted, max(1, b.units * b.blocks * b.conv.groups)))
    b.panels_per_task = ceil_div(b.panels, b.panel_tasks)
    b.panel_tasks = ceil_div(b.panels, b.panels_per_task)


cdef double tiled(const Blocking *b, index pixels) noexcept:
    """Pixels of a block; the last register tile takes half of a whole one's time at least."""
    cdef index tile = tile_pixels(b), rest = pixels % tile
    return pixels if rest == 0 else pixels + max(0, tile // 2 - rest)


cdef double task_pixels(const Blocking *b, index task) noexcept:
    cdef const fc_conv *c = &b.conv
    cdef index block = task // b.group_turn % b.blocks
    if b.copied:
        return tiled(b, block_start(b, b.stripe, block + 1) - block_start(b, b.stripe, block))
    return tiled(b, min(b.pixels, c.batch * c.out_size[0] * c.out_size[1] * c.out_size[2]
                        - block * b.pixels))


cdef double mean_pixels(const Blocking *b) noexcept:
    cdef index rows = b.conv.out_size[1] // b.blocks, longer = b.conv.out_size[1] % b.blocks
    if not b.copied:
        return tiled(b, b.pixels)
    if b.grain:
        return b.conv.out_size[1] * b.stripe / <double> b.blocks
    return (longer * tiled(b, (rows + 1) * b.stripe)
            + (b.blocks - longer) * tiled(b, rows * b.stripe)) / <double> b.blocks


cdef double most_pixels(const Blocking *b) noexcept:
    """Pixels of the thread that has most of them in its tasks, as `threads` deals these out."""
    cdef index tasks = task_count(b), count = threads.maximum(), thread, task
    cdef double most = 0, sum
    if tasks > SHARES * count:      # late ones are done by others
        return ceil_div(tasks, count) * mean_pixels(b)
    for thread in range(count):
        sum = 0
        for task in range(tasks * thread // count, tasks * (thread + 1) // count):
            sum += task_pixels(b, task)
        most = max(most, sum)
    return most


cdef bint splits_lines(const Blocking *b) noexcept:
    """Whether a line of the result holds channels of two groups, or of two pixels."""
    return b.rows_out and b.group_out * b.element % FC_CACHE_LINE != 0


cdef double shared_lines(const Blocking *b) noexcept:
    """Lines of the result that two threads write, each making other channels of the same pixels."""
    cdef const fc_conv *c = &b.conv
    cdef index pieces = b.panel_tasks
    if not splits_lines(b):
        return 0
    if b.group_turn == 1 or b.units * b.blocks < threads.maximum():
        pieces *= c.groups
    return <double> (min(pieces, threads.maximum()) - 1) \
        * c.batch * c.out_size[0] * c.out_size[1] * c.out_size[2]


cdef double makespan(const Blocking *b) noexcept:
    """Multiply-adds of the thread with most to do, and what its tasks cost besides."""
    cdef double products = most_pixels(b) * b.kernels.gemm.lanes \
        * ceil_div(b.panels_per_task * b.vectors, b.panels)
    cdef double gathered = strip_bytes(b) / <double> b.element if b.copied else 0
    return products * b.taps * b.depth \
        + ceil_div(task_count(b), threads.maximum()) * (GATHERED * gathered + TASK_PRODUCTS) \
        + SHARED_LINE * shared_lines(b) / threads.maximum()


cdef void plan_pixels(Blocking *b, index most, index wanted, bint ragged) noexcept:
    if b.copied:
        plan_copied(b, most, ragged)
    else:
        plan_in_place(b, most)
    split_panels(b, wanted)


cdef bint plan_one_block(Blocking *b, index most, index wanted, double spare) noexcept:
    """Whether all pixels fit a block and its tasks cost less than `spare`; then planned so."""
    plan_pixels(b, most, wanted, False)
    return b.units * b.blocks == 1 and makespan(b) < spare


cdef struct Choice:
    index most, tasks   # of pixels, and wanted
    bint ragged
    double cost         # less than 0: none yet


cdef void consider(Blocking *b, Choice *best, index most, index tasks, bint ragged) noexcept:
    plan_pixels(b, most, tasks, ragged)
    cdef double cost = makespan(b)
    if task_count(b) >= tasks and (best.cost < 0 or cost < best.cost):
        best.most, best.tasks, best.ragged, best.cost = most, tasks, ragged, cost


cdef void plan_blocks(Blocking *b, bint packed) noexcept:
    """Pixels per block and panels per task: enough tasks, and equal work for every thread.

    The one thing that is planned for a number of threads, the present one: it moves no bit. In one
    block tasks pack weights for themselves, which may be worth uneven tasks.
    """
    cdef index most = MERGED_BLOCK_PIXELS if b.merged else \
        COPIED_BLOCK_PIXELS if b.copied else BLOCK_PIXELS
    cdef double operations = conv_operations(&b.conv)
    cdef index wanted = <index> max(1.0, min(<double> TASKS, operations / TASK_OPERATIONS))
    cdef index enough = min(wanted, TASKS_PER_THREAD * threads.maximum())
    # tasks of the same pixels copy the same strip
    cdef index fewest = min(enough, threads.maximum()) if b.copied else enough
    cdef index roomiest = max(8, min(most, POINTER_BYTES // (8 * max(1, b.taps))))
    cdef index tasks, step
    cdef Choice best
    best.most, best.tasks, best.ragged, best.cost = roomiest, enough, False, -1
    most = roomiest
    while True:
        for tasks in range(fewest, enough + 1, max(1, enough - fewest)):    # both, or the one
            consider(b, &best, most, tasks, False)
            if b.copied and b.stripes == 1:
                consider(b, &best, most, tasks, True)
        step = b.stripe if b.copied and b.conv.out_size[1] > 1 else tile_pixels(b)
        if most - step < min(LEAST_PIXELS, best.most):
            break
        most -= step
    best.cost += PACKED * packed_group_bytes(b) / b.element * b.conv.groups / threads.maximum()
    if packed or not plan_one_block(b, roomiest, enough, best.cost):
        plan_pixels(b, best.most, best.tasks, best.ragged)


cdef void plan_workspace(Blocking *b, bint packs_panels) noexcept:
    """Offsets of a thread's scratch: strip, zeros, pointer tables, sums, perhaps a panel."""
    cdef index at = round_up(strip_bytes(b), 64) if b.copied else 0
    b.zeros_at = at
    at += 0 if b.copied else round_up(b.depth * b.element, 64)
    b.copies_at = at
    b.copied_run = b.depth * b.element if b.merged and not b.copied else 0
    b.pointers_at = at + round_up(b.pixels * b.taps * b.copied_run, 64)
    at = b.pointers_at
    at += round_up(max(1, b.taps) * b.pixels * sizeof(void *), 64)
    b.ranges_at = at
    at += round_up(b.pixels * sizeof(TapRange), 64) if b.skips else 0
    b.out_rows_at = at
    b.residual_rows_at = at + round_up(b.pixels * sizeof(void *), 64)
    at += 2 * (b.residual_rows_at - at) if b.rows_out else 0
    b.sums_at = at
    b.panel_at = round_up(at + b.pixels * b.panel * b.element, 64)
    at = b.panel_at + b.panel * b.taps * b.depth * b.element * packs_panels
    b.workspace = round_up(at, 4096) + 64


cdef double conv_operations(const fc_conv *c) noexcept nogil:
    return 2.0 * c.batch * c.out_channels * c.out_size[0] * c.out_size[1] * c.out_size[2] \
        * (c.in_channels // c.groups) * c.kernel[0] * c.kernel[1] * c.kernel[2]


cdef Prepared plan_im2col(const fc_conv *conv, const fc_view *x, const fc_view *out,
                          const fc_view *residual, bint merged, bint packed):
    cdef Prepared op = Prepared.__new__(Prepared)
    cdef Blocking *b = <Blocking *> new_blocking(op, sizeof(Blocking))
    b.conv = conv[0]
    b.kernels = kernels(conv.type)
    b.element = 8 if conv.type else 4
    b.merged = merged
    b.group_in = conv.in_channels // conv.groups
    b.group_out = conv.out_channels // conv.groups
    b.copied = not reads_in_place(b, x)
    b.rows_out = out.channel == b.element and \
        (residual.data == NULL or residual.channel == b.element)
    b.fused = b.rows_out and conv.activation <= FC_ACT_LAST_INLINE
    b.expects = expects_rows(conv) if b.rows_out else expects(conv, out, FAR_PLANE)
    b.streams = b.fused and streams(conv, out, NEVER_NEAR)
    b.vectors = max(1, ceil_div(b.group_out, b.kernels.gemm.lanes))
    b.panels = panel_count(b.vectors, b.kernels.gemm.tile_rows)
    b.panel = ceil_div(b.vectors, b.panels) * b.kernels.gemm.lanes
    b.group_turn = conv.groups if splits_lines(b) else 1
    plan_reduction(b)
    b.skips = padded_share(&b.conv) > WORTH_SKIPPING
    b.fused = b.fused and b.taps * b.depth > 0
    plan_blocks(b, packed)
    # a task for every thread: then their panels are no more than all of them
    op.reads_weight = not packed and b.units * b.blocks == 1 \
        and task_count(b) >= threads.maximum()
    plan_workspace(b, op.reads_weight)
    op.pack = pack
    op.run = run
    op.packed_bytes = finite_flag_at(b, conv.groups, 0)
    op.workspace_bytes = b.workspace
    op.packing = ("panels", conv.type, conv.groups)
    return op


# ---------------------------------------------------------------- weights

cdef int pack_task(void *context, index task, int thread) noexcept nogil:
    cdef const Packing *p = <const Packing *> context
    cdef const Blocking *b = <const Blocking *> p.blocking
    cdef index group = task // b.panels, panel = task % b.panels
    p.packed[finite_flag_at(b, group, panel)] = pack_panel(
        b, p.weight, group, panel, p.packed + packed_panel_at(b, group, panel))
    return threads.FC_OK


cdef int pack(const void *blocking, const char *weight, char *packed) noexcept nogil:
    cdef const Blocking *b = <const Blocking *> blocking
    return pack_pieces(pack_task, b, weight, packed, b.conv.groups * b.panels,
                       packed_group_bytes(b) * b.conv.groups)


# ---------------------------------------------------------------- tasks

cdef struct RunContext:
    const Blocking *b
    const fc_call *call


cdef int run_task(void *context, index task, int thread) noexcept nogil:
    cdef RunContext *r = <RunContext *> context
    cdef const Blocking *b = r.b
    cdef Task t
    cdef index block, panel, group
    t.b = b
    t.call = r.call
    t.workspace = r.call.workspace + thread * b.workspace
    group = task % b.group_turn
    task //= b.group_turn
    block = task % b.blocks
    task //= b.blocks
    t.unit = task % b.units
    task //= b.units
    t.first_panel = (task % b.panel_tasks) * b.panels_per_task
    t.last_panel = min(t.first_panel + b.panels_per_task, b.panels)
    t.group = task // b.panel_tasks + group
    locate_block(&t, block)
    if b.copied:
        gather_strip(&t)
        point_into_strip(&t, <const char **> (t.workspace + b.pointers_at))
    else:
        point_into_input(&t, <const char **> (t.workspace + b.pointers_at))
    if b.skips:
        find_tap_ranges(&t)
    if b.rows_out:
        point_at_result(&t)
    for panel in range(t.first_panel, t.last_panel):
        find_weights(&t, panel)
        if b.expects and not b.rows_out:
            finish_planes(&t, panel, True)
        multiply(&t, panel)
        if not b.fused:
            finish(&t, panel)
    if b.streams:
        b.kernels.finish.end_stream()
    return threads.FC_OK


cdef int run(const void *blocking, const fc_call *call) noexcept nogil:
    cdef RunContext r
    r.b = <const Blocking *> blocking
    r.call = call
    return threads.run(run_task, &r, task_count(r.b), conv_operations(&r.b.conv),
                       r.b.conv.flush_denormals, call.threads)
