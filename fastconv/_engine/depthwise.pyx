"""Direct depthwise convolution of channels-last memory: vectors along the channels.

One input channel for each output channel. Windows are read where they lie, through one pointer and
two distances a kernel row; rows outside the input are a row of zeros, and at the ends of a row the
tiles make zeros of the columns outside.

    x --windows--> tile --> out             (channels contiguous in the result)
    x --windows--> tile --> sums --finish--> out

Where channels fill no whole vectors (a colour picture's three), neighbouring inner pixels are
joined into one long pixel of whole vectors, with as many copies of the weights.

Chains of at most 512 multiply-adds in the order kernel depth, height, width, added in order.
Padding is multiplied like any other zero.
"""

from libc.string cimport memcpy, memset

from . cimport threads
from .arithmetic cimport ceil_div, clamp, gcd, index, round_up
from .direct cimport address, conv_work, find_inner, input_row, plan_planes
from .direct_kernels cimport fc_depthwise_args, fc_direct_kernels, fc_window_row
from .dispatch cimport kernels
from .epilogue cimport FC_ACT_PRELU, epilogue_of, no_epilogue
from .kernels cimport fc_finish_args, fc_kernels, fc_pack_args
from .op cimport Prepared, fc_call, fc_conv, fc_view, new_blocking

cdef index CHAIN = 512
# Work is cut into up to this many tasks of at least this many operations.
cdef index TASKS = 64
cdef double TASK_OPERATIONS = 2e5
# Pixels of at least this many vectors are not joined: what their last vector wastes is little.
cdef index JOINED_BELOW = 4


# ---------------------------------------------------------------- planning

cdef struct Depthwise:
    fc_conv conv
    const fc_kernels *kernels
    index element
    index rows, chain_rows            # kernel rows: depth x height; those of one chain
    index joined                      # neighbouring pixels that one packed row of weights covers
    index padded                      # elements of that row: whole vectors
    index inner, inner_end            # output columns whose windows lie inside the input's rows
    index task_rows, row_blocks       # output rows of a task
    index columns, column_blocks      # its output columns
    bint in_place                     # the kernel writes the result; else sums go through finish
    index sum_pixel
    index zeros_at, bias_at, rows_at, windows_at, sums_at, workspace


cdef Prepared plan_depthwise(const fc_conv *conv, const fc_view *x, const fc_view *out,
                             const fc_view *residual):
    cdef index element = 8 if conv.type else 4
    cdef index taps = conv.kernel[0] * conv.kernel[1] * conv.kernel[2]
    if x.channel != element or x.space[2] == 0 or conv.in_channels != conv.groups \
            or conv.out_channels != conv.groups or conv.kernel[2] > CHAIN:
        return plan_planes(conv, x, out, residual)
    cdef Prepared op = Prepared.__new__(Prepared)
    cdef Depthwise *b = <Depthwise *> new_blocking(op, sizeof(Depthwise))
    b.conv = conv[0]
    b.kernels = kernels(conv.type)
    b.element = element
    b.rows = conv.kernel[0] * conv.kernel[1] if taps else 0
    b.chain_rows = max(1, CHAIN // max(1, conv.kernel[2]))
    b.in_place = out.channel == element and (residual.data == NULL or residual.channel == element)
    plan_joined(b, x, out, residual)
    find_inner(conv, &b.inner, &b.inner_end)
    plan_tasks(b)
    b.zeros_at = 0
    b.bias_at = b.padded * element
    b.rows_at = 2 * b.padded * element
    b.windows_at = b.rows_at + round_up(b.rows * sizeof(char *), 64)
    b.sums_at = b.windows_at + round_up(b.rows * sizeof(fc_window_row), 64)
    b.workspace = b.sums_at
    if not b.in_place:
        b.workspace += b.columns * b.sum_pixel
    b.workspace = round_up(b.workspace, 4096) + 64
    op.pack = pack_depthwise
    op.run = run_depthwise
    op.packed_bytes = taps * b.padded * element
    op.workspace_bytes = b.workspace
    op.packing = ("depthwise", conv.type)
    return op


cdef bint is_dense(const fc_view *view, index pixel) noexcept nogil:
    return view.data == NULL or view.space[2] == pixel


cdef void plan_joined(Depthwise *b, const fc_view *x, const fc_view *out,
                      const fc_view *residual) noexcept nogil:
    """Join pixels that follow each other without a gap, at stride 1, until they fill vectors.

    Where an activation has slopes they would have to be repeated as the bias is; few networks have
    such a layer.
    """
    cdef const fc_conv *c = &b.conv
    cdef index lanes = b.kernels.direct.lanes, channels = c.out_channels
    cdef index pixel = channels * b.element
    b.joined = 1
    b.padded = round_up(channels, lanes)
    b.sum_pixel = b.padded * b.element
    if channels % lanes and channels < JOINED_BELOW * lanes and c.stride[2] == 1 \
            and x.space[2] == pixel and c.activation != FC_ACT_PRELU \
            and (not b.in_place or (out.space[2] == pixel and is_dense(residual, pixel))):
        b.joined = lanes // gcd(channels, lanes)
        b.padded = b.joined * channels
        b.sum_pixel = pixel


cdef void plan_tasks(Depthwise *b) noexcept nogil:
    """Rows of one output plane; planes and, where rows are few, rows are cut for enough tasks."""
    cdef const fc_conv *c = &b.conv
    cdef index wanted = clamp(<index> (conv_work(c, b.element) / TASK_OPERATIONS), 1, TASKS)
    cdef index planes = max(1, c.batch * c.out_size[0])
    b.row_blocks = clamp(ceil_div(wanted, planes), 1, max(1, c.out_size[1]))
    b.task_rows = max(1, ceil_div(c.out_size[1], b.row_blocks))
    b.row_blocks = ceil_div(c.out_size[1], b.task_rows)
    b.column_blocks = max(1, wanted // max(1, planes * b.row_blocks))
    b.columns = round_up(max(1, ceil_div(c.out_size[2], b.column_blocks)),
                         b.kernels.direct.depthwise_pixels * b.joined)
    b.column_blocks = ceil_div(c.out_size[2], b.columns)


def depthwise_tile(dtype="float32"):
    """The register tile, as `Plan.tile` shows it.

    Parameters
    ----------
    dtype : str or numpy.dtype
        float32 or float64.
    """
    cdef const fc_direct_kernels *k = kernels(str(dtype) == "float64").direct
    return f"{k.depthwise_pixels}x{k.depthwise_vectors * k.lanes} (pixels x channels)"


cdef int pack_depthwise(const void *blocking, const char *weight, char *packed) noexcept nogil:
    """[kernel depth, height, width][joined pixel][channel], rounded up to whole vectors."""
    cdef const Depthwise *b = <const Depthwise *> blocking
    cdef index tap
    cdef fc_pack_args args
    args.weight = weight
    args.taps = b.rows * b.conv.kernel[2]
    args.depth = 1
    args.row = args.taps * b.element
    args.channels = b.conv.out_channels
    args.width = b.padded
    args.dst = packed
    b.kernels.gemm.pack(&args)
    for tap in range(args.taps):
        repeat(packed + tap * b.padded * b.element, b.conv.out_channels * b.element, b.joined)
    return threads.FC_OK


cdef void repeat(char *data, index size, index times) noexcept nogil:
    """Copy the first `size` bytes behind themselves until they stand there `times` times."""
    cdef index i
    for i in range(1, times):
        memcpy(data + i * size, data, size)


# ---------------------------------------------------------------- one output row

cdef struct Row:
    const Depthwise *b
    const fc_call *call
    char *workspace
    const char **kernel_rows         # of the input
    index image, depth, row
    index column, end                # of the result


cdef void find_kernel_rows(const Row *t) noexcept nogil:
    """Where the input row under each kernel row begins; NULL outside the input."""
    cdef const fc_conv *c = &t.b.conv
    cdef index at, row
    for at in range(t.b.rows):
        row = t.row * c.stride[1] - c.pad[1] + at % c.kernel[1] * c.dilation[1]
        t.kernel_rows[at] = input_row(c, &t.call.x, t.image, t.depth, at // c.kernel[1], row)


cdef void aim(const Row *t, fc_window_row *window, index column, index joined) noexcept nogil:
    """The windows from this output column on."""
    cdef const Depthwise *b = t.b
    cdef const fc_conv *c = &b.conv
    cdef index y, pixel = t.call.x.space[2], last = c.in_size[2] - joined
    cdef const char *x
    for y in range(b.rows):
        x = t.kernel_rows[y]
        if x == NULL:
            window[y].x = window[y].first = t.workspace + b.zeros_at
            window[y].pixel = window[y].tap = 0
            window[y].span = 1
            continue
        window[y].x = x + (column * c.stride[2] - c.pad[2]) * pixel
        window[y].pixel = joined * c.stride[2] * pixel
        window[y].tap = c.dilation[2] * pixel
        window[y].first = x if pixel > 0 else x + last * pixel
        window[y].span = max(0, last * (pixel if pixel > 0 else -pixel) + 1)


cdef void aim_result(const Row *t, fc_depthwise_args *d, index column, index joined) noexcept nogil:
    """Where the pixels from this column on go: the result, or the row of sums."""
    cdef const Depthwise *b = t.b
    cdef const fc_view *out = &t.call.out
    cdef const fc_view *residual = &t.call.residual
    d.out.residual = NULL
    if not b.in_place:
        d.out.out = t.workspace + b.sums_at + (column - t.column) * b.sum_pixel
        d.out.out_pixel = joined * b.sum_pixel
        return
    d.out.out = address(out, t.image, 0, t.depth, t.row, column)
    d.out.out_pixel = joined * out.space[2]
    if residual.data != NULL:
        d.out.residual = address(residual, t.image, 0, t.depth, t.row, column)
        d.out.residual_pixel = joined * residual.space[2]


cdef void run_columns(const Row *t, fc_depthwise_args *d, index column, index end,
                      index joined) noexcept nogil:
    """Output columns up to `end`, so many joined into one."""
    cdef const Depthwise *b = t.b
    if column >= end:
        return
    aim(t, <fc_window_row *> d.window, column, joined)
    aim_result(t, d, column, joined)
    d.pixels = (end - column) // joined
    d.channels = joined * b.conv.out_channels
    d.inner = b.inner - column if joined == 1 else 0
    d.inner_end = min(b.inner_end, end) - column if joined == 1 else d.pixels
    b.kernels.direct.depthwise(d)


cdef void finish_row(const Row *t) noexcept nogil:
    """A row of sums to a result (or from a residual) whose channels are apart."""
    cdef const Depthwise *b = t.b
    cdef const fc_call *call = t.call
    cdef fc_finish_args f
    f.sums = t.workspace + b.sums_at
    f.sum_row = b.sum_pixel
    f.pixels = t.end - t.column
    f.channels = b.conv.out_channels
    f.epilogue = epilogue_of(&b.conv, call, 0)
    f.out = address(&call.out, t.image, 0, t.depth, t.row, t.column)
    f.out_channel = call.out.channel
    f.out_pixel = call.out.space[2]
    f.residual = NULL
    if call.residual.data != NULL:
        f.residual = address(&call.residual, t.image, 0, t.depth, t.row, t.column)
    f.residual_channel = call.residual.channel
    f.residual_pixel = call.residual.space[2]
    b.kernels.finish.planes(&f)


cdef void run_row(const Row *t) noexcept nogil:
    cdef const Depthwise *b = t.b
    cdef const fc_conv *c = &b.conv
    cdef index inner = t.column, inner_end, rest
    cdef fc_depthwise_args d
    d.rows = b.rows
    d.taps = c.kernel[2]
    d.chain_rows = b.chain_rows
    d.window = <fc_window_row *> (t.workspace + b.windows_at)
    d.w = t.call.packed
    d.w_tap = b.padded * b.element
    d.out.epilogue = epilogue_of(c, t.call, 0) if b.in_place else no_epilogue()
    if d.out.epilogue.bias != NULL:
        d.out.epilogue.bias = t.workspace + b.bias_at
    find_kernel_rows(t)
    if b.joined > 1:
        inner = clamp(b.inner, t.column, t.end)
        inner_end = clamp(b.inner_end, inner, t.end)
        rest = (inner_end - inner) % b.joined
        run_columns(t, &d, t.column, inner, 1)
        run_columns(t, &d, inner, inner_end - rest, b.joined)
        run_columns(t, &d, inner_end - rest, inner_end, rest)
        inner = inner_end
    run_columns(t, &d, inner, t.end, 1)
    if not b.in_place:
        finish_row(t)


cdef struct DepthwiseRun:
    const Depthwise *b
    const fc_call *call


cdef int depthwise_task(void *context, index task, int thread) noexcept nogil:
    cdef DepthwiseRun *r = <DepthwiseRun *> context
    cdef const Depthwise *b = r.b
    cdef Row t
    cdef index block
    t.b = b
    t.call = r.call
    t.workspace = r.call.workspace + thread * b.workspace
    t.kernel_rows = <const char **> (t.workspace + b.rows_at)
    t.column = task % b.column_blocks * b.columns
    t.end = min(t.column + b.columns, b.conv.out_size[2])
    task //= b.column_blocks
    block = task % b.row_blocks
    task //= b.row_blocks
    t.depth = task % b.conv.out_size[0]
    t.image = task // b.conv.out_size[0]
    memset(t.workspace + b.zeros_at, 0, b.padded * b.element)
    if r.call.bias != NULL:
        memcpy(t.workspace + b.bias_at, r.call.bias, b.conv.out_channels * b.element)
        repeat(t.workspace + b.bias_at, b.conv.out_channels * b.element, b.joined)
    for t.row in range(block * b.task_rows,
                       min((block + 1) * b.task_rows, b.conv.out_size[1])):
        run_row(&t)
    return threads.FC_OK


cdef int run_depthwise(const void *blocking, const fc_call *call) noexcept nogil:
    cdef DepthwiseRun r
    r.b = <const Depthwise *> blocking
    r.call = call
    return threads.run(depthwise_task, &r,
                       r.b.conv.batch * r.b.conv.out_size[0] * r.b.row_blocks
                       * r.b.column_blocks,
                       conv_work(&r.b.conv, r.b.element), r.b.conv.flush_denormals,
                       r.call.threads)
