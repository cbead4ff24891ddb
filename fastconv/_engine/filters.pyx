"""Filters of pictures along axes.

    x  ->  rows, converted and extended into a ring      a picture is never padded as a whole
       ->  combined into one row of the result           kernels/filters.c, vectors along the row
       ->  converted and stored

`lines` runs one axis down the rows and, in the same sweep, the last axis along each row that comes
out: between the two passes lies a single row. Long boxes, maxima and minima go in two levels: runs
of about sqrt(size) elements, then runs of those runs. Tasks are bands of rows, or strips of
columns; what an element is made of, and in which order, does not depend on them. Filters over
windows of any shape are in filters_windows.pyx.
"""

import numpy as np

cimport numpy as cnp
from libc.stddef cimport ptrdiff_t

from . cimport dispatch, memory, threads
from .arithmetic cimport ceil_div, clamp, round_up
from .arrays cimport raise_for
from .filters_kernels cimport (
    FC_BOOL, FC_FILTER_BOX, FC_FILTER_LOWER, FC_FILTER_MAX, FC_FILTER_MIN, FC_FILTER_SUM,
    FC_FILTER_EVEN, FC_FILTER_ODD, FC_FILTER_UPPER, FC_FLOAT32, FC_FLOAT64, FC_INT8, FC_INT16,
    FC_INT32, FC_INT64, FC_UINT8, FC_UINT16, FC_UINT32, FC_UINT64, fc_filter_args,
    fc_filters_kernels,
)
from .threads cimport fc_task

cnp.import_array()

OPS = {
    "sum": FC_FILTER_SUM, "even": FC_FILTER_EVEN, "odd": FC_FILTER_ODD, "box": FC_FILTER_BOX,
    "max": FC_FILTER_MAX, "min": FC_FILTER_MIN, "upper": FC_FILTER_UPPER, "lower": FC_FILTER_LOWER,
}
TYPES = {
    np.dtype(name): code for name, code in (
        ("bool", FC_BOOL), ("int8", FC_INT8), ("uint8", FC_UINT8), ("int16", FC_INT16),
        ("uint16", FC_UINT16), ("int32", FC_INT32), ("uint32", FC_UINT32), ("int64", FC_INT64),
        ("uint64", FC_UINT64), ("float32", FC_FLOAT32), ("float64", FC_FLOAT64),
    )
}
MODES = {"nearest": 0, "wrap": 1, "reflect": 2, "mirror": 3, "constant": 4}

cdef enum:
    STRIP_BYTES = 4096            # of one row of a strip
    WHOLE_BYTES = 3 << 18         # of a strip whose rows are all read before the first is written
    DIRECT_ROWS = 6               # up to so many rows are read where they lie: their addresses are
                                  # often a power of two apart, and more would share few cache sets
    SHORT_BOX = 6                 # shorter ones go in one level
    STREAMED_BYTES = 32 << 20     # of results that no cache will hold until they are read


# --- Positions: what stands beyond the border ----------------------------------------------------

cdef Py_ssize_t source_of(Py_ssize_t i, Py_ssize_t n, int mode) noexcept nogil:
    """The element that stands at position i of an axis of n; -1 for the constant."""
    cdef Py_ssize_t period
    if 0 <= i < n:
        return i
    if mode == 4:
        return -1
    if mode == 0:
        return 0 if i < 0 else n - 1
    if mode == 3 and n == 1:
        return 0
    period = n if mode == 1 else 2 * n if mode == 2 else 2 * n - 2
    i = (i % period + period) % period
    if i < n:
        return i
    return (2 * n - 1 if mode == 2 else 2 * n - 2) - i


# --- Running -------------------------------------------------------------------------------------

cdef void add_outer(Outer *o, cnp.ndarray x, cnp.ndarray out, int axis) noexcept:
    o.size[o.axes] = cnp.PyArray_DIM(x, axis)
    o.x_step[o.axes] = cnp.PyArray_STRIDE(x, axis)
    o.out_step[o.axes] = cnp.PyArray_STRIDE(out, axis)
    o.axes += 1


cdef Py_ssize_t outer_count(const Outer *o) noexcept nogil:
    cdef Py_ssize_t count = 1
    cdef int axis
    for axis in range(o.axes):
        count *= o.size[axis]
    return count


cdef void move_outer(const Outer *o, Py_ssize_t place, const char **x, char **out) noexcept nogil:
    """Move both pointers from the first to this one of the `outer_count` places."""
    cdef Py_ssize_t step
    cdef int axis
    for axis in range(o.axes - 1, -1, -1):
        step = place % o.size[axis]
        place //= o.size[axis]
        x[0] += step * o.x_step[axis]
        out[0] += step * o.out_step[axis]


cdef bint is_streamed(cnp.ndarray out):
    """Whether rows of this result go past the caches."""
    return cnp.PyArray_NBYTES(out) >= STREAMED_BYTES


cdef int run_tasks(fc_task task, void *context, char **scratch, ptrdiff_t scratch_bytes,
                   Py_ssize_t tasks, double work) except -1:
    """Run tasks that find at `scratch` so many bytes for each thread."""
    cdef int most = threads.maximum(), code
    cdef memory.Buffer buffer = memory.borrow_workspace(scratch_bytes * most)
    scratch[0] = buffer.data
    try:
        with nogil:
            code = threads.run(task, context, tasks, work, False, most)
    finally:
        memory.return_workspace(buffer)
    raise_for(code)
    return 0


# --- Lines ---------------------------------------------------------------------------------------

cdef struct Line:
    int op                        # -1: nothing happens along this axis
    Py_ssize_t size, before       # of the window
    Py_ssize_t run, runs          # two levels: `runs` runs of `run` elements; run 1 is one level
    const ptrdiff_t *source
    double fill
    const char *weights           # in the order of the terms
    ptrdiff_t element


cdef cnp.ndarray sources(Py_ssize_t n, Py_ssize_t outs, Py_ssize_t size, Py_ssize_t before,
                         int mode):
    """Where each of outs + size - 1 positions, the first at -before, is read from."""
    cdef cnp.ndarray table = np.empty(outs + size - 1, np.intp)
    cdef Py_ssize_t *at = <Py_ssize_t *> cnp.PyArray_DATA(table)
    cdef Py_ssize_t i
    for i in range(outs + size - 1):
        at[i] = source_of(i - before, n, mode)
    return table


def positions(Py_ssize_t n, Py_ssize_t outs, Py_ssize_t size, Py_ssize_t before, str mode):
    """Where what lies under `outs` windows of an axis of n is read from; -1 for the constant."""
    return sources(n, outs, size, before, MODES[mode])


cdef Py_ssize_t square_root(Py_ssize_t n) noexcept nogil:
    cdef Py_ssize_t root = 1
    while (root + 1) * (root + 1) <= n:
        root += 1
    return root


cdef Line line_of(given, Py_ssize_t n, dtype, list keep) except *:
    """A Line from (axis, op, size, before, mode, fill, terms); None gives the empty one."""
    cdef Line line
    cdef cnp.ndarray table
    line.op, line.size, line.before, line.run, line.runs, line.fill = -1, 1, 0, 1, 1, 0
    line.source, line.weights, line.element = NULL, NULL, dtype.itemsize
    if given is None:
        return line
    _, op, line.size, line.before, mode, line.fill, terms = given
    line.op = OPS[op]
    table = sources(n, n, line.size, line.before, MODES[mode])
    line.source = <const ptrdiff_t *> cnp.PyArray_DATA(table)
    keep.append(table)
    if terms is not None:
        weights = terms.in_single if dtype.itemsize == sizeof(float) else terms.in_double
        line.weights = <const char *> cnp.PyArray_DATA(<cnp.ndarray> weights)
        keep.append(weights)
    elif line.size >= SHORT_BOX:
        line.run = square_root(line.size)
        line.runs = line.size // line.run
    return line


cdef Py_ssize_t gather(const Line *line, const char **raw, const char **runs,
                       const char **term) noexcept nogil:
    """The terms of the window that starts at raw[0] (its runs at runs[0]); their number."""
    cdef Py_ssize_t j, count = 0
    if line.run > 1:
        for j in range(line.runs):
            term[j] = runs[j * line.run]
        count = line.runs
        if line.op == FC_FILTER_BOX:
            for j in range(line.run * line.runs, line.size):
                term[count] = raw[j]
                count += 1
        elif line.run * line.runs < line.size:
            term[count] = runs[line.size - line.run]
            count += 1
        return count
    if line.op == FC_FILTER_SUM:
        term[0] = raw[line.size - 1]
        for j in range(line.size - 1):
            term[j + 1] = raw[j]
    else:
        for j in range(line.size):
            term[j] = raw[j]
    return line.size


cdef int combine(const fc_filters_kernels *kernels, const Line *line, const char **term,
                 Py_ssize_t terms, Py_ssize_t length, bint last, char *out,
                 bint streams=False) noexcept nogil:
    """`last` tells the final level, where boxes divide."""
    cdef fc_filter_args args
    args.streams = streams
    args.line, args.weight, args.terms, args.length = term, line.weights, terms, length
    args.divisor = <double> line.size if last else 1
    args.out = out
    return kernels.combine[line.op](&args)


cdef struct Lines:
    const fc_filters_kernels *kernels
    const char *x
    char *out
    int x_type, out_type
    Outer outer
    ptrdiff_t x_row, x_col, out_row, out_col
    Py_ssize_t rows, cols
    Line down, along
    Py_ssize_t band, bands, strip, strips
    bint direct, direct_out, rounded, whole, streams
    ptrdiff_t element, out_element
    Py_ssize_t ring               # rows kept of a band
    ptrdiff_t pitch               # bytes from row to row
    char *scratch
    ptrdiff_t scratch_bytes       # of one thread
    int unusual


cdef struct Desk:
    # A task's place in the arrays, and its scratch.
    const char *x
    char *out
    Py_ssize_t cols
    const char **raw              # by position: row h's window starts at raw[h - first row]
    const char **runs
    const char **term
    const char **along_raw        # the same of the window along desk.line, the same for every row
    const char **along_term
    Py_ssize_t along_terms
    char *rows                    # ring of converted rows
    char *run_rows                # ring of runs
    char *constant
    char *line                    # one extended row
    char *line_runs
    char *result                  # one row before it is stored
    char *typed                   # one row in the result's type


cdef Py_ssize_t pointers_of(const Lines *s) noexcept nogil:
    """Places for the pointers of a desk: positions, runs and terms down, the same along."""
    return 2 * (s.band + s.down.size - 1) + s.down.size + 2 + 2 * s.along.size + s.along.size + 2


cdef void lay_out(Lines *s, Desk *desk, char *scratch) noexcept nogil:
    cdef Py_ssize_t positions = s.band + s.down.size - 1
    desk.raw = <const char **> scratch
    desk.runs = desk.raw + positions
    desk.term = desk.runs + positions
    desk.along_raw = desk.term + s.down.size + 2
    desk.along_term = desk.along_raw + 2 * s.along.size
    scratch += round_up(pointers_of(s) * sizeof(void *), 64)
    desk.rows = scratch
    desk.run_rows = desk.rows + s.ring * s.pitch
    desk.constant = desk.run_rows + s.ring * s.pitch
    desk.line = desk.constant + s.pitch
    desk.line_runs = desk.line + s.pitch
    desk.result = desk.line_runs + s.pitch
    desk.typed = desk.result + s.pitch


cdef ptrdiff_t lines_scratch(const Lines *s) noexcept nogil:
    return round_up(pointers_of(s) * sizeof(void *), 64) + (2 * s.ring + 6) * s.pitch


cdef void stage(Lines *s, Desk *desk, Py_ssize_t first, Py_ssize_t position) noexcept nogil:
    """Make raw[position - first] the row that stands at this position."""
    cdef Py_ssize_t row = s.down.source[position]
    cdef const char *from_ = desk.x + row * s.x_row
    cdef char *to
    if row < 0:
        desk.raw[position - first] = desk.constant
    elif s.direct:
        desk.raw[position - first] = from_
    else:
        to = desk.rows + (position - first) % s.ring * s.pitch
        s.kernels.load[s.x_type](from_, s.x_col, desk.cols, to)
        desk.raw[position - first] = to


cdef void add_run(Lines *s, Desk *desk, Py_ssize_t at) noexcept nogil:
    cdef char *to = desk.run_rows + at % s.ring * s.pitch
    combine(s.kernels, &s.down, desk.raw + at, s.down.run, desk.cols, False, to)
    desk.runs[at] = to


cdef void point_along(Lines *s, Desk *desk) noexcept nogil:
    """Where a row's terms will lie: in desk.line, or in the runs that are made of it."""
    cdef const char **runs = desk.along_raw + s.along.size
    cdef Py_ssize_t j
    for j in range(s.along.size):
        desk.along_raw[j] = desk.line + j * s.element
        runs[j] = desk.line_runs + j * s.element
    desk.along_terms = gather(&s.along, desk.along_raw, runs, desk.along_term)


cdef int run_along(Lines *s, Desk *desk, char *out) noexcept nogil:
    """Filter the row that lies in desk.line from `before` on."""
    cdef const Line *along = &s.along
    s.kernels.extend(desk.line, along.before, desk.cols, along.size - 1 - along.before,
                     along.source, along.fill)
    if along.run > 1:
        combine(s.kernels, along, desk.along_raw, along.run, desk.cols + along.size - along.run,
                False, desk.line_runs)
    return combine(s.kernels, along, desk.along_term, desk.along_terms, desk.cols, True, out,
                   s.streams)


cdef int run_down(Lines *s, Desk *desk, Py_ssize_t at, char *out) noexcept nogil:
    cdef Py_ssize_t terms = gather(&s.down, desk.raw + at, desk.runs + at, desk.term)
    return combine(s.kernels, &s.down, desk.term, terms, desk.cols, True, out,
                   s.streams and s.along.op < 0)


cdef int lines_task(void *context, Py_ssize_t task, int thread) noexcept nogil:
    cdef Lines *s = <Lines *> context
    cdef Desk desk
    cdef Py_ssize_t strip, first, end, h, staged, summed, last
    cdef char *target
    cdef char *middle
    cdef int unusual = 0
    lay_out(s, &desk, s.scratch + thread * s.scratch_bytes)
    strip = task % s.strips * s.strip
    task //= s.strips
    first = task % s.bands * s.band
    task //= s.bands
    end = min(first + s.band, s.rows)
    desk.cols = min(s.strip, s.cols - strip)
    desk.x = s.x + strip * s.x_col
    desk.out = s.out + strip * s.out_col
    move_outer(&s.outer, task, &desk.x, &desk.out)
    point_along(s, &desk)
    if s.down.op >= 0:
        s.kernels.fill(desk.constant, desk.cols, s.down.fill)
    staged = first
    summed = first
    for h in range(first, end):
        target = desk.out + h * s.out_row if s.direct_out else desk.result
        middle = desk.line + s.along.before * s.element if s.along.op >= 0 else target
        if s.down.op >= 0:
            # Where x is written to as well, all of it is read before the first row is written.
            last = (end - 1 if s.whole else h) + s.down.size
            while staged < last:
                stage(s, &desk, first, staged)
                staged += 1
            if s.down.run > 1:
                while summed <= h + s.down.size - s.down.run:
                    add_run(s, &desk, summed - first)
                    summed += 1
            unusual |= run_down(s, &desk, h - first, middle)
        else:
            s.kernels.load[s.x_type](desk.x + h * s.x_row, s.x_col, desk.cols, middle)
        if s.along.op >= 0:
            if s.down.op >= 0 and s.rounded:
                s.kernels.store[s.out_type](middle, desk.cols, desk.typed, s.out_element)
                s.kernels.load[s.out_type](desk.typed, s.out_element, desk.cols, middle)
            unusual |= run_along(s, &desk, target)
        if not s.direct_out:
            s.kernels.store[s.out_type](target, desk.cols, desk.out + h * s.out_row, s.out_col)
    if unusual:
        s.unusual = 1
    return threads.FC_OK


cdef void find_outer(Lines *s, cnp.ndarray x, cnp.ndarray out, int down, int along) noexcept:
    """Set the axes around rows and columns, the columns' too where nothing runs along them."""
    cdef int axis, columns = cnp.PyArray_NDIM(x) - 1
    cdef bint merging = along < 0
    if along >= 0:
        columns = along
    elif down == columns:
        columns -= 1
    s.outer.axes = 0
    s.cols = cnp.PyArray_DIM(x, columns) if columns >= 0 else 1
    s.x_col = cnp.PyArray_STRIDE(x, columns) if columns >= 0 else cnp.PyArray_ITEMSIZE(x)
    s.out_col = cnp.PyArray_STRIDE(out, columns) if columns >= 0 else cnp.PyArray_ITEMSIZE(out)
    for axis in range(cnp.PyArray_NDIM(x) - 1, -1, -1):
        if axis == down or axis == columns:
            continue
        merging = (merging and axis < columns and s.x_col * s.cols == cnp.PyArray_STRIDE(x, axis)
                   and s.out_col * s.cols == cnp.PyArray_STRIDE(out, axis))
        if merging:
            s.cols *= cnp.PyArray_DIM(x, axis)
            continue
        add_outer(&s.outer, x, out, axis)


cdef void take_rows(Lines *s, cnp.ndarray x, cnp.ndarray out, int down) noexcept:
    """The rows that the lines run down, or, without such, any axis around the columns."""
    s.rows, s.x_row, s.out_row = 1, 0, 0
    if down >= 0:
        s.rows = cnp.PyArray_DIM(x, down)
        s.x_row, s.out_row = cnp.PyArray_STRIDE(x, down), cnp.PyArray_STRIDE(out, down)
    elif s.outer.axes:
        s.outer.axes -= 1
        s.rows = s.outer.size[s.outer.axes]
        s.x_row, s.out_row = s.outer.x_step[s.outer.axes], s.outer.out_step[s.outer.axes]


cdef void cut_lines(Lines *s) noexcept nogil:
    """Bands and strips: by sizes alone."""
    cdef Py_ssize_t positions, rings
    s.strip = s.cols
    if s.along.op < 0:
        s.strip = min(s.cols, STRIP_BYTES // s.element)
    s.band = s.rows if s.whole else max(LEAST_BAND, BAND_OF_WINDOWS * s.down.size)
    s.band = clamp(s.band, 1, s.rows)
    positions = s.band + s.down.size - 1
    s.ring = positions if s.whole else s.down.size
    if s.whole and s.along.op < 0:
        rings = 2 if s.down.run > 1 else 1
        s.strip = min(s.strip, max(16, WHOLE_BYTES // (rings * positions * s.element)))
        s.strip = min(s.strip, round_up(ceil_div(s.cols, ceil_div(s.cols, s.strip)), 16))
    s.bands = ceil_div(s.rows, s.band)
    s.strips = ceil_div(s.cols, s.strip)
    s.pitch = round_up((s.strip + 2 * s.along.size) * max(s.element, s.out_element), 64) + GUARD


def lines(cnp.ndarray x, cnp.ndarray out, down, along, bint single, bint whole=False):
    """Filter along one axis or two: first down `down`, then along `along`.

    Parameters
    ----------
    x, out : ndarray
        Of one shape, of TYPES, aligned, in this machine's byte order. They share memory only if
        they are the same view and `whole` is set.
    down, along : tuple or None
        (axis, op, size, before, mode, fill, terms) each; op and mode as OPS and MODES name them;
        terms None or an object with contiguous arrays `in_single` and `in_double`, the weights in
        the order that `gather` takes the window's elements.
    single : bool
        Compute in float32, else in float64.
    whole : bool
        A task reads all rows before it writes.

    Returns
    -------
    bool
        Whether a sum that is not finite, or a NaN, came out.
    """
    cdef Lines s
    cdef list keep = []
    cdef Py_ssize_t tasks
    cdef int real_type
    cdef int down_axis = -1 if down is None else down[0]
    cdef int along_axis = -1 if along is None else along[0]
    cdef double work
    if not cnp.PyArray_SIZE(x):
        return False
    real = np.dtype(np.float32 if single else np.float64)
    s.kernels = dispatch.kernels(not single).filters
    s.x, s.out = <const char *> cnp.PyArray_DATA(x), <char *> cnp.PyArray_DATA(out)
    s.x_type, s.out_type, real_type = TYPES[x.dtype], TYPES[out.dtype], TYPES[real]
    s.element, s.out_element = real.itemsize, out.dtype.itemsize
    s.down = line_of(down, cnp.PyArray_DIM(x, down_axis) if down_axis >= 0 else 1, real, keep)
    s.along = line_of(along, cnp.PyArray_DIM(x, along_axis) if along_axis >= 0 else 1, real, keep)
    find_outer(&s, x, out, down_axis, along_axis)
    take_rows(&s, x, out, down_axis)
    s.whole, s.unusual = whole and down_axis >= 0, 0
    s.direct = (s.x_type == real_type and s.x_col == s.element and s.down.size <= DIRECT_ROWS
                and not whole)
    s.direct_out = s.out_type == real_type and s.out_col == s.element
    s.streams = s.direct_out and not s.whole and is_streamed(out)
    s.rounded = s.out_type != real_type
    cut_lines(&s)
    tasks = s.bands * s.strips * outer_count(&s.outer)
    s.scratch_bytes = lines_scratch(&s)
    work = <double> cnp.PyArray_SIZE(x) * (8 + s.down.size // s.down.run
                                           + s.along.size // s.along.run)
    run_tasks(lines_task, &s, &s.scratch, s.scratch_bytes, tasks, work)
    return bool(s.unusual)
