"""Max and average pools: which way to walk, and bands of the result as tasks.

A band is some rows of one slice of the result, for one channel or a block of neighbouring ones; it
is the unit of the kernels (kernels/pool.h), and a task is a run of bands worth about 64 KiB.
How a kernel walks follows from the strides, never from the name of the layout:

    channels contiguous   lines     fixed windows that overlap: rows folded first, then columns
                          windows   other windows, tap by tap
    anything else         lines     vectors along the width
                          segments  windows wide enough for vectors of their own, or fitted ones
                          windows   the rest, one element at a time

Bands are independent and each is computed in one piece, so no bit depends on the threads.
"""

from . cimport threads
from .arithmetic cimport ceil_div, count_on, digits_of, index
from .dispatch cimport kernels
from .kernels cimport fc_kernels
from .op cimport Prepared, fc_call, fc_view, new_blocking
from .pool_kernels cimport FC_POOL_ARGMAX, FC_POOL_LINE_BYTES, FC_POOL_LINE_VECTORS, FC_POOL_LINES
from .pool_kernels cimport FC_POOL_SEGMENTS, FC_POOL_WINDOWS
from .pool_kernels cimport fc_pool_args, fc_pool_axis, fc_pool_cells, fc_pool_span, fc_pool_window


cdef index TASK_BYTES = 65536
# Wider strides leave the line: most of it would never be looked at.
cdef index WIDEST_STRIDE = 7
# Fewer rows than this are cut along the channels too, so that several threads find work.
cdef index FEW_ROWS = 64
cdef index FEW_ROWS_CHANNELS = 256
# Lines that a kernel holds at once at most: enough for stores to leave the store buffer.
cdef index MOST_HELD = 8

# Digits of a band's number, fastest first; channels follow the columns where they are contiguous.
cdef enum:
    DIGITS = 5

cdef struct Blocking:
    fc_pool pool
    int method
    void (*kernel)(const fc_pool_args *) noexcept nogil
    index channel_block
    index row_block
    index column_block
    index phase              # elements from one stride phase of a kernel's line to the next
    index line               # elements of a kernel's line
    index held
    index extents[DIGITS]
    int channel_digit
    int row_digit
    index bands
    index bands_per_task
    double work
    ptrdiff_t taps[1]        # as many as the kernel is wide

cdef struct Call:
    const Blocking *b
    fc_view x
    fc_view out
    fc_view places


cdef index even_block(index total, index most, index multiple) noexcept nogil:
    """Size of nearly equal blocks of at most `most`, a multiple of `multiple` where that fits."""
    cdef index block
    if total <= most:
        return total
    block = ceil_div(total, ceil_div(total, most))
    block = ceil_div(block, multiple) * multiple
    return block if block <= most else most


# --- planning ------------------------------------------------------------------------------------


cdef index extent(const fc_pool_axis *axis) noexcept nogil:
    return (axis.kernel - 1) * axis.dilation + 1


cdef bint whole(const fc_pool_axis *axis) noexcept nogil:
    """Whether one window is exactly the axis."""
    return axis.outs == 1 and not axis.before and not axis.after and axis.dilation == 1 \
        and axis.kernel == axis.size


cdef void simplify_axis(fc_pool_axis *axis) noexcept nogil:
    """Fitted windows that are all alike are fixed ones; a single window has no stride."""
    if axis.fitted and axis.size % axis.outs == 0:
        axis.fitted = 0
        axis.kernel = axis.stride = axis.size // axis.outs
        axis.dilation = 1
        axis.before = axis.after = 0
    if axis.fitted:
        axis.dilation = 1
    if axis.outs == 1:
        axis.stride = 1


cdef void merge_axes(fc_pool_axis *outer, fc_pool_axis *inner, ptrdiff_t outer_step,
                     ptrdiff_t inner_step) noexcept nogil:
    """Two axes that one window covers, and that are one in memory, become one."""
    if whole(outer) and whole(inner) and outer_step == inner_step * inner.size:
        inner.size *= outer.size
        inner.kernel = inner.size
        outer.size = outer.kernel = 1


cdef void simplify(fc_pool *pool, const fc_view *x) noexcept nogil:
    cdef fc_pool_axis *axes = pool.axis
    cdef int axis, inner
    for axis in range(3):
        simplify_axis(&axes[axis])
    merge_axes(&axes[1], &axes[2], x.space[1], x.space[2])
    inner = 2 if axes[1].size == 1 else 1
    merge_axes(&axes[0], &axes[inner], x.space[0], x.space[inner])


cdef void choose_by_channels(Blocking *b, index lanes, index capacity) noexcept nogil:
    """Contiguous channels: fold rows first where that takes fewer loads, or few channels."""
    cdef const fc_pool_axis *width = &b.pool.axis[2]
    cdef index rows = b.pool.axis[0].kernel * b.pool.axis[1].kernel
    cdef index most = capacity // (4 * extent(width))
    cdef bint separable = rows * width.kernel > (rows + 1) * width.stride + width.kernel
    cdef bint fitted = b.pool.axis[0].fitted or b.pool.axis[1].fitted or width.fitted
    b.method = FC_POOL_WINDOWS
    if not fitted and b.pool.op != FC_POOL_ARGMAX and most >= lanes \
            and (separable or b.pool.channels < lanes):
        b.method = FC_POOL_LINES
    elif b.pool.batch * b.pool.axis[0].outs * b.pool.axis[1].outs < FEW_ROWS:
        most = FEW_ROWS_CHANNELS
    else:
        most = b.pool.channels
    b.channel_block = even_block(b.pool.channels, most, lanes)


cdef void choose_by_width(Blocking *b, bint contiguous, index capacity) noexcept nogil:
    """One channel at a time, vectors along the width where its elements are neighbours."""
    cdef const fc_pool_axis *width = &b.pool.axis[2]
    cdef bint too_wide = width.stride > WIDEST_STRIDE or extent(width) > capacity
    cdef bint solid = width.fitted or (width.dilation == 1 and (
        too_wide or (width.outs == 1 and width.kernel >= 8)))
    b.channel_block = 1
    if solid and contiguous:
        b.method = FC_POOL_SEGMENTS
    elif width.fitted or too_wide:
        b.method = FC_POOL_WINDOWS
    else:
        b.method = FC_POOL_LINES


cdef void plan_columns(Blocking *b, index element, index lanes, index capacity) noexcept nogil:
    """How many columns a band has; of the kernels' lines, where their taps lie."""
    cdef const fc_pool_axis *width = &b.pool.axis[2]
    cdef index step = ceil_div(width.size, width.outs) if width.fitted else width.stride
    cdef index columns, t, place, phases
    if b.method != FC_POOL_LINES:
        b.column_block = even_block(
            width.outs, max(1, TASK_BYTES // (step * b.channel_block * element)), 1)
        return
    columns = capacity // b.channel_block
    b.column_block = even_block(
        width.outs, (columns - extent(width)) // width.stride + 1,
        lanes if b.channel_block == 1 else 1)
    phases = width.stride if b.channel_block == 1 else 1
    columns = (b.column_block - 1) * width.stride + extent(width)
    b.phase = ceil_div(columns, phases) + 2 * lanes
    b.line = phases * b.phase if phases > 1 else columns * b.channel_block + lanes
    b.held = max(1, min(MOST_HELD, (capacity + FC_POOL_LINE_VECTORS * lanes) // b.line))
    for t in range(width.kernel):
        place = t * width.dilation
        b.taps[t] = place % phases * b.phase + place // phases


cdef void plan_work(Blocking *b, double *bytes, index element) noexcept nogil:
    """Memory that is read and written, and the work of all bands."""
    cdef const fc_pool *pool = &b.pool
    cdef const fc_pool_axis *axis
    cdef double taken = pool.batch * pool.channels, given = taken, taps = 1
    cdef int at
    for at in range(3):
        axis = &pool.axis[at]
        taken *= axis.size
        given *= axis.outs
        if at == 2 and b.method == FC_POOL_LINES:
            taps += axis.kernel
        else:
            taps *= axis.size / <double> axis.outs if axis.fitted else axis.kernel
    bytes[0] = (taken + given) * element
    b.work = max(4 * bytes[0], 3 * given * taps)


cdef void plan_bands(Blocking *b, bint channels_first, index element) noexcept nogil:
    """Cut rows into bands, number the bands and say how many make a task."""
    cdef const fc_pool *pool = &b.pool
    cdef double bytes
    cdef index rows = pool.batch * pool.axis[0].outs * pool.axis[1].outs, digit
    plan_work(b, &bytes, element)
    b.extents[0] = ceil_div(pool.axis[2].outs, b.column_block)
    b.channel_digit = 3 if channels_first else 1
    b.row_digit = 1 if channels_first else 2
    b.extents[b.channel_digit] = ceil_div(pool.channels, b.channel_block)
    rows *= b.extents[0] * b.extents[b.channel_digit]
    b.row_block = even_block(
        pool.axis[1].outs, max(1, <index> (TASK_BYTES / max(bytes / max(rows, 1), 1.0))), 1)
    b.extents[b.row_digit] = ceil_div(pool.axis[1].outs, b.row_block)
    b.extents[b.row_digit + 1] = pool.axis[0].outs
    b.extents[4] = pool.batch
    b.bands = 1
    for digit in range(DIGITS):
        b.bands *= b.extents[digit]
    b.bands_per_task = max(1, <index> (TASK_BYTES / max(bytes / max(b.bands, 1), 1.0)))


cdef Prepared plan_pool(const fc_pool *pool, const fc_view *x):
    cdef Prepared op = Prepared.__new__(Prepared)
    cdef const fc_kernels *table = kernels(pool.type)
    cdef index element = 8 if pool.type else 4
    cdef index capacity = FC_POOL_LINE_BYTES // element, lanes = table.gemm.lanes, taps = 0
    cdef bint by_channels = pool.channels > 1 and x.channel == element
    cdef Blocking plan
    cdef Blocking *b
    plan.pool = pool[0]
    simplify(&plan.pool, x)
    if by_channels:
        choose_by_channels(&plan, lanes, capacity)
    else:
        choose_by_width(&plan, x.space[2] == element or plan.pool.axis[2].size == 1, capacity)
    if plan.method == FC_POOL_LINES:
        taps = plan.pool.axis[2].kernel
    b = <Blocking *> new_blocking(op, sizeof(Blocking) + taps * sizeof(ptrdiff_t))
    b[0] = plan
    plan_columns(b, element, lanes, capacity)
    plan_bands(b, not by_channels, element)
    b.kernel = table.pool.run[b.method][pool.op]
    op.run = run_call
    return op


# --- running -------------------------------------------------------------------------------------


cdef void one_band(const Call *call, const index *digit) noexcept nogil:
    cdef const Blocking *b = call.b
    cdef const fc_view *x = &call.x
    cdef const fc_view *out = &call.out
    cdef const fc_view *places = &call.places
    cdef const fc_pool_axis *axes = &b.pool.axis[0]
    cdef index batch = digit[4], channel = digit[b.channel_digit] * b.channel_block
    cdef index depth = digit[b.row_digit + 1]
    cdef fc_pool_span slices = fc_pool_window(&axes[0], depth)
    cdef fc_pool_args args
    args.height = &axes[1]
    args.width = &axes[2]
    args.row = digit[b.row_digit] * b.row_block
    args.rows = min(b.row_block, axes[1].outs - args.row)
    args.column = digit[0] * b.column_block
    args.columns = min(b.column_block, axes[2].outs - args.column)
    args.channels = min(b.channel_block, b.pool.channels - channel)
    args.x = x.data + batch * x.batch + channel * x.channel + slices.first * x.space[0]
    args.x_row = x.space[1]
    args.x_column = x.space[2]
    args.depth_taps = slices.count
    args.x_depth = axes[0].dilation * x.space[0]
    args.out = element_of(out, batch, channel, depth, args.row, args.column)
    args.out_row = out.space[1]
    args.out_column = out.space[2]
    args.out_channel = out.channel
    args.taps = &b.taps[0]
    args.phase = b.phase
    args.line = b.line
    args.held = b.held
    args.counting = b.pool.counting
    args.cells = b.pool.divisor * fc_pool_cells(&axes[0], depth, b.pool.counting)
    args.index = NULL
    if b.pool.op == FC_POOL_ARGMAX:
        args.index = element_of(places, batch, channel, depth, args.row, args.column)
    args.index_row = places.space[1]
    args.index_column = places.space[2]
    args.index_channel = places.channel
    args.place_depth = axes[1].size * axes[2].size
    args.place = slices.first * args.place_depth
    args.place_depth *= axes[0].dilation
    b.kernel(&args)


cdef char *element_of(const fc_view *view, index batch, index channel, index depth, index row,
                      index column) noexcept nogil:
    return view.data + batch * view.batch + channel * view.channel + depth * view.space[0] \
        + row * view.space[1] + column * view.space[2]


cdef int pool_task(void *context, Py_ssize_t task, int thread) noexcept nogil:
    cdef const Call *call = <const Call *> context
    cdef const Blocking *b = call.b
    cdef index first = task * b.bands_per_task, band
    cdef index digit[DIGITS]
    digits_of(first, b.extents, DIGITS, digit)
    for band in range(first, min(first + b.bands_per_task, b.bands)):
        one_band(call, digit)
        count_on(b.extents, DIGITS, digit)
    return threads.FC_OK


cdef int run_pool(const void *blocking, const fc_view *x, const fc_view *out,
                  const fc_view *places) noexcept nogil:
    cdef Call call
    cdef const Blocking *b = <const Blocking *> blocking
    call.b = b
    call.x = x[0]
    call.out = out[0]
    call.places = places[0] if places != NULL else out[0]
    # Denormals are values that a maximum must find, so they are never flushed.
    return threads.run(pool_task, &call, ceil_div(b.bands, b.bands_per_task), b.work, False,
                       threads.maximum())


cdef int run_call(const void *blocking, const fc_call *call) noexcept nogil:
    return run_pool(blocking, &call.x, &call.out, NULL)
