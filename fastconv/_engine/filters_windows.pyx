"""Filters of pictures over windows of any shape.

    x  ->  the rows under a window, of each plane of it, converted and extended into rings
       ->  combined, tap by tap, into one row of the result          kernels/filters.c
       ->  converted and stored

A window's taps are places in it, so holes cost nothing. Where there is none, sums of several rows are
made at once: what they have in common is loaded once, and each still adds its taps in their order.
Several kernels go over the same rows, each into a result of its own. Tasks are bands of rows of one
plane of the results, which may be larger or smaller than the picture.
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


cdef struct Kernel:
    const ptrdiff_t *place        # of each term: plane, row, column
    const char *weights
    Py_ssize_t terms
    bint whole                    # no holes
    char *out


cdef struct Windows:
    const fc_filters_kernels *kernels
    const char *x
    const Kernel *kernel
    Py_ssize_t kernel_count, most_terms
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
    Py_ssize_t planes             # combinations of leading taps
    Py_ssize_t band, bands
    Py_ssize_t at_once            # rows of a result
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
    return max(w.most_terms, w.planes * w.ring)


cdef int combine_row(Windows *w, const Kernel *kernel, Py_ssize_t h, const char *rows,
                     const char **term, char *out) noexcept nogil:
    """One row of a result, tap by tap."""
    cdef fc_filter_args args
    cdef const ptrdiff_t *place = kernel.place
    cdef Py_ssize_t t
    for t in range(kernel.terms):
        term[t] = (rows + (place[0] * w.ring + (h + place[1]) % w.ring) * w.pitch
                   + place[2] * w.element)
        place += 3
    args.line, args.weight, args.terms, args.length = term, kernel.weights, kernel.terms, w.cols
    args.divisor, args.out, args.streams = 1, out, w.streams
    return w.kernels.combine[w.op](&args)


cdef int weigh_rows(Windows *w, const Kernel *kernel, Py_ssize_t h, Py_ssize_t count,
                    const char *rows, const char **line, char *out,
                    ptrdiff_t out_row) noexcept nogil:
    """`count` rows of a result from h on, of a window without holes."""
    cdef fc_window_args args
    cdef Py_ssize_t p, i, wanted = w.row_taps + count - 1
    for p in range(w.planes):
        for i in range(wanted):
            line[p * wanted + i] = rows + (p * w.ring + (h + i) % w.ring) * w.pitch
    args.line, args.weight, args.planes, args.length = line, kernel.weights, w.planes, w.cols
    args.row_taps, args.col_taps, args.streams = w.row_taps, w.col_taps, w.streams
    for i in range(count):
        args.out[i] = out + i * out_row
    return w.kernels.window[count - 1](&args)


cdef int fill_rows(Windows *w, const Kernel *kernel, Py_ssize_t h, Py_ssize_t count,
                   const char *rows, const char **line, char *result, char *out) noexcept nogil:
    """The rows of one kernel's result, in the plane at `out`; `result` has room for them."""
    cdef char *target = out + h * w.out_row if w.direct_out else result
    cdef ptrdiff_t target_row = w.out_row if w.direct_out else w.pitch
    cdef Py_ssize_t i
    cdef int unusual = 0
    if kernel.whole:
        unusual = weigh_rows(w, kernel, h, count, rows, line, target, target_row)
    else:
        for i in range(count):
            unusual |= combine_row(w, kernel, h + i, rows, line, target + i * target_row)
    if not w.direct_out:
        for i in range(count):
            w.kernels.store[w.out_type](result + i * w.pitch, w.cols, out + (h + i) * w.out_row,
                                        w.out_col)
    return unusual


cdef int windows_task(void *context, Py_ssize_t task, int thread) noexcept nogil:
    cdef Windows *w = <Windows *> context
    cdef Py_ssize_t step[MAX_AXES]
    cdef char *scratch = w.scratch + thread * w.scratch_bytes
    cdef const char **line = <const char **> scratch
    cdef const char **plane = line + pointers(w)
    cdef char *rows = scratch + round_up((pointers(w) + w.planes) * sizeof(void *), 64)
    cdef char *result = rows + w.planes * w.ring * w.pitch
    cdef Py_ssize_t first = task % w.bands * w.band, end = min(first + w.band, w.rows)
    cdef Py_ssize_t h = first, p, k, count, staged = first
    cdef ptrdiff_t lead = 0
    cdef int axis, unusual = 0
    task //= w.bands
    for axis in range(w.lead_axes - 1, -1, -1):
        step[axis] = task % w.lead_outs[axis]
        task //= w.lead_outs[axis]
        lead += step[axis] * w.out_lead[axis]
    find_planes(w, step, plane)
    while h < end:
        count = min(w.at_once, end - h)
        while staged < h + w.row_taps + count - 1:
            for p in range(w.planes):
                stage_window_row(w, plane[p], staged,
                                 rows + (p * w.ring + staged % w.ring) * w.pitch)
            staged += 1
        for k in range(w.kernel_count):
            unusual |= fill_rows(w, &w.kernel[k], h, count, rows, line, result,
                                 w.kernel[k].out + lead)
        h += count
    if unusual:
        w.unusual = 1
    return threads.FC_OK


cdef bint take_kernels(Windows *w, Kernel *kernel, list kernels, Py_ssize_t window):
    """Set what differs between kernels; whether one of them has no holes."""
    cdef bint any_whole = False
    w.kernel, w.kernel_count, w.most_terms = kernel, len(kernels), 0
    for out, place, weights in kernels:
        kernel.place = <const ptrdiff_t *> cnp.PyArray_DATA(<cnp.ndarray> place)
        kernel.weights = <const char *> cnp.PyArray_DATA(<cnp.ndarray> weights)
        kernel.terms = cnp.PyArray_DIM(<cnp.ndarray> place, 0)
        kernel.out = <char *> cnp.PyArray_DATA(<cnp.ndarray> out)
        kernel.whole = w.op == FC_FILTER_SUM and kernel.terms == window
        any_whole |= kernel.whole
        w.most_terms = max(w.most_terms, kernel.terms)
        kernel += 1
    return any_whole


def windows(cnp.ndarray x, list kernels, str op, tuple size, tuple before, str mode, double fill,
            bint single):
    """Combine, for each element of the results, the elements of x under a window.

    Parameters
    ----------
    x : ndarray
        At least two axes, of TYPES, aligned, in this machine's byte order.
    kernels : list of (out, place, weights)
        out: an ndarray like x, but larger or smaller perhaps; all alike in shape and strides, and
        without shared memory. place: of intp, (terms, 3), contiguous: plane, row and column in the
        window of the taps that count, in the order they are combined in; at least one; if they are
        all of the window's, in their order; planes count through all leading axes. weights:
        (terms,), contiguous, of the type that is computed in.
    op : str
        Of OPS, but "even", "odd" and "box".
    size, before : tuple of int
        The window's shape; its element 0 stands on x[o - before] for output o.
    mode, fill : str, float
        What stands beyond the border.
    single : bool
        Compute in float32, else in float64.

    Returns
    -------
    bool
        Whether a sum came out that is not finite.
    """
    cdef Windows w
    cdef int nd = cnp.PyArray_NDIM(x), axis
    cdef Py_ssize_t tasks, wide, terms = 0, k
    cdef cnp.ndarray out = kernels[0][0]
    cdef cnp.ndarray room = np.empty(len(kernels) * sizeof(Kernel), np.uint8)
    if not cnp.PyArray_SIZE(out):
        return False
    real = np.dtype(np.float32 if single else np.float64)
    w.kernels = dispatch.kernels(not single).filters
    w.x = <const char *> cnp.PyArray_DATA(x)
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
    w.band = clamp(max(LEAST_BAND, BAND_OF_WINDOWS * w.row_taps), 1, w.rows)
    w.bands = ceil_div(w.rows, w.band)
    w.direct_out = w.out_type == TYPES[real] and w.out_col == w.element
    w.streams = w.direct_out and w.out_row % 64 == 0 and is_streamed(out)
    w.at_once = 1
    if take_kernels(&w, <Kernel *> cnp.PyArray_DATA(room), kernels,
                    w.planes * w.row_taps * w.col_taps):
        w.at_once = min(<Py_ssize_t> FC_WINDOW_ROWS, w.row_taps)
    w.ring = w.row_taps + w.at_once - 1
    wide = max(w.cols + w.col_taps - 1, w.before + w.x_cols)
    w.pitch = round_up(wide * w.element, 64) + GUARD
    w.scratch_bytes = (round_up((pointers(&w) + w.planes) * sizeof(void *), 64)
                       + (w.planes * w.ring + w.at_once) * w.pitch)
    tasks = w.bands
    for axis in range(w.lead_axes):
        tasks *= w.lead_outs[axis]
    for k in range(w.kernel_count):
        terms += w.kernel[k].terms
    run_tasks(windows_task, &w, &w.scratch, w.scratch_bytes, tasks,
              <double> cnp.PyArray_SIZE(out) * (8 + terms))
    return bool(w.unusual)
