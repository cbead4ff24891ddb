"""Filters of pictures over windows of any shape.

    x  ->  the rows under a window, of each plane of it, converted and extended into rings
       ->  combined, tap by tap, into one row of the result          kernels/filters.c
       ->  converted and stored

A window's taps are places in it, so holes cost nothing. Where there is none, sums of several rows are
made at once: what they have in common is loaded once, and each still adds its taps in their order.
Tasks are bands of rows of one plane of the result, which may be larger or smaller than the picture.
"""

import numpy as np

cimport numpy as cnp
from libc.stddef cimport ptrdiff_t

from . cimport dispatch, threads
from .arithmetic cimport ceil_div, clamp, round_up
from .filters cimport (
    BAND_OF_WINDOWS, GUARD, LEAST_BAND, MAX_AXES, is_streamed, run_tasks, sources,
)
from .filters_kernels cimport (
    FC_FILTER_SUM, FC_WINDOW_ROWS, fc_filter_args, fc_filters_kernels, fc_window_args,
)

from .filters import MODES, OPS, TYPES

cnp.import_array()


cdef struct Windows:
    const fc_filters_kernels *kernels
    const char *x
    char *out
    int x_type, out_type
    int lead_axes                 # all but rows and columns
    Py_ssize_t lead_outs[MAX_AXES]
    Py_ssize_t lead_taps[MAX_AXES]
    const ptrdiff_t *lead_source[MAX_AXES]
    ptrdiff_t x_lead[MAX_AXES]
    ptrdiff_t out_lead[MAX_AXES]
    ptrdiff_t x_row, x_col, out_row, out_col
    Py_ssize_t rows, cols         # of the result
    Py_ssize_t x_cols, row_taps, col_taps, before
    const ptrdiff_t *row_source
    const ptrdiff_t *col_source
    double fill
    int op
    Py_ssize_t terms, planes      # planes: combinations of leading taps
    const ptrdiff_t *place       # of each term: plane, row, column
    const char *weights
    Py_ssize_t band, bands
    Py_ssize_t at_once            # rows of the result; 0: one, tap by tap
    Py_ssize_t ring               # rows kept of a plane
    ptrdiff_t element, pitch
    bint direct_out, streams
    char *scratch
    ptrdiff_t scratch_bytes
    int unusual


cdef void find_planes(Windows *w, Py_ssize_t *step, const char **plane) noexcept nogil:
    """Where the planes under the window of one leading output begin; NULL beyond the border."""
    cdef Py_ssize_t p, rest, tap, source
    cdef int axis
    for p in range(w.planes):
        plane[p] = w.x
        rest = p
        for axis in range(w.lead_axes - 1, -1, -1):
            tap = rest % w.lead_taps[axis]
            rest //= w.lead_taps[axis]
            source = w.lead_source[axis][step[axis] + tap]
            if source < 0:
                plane[p] = NULL
                break
            plane[p] += source * w.x_lead[axis]


cdef void stage_window_row(Windows *w, const char *plane, Py_ssize_t position,
                           char *to) noexcept nogil:
    cdef Py_ssize_t row = w.row_source[position], width = w.cols + w.col_taps - 1, i
    cdef Py_ssize_t inside = min(w.x_cols, width - w.before)
    if plane == NULL or row < 0:
        w.kernels.fill(to, width, w.fill)
        return
    w.kernels.load[w.x_type](plane + row * w.x_row, w.x_col, w.x_cols, to + w.before * w.element)
    w.kernels.extend(to, w.before, inside, width - w.before - inside, w.col_source, w.fill)


cdef Py_ssize_t pointers(const Windows *w) noexcept nogil:
    return max(w.terms, w.planes * w.ring)


cdef int combine_row(Windows *w, Py_ssize_t h, const char *rows, const char **term,
                     char *out) noexcept nogil:
    """One row of the result, tap by tap."""
    cdef fc_filter_args args
    cdef Py_ssize_t t, row
    for t in range(w.terms):
        row = w.place[3 * t] * w.ring + (h + w.place[3 * t + 1]) % w.ring
        term[t] = rows + row * w.pitch + w.place[3 * t + 2] * w.element
    args.line, args.weight, args.terms, args.length = term, w.weights, w.terms, w.cols
    args.divisor, args.out, args.streams = 1, out, w.streams
    return w.kernels.combine[w.op](&args)


cdef int weigh_rows(Windows *w, Py_ssize_t h, Py_ssize_t count, const char *rows,
                    const char **line, char *out, ptrdiff_t out_row) noexcept nogil:
    """`count` rows of the result from h on, of windows without holes."""
    cdef fc_window_args args
    cdef Py_ssize_t p, i, wanted = w.row_taps + count - 1
    for p in range(w.planes):
        for i in range(wanted):
            line[p * wanted + i] = rows + (p * w.ring + (h + i) % w.ring) * w.pitch
    args.line, args.weight, args.planes, args.length = line, w.weights, w.planes, w.cols
    args.row_taps, args.col_taps, args.streams = w.row_taps, w.col_taps, w.streams
    for i in range(count):
        args.out[i] = out + i * out_row
    return w.kernels.window[count - 1](&args)


cdef int windows_task(void *context, Py_ssize_t task, int thread) noexcept nogil:
    cdef Windows *w = <Windows *> context
    cdef Py_ssize_t step[MAX_AXES]
    cdef char *scratch = w.scratch + thread * w.scratch_bytes
    cdef const char **line = <const char **> scratch
    cdef const char **plane = line + pointers(w)
    cdef char *rows = scratch + round_up((pointers(w) + w.planes) * sizeof(void *), 64)
    cdef char *result = rows + w.planes * w.ring * w.pitch
    cdef char *out = w.out
    cdef char *target
    cdef ptrdiff_t target_row = w.out_row if w.direct_out else w.pitch
    cdef Py_ssize_t first = task % w.bands * w.band, end = min(first + w.band, w.rows)
    cdef Py_ssize_t h = first, p, i, count, staged = first
    cdef int axis, unusual = 0
    task //= w.bands
    for axis in range(w.lead_axes - 1, -1, -1):
        step[axis] = task % w.lead_outs[axis]
        task //= w.lead_outs[axis]
        out += step[axis] * w.out_lead[axis]
    find_planes(w, step, plane)
    while h < end:
        count = min(max(w.at_once, 1), end - h)
        while staged < h + w.row_taps + count - 1:
            for p in range(w.planes):
                stage_window_row(w, plane[p], staged,
                                 rows + (p * w.ring + staged % w.ring) * w.pitch)
            staged += 1
        target = out + h * w.out_row if w.direct_out else result
        if w.at_once:
            unusual |= weigh_rows(w, h, count, rows, line, target, target_row)
        else:
            unusual |= combine_row(w, h, rows, line, target)
        if not w.direct_out:
            for i in range(count):
                w.kernels.store[w.out_type](result + i * w.pitch, w.cols,
                                            out + (h + i) * w.out_row, w.out_col)
        h += count
    if unusual:
        w.unusual = 1
    return threads.FC_OK


def windows(cnp.ndarray x, cnp.ndarray out, str op, tuple size, tuple before, str mode, double fill,
            cnp.ndarray place, cnp.ndarray weights, bint single):
    """Combine, for each element of out, the elements of x under a window.

    Parameters
    ----------
    x, out : ndarray
        At least two axes each, of TYPES, aligned, in this machine's byte order; no shared memory.
        The result may be larger or smaller than x.
    op : str
        Of OPS, but "even", "odd" and "box".
    size, before : tuple of int
        The window's shape; its element 0 stands on x[o - before] for output o.
    mode, fill : str, float
        What stands beyond the border.
    place : ndarray of intp, (terms, 3), contiguous
        Plane, row and column in the window of the taps that count, in the order they are combined
        in; at least one. If they are all of the window's, in their order. Planes count through all
        leading axes.
    weights : ndarray of float32 or float64, (terms,), contiguous
    single : bool
        Compute in float32, else in float64: the weights' type.

    Returns
    -------
    bool
        Whether a sum came out that is not finite.
    """
    cdef Windows w
    cdef int nd = cnp.PyArray_NDIM(x), axis
    cdef Py_ssize_t tasks, wide
    cdef double work
    if not cnp.PyArray_SIZE(out):
        return False
    real = np.dtype(np.float32 if single else np.float64)
    w.kernels = dispatch.kernels(not single).filters
    w.x, w.out = <const char *> cnp.PyArray_DATA(x), <char *> cnp.PyArray_DATA(out)
    w.x_type, w.out_type, w.element = TYPES[x.dtype], TYPES[out.dtype], real.itemsize
    tables = [sources(cnp.PyArray_DIM(x, axis), cnp.PyArray_DIM(out, axis), size[axis],
                      before[axis], MODES[mode]) for axis in range(nd)]
    w.lead_axes, w.planes = nd - 2, 1
    for axis in range(nd - 2):
        w.lead_outs[axis], w.lead_taps[axis] = cnp.PyArray_DIM(out, axis), size[axis]
        w.lead_source[axis] = <const ptrdiff_t *> cnp.PyArray_DATA(<cnp.ndarray> tables[axis])
        w.x_lead[axis], w.out_lead[axis] = (cnp.PyArray_STRIDE(x, axis),
                                            cnp.PyArray_STRIDE(out, axis))
        w.planes *= w.lead_taps[axis]
    w.row_source = <const ptrdiff_t *> cnp.PyArray_DATA(<cnp.ndarray> tables[nd - 2])
    w.col_source = <const ptrdiff_t *> cnp.PyArray_DATA(<cnp.ndarray> tables[nd - 1])
    w.x_row, w.x_col = cnp.PyArray_STRIDE(x, nd - 2), cnp.PyArray_STRIDE(x, nd - 1)
    w.out_row, w.out_col = cnp.PyArray_STRIDE(out, nd - 2), cnp.PyArray_STRIDE(out, nd - 1)
    w.rows, w.cols = cnp.PyArray_DIM(out, nd - 2), cnp.PyArray_DIM(out, nd - 1)
    w.x_cols, w.row_taps, w.col_taps = cnp.PyArray_DIM(x, nd - 1), size[nd - 2], size[nd - 1]
    w.before, w.fill, w.op, w.unusual = before[nd - 1], fill, OPS[op], 0
    w.place, w.terms = <const ptrdiff_t *> cnp.PyArray_DATA(place), cnp.PyArray_DIM(place, 0)
    w.weights = <const char *> cnp.PyArray_DATA(weights)
    w.band = clamp(max(LEAST_BAND, BAND_OF_WINDOWS * w.row_taps), 1, w.rows)
    w.bands = ceil_div(w.rows, w.band)
    w.direct_out = w.out_type == TYPES[real] and w.out_col == w.element
    w.streams = w.direct_out and w.out_row % 64 == 0 and is_streamed(out)
    w.at_once, w.ring = 0, w.row_taps
    if w.op == FC_FILTER_SUM and w.terms == w.planes * w.row_taps * w.col_taps:
        w.at_once = min(<Py_ssize_t> FC_WINDOW_ROWS, w.row_taps)
        w.ring += w.at_once - 1
    wide = max(w.cols + w.col_taps - 1, w.before + w.x_cols)
    w.pitch = round_up(wide * w.element, 64) + GUARD
    w.scratch_bytes = (round_up((pointers(&w) + w.planes) * sizeof(void *), 64)
                       + (w.planes * w.ring + max(w.at_once, 1)) * w.pitch)
    tasks = w.bands
    for axis in range(w.lead_axes):
        tasks *= w.lead_outs[axis]
    work = <double> cnp.PyArray_SIZE(out) * (8 + w.terms)
    run_tasks(windows_task, &w, &w.scratch, w.scratch_bytes, tasks, work)
    return bool(w.unusual)
