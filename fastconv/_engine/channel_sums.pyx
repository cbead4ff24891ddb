"""Sums over all elements of each channel: what batch normalisation learns from a batch, and the
gradient of a bias.

    x, grad  ->  blocks of some thousand elements, the same for any number of threads
             ->  two doubles per block and channel, each block by one thread
             ->  added up block by block, in their order

so the results are accurate for any number of elements, and the same bits from any number of
threads. Means and variances are taken block by block about the block's own mean and then joined
(T. Chan, G. Golub and R. LeVeque, "Algorithms for computing the sample variance", The American
Statistician 37(3), 1983): one pass over memory, and no cancellation far from zero.

`total` and `normalisation` leave what they find in arrays, and plans may do them again.
"""

import numpy as np

cimport numpy as cnp
from libc.math cimport sqrt
from libc.string cimport memset

from . cimport dispatch, memory, threads
from .grid cimport (
    BLOCK_ELEMENTS, Axis, Cut, Place, Walk, build_grid, converted, cut_grid, locate, run_walk,
    table_data, walk_blocks,
)
from .program cimport Recorded, perform
from .sums_kernels cimport (
    FC_SUMS_GRADIENT, FC_SUMS_MOMENTS, FC_SUMS_NEGATIVE, FC_SUMS_PLAIN, fc_sums_args,
    fc_sums_kernels,
)

cnp.import_array()

cdef enum:
    MOST_CHANNELS = 256           # of one block
    LEAST_ROWS = 64               # of a block across channels: its sums are few beside its elements

cdef struct Context:
    fc_sums_args args             # pointers to the first element
    const double *center          # one per channel
    double *sums                  # [blocks][channels of a block][2]
    Py_ssize_t channels           # of a block, at most
    Py_ssize_t element
    const fc_sums_kernels *kernels


cdef inline Py_ssize_t channels_of(const Context *context, const Place *place) noexcept nogil:
    if context.args.channel_col:
        return place.cols
    return place.rows if context.args.channel_row else 1


cdef void sum_block(void *raw, const Place *place, int thread) noexcept nogil:
    cdef Context *context = <Context *> raw
    cdef fc_sums_args args = context.args
    args.x += place.x
    if args.op == FC_SUMS_GRADIENT or args.op == FC_SUMS_NEGATIVE:
        args.grad += place.grad
        args.center = context.center + place.channel // context.element
    args.rows = place.rows
    args.cols = place.cols
    args.sums = context.sums + 2 * place.block * context.channels
    if args.op == FC_SUMS_MOMENTS:
        moments(context, place, &args)
    else:
        context.kernels.sums(&args)


cdef void moments(const Context *context, const Place *place, fc_sums_args *args) noexcept nogil:
    """Leave the means of a block's channels, and the sums of squares about them."""
    cdef double center[MOST_CHANNELS]
    cdef Py_ssize_t channels = channels_of(context, place), c
    cdef double count = place.rows * place.cols // channels, rest
    for c in range(channels):
        center[c] = 0
    args.center = &center[0]
    context.kernels.sums(args)
    for c in range(channels):
        center[c] = args.sums[2 * c] / count
    context.kernels.sums(args)
    for c in range(channels):
        rest = args.sums[2 * c] / count
        args.sums[2 * c] = center[c] + rest
        args.sums[2 * c + 1] -= rest * rest * count


cdef void join(double *mean, double *squares, double count, double block_mean,
               double block_squares, double block_count) noexcept nogil:
    """Add a block of block_count elements to a channel that has count of them."""
    cdef double distance = block_mean - mean[0], total = count + block_count
    mean[0] += distance * (block_count / total)
    squares[0] += block_squares + distance * distance * (count * block_count / total)


cdef void add_up(const Context *context, const Cut *cut, double *totals,
                 double *counts) noexcept nogil:
    """Bring the blocks' sums together, in the order of the blocks; totals are [channels][2]."""
    cdef Py_ssize_t block, c, channel, channels
    cdef const double *sums
    cdef double *total
    cdef Place place
    cdef double count
    for block in range(cut.blocks):
        place = locate(cut, block)
        channels = channels_of(context, &place)
        sums = context.sums + 2 * block * context.channels
        count = place.rows * place.cols // channels
        for c in range(channels):
            channel = place.channel // context.element + c
            total = totals + 2 * channel
            if context.args.op == FC_SUMS_MOMENTS:
                join(&total[0], &total[1], counts[channel], sums[2 * c], sums[2 * c + 1], count)
                counts[channel] += count
            else:
                total[0] += sums[2 * c]
                total[1] += sums[2 * c + 1]


cdef void cut_channels(Cut *cut) noexcept nogil:
    cdef const Axis *row = &cut.grid.axis[cut.grid.count - 2]
    cdef const Axis *col = &cut.grid.axis[cut.grid.count - 1]
    cdef Py_ssize_t cols, rows
    if col.channel:
        cols = min(<Py_ssize_t> MOST_CHANNELS, col.size)
        rows = max(<Py_ssize_t> LEAST_ROWS, BLOCK_ELEMENTS // cols)
    else:
        cols = min(<Py_ssize_t> BLOCK_ELEMENTS, col.size)
        rows = BLOCK_ELEMENTS // cols
        if row.channel:
            rows = min(<Py_ssize_t> MOST_CHANNELS, rows)
    cut_grid(cut, rows, cols, 1)


cdef void set_up(Walk *walk, Context *context, cnp.ndarray x, grad, int axis, int op):
    """All but the centers and where the blocks' sums are kept."""
    cdef Axis *row
    cdef Axis *col
    build_grid(&walk.cut.grid, x, grad, x, -1, axis)
    cut_channels(&walk.cut)
    row = &walk.cut.grid.axis[walk.cut.grid.count - 2]
    col = &walk.cut.grid.axis[walk.cut.grid.count - 1]
    context.element = cnp.PyArray_ITEMSIZE(x)
    context.kernels = dispatch.kernels(context.element == 8).sums
    context.args = fc_sums_args(
        x=<const char *> cnp.PyArray_DATA(x), x_row=row.x, x_col=col.x,
        grad=table_data(grad), grad_row=row.grad, grad_col=col.grad, rows=0, cols=0,
        center=NULL, sums=NULL,
        op=op, channel_row=row.channel != 0, channel_col=col.channel != 0,
    )
    context.channels = 1
    if context.args.channel_col:
        context.channels = walk.cut.col_piece
    elif context.args.channel_row:
        context.channels = walk.cut.row_piece
    walk.kernel = sum_block


cdef Py_ssize_t bytes_of_sums(const Walk *walk, const Context *context) noexcept nogil:
    return walk.cut.blocks * context.channels * 2 * sizeof(double)


cdef object run(cnp.ndarray x, grad, cnp.dtype dtype, int axis, int op, cnp.ndarray center):
    """Both sums of every channel, float64 of shape (channels, 2)."""
    cdef Context context
    cdef Walk walk
    cdef memory.Buffer sums
    cdef double work
    cdef cnp.ndarray totals, counts
    cdef double *totals_data
    cdef double *counts_data
    totals = np.zeros((cnp.PyArray_DIM(x, axis), 2))
    counts = np.zeros(cnp.PyArray_DIM(x, axis))
    x = converted(x, dtype)
    grad = None if grad is None else converted(grad, dtype)
    if not cnp.PyArray_SIZE(x):
        return totals
    set_up(&walk, &context, x, grad, axis, op)
    context.center = <const double *> table_data(center)
    sums = memory.borrow_workspace(bytes_of_sums(&walk, &context))
    context.sums = <double *> sums.data
    walk.context = &context
    work = <double> cnp.PyArray_SIZE(x) * 8 * dtype.itemsize
    totals_data = <double *> cnp.PyArray_DATA(totals)
    counts_data = <double *> cnp.PyArray_DATA(counts)
    try:
        with nogil:
            run_walk(&walk, work, threads.maximum())
            add_up(&context, &walk.cut, totals_data, counts_data)
    finally:
        memory.return_workspace(sums)
    return totals


def sums(cnp.ndarray x, cnp.dtype dtype, int axis):
    """Sum of every channel: ndarray of float64, (channels,)."""
    return run(x, None, dtype, axis, FC_SUMS_PLAIN, None)[:, 0]


def mean_and_squares(cnp.ndarray x, cnp.dtype dtype, int axis):
    """Mean of every channel, and the sum of squares about it.

    Returns
    -------
    ndarray of float64, (2, channels)
        Zeros where there are no elements.
    """
    return run(x, None, dtype, axis, FC_SUMS_MOMENTS, None).T


def gradient_sums(cnp.ndarray x, cnp.ndarray grad, cnp.dtype dtype, int axis, center, *,
                  bint negative=False):
    """Sums of grad and of grad * (x - center) over every channel.

    Parameters
    ----------
    x, grad : ndarray
        Of one shape.
    dtype : float32 or float64
        What they are read as; products and sums are float64.
    axis : int
        The channels' axis.
    center : ndarray of float64, (channels,)
        Contiguous.
    negative : bool
        Only over elements that are not greater than 0.

    Returns
    -------
    ndarray of float64, (2, channels)
    """
    return run(x, grad, dtype, axis, FC_SUMS_NEGATIVE if negative else FC_SUMS_GRADIENT, center).T


# --- what plans may do again --------------------------------------------------------------------

# Sums, and what is made of them; walk.context and the context's sums are set anew in each run.
cdef struct Frame:
    Walk walk
    Context context
    double work
    Py_ssize_t channels
    Py_ssize_t totals_at          # in the workspace, behind the blocks' sums
    char *out
    double divisor                # of plain sums
    double eps                    # of moments, and their scale and shift, NULL for 1 and 0
    const char *scale
    const char *shift


cdef inline double number(const char *table, Py_ssize_t at, bint wide, double missing) noexcept nogil:
    if table == NULL:
        return missing
    return (<const double *> table)[at] if wide else (<const float *> table)[at]


cdef inline void put(char *table, Py_ssize_t at, bint wide, double value) noexcept nogil:
    if wide:
        (<double *> table)[at] = value
    else:
        (<float *> table)[at] = <float> value


cdef void write_tables(const Frame *frame, const double *totals, const double *counts) noexcept nogil:
    """Means, factors and offsets, a row of `out` each."""
    cdef Py_ssize_t c, n = frame.channels
    cdef bint wide = frame.context.element == 8
    cdef double deviation
    for c in range(n):
        deviation = sqrt(totals[2 * c + 1] / counts[c] + frame.eps)
        put(frame.out, c, wide, totals[2 * c])
        put(frame.out, n + c, wide, number(frame.scale, c, wide, 1) / deviation)
        put(frame.out, 2 * n + c, wide, number(frame.shift, c, wide, 0))


cdef int run_frame(void *raw, char *workspace, int most) noexcept nogil:
    cdef Frame *frame = <Frame *> raw
    cdef double *totals = <double *> (workspace + frame.totals_at)
    cdef double *counts = totals + 2 * frame.channels
    cdef Py_ssize_t c
    cdef int code
    frame.walk.context = &frame.context
    frame.context.sums = <double *> workspace
    memset(totals, 0, 3 * frame.channels * sizeof(double))
    code = walk_blocks(&frame.walk, frame.work, False, most)
    if code != threads.FC_OK:
        return code
    add_up(&frame.context, &frame.walk.cut, totals, counts)
    if frame.context.args.op == FC_SUMS_MOMENTS:
        write_tables(frame, totals, counts)
        return threads.FC_OK
    for c in range(frame.channels):
        put(frame.out, c, frame.context.element == 8, totals[2 * c] / frame.divisor)
    return threads.FC_OK


cdef int do_frame(Frame *frame, cnp.ndarray x, cnp.ndarray out) except -1:
    """Run it, and write it down where a tape listens."""
    cdef Recorded step
    cdef Py_ssize_t size
    frame.work = <double> cnp.PyArray_SIZE(x) * 8 * frame.context.element
    frame.totals_at = bytes_of_sums(&frame.walk, &frame.context)
    frame.out = <char *> cnp.PyArray_DATA(out)
    size = frame.totals_at + 3 * frame.channels * sizeof(double)
    step = perform(run_frame, frame, sizeof(frame[0]), size, ())
    if step is not None:
        step.moves(frame, &frame.context.args.x, False)
        step.moves(frame, &frame.out, True)
        if frame.scale != NULL:
            step.moves(frame, &frame.scale, False)
        if frame.shift != NULL:
            step.moves(frame, &frame.shift, False)
    return 0


def total(cnp.ndarray x, int axis, double divisor, cnp.ndarray out):
    """Fill `out` with the sum of every channel by a divisor, and return it.

    Parameters
    ----------
    x : ndarray
        float32 or float64, aligned, not empty.
    axis : int
        The channels' axis.
    divisor : float
    out : ndarray, (channels,)
        Of x's dtype, contiguous.
    """
    cdef Frame frame
    set_up(&frame.walk, &frame.context, x, None, axis, FC_SUMS_PLAIN)
    frame.channels = cnp.PyArray_DIM(x, axis)
    frame.divisor, frame.eps = divisor, 0
    frame.scale = frame.shift = NULL
    do_frame(&frame, x, out)
    return out


def normalisation(cnp.ndarray x, int axis, double eps, scale, shift, cnp.ndarray out):
    """Fill `out` with the tables by which every channel gets mean 0 and variance 1; return it.

    Parameters
    ----------
    x : ndarray
        float32 or float64, aligned, not empty.
    axis : int
        The channels' axis.
    eps : float
        Added to the variance.
    scale, shift : ndarray or None, (channels,)
        Of x's dtype, contiguous: what comes behind it.
    out : ndarray, (3, channels)
        Of x's dtype, contiguous: means, factors and offsets.
    """
    cdef Frame frame
    set_up(&frame.walk, &frame.context, x, None, axis, FC_SUMS_MOMENTS)
    frame.channels = cnp.PyArray_DIM(x, axis)
    frame.divisor, frame.eps = 1, eps
    frame.scale, frame.shift = table_data(scale), table_data(shift)
    do_frame(&frame, x, out)
    return out
