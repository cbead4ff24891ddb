"""Elementwise operations and reductions along one axis, on arrays of any strides.

Arguments arrive checked: x any real array, dtype float32 or float64, out None or an array that
fits. Every operation goes the same way:

    x, out  ->  Grid     axes without the reduced one, ordered by out, merged where memory allows
            ->  Cut      blocks of some thousand elements: all steps of the outer axes, pieces of
                         the last two
            ->  tasks    runs of blocks; a block is one call of a kernel

The blocks are the same for any number of threads, and the kernels give an element the same bits in
any block.
"""

import numpy as np

cimport numpy as cnp
from libc.stddef cimport ptrdiff_t

from . cimport dispatch, memory, threads
from .arithmetic cimport ceil_div, clamp
from .elementwise_kernels cimport (
    FC_LRN_LINES, fc_elementwise_kernels, fc_lrn_args, fc_map_args, fc_softmax_args,
)
from .conv import ACTIVATION_CODES

cnp.import_array()

cdef enum:
    MAX_AXES = 64                 # NumPy's limit
    BLOCK_ELEMENTS = 8192         # x and out of a block stay in the second-level cache
    TRANSPOSED_COLS = 128         # where x runs down the rows: as many of its cache lines at a time
    SHORT_LINE = 8                # up to here, reductions put one line in each lane
    LANES_ACROSS = 4              # vectors a block has at least where they run across lines

# Rough cost in floating-point operations per element, for the decision about threads.
cdef double EXP_WORK = 30


# --- Arrays -----------------------------------------------------------------------------------

def empty(shape, dtype):
    """A new C-contiguous array on a 64-byte boundary, not initialised."""
    return memory.empty_array(tuple(shape), np.dtype(dtype))


cdef bint same_view(cnp.ndarray a, cnp.ndarray b):
    return (cnp.PyArray_DATA(a) == cnp.PyArray_DATA(b)
            and (<object> a).strides == (<object> b).strides)


cdef tuple prepare(cnp.ndarray x, cnp.dtype dtype, out, bint in_place):
    """x as the kernels read it, and the array they write: `out` unless that is misaligned.

    x is copied where its type, byte order or alignment is another, or where writing would change
    what is still to be read; `in_place` operations may have out and x the same view.
    """
    if x.dtype != dtype or not cnp.PyArray_ISBEHAVED_RO(x):
        x = x.astype(dtype)
    if out is None or not cnp.PyArray_ISALIGNED(out):
        return x, memory.empty_array((<object> x).shape, dtype)
    if np.may_share_memory(x, out) and not (in_place and same_view(x, out)):
        x = x.copy()
    return x, out


cdef object deliver(cnp.ndarray result, out):
    """What the caller gets: `out`, filled, or the new array."""
    if out is None:
        return result
    if result is not out:
        out[...] = result
    return out


# --- Grid: the axes of an operation ------------------------------------------------------------

cdef struct Axis:
    Py_ssize_t size
    ptrdiff_t x                   # strides in bytes
    ptrdiff_t out
    ptrdiff_t channel             # of the per-channel tables


cdef struct Grid:
    Axis axis[MAX_AXES + 2]
    int count                     # at least 2


cdef inline ptrdiff_t magnitude(ptrdiff_t stride) noexcept nogil:
    return -stride if stride < 0 else stride


cdef bint merges(const Axis *outer, const Axis *inner) noexcept nogil:
    """Whether stepping out is the same as running on through the inner axis."""
    return (outer.x == inner.size * inner.x and outer.out == inner.size * inner.out
            and outer.channel == inner.size * inner.channel)


cdef void sort_by_out(Grid *grid) noexcept nogil:
    """Largest stride of out first; stable, so that equal strides keep their order."""
    cdef int i, j
    cdef Axis axis
    for i in range(1, grid.count):
        axis = grid.axis[i]
        j = i
        while j > 0 and magnitude(grid.axis[j - 1].out) < magnitude(axis.out):
            grid.axis[j] = grid.axis[j - 1]
            j -= 1
        grid.axis[j] = axis


cdef void merge(Grid *grid) noexcept nogil:
    cdef int i, last = 0
    for i in range(1, grid.count):
        if merges(&grid.axis[last], &grid.axis[i]):
            grid.axis[i].size *= grid.axis[last].size
        else:
            last += 1
        grid.axis[last] = grid.axis[i]
    if grid.count:
        grid.count = last + 1


cdef void build_grid(Grid *grid, cnp.ndarray x, cnp.ndarray out, int reduced, int channel):
    """The axes longer than 1 of x and out, but `reduced`; `channel` is the tables' axis.

    -1 stands for no axis. Axes of size 1 come first where fewer than two remain.
    """
    cdef int i
    cdef Axis *axis
    cdef Axis single
    grid.count = 0
    for i in range(cnp.PyArray_NDIM(x)):
        if i == reduced or cnp.PyArray_DIM(x, i) == 1:
            continue
        axis = &grid.axis[grid.count]
        axis.size = cnp.PyArray_DIM(x, i)
        axis.x = cnp.PyArray_STRIDE(x, i)
        axis.out = cnp.PyArray_STRIDE(out, i)
        axis.channel = cnp.PyArray_ITEMSIZE(x) if i == channel else 0
        grid.count += 1
    sort_by_out(grid)
    merge(grid)
    single.size, single.x, single.out, single.channel = 1, 0, 0, 0
    while grid.count < 2:
        for i in range(grid.count, 0, -1):
            grid.axis[i] = grid.axis[i - 1]
        grid.axis[0] = single
        grid.count += 1


cdef void bring_contiguous_axis_in(Grid *grid, ptrdiff_t element) noexcept nogil:
    """Make the axis along which x is contiguous the last but one, unless it is the last."""
    cdef int i, j
    cdef Axis axis
    if grid.axis[grid.count - 1].x == element:
        return
    for i in range(grid.count - 1):
        if grid.axis[i].x == element:
            axis = grid.axis[i]
            for j in range(i, grid.count - 2):
                grid.axis[j] = grid.axis[j + 1]
            grid.axis[grid.count - 2] = axis
            return


# --- Cut: a grid in blocks ---------------------------------------------------------------------

cdef struct Cut:
    Grid grid
    Py_ssize_t row_piece          # of the last axis but one; the others go step by step
    Py_ssize_t col_piece          # of the last axis
    Py_ssize_t row_pieces
    Py_ssize_t col_pieces
    Py_ssize_t blocks
    Py_ssize_t blocks_per_task


cdef struct Place:
    ptrdiff_t x                   # offsets in bytes
    ptrdiff_t out
    ptrdiff_t channel
    Py_ssize_t rows
    Py_ssize_t cols


cdef void cut_grid(Cut *cut, Py_ssize_t rows, Py_ssize_t cols, Py_ssize_t length) noexcept nogil:
    """Blocks of at most rows x cols lines of `length` elements; tasks of BLOCK_ELEMENTS or more."""
    cdef int i
    cdef const Axis *row = &cut.grid.axis[cut.grid.count - 2]
    cdef const Axis *col = &cut.grid.axis[cut.grid.count - 1]
    cut.row_piece = clamp(rows, 1, row.size)
    cut.col_piece = clamp(cols, 1, col.size)
    cut.row_pieces = ceil_div(row.size, cut.row_piece)
    cut.col_pieces = ceil_div(col.size, cut.col_piece)
    cut.blocks = cut.row_pieces * cut.col_pieces
    for i in range(cut.grid.count - 2):
        cut.blocks *= cut.grid.axis[i].size
    cut.blocks_per_task = max(1, BLOCK_ELEMENTS // (cut.row_piece * cut.col_piece * length))


cdef Place locate(const Cut *cut, Py_ssize_t block) noexcept nogil:
    cdef const Grid *grid = &cut.grid
    cdef const Axis *row = &grid.axis[grid.count - 2]
    cdef const Axis *col = &grid.axis[grid.count - 1]
    cdef Py_ssize_t r, c, step
    cdef Place place
    cdef int i
    c = block % cut.col_pieces * cut.col_piece
    block //= cut.col_pieces
    r = block % cut.row_pieces * cut.row_piece
    block //= cut.row_pieces
    place.rows = min(cut.row_piece, row.size - r)
    place.cols = min(cut.col_piece, col.size - c)
    place.x = r * row.x + c * col.x
    place.out = r * row.out + c * col.out
    place.channel = r * row.channel + c * col.channel
    for i in range(grid.count - 3, -1, -1):
        step = block % grid.axis[i].size
        block //= grid.axis[i].size
        place.x += step * grid.axis[i].x
        place.out += step * grid.axis[i].out
        place.channel += step * grid.axis[i].channel
    return place


ctypedef void (*block_kernel)(void *context, const Place *place, int thread) noexcept nogil

cdef struct Walk:
    Cut cut
    block_kernel kernel
    void *context


cdef int walk_task(void *context, Py_ssize_t task, int thread) noexcept nogil:
    cdef Walk *walk = <Walk *> context
    cdef Py_ssize_t block, first = task * walk.cut.blocks_per_task
    cdef Place place
    for block in range(first, min(first + walk.cut.blocks_per_task, walk.cut.blocks)):
        place = locate(&walk.cut, block)
        walk.kernel(walk.context, &place, thread)
    return threads.FC_OK


cdef int run_walk(Walk *walk, double work, int most) except -1 nogil:
    """All blocks on at most so many threads; -1 with the exception set when a handler raised."""
    return threads.run(walk_task, walk, ceil_div(walk.cut.blocks, walk.cut.blocks_per_task), work,
                       False, most)


# --- map: activations, affine maps per channel -------------------------------------------------

cdef struct MapContext:
    fc_map_args args              # pointers to the first element
    const fc_elementwise_kernels *kernels


cdef inline const char *moved(const char *table, ptrdiff_t offset) noexcept nogil:
    return table + offset if table != NULL else NULL


cdef void map_block(void *context, const Place *place, int thread) noexcept nogil:
    cdef MapContext *map = <MapContext *> context
    cdef fc_map_args args = map.args
    args.x += place.x
    args.out += place.out
    args.center = moved(args.center, place.channel)
    args.scale = moved(args.scale, place.channel)
    args.shift = moved(args.shift, place.channel)
    args.slope = moved(args.slope, place.channel)
    args.rows = place.rows
    args.cols = place.cols
    map.kernels.map(&args)


cdef const char *table_data(table):
    if table is None:
        return NULL
    return <const char *> cnp.PyArray_DATA(<cnp.ndarray> table)


def map(cnp.ndarray x, cnp.dtype dtype, out=None, *, int channel_axis=-1, center=None, scale=None,
        shift=None, slope=None, activation="none", double alpha=0, double beta=0):
    """activation((x - center) * scale + shift), results below 0 times slope; all parts optional.

    Parameters
    ----------
    x : ndarray
    dtype : float32 or float64
    out : ndarray or None
        Of x's shape and `dtype`; may be x.
    channel_axis : int
        The axis that the tables belong to; -1 for tables of one element.
    center, scale, shift, slope : ndarray or None
        Contiguous, of `dtype`, one element per channel. The first three come together.
    activation : str
        Its kind, as `parse_activation` calls it; alpha and beta are its numbers.
    """
    cdef MapContext context
    cdef Walk walk
    cdef cnp.ndarray source, target
    cdef Axis *row
    cdef Axis *col
    cdef double work
    source, target = prepare(x, dtype, out, True)
    if cnp.PyArray_SIZE(source):
        context.kernels = dispatch.kernels(dtype.itemsize == 8).elementwise
        build_grid(&walk.cut.grid, source, target, -1, channel_axis)
        bring_contiguous_axis_in(&walk.cut.grid, dtype.itemsize)
        row = &walk.cut.grid.axis[walk.cut.grid.count - 2]
        col = &walk.cut.grid.axis[walk.cut.grid.count - 1]
        context.args = fc_map_args(
            x=<const char *> cnp.PyArray_DATA(source), x_row=row.x, x_col=col.x,
            out=<char *> cnp.PyArray_DATA(target), out_row=row.out, out_col=col.out,
            rows=0, cols=0,
            center=table_data(center), scale=table_data(scale), shift=table_data(shift),
            slope=table_data(slope), channel_row=row.channel, channel_col=col.channel,
            activation=ACTIVATION_CODES[activation], alpha=alpha, beta=beta,
        )
        cols = BLOCK_ELEMENTS if col.x == dtype.itemsize or row.size == 1 else TRANSPOSED_COLS
        cols = min(cols, col.size)
        cut_grid(&walk.cut, BLOCK_ELEMENTS // cols, cols, 1)
        walk.kernel = map_block
        walk.context = &context
        work = <double> cnp.PyArray_SIZE(source) * (8 * dtype.itemsize + EXP_WORK)
        with nogil:
            run_walk(&walk, work, threads.maximum())
    return deliver(target, out)


# --- Reductions along one axis -----------------------------------------------------------------

cdef bint lines_in_lanes(const Cut *cut, ptrdiff_t step, Py_ssize_t length,
                         ptrdiff_t element) noexcept nogil:
    """Whether vectors across the lines beat vectors along them; the bits are the same."""
    cdef const Axis *line = &cut.grid.axis[cut.grid.count - 1]
    if step != element and line.x == element:
        return True
    return length <= SHORT_LINE and line.size > length


cdef void cut_lines(Cut *cut, Py_ssize_t length, bint across, Py_ssize_t lanes) noexcept nogil:
    """Blocks of whole lines along the last axis."""
    cdef Py_ssize_t lines = BLOCK_ELEMENTS // length
    if across:
        lines = max(lines // lanes, LANES_ACROSS) * lanes
    cut_grid(cut, 1, lines, length)


cdef struct SoftmaxContext:
    fc_softmax_args args
    void (*kernel)(const fc_softmax_args *) noexcept nogil


cdef void softmax_block(void *context, const Place *place, int thread) noexcept nogil:
    cdef SoftmaxContext *softmax = <SoftmaxContext *> context
    cdef fc_softmax_args args = softmax.args
    args.x += place.x
    args.out += place.out
    args.lines = place.cols
    softmax.kernel(&args)


def softmax(cnp.ndarray x, cnp.dtype dtype, int axis, bint logarithm, out=None):
    """softmax or log-softmax along `axis` (0 <= axis < x.ndim); out may be x."""
    cdef SoftmaxContext context
    cdef Walk walk
    cdef cnp.ndarray source, target
    cdef const fc_elementwise_kernels *kernels = dispatch.kernels(dtype.itemsize == 8).elementwise
    cdef Axis *line
    cdef Py_ssize_t length = cnp.PyArray_DIM(x, axis)
    cdef bint across
    cdef double work
    source, target = prepare(x, dtype, out, True)
    if cnp.PyArray_SIZE(source):
        build_grid(&walk.cut.grid, source, target, axis, -1)
        line = &walk.cut.grid.axis[walk.cut.grid.count - 1]
        context.args = fc_softmax_args(
            x=<const char *> cnp.PyArray_DATA(source), x_step=cnp.PyArray_STRIDE(source, axis),
            x_line=line.x,
            out=<char *> cnp.PyArray_DATA(target), out_step=cnp.PyArray_STRIDE(target, axis),
            out_line=line.out,
            length=length, lines=0, logarithm=logarithm,
        )
        across = lines_in_lanes(&walk.cut, context.args.x_step, length, dtype.itemsize)
        context.kernel = kernels.softmax_across if across else kernels.softmax_along
        cut_lines(&walk.cut, length, across, kernels.lanes)
        walk.kernel = softmax_block
        walk.context = &context
        work = <double> cnp.PyArray_SIZE(source) * (8 * dtype.itemsize + EXP_WORK)
        with nogil:
            run_walk(&walk, work, threads.maximum())
    return deliver(target, out)


cdef struct LrnContext:
    fc_lrn_args args
    void (*kernel)(const fc_lrn_args *) noexcept nogil


cdef void lrn_block(void *context, const Place *place, int thread) noexcept nogil:
    cdef LrnContext *lrn = <LrnContext *> context
    cdef fc_lrn_args args = lrn.args
    args.x += place.x
    args.out += place.out
    args.lines = place.cols
    args.scratch += thread * FC_LRN_LINES * args.scratch_line
    lrn.kernel(&args)


def local_response_norm(cnp.ndarray x, cnp.dtype dtype, int axis, Py_ssize_t size, double alpha,
                        double beta, double k, out=None):
    """x / (k + alpha / size * sum of x^2 over `size` channels)^beta, channels along `axis`."""
    cdef LrnContext context
    cdef Walk walk
    cdef cnp.ndarray source, target
    cdef memory.Buffer scratch
    cdef const fc_elementwise_kernels *kernels = dispatch.kernels(dtype.itemsize == 8).elementwise
    cdef Axis *line
    cdef Py_ssize_t length = cnp.PyArray_DIM(x, axis), before, after, scratch_line
    cdef int most
    cdef bint across
    cdef double work
    source, target = prepare(x, dtype, out, False)
    if cnp.PyArray_SIZE(source):
        build_grid(&walk.cut.grid, source, target, axis, -1)
        line = &walk.cut.grid.axis[walk.cut.grid.count - 1]
        # Windows need not reach further than the channels do.
        before, after = min(size // 2, length - 1), min((size - 1) // 2, length - 1)
        scratch_line = ceil_div(
            (before + after + length + kernels.lanes) * <Py_ssize_t> dtype.itemsize, 64) * 64
        most = threads.maximum()
        scratch = memory.borrow_workspace(most * FC_LRN_LINES * scratch_line)
        context.args = fc_lrn_args(
            x=<const char *> cnp.PyArray_DATA(source), x_step=cnp.PyArray_STRIDE(source, axis),
            x_line=line.x,
            out=<char *> cnp.PyArray_DATA(target), out_step=cnp.PyArray_STRIDE(target, axis),
            out_line=line.out, length=length, lines=0, before=before, after=after,
            alpha=alpha / size, beta=beta, k=k, scratch=scratch.data,
            scratch_line=scratch_line,
        )
        across = lines_in_lanes(&walk.cut, context.args.x_step, length, dtype.itemsize)
        context.kernel = kernels.lrn_across if across else kernels.lrn_along
        cut_lines(&walk.cut, length, across, kernels.lanes)
        walk.kernel = lrn_block
        walk.context = &context
        work = <double> cnp.PyArray_SIZE(source) * (
            8 * dtype.itemsize + 2 * EXP_WORK + 2 * (before + after))
        try:
            with nogil:
                run_walk(&walk, work, most)
        finally:
            memory.return_workspace(scratch)
    return deliver(target, out)
