"""Direct convolution of a few input channels: a window's weights stay in registers.

Vectors along the output channels. Each kernel row is one run of width x channels in channels-last
memory (groups have kernels one pixel wide); for one vector of output channels all weights of the
kernel, or of some of its rows or equal parts of them, are loaded once for many pixels, and each
pixel's window is read where it lies. Windows that reach beyond the input's sides are copied first,
a column of output pixels side by side. Pixels with gaps between them are gathered into a zero-padded
strip, which has no sides.

    x ------------------> kernel --> out         (all rows in one pass)
    x ------------------> kernel --> sums --> kernel --> out
    x --windows at a side--> kernel --> out
    x --gather--> strip ---> kernel --> out

A fresh chain for each kernel row or part, two where it is long, added in order: kernel depth,
height; within it width, input channel. Padding is multiplied like any other zero.
"""

from libc.string cimport memset

from . cimport threads
from .arithmetic cimport ceil_div, clamp, index, round_up
from .direct cimport address, conv_work, find_inner, input_row
from .dispatch cimport kernels
from .epilogue cimport epilogue_of
from .im2col cimport plan_im2col
from .kernels cimport fc_gather_args, fc_kernels, fc_pack_args
from .op cimport Prepared, fc_call, fc_conv, fc_view, new_blocking
from .result cimport NEVER_NEAR, STREAMED, starts_on_boundary, streams
from .stationary_kernels cimport FC_STATIONARY_ROWS, fc_stationary_args

# Work is cut into up to this many tasks of at least this many operations.
cdef index TASKS = 64
cdef double TASK_OPERATIONS = 2e5
# Output columns and rows of a task: a row's results, of which each vector of channels writes a
# piece, stay in the first cache, and so do a column's windows.
cdef index OUT_BYTES = 16 << 10
cdef index LEAST_COLUMNS = 32
cdef index MOST_ROWS = 16
# A strip stays in the second cache where a single output row's input does.
cdef index STRIP_BYTES = 256 << 10


# ---------------------------------------------------------------- planning

cdef struct Stationary:
    fc_conv conv
    const fc_kernels *kernels
    index element, lanes
    index pixel                       # bytes of all groups' channels, without gaps
    index window_row                  # of the pixels under a kernel row
    index parts                       # that a kernel row's run is cut into, to be held
    index rows, run                   # depth x height x parts; elements of a part
    index passes, pass_rows           # over all of them, and rows of each but the last
    index group_in, group_out, group_vectors    # channels; vectors of a group's output channels
    index inner, inner_end            # output columns whose windows lie inside the input's rows
    index task_rows, columns          # of a task
    index row_blocks, column_blocks
    bint streams                      # whole vectors are written past the caches
    bint gathers                      # into a strip: pixels that do not follow each other
    index strip_rows, strip_row       # of one kernel plane; bytes of one
    index zeros_at, rows_at, windows_at, sums_at, strip_at, workspace


cdef Prepared plan_stationary(const fc_conv *conv, const fc_view *x, const fc_view *out,
                              const fc_view *residual, bint packed):
    cdef index element = 8 if conv.type else 4
    if out.channel != element or (residual.data != NULL and residual.channel != element):
        return plan_im2col(conv, x, out, residual, True, packed)
    cdef Prepared op = Prepared.__new__(Prepared)
    cdef Stationary *b = <Stationary *> new_blocking(op, sizeof(Stationary))
    b.conv = conv[0]
    b.kernels = kernels(conv.type)
    b.element = element
    b.lanes = b.kernels.direct.lanes
    b.pixel = conv.in_channels * element
    b.gathers = x.space[2] != b.pixel or (x.channel != element and conv.in_channels > 1)
    b.rows = conv.kernel[0] * conv.kernel[1]
    b.group_in = conv.in_channels // conv.groups
    b.group_out = conv.out_channels // conv.groups
    b.run = conv.kernel[2] * b.group_in
    b.window_row = conv.kernel[2] * b.pixel
    b.group_vectors = ceil_div(b.group_out, b.lanes)
    plan_passes(b)
    # each line of memory by a single store: a pixel's other channels follow much later
    b.streams = b.lanes * element == STREAMED and streams(conv, out, NEVER_NEAR)
    find_inner(&b.conv, &b.inner, &b.inner_end)
    if b.gathers:
        b.inner, b.inner_end = 0, b.conv.out_size[2]
    plan_tasks(b)
    plan_scratch(b)
    op.pack = pack_stationary
    op.run = run_stationary
    op.packed_bytes = conv.groups * b.group_vectors * vector_bytes(b)
    op.workspace_bytes = b.workspace
    op.packing = ("stationary", conv.type, conv.groups)
    return op


cdef void plan_passes(Stationary *b) noexcept nogil:
    """As even as whole kernel rows, or equal parts of them, allow."""
    b.parts = ceil_div(b.run, b.kernels.stationary.weights)
    while b.run % b.parts:
        b.parts += 1
    b.run //= b.parts
    b.rows *= b.parts
    cdef index most = clamp(b.kernels.stationary.weights // b.run, 1, FC_STATIONARY_ROWS)
    b.passes = ceil_div(b.rows, most)
    b.pass_rows = ceil_div(b.rows, b.passes)


cdef void plan_tasks(Stationary *b) noexcept nogil:
    """Some rows of an output plane, in pieces of even width."""
    cdef const fc_conv *c = &b.conv
    cdef index wanted = clamp(<index> (conv_work(c, b.element) / TASK_OPERATIONS), 1, TASKS)
    cdef index planes = max(1, c.batch * c.out_size[0])
    cdef index most = max(LEAST_COLUMNS, OUT_BYTES // (c.out_channels * b.element))
    b.column_blocks = ceil_div(c.out_size[2], most)
    b.columns = max(1, ceil_div(c.out_size[2], max(1, b.column_blocks)))
    b.row_blocks = ceil_div(wanted, max(1, planes * b.column_blocks))
    b.task_rows = clamp(ceil_div(c.out_size[1], b.row_blocks), 1, MOST_ROWS)
    while b.gathers and strip_bytes(b) > STRIP_BYTES:
        if b.task_rows > 1:
            b.task_rows = ceil_div(b.task_rows, 2)
        elif b.columns > LEAST_COLUMNS:
            b.columns = max(LEAST_COLUMNS, ceil_div(b.columns, 2))
        else:
            break
    b.row_blocks = ceil_div(c.out_size[1], b.task_rows)
    b.column_blocks = ceil_div(c.out_size[2], b.columns)


cdef void plan_scratch(Stationary *b) noexcept nogil:
    b.zeros_at = 0
    b.rows_at = round_up(b.window_row, 64)
    b.windows_at = b.rows_at + round_up(b.rows * sizeof(char *), 64)
    b.sums_at = b.windows_at + round_up(b.task_rows * (b.rows // b.parts) * b.window_row, 64)
    b.workspace = b.sums_at
    if b.passes > 1:
        b.workspace += max(b.columns, b.task_rows) * b.lanes * b.element
    b.strip_at = round_up(b.workspace, 64)
    b.strip_rows = strip_rows(b)
    b.strip_row = strip_columns(b, b.columns) * b.pixel
    if b.gathers:
        b.workspace = b.strip_at + strip_bytes(b)
    b.workspace = round_up(b.workspace, 4096) + 64


cdef inline index strip_columns(const Stationary *b, index columns) noexcept nogil:
    """Pixels of a row that the windows of so many output columns see."""
    return (columns - 1) * b.conv.stride[2] + b.conv.kernel[2]


cdef inline index strip_rows(const Stationary *b) noexcept nogil:
    """Rows that a task's windows see under one of the kernel's planes."""
    cdef const fc_conv *c = &b.conv
    return (b.task_rows - 1) * c.stride[1] + (c.kernel[1] - 1) * c.dilation[1] + 1


cdef inline index strip_bytes(const Stationary *b) noexcept nogil:
    return b.conv.kernel[0] * strip_rows(b) * strip_columns(b, b.columns) * b.pixel


def stationary_weights(dtype="float32"):
    """How many weights of each output channel the level in use keeps in registers.

    Parameters
    ----------
    dtype : str or numpy.dtype
        float32 or float64.
    """
    return kernels(str(dtype) == "float64").stationary.weights


def stationary_tile(dtype="float32", index rows=1, index run=1):
    """The weights that one call keeps, as `Plan.tile` shows them.

    Parameters
    ----------
    dtype : str or numpy.dtype
        float32 or float64.
    rows, run : int
        Of a window: kernel depth x height, and width x input channels.
    """
    cdef Stationary b
    b.kernels = kernels(str(dtype) == "float64")
    b.rows, b.run = max(1, rows), max(1, run)
    plan_passes(&b)
    return f"{b.pass_rows}x{b.run}x{b.kernels.direct.lanes} (kernel rows x run x channels)"


cdef int pack_stationary(const void *blocking, const char *weight, char *packed) noexcept nogil:
    """[group][vector][kernel depth, height][width, input channel][lane], zero without channel."""
    cdef const Stationary *b = <const Stationary *> blocking
    cdef index group, vector, size = b.rows * b.run
    cdef fc_pack_args args
    args.taps = size // b.group_in
    args.depth = b.group_in
    args.row = size * b.element
    args.width = b.lanes
    args.dst = packed
    for group in range(b.conv.groups):
        for vector in range(b.group_vectors):
            args.weight = weight + (group * b.group_out + vector * b.lanes) * args.row
            args.channels = min(b.lanes, b.group_out - vector * b.lanes)
            b.kernels.gemm.pack(&args)
            args.dst += vector_bytes(b)
    return threads.FC_OK


cdef inline index vector_bytes(const Stationary *b) noexcept nogil:
    """Of the weights of one vector of output channels."""
    return b.rows * b.run * b.lanes * b.element


# ---------------------------------------------------------------- a task

cdef struct Block:
    const Stationary *b
    const fc_call *call
    char *workspace
    const char **kernel_rows         # of the input; NULL outside
    index image, depth, row, rows
    index column, end                # of the result


cdef void find_kernel_rows(const Block *t, index row) noexcept nogil:
    """Where the input row under each kernel row of an output row begins, or would in a strip."""
    cdef const Stationary *b = t.b
    cdef const fc_conv *c = &b.conv
    cdef index at, plane, below, part
    cdef index left = t.column * c.stride[2] - c.pad[2]
    cdef const char *found = NULL
    for at in range(b.rows):
        part, plane = at % b.parts, at // b.parts // c.kernel[1]
        below = at // b.parts % c.kernel[1] * c.dilation[1]
        if b.gathers:
            below += (row - t.row) * c.stride[1] + plane * b.strip_rows
            found = t.workspace + b.strip_at + below * b.strip_row - left * b.pixel
        elif part == 0:
            found = input_row(c, &t.call.x, t.image, t.depth, plane,
                              row * c.stride[1] - c.pad[1] + below)
        t.kernel_rows[at] = found + part * b.run * b.element if found != NULL else NULL


cdef void copy_pixels(const Block *t, char *to, const char *row, index left,
                      index pixels) noexcept nogil:
    """Pixels of an input row from a column on, without gaps, zeros outside."""
    cdef const Stationary *b = t.b
    cdef index first = clamp(-left, 0, pixels)
    cdef index last = clamp(b.conv.in_size[2] - left, first, pixels)
    cdef fc_gather_args g
    if row == NULL:
        first = last = pixels
    memset(to, 0, first * b.pixel)
    memset(to + last * b.pixel, 0, (pixels - last) * b.pixel)
    g.src_pixel = t.call.x.space[2]
    g.src_channel = t.call.x.channel
    g.src = row + (left + first) * g.src_pixel
    g.pixels = last - first
    g.channels = b.conv.in_channels
    g.dst = to + first * b.pixel
    g.dst_pixel = b.pixel
    b.kernels.finish.gather(&g)


cdef void gather_strip(const Block *t) noexcept nogil:
    """What the block's windows see."""
    cdef const Stationary *b = t.b
    cdef const fc_conv *c = &b.conv
    cdef index plane, below, top = t.row * c.stride[1] - c.pad[1]
    cdef index left = t.column * c.stride[2] - c.pad[2]
    cdef char *to = t.workspace + b.strip_at
    cdef const char *row
    for plane in range(c.kernel[0]):
        for below in range(b.strip_rows):
            row = input_row(c, &t.call.x, t.image, t.depth, plane, top + below)
            copy_pixels(t, to, row, left, strip_columns(b, t.end - t.column))
            to += b.strip_row


cdef void aim_at_row(const Block *t, fc_stationary_args *s, index first, index column,
                     index channel) noexcept nogil:
    """Windows from this output column and input channel on, where they lie in the input."""
    cdef const Stationary *b = t.b
    cdef const fc_conv *c = &b.conv
    cdef index r
    for r in range(s.rows):
        s.x[r] = t.workspace + b.zeros_at
        s.step[r] = 0
        if t.kernel_rows[first + r] != NULL:
            s.x[r] = t.kernel_rows[first + r] + (column * c.stride[2] - c.pad[2]) * b.pixel \
                + channel * b.element
            s.step[r] = c.stride[2] * b.pixel


cdef void aim_at_windows(const Block *t, fc_stationary_args *s, index first,
                         index channel) noexcept nogil:
    """The copied windows of a column, from this input channel on."""
    cdef const Stationary *b = t.b
    cdef index r, row, part
    for r in range(s.rows):
        row, part = (first + r) // b.parts, (first + r) % b.parts
        s.x[r] = t.workspace + b.windows_at + row * b.window_row \
            + (part * b.run + channel) * b.element
        s.step[r] = b.rows // b.parts * b.window_row


cdef void copy_windows(const Block *t, index column) noexcept nogil:
    """The windows of an output column, one row after the other."""
    cdef const Stationary *b = t.b
    cdef const fc_conv *c = &b.conv
    cdef index row, r
    cdef char *to = t.workspace + b.windows_at
    for row in range(t.row, t.row + t.rows):
        find_kernel_rows(t, row)
        for r in range(b.rows // b.parts):
            copy_pixels(t, to, t.kernel_rows[r * b.parts], column * c.stride[2] - c.pad[2],
                        c.kernel[2])
            to += b.window_row


cdef void aim_result(const Block *t, fc_stationary_args *s, index channel, index row, index column,
                     int axis) noexcept nogil:
    """Where output channels go, of pixels that follow each other along an axis."""
    cdef const Stationary *b = t.b
    cdef const fc_view *residual = &t.call.residual
    s.out.epilogue = epilogue_of(&b.conv, t.call, channel)
    s.out.out = address(&t.call.out, t.image, channel, t.depth, row, column)
    s.out.out_pixel = t.call.out.space[axis]
    s.out.residual = NULL
    if residual.data != NULL:
        s.out.residual = address(residual, t.image, channel, t.depth, row, column)
        s.out.residual_pixel = residual.space[axis]


cdef void multiply(const Block *t, index row, index column, index pixels,
                   bint copied) noexcept nogil:
    """All output channels of some pixels: of a row, or of a column whose windows are copied."""
    cdef const Stationary *b = t.b
    cdef index vector, group, channel, step, first
    cdef fc_stationary_args s
    s.pixels = pixels
    s.run = <int> b.run
    s.sums = t.workspace + b.sums_at
    s.streams = b.streams and starts_on_boundary(&t.call.out)
    for vector in range(b.conv.groups * b.group_vectors):
        group = vector // b.group_vectors
        channel = vector % b.group_vectors * b.lanes
        s.channels = <int> min(b.lanes, b.group_out - channel)
        aim_result(t, &s, group * b.group_out + channel, row, column, 1 if copied else 2)
        for step in range(b.passes):
            first = step * b.pass_rows
            s.rows = <int> min(b.pass_rows, b.rows - first)
            s.begun = step > 0
            s.kept = step < b.passes - 1
            s.w = t.call.packed + (vector * b.rows + first) * b.run * b.lanes * b.element
            if copied:
                aim_at_windows(t, &s, first, group * b.group_in)
            else:
                aim_at_row(t, &s, first, column, group * b.group_in)
            b.kernels.stationary.run(&s)


cdef void run_side(const Block *t, index column, index end) noexcept nogil:
    """Columns whose windows reach beyond the input's rows."""
    while column < end:
        copy_windows(t, column)
        multiply(t, t.row, column, t.rows, True)
        column += 1


cdef void run_block(const Block *t) noexcept nogil:
    cdef const Stationary *b = t.b
    cdef index inner = clamp(b.inner, t.column, t.end), row
    cdef index inner_end = clamp(b.inner_end, inner, t.end)
    memset(t.workspace + b.zeros_at, 0, b.window_row)
    if b.gathers:
        gather_strip(t)
    run_side(t, t.column, inner)
    if inner < inner_end:
        for row in range(t.row, t.row + t.rows):
            find_kernel_rows(t, row)
            multiply(t, row, inner, inner_end - inner, False)
    run_side(t, inner_end, t.end)


cdef struct StationaryRun:
    const Stationary *b
    const fc_call *call


cdef int stationary_task(void *context, index task, int thread) noexcept nogil:
    cdef StationaryRun *r = <StationaryRun *> context
    cdef const Stationary *b = r.b
    cdef Block t
    t.b = b
    t.call = r.call
    t.workspace = r.call.workspace + thread * b.workspace
    t.kernel_rows = <const char **> (t.workspace + b.rows_at)
    t.column = task % b.column_blocks * b.columns
    t.end = min(t.column + b.columns, b.conv.out_size[2])
    task //= b.column_blocks
    t.row = task % b.row_blocks * b.task_rows
    t.rows = min(b.task_rows, b.conv.out_size[1] - t.row)
    task //= b.row_blocks
    t.depth = task % b.conv.out_size[0]
    t.image = task // b.conv.out_size[0]
    run_block(&t)
    if b.streams:
        b.kernels.finish.end_stream()
    return threads.FC_OK


cdef int run_stationary(const void *blocking, const fc_call *call) noexcept nogil:
    cdef StationaryRun r
    r.b = <const Stationary *> blocking
    r.call = call
    return threads.run(stationary_task, &r,
                       r.b.conv.batch * r.b.conv.out_size[0] * r.b.row_blocks
                       * r.b.column_blocks,
                       conv_work(&r.b.conv, r.b.element), r.b.conv.flush_denormals,
                       r.call.threads)
