"""A matrix times the channels of every pixel, pixels side by side: what a 1x1 layer's gradient is.

    out[n][row][pixel] = sum over k of matrix[row][k] * planes[n][k][pixel]

The matrix is read where it lies, each row through a pointer of the register tile; pixels are
packed, some columns of a picture at a time, and most sums are made where they belong:

    planes --pieces of lines--> panel [k][column] --matrix x panel--> out
    what a picture has left over, with that of others --> panel ... sums --pieces--> out

So only the very last panel may be narrow, where vectors along the pixels of each picture for
itself leave lanes empty in all of them: 14x14 pixels are 12 vectors and a quarter. Sums are chains
of 512 multiply-adds in the order of k, added in order; no bit depends on the threads.
"""

cimport numpy as cnp
from libc.string cimport memcpy, memset

from . cimport threads
from .arithmetic cimport ceil_div, index, round_up
from .arrays cimport raise_for
from .dispatch cimport kernels
from .kernels cimport fc_gemm_args, fc_kernels
from .memory cimport Buffer, borrow_workspace, empty_array, return_workspace

cnp.import_array()

cdef index CHAIN = 512
# Rows of a task at most, so that sums which wait for their pieces stay in the cache.
cdef index MOST_ROWS = 512
cdef index LEAST_ROWS = 24
cdef index TASKS_PER_THREAD = 4


cdef struct Product:
    const fc_kernels *kernels
    index element
    index images, depth, rows, pixels
    index panel                 # columns of a whole one
    index whole                 # panels that lie in one picture, of each
    index left                  # columns that are left over, of each
    index panels                # of all pictures, those of what is left over last
    index row_tasks, task_rows
    index sums_at, workspace
    const char *planes
    char *out
    const char **table          # the matrix' rows
    char *scratch


cdef void plan_product(Product *b, int count) noexcept:
    b.panel = b.kernels.gemm.tile_rows[0] * b.kernels.gemm.lanes
    b.whole = b.pixels // b.panel
    b.left = b.pixels % b.panel
    b.panels = b.images * b.whole + ceil_div(b.images * b.left, b.panel)
    b.row_tasks = min(ceil_div(b.rows, LEAST_ROWS), ceil_div(TASKS_PER_THREAD * count, b.panels))
    b.row_tasks = max(b.row_tasks, ceil_div(b.rows, MOST_ROWS))
    b.task_rows = ceil_div(b.rows, b.row_tasks)
    b.row_tasks = ceil_div(b.rows, b.task_rows)
    b.sums_at = round_up(min(CHAIN, b.depth) * b.panel * b.element, 64)
    b.workspace = round_up(b.sums_at + b.task_rows * b.panel * b.element, 4096) + 64


cdef struct Columns:
    index image, pixel          # the first one's
    index count
    bint apart                  # of several pictures, it may be: pieces follow each other


cdef Columns columns_of(const Product *b, index panel) noexcept nogil:
    cdef Columns c
    cdef index first
    c.apart = panel >= b.images * b.whole
    if not c.apart:
        c.image = panel // b.whole
        c.pixel = panel % b.whole * b.panel
        c.count = b.panel
        return c
    first = (panel - b.images * b.whole) * b.panel
    c.image = first // b.left
    c.pixel = b.whole * b.panel + first % b.left
    c.count = min(b.panel, b.images * b.left - first)
    return c


cdef void move_pieces(const Product *b, const Columns *c, index channels, index channel,
                      char *packed, bint out) noexcept nogil:
    """Copy a channel's columns from all pictures that have some, or back into the result."""
    cdef index image = c.image, pixel = c.pixel, done = 0, count
    cdef char *place
    while done < c.count:
        count = min(c.count - done, b.pixels - pixel)
        place = (b.out if out else <char *> b.planes) \
            + ((image * channels + channel) * b.pixels + pixel) * b.element
        if out:
            memcpy(place, packed + done * b.element, count * b.element)
        else:
            memcpy(packed + done * b.element, place, count * b.element)
        done += count
        image += 1
        pixel = b.whole * b.panel


cdef void pack_panel(const Product *b, const Columns *c, index first, index depth, index width,
                     char *panel) noexcept nogil:
    """[k][column], lanes past the last column zero."""
    cdef index k
    for k in range(first, first + depth):
        move_pieces(b, c, b.depth, k, panel, False)
        memset(panel + c.count * b.element, 0, (width - c.count) * b.element)
        panel += width * b.element


cdef int product_task(void *context, index task, int thread) noexcept nogil:
    """Some rows' sums of one panel's columns."""
    cdef const Product *b = <const Product *> context
    cdef Columns c = columns_of(b, task // b.row_tasks)
    cdef index first_row = task % b.row_tasks * b.task_rows
    cdef index last_row = min(first_row + b.task_rows, b.rows)
    cdef char *panel = b.scratch + thread * b.workspace
    cdef char *sums = panel + b.sums_at
    cdef index width = round_up(c.count, b.kernels.gemm.lanes), first = 0, row
    cdef fc_gemm_args g
    g.vectors = <int> (width // b.kernels.gemm.lanes)
    g.taps = 1
    g.a = b.table + first_row
    g.a_step = 0
    g.b = panel
    g.finish = NULL
    g.first = 0
    g.ahead_lines = 0
    g.c_row = width * b.element
    if not c.apart:
        g.c_row = b.pixels * b.element
        sums = b.out + ((c.image * b.rows + first_row) * b.pixels + c.pixel) * b.element
    g.c = sums
    while first < b.depth:
        g.depth = min(CHAIN, b.depth - first)
        g.offset = first * b.element
        g.accumulate = first > 0
        pack_panel(b, &c, first, g.depth, width, panel)
        b.kernels.gemm.tiles(&g, last_row - first_row)
        first += g.depth
    if c.apart:
        for row in range(first_row, last_row):
            move_pieces(b, &c, b.rows, row, sums + (row - first_row) * g.c_row, True)
    return threads.FC_OK


def planes_product(cnp.ndarray matrix, cnp.ndarray planes, bint flush_denormals):
    """Multiply a matrix with the channels of every pixel.

    Parameters
    ----------
    matrix : ndarray, shape (rows, K)
        Contiguous, float32 or float64.
    planes : ndarray, shape (N, K, pixels)
        Contiguous, of the same dtype; nothing is empty.
    flush_denormals : bool

    Returns
    -------
    ndarray, shape (N, rows, pixels)
    """
    cdef Product b
    cdef Buffer table, scratch
    cdef cnp.ndarray out
    cdef index row
    cdef int code, count = threads.maximum()
    b.element = cnp.PyArray_ITEMSIZE(matrix)
    b.kernels = kernels(b.element == 8)
    b.rows, b.depth = cnp.PyArray_DIM(matrix, 0), cnp.PyArray_DIM(matrix, 1)
    b.images, b.pixels = cnp.PyArray_DIM(planes, 0), cnp.PyArray_DIM(planes, 2)
    plan_product(&b, count)
    out = empty_array((b.images, b.rows, b.pixels), matrix.dtype)
    table = borrow_workspace(b.rows * sizeof(void *))
    scratch = borrow_workspace(b.workspace * count)
    b.planes = <const char *> cnp.PyArray_DATA(planes)
    b.out = <char *> cnp.PyArray_DATA(out)
    b.table = <const char **> table.data
    b.scratch = scratch.data
    for row in range(b.rows):
        b.table[row] = <const char *> cnp.PyArray_DATA(matrix) + row * b.depth * b.element
    with nogil:
        code = threads.run(product_task, &b, b.panels * b.row_tasks,
                           2.0 * b.images * b.pixels * b.rows * b.depth, flush_denormals, count)
    return_workspace(table)
    return_workspace(scratch)
    raise_for(code)
    return out
