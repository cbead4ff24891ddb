/* Pooling kernels: a band of the result at a time, by one of three walks (see pool.h).
 *
 * Here are the walks that need no scratch, windows and segments, and the table; pool_lines.h has the
 * third, pool_common.h what they share.
 */
#include "pool_lines.h"

/* --- windows ---------------------------------------------------------------------------------- */

/* The taps of column o, whose first is at *x. */
FC_INLINE box window_box(const line *l, ptrdiff_t o, const char **x) {
    const fc_pool_span window = fc_pool_window(l->a->width, o);
    box b = l->rows;
    b.columns = window.count;
    b.column_step = l->a->width->dilation * l->a->x_column;
    *x = l->x + window.first * l->a->x_column;
    return b;
}

FC_INLINE void window(const int op, const line *l, ptrdiff_t o) {
    const fc_pool_args *a = l->a;
    const char *x;
    const box b = window_box(l, a->column + o, &x);
    char *out = l->out + o * a->out_column;
    const vec cells = op == FC_POOL_MEAN ? divisor(l, a->column + o) : splat(1);
    reduction r;
    ptrdiff_t c = 0;
    for (; c + WIDE * FC_LANES <= a->channels; c += WIDE * FC_LANES) {
        reduce_box(op, WIDE, x + c * ELEMENT, &b, ELEMENT, FC_LANES, &r);
        FC_UNROLL for (int j = 0; j < WIDE; j++) {
            vec v = result(op, &r, j);
            if (op == FC_POOL_MEAN) v /= cells;
            store_any(out + (c + j * FC_LANES) * a->out_channel, a->out_channel, v, FC_LANES);
        }
    }
    for (; c < a->channels; c += FC_LANES) {
        const ptrdiff_t left = a->channels - c;
        reduce_box(op, 1, x + c * ELEMENT, &b, ELEMENT, left, &r);
        vec v = result(op, &r, 0);
        if (op == FC_POOL_MEAN) v /= cells;
        store_any(out + c * a->out_channel, a->out_channel, v, left);
    }
}

/* Places are counted from the first tap inside the input. */
FC_INLINE void argmax_window(const line *l, ptrdiff_t o) {
    const fc_pool_args *a = l->a;
    const char *x;
    const box b = window_box(l, a->column + o, &x);
    const ptrdiff_t first = fc_pool_window(a->width, a->column + o).first;
    const ptrdiff_t place_row = a->height->dilation * a->width->size;
    for (ptrdiff_t c = 0; c < a->channels; c += FC_LANES) {
        const ptrdiff_t left = a->channels - c;
        vec most = splat(identity(FC_POOL_MAX));
        ivec at = splat_int(b.depth * b.rows * b.columns == 0 ? -1 : 0);
        for (ptrdiff_t d = 0; d < b.depth; d++) {
            for (ptrdiff_t h = 0; h < b.rows; h++) {
                const char *q = x + c * ELEMENT + d * b.depth_step + h * b.row_step;
                ptrdiff_t place = d * a->place_depth + h * place_row;
                for (ptrdiff_t w = 0; w < b.columns; w++, q += b.column_step) {
                    const vec v = load_upto((const real *)q, left);
                    const ivec better = (ivec)((v > most) | (v != v));
                    most = blend(better, v, most);
                    at = (ivec)blend(better, (vec)splat_int((lane_int)place), (vec)at);
                    place += a->width->dilation;
                }
            }
        }
        store_any(l->out + o * a->out_column + c * a->out_channel, a->out_channel, most, left);
        store_places(l->index + o * a->index_column + c * a->index_channel, a->index_channel, at,
                     left, l->place + first, 0);
    }
}

FC_INLINE void windows(const int op, const fc_pool_args *a) {
    for (ptrdiff_t i = 0; i < a->rows; i++) {
        const line l = line_of(a, i);
        for (ptrdiff_t o = 0; o < a->columns; o++) {
            if (op == FC_POOL_ARGMAX) argmax_window(&l, o);
            else window(op, &l, o);
        }
    }
}

/* --- segments --------------------------------------------------------------------------------- */

/* All lanes joined, in every lane. */
FC_INLINE vec fold_lanes(const int op, vec v) {
#define FOLD(...) v = join(op, v, __builtin_shufflevector(v, v, __VA_ARGS__));
#if FC_VECTOR_BYTES * 8 / FC_DTYPE == 16
    FOLD(8, 9, 10, 11, 12, 13, 14, 15, 0, 1, 2, 3, 4, 5, 6, 7)
    FOLD(4, 5, 6, 7, 0, 1, 2, 3, 12, 13, 14, 15, 8, 9, 10, 11)
    FOLD(2, 3, 0, 1, 6, 7, 4, 5, 10, 11, 8, 9, 14, 15, 12, 13)
    FOLD(1, 0, 3, 2, 5, 4, 7, 6, 9, 8, 11, 10, 13, 12, 15, 14)
#elif FC_VECTOR_BYTES * 8 / FC_DTYPE == 8
    FOLD(4, 5, 6, 7, 0, 1, 2, 3)
    FOLD(2, 3, 0, 1, 6, 7, 4, 5)
    FOLD(1, 0, 3, 2, 5, 4, 7, 6)
#elif FC_VECTOR_BYTES * 8 / FC_DTYPE == 4
    FOLD(2, 3, 0, 1)
    FOLD(1, 0, 3, 2)
#else
    FOLD(1, 0)
#endif
#undef FOLD
    return v;
}

FC_INLINE real segment(const int op, const line *l, ptrdiff_t o) {
    const ivec numbers = (ivec)load((const real *)lane_numbers);
    const char *x;
    const box b = window_box(l, o, &x);
    const ptrdiff_t whole = b.columns / FC_LANES * FC_LANES, rest = b.columns - whole;
    const ivec inside = (ivec)(numbers < splat_int((lane_int)rest));
    reduction r;
    start(op, 1, &r);
    for (ptrdiff_t d = 0; d < b.depth; d++) {
        for (ptrdiff_t h = 0; h < b.rows; h++) {
            const real *row = (const real *)(x + d * b.depth_step + h * b.row_step);
            for (ptrdiff_t i = 0; i < whole; i += FC_LANES) {
                r.part[0] = join(op, r.part[0], load(row + i));
                count_tap(op, 1, &r);
            }
            if (rest == 0) continue;
            const vec v = load_first(row + whole, (int)rest);
            r.part[0] = join(op, r.part[0], blend(inside, v, splat(identity(op))));
            count_tap(op, 1, &r);
        }
    }
    vec v = fold_lanes(op, result(op, &r, 0));
    if (op == FC_POOL_MEAN) v /= divisor(l, o);
    return v[0];
}

FC_INLINE void segments(const int op, const fc_pool_args *a) {
    for (ptrdiff_t i = 0; i < a->rows; i++) {
        const line l = line_of(a, i);
        for (ptrdiff_t o = 0; o < a->columns; o++)
            *(real *)(l.out + o * a->out_column) = segment(op, &l, a->column + o);
    }
}

/* --- the table -------------------------------------------------------------------------------- */

#define INSTANCE(walk, op, OP) \
    static void op##_##walk(const fc_pool_args *a) { walk(OP, a); }
INSTANCE(lines, max, FC_POOL_MAX)
INSTANCE(lines, mean, FC_POOL_MEAN)
INSTANCE(windows, max, FC_POOL_MAX)
INSTANCE(windows, mean, FC_POOL_MEAN)
INSTANCE(windows, argmax, FC_POOL_ARGMAX)
INSTANCE(segments, max, FC_POOL_MAX)
INSTANCE(segments, mean, FC_POOL_MEAN)

const fc_pool_kernels FC_TABLE(pool) = {{
    [FC_POOL_LINES] = {max_lines, mean_lines, argmax_lines},
    [FC_POOL_WINDOWS] = {max_windows, mean_windows, argmax_windows},
    [FC_POOL_SEGMENTS] = {max_segments, mean_segments, argmax_windows},
}};
