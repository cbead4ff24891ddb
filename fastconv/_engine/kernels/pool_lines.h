/* The walk for overlapping windows: rows are folded into one padded line, vectors along it, and the
 * line is folded sideways. rows + columns steps do the work of rows * columns taps.
 *
 *   rows  x  | | | | |        folded down into       line  |pad|. . . . . .|pad|
 *            | | | | |                                       \ | / \ | /
 *            v v v v v                               out        .     .      folded sideways
 *
 * With one channel and stride s the line is kept as s phases (column c in phase c % s), so that a
 * vector of outputs loads neighbours. With several channels a column is `channels` elements.
 */
#ifndef FC_POOL_LINES_H
#define FC_POOL_LINES_H

#include "pool_common.h"

enum { LINE = FC_POOL_LINE_BYTES / ELEMENT, LINE_ROOM = LINE + FC_POOL_LINE_VECTORS * FC_LANES };

/* The columns of x under a band's windows; padded columns count from the first window's start. */
typedef struct {
    ptrdiff_t length;         /* columns from the first window's start to the last one's end */
    ptrdiff_t first;          /* input column of padded column `lead` */
    ptrdiff_t lead, columns;  /* padding before the input, columns of input */
} extent;

FC_INLINE extent extent_of(const fc_pool_args *a) {
    const fc_pool_axis *width = a->width;
    const ptrdiff_t length =
        (a->columns - 1) * width->stride + (width->kernel - 1) * width->dilation + 1;
    const ptrdiff_t begin = a->column * width->stride - width->before, end = begin + length;
    const ptrdiff_t first = begin > 0 ? begin : 0;
    const ptrdiff_t last = end < width->size ? end : width->size;
    if (last <= first) return (extent){length, 0, length, 0};
    return (extent){length, first, first - begin, last - first};
}

FC_INLINE int few_rows(const box *b) { return b->depth == 1 && b->rows <= 3; }

/* One vector of the line: up to 3 rows, the common windows, without a loop. */
FC_INLINE vec fold_rows(const int op, const char *p, const box *b, ptrdiff_t step, ptrdiff_t left) {
    if (few_rows(b)) {
        vec v = load_any(p, step, left);
        if (b->rows > 1) v = join(op, v, load_any(p + b->row_step, step, left));
        if (b->rows > 2) v = join(op, v, load_any(p + 2 * b->row_step, step, left));
        return v;
    }
    reduction r;
    reduce_box(op, 1, p, b, step, left, &r);
    return result(op, &r, 0);
}

/* A run of `count` elements, `step` bytes apart, folded into neighbours. */
FC_INLINE void fold_run(const int op, const char *p, const box *b, ptrdiff_t step, ptrdiff_t count,
                        real *scratch) {
    ptrdiff_t i = 0;
    if (step == ELEMENT && !few_rows(b)) {
        for (; i + WIDE * FC_LANES <= count; i += WIDE * FC_LANES) {
            reduction r;
            reduce_box(op, WIDE, p + i * step, b, step, FC_LANES, &r);
            FC_UNROLL for (int j = 0; j < WIDE; j++)
                store(scratch + i + j * FC_LANES, result(op, &r, j));
        }
    }
    for (; i < count; i += FC_LANES)
        store(scratch + i, fold_rows(op, p + i * step, b, step, count - i));
}

/* The same for stride 2: padded columns lead, lead + 1, ... alternate between two phases. */
FC_INLINE void fold_run_halved(const int op, const char *p, const box *b, ptrdiff_t step,
                               ptrdiff_t count, real *scratch, ptrdiff_t lead, ptrdiff_t phase) {
    real *even = scratch + (lead & 1) * phase + (lead >> 1);
    real *odd = scratch + ((lead + 1) & 1) * phase + ((lead + 1) >> 1);
    for (ptrdiff_t i = 0; i < count; i += 2 * FC_LANES) {
        const ptrdiff_t left = count - i, more = left - FC_LANES;
        const vec low = fold_rows(op, p + i * step, b, step, left);
        const vec high = more <= 0 ? low : fold_rows(op, p + (i + FC_LANES) * step, b, step, more);
        store(even + i / 2, even_lanes(low, high));
        store(odd + i / 2, odd_lanes(low, high));
    }
}

/* The same for wider strides, element by element. */
FC_INLINE void fold_run_scattered(const int op, const char *p, const box *b, ptrdiff_t step,
                                  ptrdiff_t count, real *scratch, ptrdiff_t lead, ptrdiff_t phase,
                                  ptrdiff_t stride) {
    ptrdiff_t row = lead % stride, place = lead / stride;
    for (ptrdiff_t i = 0; i < count; i += FC_LANES) {
        real lanes[FC_LANES] FC_ALIGNED;
        store(lanes, fold_rows(op, p + i * step, b, step, count - i));
        for (int l = 0; l < FC_LANES && i + l < count; l++) {
            scratch[row * phase + place] = lanes[l];
            if (++row == stride) {
                row = 0;
                place++;
            }
        }
    }
}

FC_INLINE ptrdiff_t phases(const fc_pool_args *a) {
    return a->channels == 1 ? a->width->stride : 1;
}

/* Padded columns from .. to of the line become the identity. */
FC_INLINE void pad_line(const int op, const fc_pool_args *a, real *scratch, ptrdiff_t from,
                        ptrdiff_t to) {
    const ptrdiff_t stride = phases(a);
    if (stride == 1) {
        for (ptrdiff_t i = from * a->channels; i < to * a->channels; i++)
            scratch[i] = identity(op);
    } else if (from < to) {
        ptrdiff_t row = from % stride, place = from / stride;
        for (ptrdiff_t c = from; c < to; c++) {
            scratch[row * a->phase + place] = identity(op);
            if (++row == stride) {
                row = 0;
                place++;
            }
        }
    }
}

/* Fold the rows of box b, whose column 0 is at x, into the padded line. */
FC_INLINE void fill_line(const int op, const fc_pool_args *a, const char *x, const box *b,
                         const extent *e, real *scratch) {
    const char *p = x + e->first * a->x_column;
    const ptrdiff_t stride = phases(a), channels = a->channels;
    const ptrdiff_t columns = b->depth * b->rows == 0 ? 0 : e->columns;
    const ptrdiff_t lead = columns == 0 ? e->length : e->lead;
    if (channels > 1) {
        const int dense = a->x_column == channels * ELEMENT;
        const ptrdiff_t runs = dense ? 1 : columns;
        const ptrdiff_t count = dense ? columns * channels : channels;
        for (ptrdiff_t r = 0; r < runs; r++)
            fold_run(op, p + r * a->x_column, b, ELEMENT, count, scratch + (lead + r) * channels);
    } else if (stride == 1) {
        fold_run(op, p, b, a->x_column, columns, scratch + lead);
    } else if (stride == 2) {
        fold_run_halved(op, p, b, a->x_column, columns, scratch, lead, a->phase);
    } else {
        fold_run_scattered(op, p, b, a->x_column, columns, scratch, lead, a->phase, stride);
    }
    /* After the columns: whole vectors have run over their end. */
    pad_line(op, a, scratch, 0, lead);
    pad_line(op, a, scratch, lead + columns, e->length);
}

/* `vectors` neighbouring vectors of results; up to 3 columns, the common windows, without a loop.
 * Fewer than `left` elements exist only where vectors is 1. */
FC_INLINE void fold_columns(const int op, const int vectors, const fc_pool_args *a, const real *p,
                            ptrdiff_t left, vec sums[WIDE]) {
    const ptrdiff_t *taps = a->taps, count = a->width->kernel, channels = a->channels;
    if (count <= 3) {
        FC_UNROLL for (int j = 0; j < vectors; j++) {
            const real *q = p + j * FC_LANES;
            vec v = load_upto(q, left);
            if (count > 1) v = join(op, v, load_upto(q + taps[1] * channels, left));
            if (count > 2) v = join(op, v, load_upto(q + taps[2] * channels, left));
            sums[j] = v;
        }
        return;
    }
    reduction r;
    start(op, vectors, &r);
    for (ptrdiff_t t = 0; t < count; t++) {
        const real *q = p + taps[t] * channels;
        FC_UNROLL for (int j = 0; j < vectors; j++)
            r.part[j] = join(op, r.part[j], load_upto(q + j * FC_LANES, left));
        count_tap(op, vectors, &r);
    }
    FC_UNROLL for (int j = 0; j < vectors; j++) sums[j] = result(op, &r, j);
}

/* The columns of the band with whole windows: one run, since only the borders cut windows. */
FC_INLINE fc_pool_span whole_columns(const fc_pool_args *a) {
    ptrdiff_t first = a->column, end = a->column + a->columns;
    if (a->counting != FC_POOL_COUNT_ONE) {
        const ptrdiff_t kernel = a->width->kernel;
        while (first < end && fc_pool_cells(a->width, first, a->counting) < kernel) first++;
        while (end > first && fc_pool_cells(a->width, end - 1, a->counting) < kernel) end--;
    }
    return (fc_pool_span){first, end - first};
}

/* What the sums of columns o, o + 1, ... are divided by. */
FC_INLINE vec divisors(const line *l, const fc_pool_span *whole, ptrdiff_t o, ptrdiff_t count) {
    const ptrdiff_t end = o + (count < FC_LANES ? count : FC_LANES);
    if (o >= whole->first && end <= whole->first + whole->count) return divisor(l, o);
    real lanes[FC_LANES] FC_ALIGNED;
    for (int i = 0; i < FC_LANES; i++) lanes[i] = divisor(l, o + i < end ? o + i : end - 1)[0];
    return load(lanes);
}

/* One channel: vectors of columns. */
FC_INLINE void fold_plane(const int op, const line *l, const fc_pool_span *whole,
                          const real *source) {
    const fc_pool_args *a = l->a;
    ptrdiff_t o = 0;
    while (o < a->columns) {
        const ptrdiff_t left = a->columns - o;
        const int vectors = left >= WIDE * FC_LANES && a->out_column == ELEMENT ? WIDE : 1;
        vec sums[WIDE];
        if (vectors == WIDE) fold_columns(op, WIDE, a, source + o, FC_LANES, sums);
        else fold_columns(op, 1, a, source + o, left, sums);
        for (int j = 0; j < vectors; j++, o += FC_LANES) {
            vec v = sums[j];
            if (op == FC_POOL_MEAN) v /= divisors(l, whole, a->column + o, a->columns - o);
            store_any(l->out + o * a->out_column, a->out_column, v, a->columns - o);
        }
    }
}

/* Several channels: vectors of channels, and of whole pixels where they lie without gaps. */
FC_INLINE void fold_channels(const int op, const line *l, const fc_pool_span *whole,
                             const real *source) {
    const fc_pool_args *a = l->a;
    const int dense = a->width->stride == 1 && a->out_column == a->channels * ELEMENT &&
                      a->out_channel == ELEMENT &&
                      (op == FC_POOL_MAX || whole->count == a->columns);
    const ptrdiff_t runs = dense ? 1 : a->columns;
    const ptrdiff_t count = dense ? a->columns * a->channels : a->channels;
    for (ptrdiff_t r = 0; r < runs; r++) {
        const real *p = source + r * a->width->stride * a->channels;
        char *out = l->out + r * a->out_column;
        const vec cells = op == FC_POOL_MEAN ? divisor(l, a->column + r) : splat(1);
        ptrdiff_t i = 0;
        while (i < count) {
            const ptrdiff_t left = count - i;
            const int vectors = left >= WIDE * FC_LANES ? WIDE : 1;
            vec sums[WIDE];
            if (vectors == WIDE) fold_columns(op, WIDE, a, p + i, FC_LANES, sums);
            else fold_columns(op, 1, a, p + i, left, sums);
            for (int j = 0; j < vectors; j++, i += FC_LANES) {
                const vec v = op == FC_POOL_MEAN ? sums[j] / cells : sums[j];
                store_any(out + i * a->out_channel, a->out_channel, v, count - i);
            }
        }
    }
}

FC_INLINE void fold_sideways(const int op, const line *l, const fc_pool_span *whole,
                             const real *source) {
    if (l->a->channels == 1) fold_plane(op, l, whole, source);
    else fold_channels(op, l, whole, source);
}

/* Several short lines are folded down before the first is folded sideways: loads that overlap two
 * stores have to wait until these have left the store buffer. */
FC_INLINE void lines(const int op, const fc_pool_args *a) {
    const extent e = extent_of(a);
    const int plain = e.columns == e.length && phases(a) == 1 &&
                      a->x_column == a->channels * ELEMENT;
    const fc_pool_span whole = op == FC_POOL_MEAN ? whole_columns(a) : (fc_pool_span){0, 0};
    real scratch[LINE_ROOM] FC_ALIGNED;
    for (ptrdiff_t first = 0; first < a->rows; first += a->held) {
        const ptrdiff_t end = first + a->held < a->rows ? first + a->held : a->rows;
        for (ptrdiff_t i = first; i < end; i++) {
            const line l = line_of(a, i);
            if (!plain || l.rows.depth * l.rows.rows != 1)
                fill_line(op, a, l.x, &l.rows, &e, scratch + (i - first) * a->line);
        }
        for (ptrdiff_t i = first; i < end; i++) {
            const line l = line_of(a, i);
            if (plain && l.rows.depth * l.rows.rows == 1)
                fold_sideways(op, &l, &whole, (const real *)(l.x + e.first * a->x_column));
            else
                fold_sideways(op, &l, &whole, scratch + (i - first) * a->line);
        }
    }
}

/* --- maxima with their places, one channel ----------------------------------------------------- */

/* Where whole windows begin: at their first tap, or at -1 where no row exists. */
FC_INLINE ivec first_places(const line *l) {
    return splat_int(l->rows.depth * l->rows.rows == 0 ? -1 : 0);
}

/* One more tap of a vector of windows. */
FC_INLINE void take_larger(vec v, ptrdiff_t place, vec *most, ivec *at) {
    const ivec better = (ivec)((v > *most) | (v != v));
    *most = blend(better, v, *most);
    *at = (ivec)blend(better, (vec)splat_int((lane_int)place), (vec)*at);
}

/* Pairs of columns at stride 2, the usual window: they come apart in registers. */
FC_INLINE int has_pairs(const fc_pool_args *a) {
    const fc_pool_axis *width = a->width;
    return width->kernel == 2 && width->stride == 2 && width->dilation == 1 &&
           width->before == 0 && 2 * width->outs <= width->size && a->x_column == ELEMENT;
}

FC_INLINE void argmax_pairs(const line *l) {
    const fc_pool_args *a = l->a;
    const ptrdiff_t row_place = a->height->dilation * a->width->size;
    for (ptrdiff_t o = 0; o < a->columns; o += FC_LANES) {
        const ptrdiff_t left = a->columns - o, first = 2 * (a->column + o);
        vec most = splat(identity(FC_POOL_MAX));
        ivec at = first_places(l);
        for (ptrdiff_t d = 0; d < l->rows.depth; d++) {
            for (ptrdiff_t h = 0; h < l->rows.rows; h++) {
                const real *x =
                    (const real *)(l->x + d * l->rows.depth_step + h * l->rows.row_step) + first;
                const ptrdiff_t place = d * a->place_depth + h * row_place;
                const vec low = load_upto(x, 2 * left);
                const ptrdiff_t more = 2 * left - FC_LANES;
                const vec high = more > 0 ? load_upto(x + FC_LANES, more) : low;
                take_larger(even_lanes(low, high), place, &most, &at);
                take_larger(odd_lanes(low, high), place + 1, &most, &at);
            }
        }
        store_any(l->out + o * a->out_column, a->out_column, most, left);
        store_places(l->index + o * a->index_column, a->index_column, at, left, l->place + first,
                     2);
    }
}

/* Any windows: the line of one row at a time, its taps in order. Places are counted from the padded
 * start of the output's window in the first row. */
FC_INLINE void argmax_line(const line *l, const extent *e, const fc_pool_span *whole) {
    const fc_pool_args *a = l->a;
    const fc_pool_axis *width = a->width;
    const box row = {1, 1, 1, 0, 0, 0};
    real scratch[LINE_ROOM] FC_ALIGNED, best[LINE_ROOM] FC_ALIGNED;
    lane_int where[LINE_ROOM] FC_ALIGNED;
    const ptrdiff_t start_column = a->column * width->stride - width->before;
    for (ptrdiff_t o = 0; o < a->columns; o += FC_LANES) {
        store(best + o, splat(identity(FC_POOL_MAX)));
        store((real *)(where + o), (vec)first_places(l));
    }
    for (ptrdiff_t o = 0; o < a->columns; o++) {
        if (o == whole->first - a->column) o += whole->count;
        if (o >= a->columns || l->rows.depth * l->rows.rows == 0) break;
        const fc_pool_span window = fc_pool_window(width, a->column + o);
        const ptrdiff_t start = start_column + o * width->stride;
        where[o] = window.count == 0 ? -1 : (lane_int)(window.first - start);
    }
    for (ptrdiff_t d = 0; d < l->rows.depth; d++) {
        for (ptrdiff_t h = 0; h < l->rows.rows; h++) {
            const char *x = l->x + d * l->rows.depth_step + h * l->rows.row_step;
            const ptrdiff_t place = d * a->place_depth + h * a->height->dilation * width->size;
            fill_line(FC_POOL_MAX, a, x, &row, e, scratch);
            for (ptrdiff_t o = 0; o < a->columns; o += FC_LANES) {
                vec most = load(best + o);
                ivec at = (ivec)load((const real *)(where + o));
                for (ptrdiff_t t = 0; t < width->kernel; t++)
                    take_larger(load(scratch + o + a->taps[t]), place + t * width->dilation, &most,
                                &at);
                store(best + o, most);
                store((real *)(where + o), (vec)at);
            }
        }
    }
    for (ptrdiff_t o = 0; o < a->columns; o += FC_LANES) {
        const ptrdiff_t left = a->columns - o;
        store_any(l->out + o * a->out_column, a->out_column, load(best + o), left);
        store_places(l->index + o * a->index_column, a->index_column,
                     (ivec)load((const real *)(where + o)), left,
                     l->place + start_column + o * width->stride, width->stride);
    }
}

/* The columns of the band whose windows lie inside: one run, since only the borders cut windows. */
FC_INLINE fc_pool_span inner_columns(const fc_pool_args *a) {
    ptrdiff_t first = a->column, end = a->column + a->columns;
    const ptrdiff_t kernel = a->width->kernel;
    while (first < end && fc_pool_window(a->width, first).count < kernel) first++;
    while (end > first && fc_pool_window(a->width, end - 1).count < kernel) end--;
    return (fc_pool_span){first, end - first};
}

static void argmax_lines(const fc_pool_args *a) {
    if (has_pairs(a)) {
        for (ptrdiff_t i = 0; i < a->rows; i++) {
            const line l = line_of(a, i);
            argmax_pairs(&l);
        }
        return;
    }
    const extent e = extent_of(a);
    const fc_pool_span inner = inner_columns(a);
    for (ptrdiff_t i = 0; i < a->rows; i++) {
        const line l = line_of(a, i);
        argmax_line(&l, &e, &inner);
    }
}

#endif
