"""Walks over arrays of any strides in blocks: what all elementwise operations share.

    x, grad, out  ->  Grid     axes without the reduced one, ordered by out, merged where memory
                               allows
                  ->  Cut      blocks of some thousand elements: all steps of the outer axes, pieces
                               of the last two
                  ->  Walk     tasks are runs of blocks; a block is one call of a kernel

The second input is absent (NULL) in forward operations. The blocks are the same for any number of
threads, and the kernels give an element the same bits in any block.
"""

import numpy as np

cimport numpy as cnp
from libc.stddef cimport ptrdiff_t

from . cimport threads
from .arithmetic cimport ceil_div, clamp
from .program cimport new_array

cnp.import_array()


# --- Arrays -----------------------------------------------------------------------------------

cdef bint same_view(cnp.ndarray a, cnp.ndarray b):
    return (cnp.PyArray_DATA(a) == cnp.PyArray_DATA(b)
            and (<object> a).strides == (<object> b).strides)


cdef cnp.ndarray converted(cnp.ndarray x, cnp.dtype dtype):
    """x as the kernels read it: a copy where its type, byte order or alignment is another."""
    if x.dtype != dtype or not cnp.PyArray_ISBEHAVED_RO(x):
        return x.astype(dtype)
    return x


cdef tuple prepare(cnp.ndarray x, cnp.dtype dtype, out, bint in_place):
    """x as the kernels read it, and the array they write: `out` unless that is misaligned.

    x is also copied where writing would change what is still to be read; `in_place` operations may
    have out and x the same view.
    """
    x = converted(x, dtype)
    if out is None or not cnp.PyArray_ISALIGNED(out):
        return x, new_array((<object> x).shape, dtype)
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

cdef inline ptrdiff_t magnitude(ptrdiff_t stride) noexcept nogil:
    return -stride if stride < 0 else stride


cdef bint merges(const Axis *outer, const Axis *inner) noexcept nogil:
    """Whether stepping out is the same as running on through the inner axis."""
    return (outer.x == inner.size * inner.x and outer.grad == inner.size * inner.grad
            and outer.out == inner.size * inner.out
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


cdef void build_grid(Grid *grid, cnp.ndarray x, grad, cnp.ndarray out, int reduced, int channel):
    """The axes longer than 1 of x, grad and out, but `reduced`; `channel` is the tables' axis.

    -1 stands for no axis; grad is an ndarray of x's shape or None. Axes of size 1 come first where
    fewer than two remain.
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
        axis.grad = 0 if grad is None else cnp.PyArray_STRIDE(<cnp.ndarray> grad, i)
        axis.out = cnp.PyArray_STRIDE(out, i)
        axis.channel = cnp.PyArray_ITEMSIZE(x) if i == channel else 0
        grid.count += 1
    sort_by_out(grid)
    merge(grid)
    single.size, single.x, single.grad, single.out, single.channel = 1, 0, 0, 0, 0
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
    place.block = block
    c = block % cut.col_pieces * cut.col_piece
    block //= cut.col_pieces
    r = block % cut.row_pieces * cut.row_piece
    block //= cut.row_pieces
    place.rows = min(cut.row_piece, row.size - r)
    place.cols = min(cut.col_piece, col.size - c)
    place.x = r * row.x + c * col.x
    place.grad = r * row.grad + c * col.grad
    place.out = r * row.out + c * col.out
    place.channel = r * row.channel + c * col.channel
    for i in range(grid.count - 3, -1, -1):
        step = block % grid.axis[i].size
        block //= grid.axis[i].size
        place.x += step * grid.axis[i].x
        place.grad += step * grid.axis[i].grad
        place.out += step * grid.axis[i].out
        place.channel += step * grid.axis[i].channel
    return place


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
    return walk_blocks(walk, work, False, most)


cdef int walk_blocks(Walk *walk, double work, bint flush_denormals, int most) noexcept nogil:
    """The same for callers that pass codes on."""
    return threads.run(walk_task, walk, ceil_div(walk.cut.blocks, walk.cut.blocks_per_task), work,
                       flush_denormals, most)


# --- Lines along a reduced axis ------------------------------------------------------------------

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


cdef const char *table_data(table):
    if table is None:
        return NULL
    return <const char *> cnp.PyArray_DATA(<cnp.ndarray> table)
