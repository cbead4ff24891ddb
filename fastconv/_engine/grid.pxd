# Walks over arrays of any strides in blocks; grid.pyx says how.

cimport numpy as cnp
from libc.stddef cimport ptrdiff_t

cdef enum:
    MAX_AXES = 64                 # NumPy's limit
    BLOCK_ELEMENTS = 8192         # x and out of a block stay in the second-level cache
    TRANSPOSED_COLS = 128         # where x runs down the rows: as many of its cache lines at a time
    SHORT_LINE = 8                # up to here, reductions put one line in each lane
    LANES_ACROSS = 4              # vectors a block has at least where they run across lines

cdef struct Axis:
    Py_ssize_t size
    ptrdiff_t x                   # strides in bytes
    ptrdiff_t grad
    ptrdiff_t out
    ptrdiff_t channel             # of the per-channel tables

cdef struct Grid:
    Axis axis[MAX_AXES + 2]
    int count                     # at least 2

cdef struct Cut:
    Grid grid
    Py_ssize_t row_piece          # of the last axis but one; the others go step by step
    Py_ssize_t col_piece          # of the last axis
    Py_ssize_t row_pieces
    Py_ssize_t col_pieces
    Py_ssize_t blocks
    Py_ssize_t blocks_per_task

cdef struct Place:
    Py_ssize_t block              # its number
    ptrdiff_t x                   # offsets in bytes
    ptrdiff_t grad
    ptrdiff_t out
    ptrdiff_t channel
    Py_ssize_t rows
    Py_ssize_t cols

ctypedef void (*block_kernel)(void *context, const Place *place, int thread) noexcept nogil

cdef struct Walk:
    Cut cut
    block_kernel kernel
    void *context

cdef inline const char *moved(const char *table, ptrdiff_t offset) noexcept nogil:
    return table + offset if table != NULL else NULL

cdef cnp.ndarray converted(cnp.ndarray x, cnp.dtype dtype)
cdef tuple prepare(cnp.ndarray x, cnp.dtype dtype, out, bint in_place)
cdef object deliver(cnp.ndarray result, out)
cdef const char *table_data(table)

cdef void build_grid(Grid *grid, cnp.ndarray x, grad, cnp.ndarray out, int reduced, int channel)
cdef void bring_contiguous_axis_in(Grid *grid, ptrdiff_t element) noexcept nogil
cdef void cut_grid(Cut *cut, Py_ssize_t rows, Py_ssize_t cols, Py_ssize_t length) noexcept nogil
cdef Place locate(const Cut *cut, Py_ssize_t block) noexcept nogil
cdef int run_walk(Walk *walk, double work, int most) except -1 nogil
cdef int walk_blocks(Walk *walk, double work, bint flush_denormals, int most) noexcept nogil

cdef bint lines_in_lanes(const Cut *cut, ptrdiff_t step, Py_ssize_t length,
                         ptrdiff_t element) noexcept nogil
cdef void cut_lines(Cut *cut, Py_ssize_t length, bint across, Py_ssize_t lanes) noexcept nogil
