/* What all pooling walks share: the two reductions, loads and stores at any step, boxes of taps, and
 * one output row of a band.
 *
 * Of equal maxima the first is found, of several NaN the last, and one NaN makes the maximum NaN, as
 * PyTorch does. Sums of more than GROUP terms add whole groups with compensation (W. Kahan, "Further
 * remarks on reducing truncation errors", CACM 8(1), 1965), so that a mean over a large picture is as
 * exact as one over nine pixels.
 */
#ifndef FC_POOL_COMMON_H
#define FC_POOL_COMMON_H

#include "kernels.h"
#include "simd.h"
#include "strided.h"

enum { WIDE = 4, GROUP = 8, ELEMENT = sizeof(real) };

/* --- the two reductions ----------------------------------------------------------------------- */

FC_INLINE real identity(const int op) {
    return op == FC_POOL_MEAN ? (real)0 : (real)-__builtin_inff();
}

/* One more term; of equal maxima the earlier one, `a`, stays. */
FC_INLINE vec join(const int op, vec a, vec b) {
    return op == FC_POOL_MEAN ? a + b : max_nan(b, a);
}

/* Add a group's sum to the total; `carry` is what rounding added too much so far. */
FC_INLINE void settle(vec *total, vec *carry, vec group) {
    const vec term = group - *carry;
    const vec sum = *total + term;
    const vec excess = (sum - *total) - term;
    *carry = blend((ivec)(excess == excess), excess, splat(0)); /* inf - inf is no excess */
    *total = sum;
}

/* Running reductions of `vectors` vectors. */
typedef struct {
    vec part[WIDE], total[WIDE], carry[WIDE];
    int held, settled;
} reduction;

FC_INLINE void start(const int op, const int vectors, reduction *r) {
    for (int j = 0; j < vectors; j++) {
        r->part[j] = splat(identity(op));
        r->total[j] = r->carry[j] = splat(0);
    }
    r->held = r->settled = 0;
}

/* A tap has been joined to `part`; close the group where it is full. */
FC_INLINE void count_tap(const int op, const int vectors, reduction *r) {
    if (op != FC_POOL_MEAN || ++r->held < GROUP) return;
    for (int j = 0; j < vectors; j++) {
        settle(&r->total[j], &r->carry[j], r->part[j]);
        r->part[j] = splat(0);
    }
    r->held = 0;
    r->settled = 1;
}

FC_INLINE vec result(const int op, reduction *r, int j) {
    if (op == FC_POOL_MEAN && r->settled) {
        settle(&r->total[j], &r->carry[j], r->part[j]);
        return r->total[j];
    }
    return r->part[j];
}

/* --- memory ----------------------------------------------------------------------------------- */

/* Out of line: steps other than 1 are rare, and inlined at every use they would double the code. */
FC_NOINLINE vec load_apart(const char *p, ptrdiff_t step, ptrdiff_t count) {
    return load_strided(p, step, count);
}
FC_NOINLINE void store_apart(char *p, ptrdiff_t step, vec v, ptrdiff_t count) {
    store_strided(p, step, v, count);
}

FC_INLINE vec load_any(const char *p, ptrdiff_t step, ptrdiff_t count) {
    return step == ELEMENT ? load_upto((const real *)p, count) : load_apart(p, step, count);
}
FC_INLINE void store_any(char *p, ptrdiff_t step, vec v, ptrdiff_t count) {
    if (step == ELEMENT) store_upto((real *)p, v, count);
    else store_apart(p, step, v, count);
}

FC_INLINE ivec splat_int(lane_int s) { return s - (ivec){0}; }

static const lane_int lane_numbers[] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};

FC_NOINLINE void store_places_apart(char *p, ptrdiff_t step, ivec relative, ptrdiff_t count,
                                    ptrdiff_t place, ptrdiff_t advance) {
    lane_int lanes[FC_LANES] FC_ALIGNED;
    memcpy(lanes, &relative, sizeof lanes);
    for (int i = 0; i < FC_LANES && i < count; i++)
        *(int64_t *)(p + i * step) = lanes[i] < 0 ? -1 : place + i * advance + lanes[i];
}

enum { LONG_LANES = FC_VECTOR_BYTES / 8, LONG_ELEMENTS = 8 / ELEMENT };
typedef int64_t long_vec __attribute__((vector_size(FC_VECTOR_BYTES)));
typedef lane_int half_vec __attribute__((vector_size(LONG_LANES * ELEMENT)));

/* Places of a vector's maxima: `place + i * advance + relative[i]`, -1 where relative is negative
 * (a window without any tap inside the input). */
FC_INLINE void store_places(char *p, ptrdiff_t step, ivec relative, ptrdiff_t count,
                            ptrdiff_t place, ptrdiff_t advance) {
    if (step != sizeof(int64_t)) {
        store_places_apart(p, step, relative, count, place, advance);
        return;
    }
    const ivec numbers = (ivec)load((const real *)lane_numbers);
    half_vec taps[LONG_ELEMENTS], lanes[LONG_ELEMENTS];
    memcpy(taps, &relative, sizeof relative);
    memcpy(lanes, &numbers, sizeof numbers);
    FC_UNROLL for (int h = 0; h < LONG_ELEMENTS; h++) {
        const long_vec tap = __builtin_convertvector(taps[h], long_vec), none = tap < 0;
        const long_vec at = tap + __builtin_convertvector(lanes[h], long_vec) * advance + place;
        const ptrdiff_t left = (count - h * LONG_LANES) * LONG_ELEMENTS;
        if (left > 0)
            store_upto((real *)p + h * FC_LANES, (vec)(none | at), left);
    }
}

/* --- taps: a box of depth x rows x columns, reduced in this order ----------------------------- */

typedef struct {
    ptrdiff_t depth, rows, columns;
    ptrdiff_t depth_step, row_step, column_step;
} box;

/* `vectors` vectors whose elements are `step` bytes apart; fewer than `left` elements exist only
 * where vectors is 1. */
FC_INLINE void reduce_box(const int op, const int vectors, const char *p, const box *b,
                          ptrdiff_t step, ptrdiff_t left, reduction *r) {
    start(op, vectors, r);
    for (ptrdiff_t d = 0; d < b->depth; d++) {
        for (ptrdiff_t h = 0; h < b->rows; h++) {
            const char *q = p + d * b->depth_step + h * b->row_step;
            for (ptrdiff_t w = 0; w < b->columns; w++, q += b->column_step) {
                FC_UNROLL for (int j = 0; j < vectors; j++) {
                    const vec v = vectors > 1 ? load((const real *)q + j * FC_LANES)
                                              : load_any(q, step, left);
                    r->part[j] = join(op, r->part[j], v);
                }
                count_tap(op, vectors, r);
            }
        }
    }
}

/* --- one output row of a band ----------------------------------------------------------------- */

typedef struct {
    const fc_pool_args *a;
    const char *x;   /* first row of the windows that exists, column 0 */
    box rows;        /* rows and slices that exist; one column */
    char *out;
    char *index;
    ptrdiff_t place; /* of x */
    double cells;    /* counted rows and slices */
} line;

FC_INLINE line line_of(const fc_pool_args *a, ptrdiff_t i) {
    const fc_pool_axis *height = a->height;
    const fc_pool_span rows = fc_pool_window(height, a->row + i);
    return (line){
        .a = a,
        .x = a->x + rows.first * a->x_row,
        .rows = {a->depth_taps, rows.count, 1, a->x_depth, height->dilation * a->x_row, 0},
        .out = a->out + i * a->out_row,
        .index = a->index + i * a->index_row,
        .place = a->place + rows.first * a->width->size,
        .cells = a->cells * (double)fc_pool_cells(height, a->row + i, a->counting),
    };
}

/* What the sum of column o is divided by. */
FC_INLINE vec divisor(const line *l, ptrdiff_t o) {
    return splat((real)(l->cells * (double)fc_pool_cells(l->a->width, o, l->a->counting)));
}

#endif
