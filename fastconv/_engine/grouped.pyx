"""Direct convolution of narrow groups: vectors along the channels, several groups in one vector.

A vector holds as many whole groups as fit its lanes; the kernel moves the lanes of an input vector
so that each finds its own group's input. A block's input is first gathered into a zero-padded
strip, channels last, so that no window has an edge and no distance between rows or pixels is a
large power of two, which would put them into the same few sets of the cache:

    x --gather--> strip --windows--> tile --> out                     (channels contiguous in out)
    x --gather--> strip --windows--> tile --> sums --finish--> out

Chains of at most 512 multiply-adds in the order kernel depth, height, input channel, width, added
in order. Padding is multiplied like any other zero.
"""

from libc.string cimport memset

from . cimport threads
from .arithmetic cimport ceil_div, clamp, gcd, index, round_up
from .direct cimport address, conv_work, plan_planes
from .direct_kernels cimport fc_direct_kernels, fc_group_lanes, fc_grouped_args, fc_window_row
from .dispatch cimport kernels
from .epilogue cimport epilogue_of, no_epilogue
from .kernels cimport fc_finish_args, fc_gather_args, fc_kernels, fc_pack_args
from .line cimport rows_touch
from .op cimport Prepared, fc_call, fc_conv, fc_view, new_blocking

cdef index CHAIN = 512
# Work is cut into up to this many tasks of at least this many operations.
cdef index TASKS = 64
cdef double TASK_OPERATIONS = 2e5
# Scratch of one thread, strip and sums: what is transposed should stay near, what is only copied is
# copied best in long rows.
cdef index TRANSPOSED_BYTES = 96 << 10
cdef index COPIED_BYTES = 400 << 10
# Where even the smallest block needs more than this, or more taps, planes are the better form.
cdef index MOST_SCRATCH = 2 << 20
cdef index MOST_TAPS = 4096
# No block is made narrower than this.
cdef index LEAST_COLUMNS = 16

cdef enum:
    MOST_LANES = 16
    VECTOR_BYTES = 64


# ---------------------------------------------------------------- planning

cdef struct Grouped:
    fc_conv conv
    const fc_kernels *kernels
    index element, lanes
    index group_in, vectors           # vectors of whole groups
    fc_group_lanes usual, last        # of the last vector, and of all before it
    index kernel_rows, chain_rows     # depth x height; those of one chain
    bint transposed                   # x has channels that are apart
    bint writes                       # the kernel writes the result; else sums go through finish
    index rows, columns, block_vectors    # of a block of the result
    index row_blocks, column_blocks, vector_blocks
    # A strip holds every row_step-th row and column_step-th pixel between the block's first window
    # and its last, or, where those are fewer, for each kernel row the rows that it meets.
    index row_step, column_step
    bint by_kernel_row
    index pixel_pitch, row_pitch, slice_pitch
    index sum_pixel
    index windows_at, sums_at, workspace
    char lane_table[2 * MOST_LANES * VECTOR_BYTES]


cdef void fill_lanes(Grouped *b, fc_group_lanes *group, char *table, index groups) noexcept nogil:
    """Lane tables of a vector of so many groups."""
    cdef index group_out = b.conv.out_channels // b.conv.groups, i, lane, at
    group.channels_in = <int> (groups * b.group_in)
    group.channels_out = <int> (groups * group_out)
    group.index = table
    for i in range(b.group_in):
        for lane in range(b.lanes):
            at = lane // group_out * b.group_in + i if lane < group.channels_out else 0
            if b.element == 8:
                (<long long *> table)[i * b.lanes + lane] = at
            else:
                (<int *> table)[i * b.lanes + lane] = <int> at


cdef void plan_lanes(Grouped *b) noexcept nogil:
    cdef index group_out = b.conv.out_channels // b.conv.groups
    cdef index groups = b.lanes // max(b.group_in, group_out)
    b.vectors = ceil_div(b.conv.groups, groups)
    fill_lanes(b, &b.usual, b.lane_table, min(groups, b.conv.groups))
    fill_lanes(b, &b.last, b.lane_table + MOST_LANES * VECTOR_BYTES,
               b.conv.groups - (b.vectors - 1) * groups)


cdef inline index spanned_rows(const Grouped *b, index rows) noexcept nogil:
    """Rows of the strip that so many output rows see, all between the first and the last."""
    cdef const fc_conv *c = &b.conv
    return ((rows - 1) * c.stride[1] + (c.kernel[1] - 1) * c.dilation[1]) // b.row_step + 1


cdef inline index strip_rows(const Grouped *b, index rows) noexcept nogil:
    return rows * b.conv.kernel[1] if b.by_kernel_row else spanned_rows(b, rows)


cdef inline index strip_columns(const Grouped *b, index columns) noexcept nogil:
    """Pixels of a strip's row that so many output columns see."""
    cdef const fc_conv *c = &b.conv
    return ((columns - 1) * c.stride[2] + (c.kernel[2] - 1) * c.dilation[2]) // b.column_step + 1


cdef void measure(Grouped *b) noexcept nogil:
    """Pitches and offsets of the scratch for the present block."""
    b.pixel_pitch = round_up(b.block_vectors * b.usual.channels_in, b.lanes) * b.element
    b.row_pitch = strip_columns(b, b.columns) * b.pixel_pitch
    b.by_kernel_row = b.rows * b.conv.kernel[1] < spanned_rows(b, b.rows)
    b.slice_pitch = strip_rows(b, b.rows) * b.row_pitch
    b.windows_at = round_up(b.conv.kernel[0] * b.slice_pitch, 64)
    b.sum_pixel = round_up(b.block_vectors * b.usual.channels_out, b.lanes) * b.element
    b.sums_at = b.windows_at + round_up(b.kernel_rows * sizeof(fc_window_row), 64)
    b.workspace = b.sums_at
    if not b.writes:
        b.workspace += b.rows * b.columns * b.sum_pixel


cdef void plan_blocks(Grouped *b) noexcept nogil:
    """Output rows, channels and columns of a block: little scratch, and enough tasks."""
    cdef const fc_conv *c = &b.conv
    cdef index wanted = clamp(<index> (conv_work(c, b.element) / TASK_OPERATIONS), 1, TASKS)
    cdef index most = TRANSPOSED_BYTES if b.transposed else COPIED_BYTES
    b.block_vectors = 1 if b.transposed else b.vectors
    b.rows = max(1, c.out_size[1])
    b.columns = max(1, c.out_size[2])
    while True:
        measure(b)
        b.row_blocks = ceil_div(c.out_size[1], b.rows)
        b.column_blocks = ceil_div(c.out_size[2], b.columns)
        b.vector_blocks = ceil_div(b.vectors, b.block_vectors)
        if b.rows > 1 and (b.workspace > most or task_count(b) < wanted):
            b.rows = ceil_div(b.rows, 2)
        elif b.block_vectors > 1 and b.workspace > most:
            b.block_vectors = ceil_div(b.block_vectors, 2)
        elif b.columns > LEAST_COLUMNS and b.workspace > most:
            b.columns = round_up(ceil_div(b.columns, 2), LEAST_COLUMNS)
        else:
            break
    b.workspace = round_up(b.workspace, 4096) + 64


cdef inline index task_count(const Grouped *b) noexcept nogil:
    return b.conv.batch * b.conv.out_size[0] * b.row_blocks * b.column_blocks * b.vector_blocks


cdef Prepared plan_grouped(const fc_conv *conv, const fc_view *x, const fc_view *out,
                           const fc_view *residual):
    cdef Prepared op = Prepared.__new__(Prepared)
    cdef Grouped *b = <Grouped *> new_blocking(op, sizeof(Grouped))
    cdef index group_out = conv.out_channels // conv.groups, taps
    b.conv = conv[0]
    b.kernels = kernels(conv.type)
    b.element = 8 if conv.type else 4
    b.lanes = b.kernels.direct.lanes
    b.group_in = conv.in_channels // conv.groups
    b.kernel_rows = conv.kernel[0] * conv.kernel[1]
    taps = b.kernel_rows * conv.kernel[2]
    if taps == 0 or taps > MOST_TAPS or not 0 < b.group_in <= b.lanes \
            or not 0 < group_out <= b.lanes or conv.kernel[2] * b.group_in > CHAIN:
        return plan_planes(conv, x, out, residual)
    b.chain_rows = CHAIN // (conv.kernel[2] * b.group_in)
    b.transposed = x.channel != b.element
    b.writes = out.channel == b.element \
        and (residual.data == NULL or residual.channel == b.element)
    b.row_step = conv.stride[1] if conv.kernel[1] == 1 else gcd(conv.stride[1], conv.dilation[1])
    b.column_step = conv.stride[2] if conv.kernel[2] == 1 \
        else gcd(conv.stride[2], conv.dilation[2])
    plan_lanes(b)
    plan_blocks(b)
    if b.workspace > MOST_SCRATCH:
        return plan_planes(conv, x, out, residual)
    op.pack = pack_grouped
    op.run = run_grouped
    op.packed_bytes = b.vectors * vector_bytes(b)
    op.workspace_bytes = b.workspace
    op.packing = ("grouped", conv.type, conv.groups)
    return op


def grouped_tile(dtype="float32", index group_in=1, index group_out=1):
    """The register tile, as `Plan.tile` shows it.

    Parameters
    ----------
    dtype : str or numpy.dtype
        float32 or float64.
    group_in, group_out : int
        Input and output channels of one group.
    """
    cdef const fc_direct_kernels *k = kernels(str(dtype) == "float64").direct
    cdef index groups = k.lanes // max(group_in, group_out)
    return f"{k.depthwise_pixels}x{groups * group_out} (pixels x channels of {groups} groups)"


# ---------------------------------------------------------------- weights

cdef inline index vector_bytes(const Grouped *b) noexcept nogil:
    return b.kernel_rows * b.group_in * b.conv.kernel[2] * b.lanes * b.element


cdef int pack_grouped(const void *blocking, const char *weight, char *packed) noexcept nogil:
    """[vector][kernel depth, height][input channel][kernel width][lane], zero where no group is."""
    cdef const Grouped *b = <const Grouped *> blocking
    cdef index vector, row, i, channel, width = b.conv.kernel[2]
    cdef fc_pack_args args
    args.depth = 1
    args.taps = width
    args.row = b.group_in * b.kernel_rows * width * b.element
    args.width = b.lanes
    args.dst = packed
    for vector in range(b.vectors):
        channel = vector * b.usual.channels_out
        args.channels = lanes_of(b, vector).channels_out
        for row in range(b.kernel_rows):
            for i in range(b.group_in):
                args.weight = weight + channel * args.row \
                    + (i * b.kernel_rows + row) * width * b.element
                b.kernels.gemm.pack(&args)
                args.dst += width * b.lanes * b.element
    return threads.FC_OK


cdef inline const fc_group_lanes *lanes_of(const Grouped *b, index vector) noexcept nogil:
    return &b.last if vector == b.vectors - 1 else &b.usual


# ---------------------------------------------------------------- a block

cdef struct Block:
    const Grouped *b
    const fc_call *call
    char *workspace
    index image, depth
    index row, rows, column, columns      # of the result
    index vector, vectors
    index channel_in, channels_in, channel_out, channels_out


cdef void gather_strip(const Block *t) noexcept nogil:
    """The input that the block's windows see, channels last, zeros outside."""
    cdef const Grouped *b = t.b
    cdef const fc_conv *c = &b.conv
    cdef const fc_view *x = &t.call.x
    cdef index pixels = strip_columns(b, t.columns), first, last, depth, row, z, y
    cdef index left = t.column * c.stride[2] - c.pad[2]
    cdef char *to
    cdef fc_gather_args g
    first = clamp(ceil_div(max(0, -left), b.column_step), 0, pixels)
    last = clamp(ceil_div(max(0, c.in_size[2] - left), b.column_step), first, pixels)
    g.src_pixel = b.column_step * x.space[2]
    g.src_channel = x.channel
    g.pixels = last - first
    g.channels = t.channels_in
    g.dst_pixel = b.pixel_pitch
    for z in range(c.kernel[0]):
        depth = t.depth * c.stride[0] - c.pad[0] + z * c.dilation[0]
        for y in range(strip_rows(b, t.rows)):
            row = t.row * c.stride[1] - c.pad[1]
            if b.by_kernel_row:
                row += y // t.rows * c.dilation[1] + y % t.rows * c.stride[1]
            else:
                row += y * b.row_step
            to = t.workspace + z * b.slice_pitch + y * b.row_pitch
            if not (0 <= depth < c.in_size[0] and 0 <= row < c.in_size[1]):
                memset(to, 0, pixels * b.pixel_pitch)
                continue
            memset(to, 0, first * b.pixel_pitch)
            memset(to + last * b.pixel_pitch, 0, (pixels - last) * b.pixel_pitch)
            g.dst = to + first * b.pixel_pitch
            g.src = address(x, t.image, t.channel_in, depth, row, left + first * b.column_step)
            b.kernels.finish.gather(&g)


cdef void aim_at_strip(const Block *t, fc_window_row *window, index row) noexcept nogil:
    """The windows of one output row."""
    cdef const Grouped *b = t.b
    cdef const fc_conv *c = &b.conv
    cdef index y, at
    for y in range(b.kernel_rows):
        if b.by_kernel_row:
            at = y % c.kernel[1] * t.rows + row
        else:
            at = (row * c.stride[1] + y % c.kernel[1] * c.dilation[1]) // b.row_step
        window[y].x = t.workspace + y // c.kernel[1] * b.slice_pitch + at * b.row_pitch
        window[y].pixel = c.stride[2] // b.column_step * b.pixel_pitch
        window[y].tap = c.dilation[2] // b.column_step * b.pixel_pitch


cdef void multiply(const Block *t, fc_grouped_args *g, index row) noexcept nogil:
    """Run the tiles of one row of the block."""
    cdef const Grouped *b = t.b
    cdef const fc_view *out = &t.call.out
    cdef const fc_view *residual = &t.call.residual
    g.out.residual = NULL
    if b.writes:
        g.out.out = address(out, t.image, t.channel_out, t.depth, t.row + row, t.column)
        g.out.out_pixel = out.space[2]
        if residual.data != NULL:
            g.out.residual = address(residual, t.image, t.channel_out, t.depth, t.row + row,
                                     t.column)
            g.out.residual_pixel = residual.space[2]
    else:
        g.out.out = t.workspace + b.sums_at + row * t.columns * b.sum_pixel
        g.out.out_pixel = b.sum_pixel
    b.kernels.direct.grouped(g)


cdef void finish_sums(const Block *t) noexcept nogil:
    """The block's sums to a result (or from a residual) whose channels are apart."""
    cdef const Grouped *b = t.b
    cdef const fc_call *call = t.call
    cdef index row = 0, rows = 1
    cdef fc_finish_args f
    f.sum_row = b.sum_pixel
    f.channels = t.channels_out
    f.epilogue = epilogue_of(&b.conv, call, t.channel_out)
    f.out_channel = call.out.channel
    f.out_pixel = call.out.space[2]
    f.residual = NULL
    f.residual_channel = call.residual.channel
    f.residual_pixel = call.residual.space[2]
    # rows without a gap between them are one long row
    if rows_touch(&call.out, t.columns) and rows_touch(&call.residual, t.columns):
        rows = t.rows
    f.pixels = rows * t.columns
    while row < t.rows:
        f.sums = t.workspace + b.sums_at + row * t.columns * b.sum_pixel
        f.out = address(&call.out, t.image, t.channel_out, t.depth, t.row + row, t.column)
        if call.residual.data != NULL:
            f.residual = address(&call.residual, t.image, t.channel_out, t.depth, t.row + row,
                                 t.column)
        b.kernels.finish.planes(&f)
        row += rows


cdef void run_block(const Block *t) noexcept nogil:
    cdef const Grouped *b = t.b
    cdef fc_window_row *window = <fc_window_row *> (t.workspace + b.windows_at)
    cdef index row
    cdef fc_grouped_args g
    g.pixels = t.columns
    g.vectors = t.vectors
    g.usual = b.usual
    g.last = lanes_of(b, t.vector + t.vectors - 1)[0]
    g.group_in = b.group_in
    g.rows = b.kernel_rows
    g.taps = b.conv.kernel[2]
    g.chain_rows = b.chain_rows
    g.window = window
    g.w_vector = vector_bytes(b)
    g.w = t.call.packed + t.vector * g.w_vector
    g.out.epilogue = epilogue_of(&b.conv, t.call, t.channel_out) if b.writes else no_epilogue()
    gather_strip(t)
    for row in range(t.rows):
        aim_at_strip(t, window, row)
        multiply(t, &g, row)
    if not b.writes:
        finish_sums(t)


cdef struct GroupedRun:
    const Grouped *b
    const fc_call *call


cdef int grouped_task(void *context, index task, int thread) noexcept nogil:
    cdef GroupedRun *r = <GroupedRun *> context
    cdef const Grouped *b = r.b
    cdef const fc_conv *c = &b.conv
    cdef Block t
    t.b = b
    t.call = r.call
    t.workspace = r.call.workspace + thread * b.workspace
    t.column = task % b.column_blocks * b.columns
    t.columns = min(b.columns, c.out_size[2] - t.column)
    task //= b.column_blocks
    t.row = task % b.row_blocks * b.rows
    t.rows = min(b.rows, c.out_size[1] - t.row)
    task //= b.row_blocks
    t.vector = task % b.vector_blocks * b.block_vectors
    t.vectors = min(b.block_vectors, b.vectors - t.vector)
    task //= b.vector_blocks
    t.depth = task % c.out_size[0]
    t.image = task // c.out_size[0]
    t.channel_in = t.vector * b.usual.channels_in
    t.channel_out = t.vector * b.usual.channels_out
    t.channels_in = (t.vectors - 1) * b.usual.channels_in \
        + lanes_of(b, t.vector + t.vectors - 1).channels_in
    t.channels_out = (t.vectors - 1) * b.usual.channels_out \
        + lanes_of(b, t.vector + t.vectors - 1).channels_out
    run_block(&t)
    return threads.FC_OK


cdef int run_grouped(const void *blocking, const fc_call *call) noexcept nogil:
    cdef GroupedRun r
    r.b = <const Grouped *> blocking
    r.call = call
    return threads.run(grouped_task, &r, task_count(r.b), conv_work(&r.b.conv, r.b.element),
                       r.b.conv.flush_denormals, r.call.threads)
