/* The planes tiles that read the input where it lies: small square kernels on single planes.
 *
 * No copy and no padding in memory: rows outside the input are a row of zeros, columns outside it
 * lanes that a mask leaves out. A tile is a strip of a few vectors side by side that runs down the
 * plane: every input row is loaded once and feeds all output rows whose windows it lies in, which
 * are the `open` ones; the oldest leaves when its window ends.
 *
 *     input row y --> taps --> sum[0] += w[2] x   --> out, row y - 2
 *                              sum[1] += w[1] x   --> sum[0] of the next input row
 *                              sum[2] += w[0] x   --> sum[1]
 *
 * Kernel size and stride are constants, so beside the loop over rows none is left.
 */
#ifndef FC_PLANES_IN_PLACE_H
#define FC_PLANES_IN_PLACE_H

#include "kernels.h"
#include "planes_tiles.h"
#include "simd.h"

enum { MOST_OPEN = 5, MOST_LOADS = 5, HELD_WEIGHTS = 9 };

/* How a vector's taps come from memory, which crosses cache lines at nearly every load: where one
 * instruction moves lanes across two registers, each element is loaded once, and behind a vector's
 * own `stride` loads comes the next vector's first one. Elsewhere each tap has its own load at
 * stride 1; at stride 2 two loads side by side give a tap from their even elements and the next one
 * from the odd ones. */
FC_INLINE int loads_of(const int size, const int stride) {
    return FC_HAS_FOLLOWING ? stride + 1 : stride == 1 ? size : size + 1;
}

FC_INLINE int offset_of(const int stride, const int i) {
    return FC_HAS_FOLLOWING ? i * FC_LANES : stride == 1 ? i : i / 2 * 2 + i % 2 * FC_LANES;
}

/* For each load of a strip's first and last vector the lanes inside the input's columns. */
struct edge_masks {
    lane_mask first[MOST_LOADS], last[MOST_LOADS];
};

FC_INLINE void mask_loads(const int size, const int stride, const fc_planes_args *p,
                          ptrdiff_t column, lane_mask *mask) {
    for (int i = 0; i < loads_of(size, stride); i++) {
        const ptrdiff_t at = column + offset_of(stride, i);
        mask[i] = lanes_between(-at, p->x_columns - at);
    }
}

/* The masks of the strip of so many vectors, side by side, at a column of the block. */
FC_NOINLINE void mask_edges(const fc_planes_args *p, ptrdiff_t column, ptrdiff_t vectors,
                            struct edge_masks *edges) {
    const int size = (int)p->taps, stride = (int)p->stride;
    const ptrdiff_t left = p->left + column * stride;
    mask_loads(size, stride, p, left, edges->first);
    mask_loads(size, stride, p, left + (vectors - 1) * FC_LANES * stride, edges->last);
}

static const real no_row[2 * PLANES_VECTORS * FC_LANES + 2 * FC_LANES] FC_ALIGNED;

FC_INLINE const real *row_from(const fc_planes_args *p, ptrdiff_t row, ptrdiff_t column) {
    return 0 <= row && row < p->x_rows ? (const real *)(p->x + row * p->x_row) + column : no_row;
}

/* A strip: output rows from at.row on, `rows` of them for each vector, and where they go. */
typedef struct {
    place at;
    ptrdiff_t rows;
    char *out;
    ptrdiff_t out_row, out_vector;
    real bias;
    inline_numbers numbers;
} strip;

typedef void (*strip_function)(const fc_planes_args *, const strip *);

FC_INLINE vec load_where(const real *x, const int stride, const int i, const lane_mask *mask) {
    const real *from = x + offset_of(stride, i);
    vec value = mask ? load_masked(from, mask[i]) : load(from);
    FC_IN_REGISTER(value);
    return value;
}

/* One input row of a strip, as far as it is loaded: where each vector's first tap lies, the lanes
 * inside the input (NULL: all), its elements by phase of the stride, and those behind them. */
typedef struct {
    const real *x[PLANES_VECTORS];
    const lane_mask *mask[PLANES_VECTORS];
    vec phase[2][PLANES_VECTORS], next[PLANES_VECTORS];
} input_row;

#if FC_HAS_FOLLOWING
FC_INLINE void load_row(const int stride, const int vectors, const int beside, input_row *row) {
    FC_UNROLL for (int v = vectors - 1; v >= 0; v--) {
        vec own[2];
        FC_UNROLL for (int i = 0; i < stride; i++)
            own[i] = load_where(row->x[v], stride, i, row->mask[v]);
        if (!beside || v == vectors - 1)
            row->next[v] = load_where(row->x[v], stride, stride, row->mask[v]);
        if (beside && v > 0) row->next[v - 1] = own[0];
        row->phase[0][v] = stride == 1 ? own[0] : even_lanes(own[0], own[1]);
        if (stride == 2) row->phase[1][v] = odd_lanes(own[0], own[1]);
    }
}

/* The elements that tap t of vector v multiplies; asked for in the order of t. */
FC_INLINE vec tap_of(const int stride, const int t, const int v, input_row *row) {
    const vec own = row->phase[t % stride][v];
    return t < stride ? own : following(own, row->next[v], t / stride);
}
#else
FC_INLINE void load_row(const int stride, const int vectors, const int beside, input_row *row) {
    (void)stride, (void)vectors, (void)beside, (void)row;
}

FC_INLINE vec tap_of(const int stride, const int t, const int v, input_row *row) {
    if (t % stride == 1) return row->phase[1][v];
    const vec a = load_where(row->x[v], stride, t, row->mask[v]);
    if (stride == 1) return a;
    const vec b = load_where(row->x[v], stride, t + 1, row->mask[v]);
    row->phase[1][v] = odd_lanes(a, b);
    return even_lanes(a, b);
}
#endif

/* Whether all weights stay in registers beside the sums. */
FC_INLINE int holds_weights(const int size) { return FC_VECTOR_BYTES == 64 && size == 3; }

/* Row y of the window of the oldest open output row, the r-th of the strip, and its share of the
 * later ones. beside: vectors stand side by side, else below each other; masked: columns may lie
 * outside. */
FC_INLINE void add_input_row(const int size, const int stride, const int vectors, const int beside,
                             const int masked, const int y, const fc_planes_args *p,
                             const strip *s, const struct edge_masks *edges, const vec *held,
                             ptrdiff_t r, vec sum[MOST_OPEN][PLANES_VECTORS]) {
    const ptrdiff_t top = p->top + (s->at.row + r) * stride + y;
    const ptrdiff_t left = p->left + s->at.column * stride;
    const real *w = (const real *)p->w;
    FC_KEEP_POINTER(w);
    input_row row;
    FC_UNROLL for (int v = 0; v < vectors; v++) {
        row.x[v] = beside && v ? row.x[0] + v * FC_LANES * stride
                               : row_from(p, top + v * s->at.down * stride, left);
        row.mask[v] = !masked                       ? NULL
                      : !beside || v == vectors - 1 ? edges->last
                      : v == 0                      ? edges->first
                                                    : NULL;
    }
    load_row(stride, vectors, beside, &row);
    if (!masked) { /* a wide picture: the next strip's rows, which no prefetcher sees coming */
        FC_UNROLL for (int v = 0; v < vectors * stride; v++)
            __builtin_prefetch(row.x[0] + (vectors * stride + v) * FC_LANES);
    }
    const int together = holds_weights(size) ? 1 : vectors; /* that share a weight's load */
    FC_UNROLL for (int v0 = 0; v0 < vectors; v0 += together) {
        FC_UNROLL for (int t = 0; t < size; t++) {
            vec value[PLANES_VECTORS];
            FC_UNROLL for (int v = v0; v < v0 + together; v++)
                value[v] = tap_of(stride, t, v, &row);
            FC_UNROLL for (int k = 0; k <= y / stride; k++) {
                const int at = (y - k * stride) * size + t;
                const vec weight = holds_weights(size) ? held[at] : splat(w[at]);
                FC_UNROLL for (int v = v0; v < v0 + together; v++) sum[k][v] += value[v] * weight;
            }
        }
    }
}

/* The oldest output row on its way out, the r-th of each vector. */
FC_INLINE void leave_row(const int vectors, const int beside, const fc_planes_args *p,
                         const strip *s, ptrdiff_t r, const vec *sum) {
    FC_UNROLL for (int v = 0; v < vectors; v++) {
        const ptrdiff_t column = s->at.column + (beside ? v * FC_LANES : 0);
        const vec y = clip_activation(sum[v] + splat(s->bias), &s->numbers);
        real *to = (real *)(s->out + r * s->out_row + v * s->out_vector);
        if (!beside && s->at.row + v * s->at.down + r >= p->rows) continue;
        if (beside && v < vectors - 1) store(to, y);
        else store_upto(to, y, p->columns - column);
    }
}

FC_INLINE void run_strip(const int size, const int stride, const int vectors, const int beside,
                         const int masked, const fc_planes_args *args, const strip *which) {
    const int open = (size + stride - 1) / stride;
    /* copies: what a store into the result cannot change stays in registers */
    const fc_planes_args copied = *args, *p = &copied;
    const struct edge_masks edges = *which->at.edges;
    const strip copy = *which, *s = &copy;
    vec held[HELD_WEIGHTS];
    if (holds_weights(size)) {
        FC_UNROLL for (int i = 0; i < HELD_WEIGHTS; i++) {
            held[i] = splat(((const real *)p->w)[i]);
            FC_IN_REGISTER(held[i]);
        }
    }
    vec sum[MOST_OPEN][PLANES_VECTORS];
    FC_UNROLL for (int k = 0; k < open; k++) {
        FC_UNROLL for (int v = 0; v < vectors; v++) sum[k][v] = (vec){0};
    }
    FC_UNROLL for (int y = 0; y < size - stride; y++)
        add_input_row(size, stride, vectors, beside, masked, y, p, s, &edges, held, 0, sum);
    for (ptrdiff_t r = 0; r < s->rows; r++) {
        FC_UNROLL for (int y = size - stride; y < size; y++)
            add_input_row(size, stride, vectors, beside, masked, y, p, s, &edges, held, r, sum);
        leave_row(vectors, beside, p, s, r, sum[0]);
        FC_UNROLL for (int v = 0; v < vectors; v++) {
            FC_UNROLL for (int k = 0; k + 1 < open; k++) sum[k][v] = sum[k + 1][v];
            sum[open - 1][v] = (vec){0};
        }
    }
}

/* One line a kind of strip: size and stride of the kernel. */
#define STRIP_KINDS(X, v, beside, masked) \
    X(3, 1, v, beside, masked) X(3, 2, v, beside, masked) X(5, 1, v, beside, masked)
#define STRIP_EDGES(X) \
    STRIP_KINDS(X, 1, 0, 1) STRIP_KINDS(X, 2, 0, 1) STRIP_KINDS(X, 2, 1, 1)
#if FC_VECTOR_BYTES == 64
#define STRIPS(X)                                               \
    STRIP_EDGES(X) STRIP_KINDS(X, 1, 1, 1)                      \
    STRIP_KINDS(X, 3, 1, 1) STRIP_KINDS(X, 4, 1, 1) STRIP_KINDS(X, 4, 1, 0)
#else
#define STRIPS(X) STRIP_EDGES(X) STRIP_KINDS(X, 1, 1, 1) STRIP_KINDS(X, 2, 1, 0)
#endif

#define STRIP_NAME(size, stride, vectors, beside, masked) \
    strip_##size##_##stride##x##vectors##_##beside##_##masked
#define DEFINE_STRIP(size, stride, vectors, beside, masked)                   \
    static void STRIP_NAME(size, stride, vectors, beside, masked)(            \
        const fc_planes_args *p, const strip *s) {                            \
        run_strip(size, stride, vectors, beside, masked, p, s);               \
    }
STRIPS(DEFINE_STRIP)

enum { STRIP_3_1, STRIP_3_2, STRIP_5_1, STRIP_KIND_COUNT };
#define ENTER_STRIP(size, stride, vectors, beside, masked)              \
    [STRIP_##size##_##stride][beside + (beside && !masked)][vectors] =  \
        STRIP_NAME(size, stride, vectors, beside, masked),
/* By kind; below each other, side by side, side by side inside the input; by vectors. */
static const strip_function strips[STRIP_KIND_COUNT][3][PLANES_VECTORS + 1] = {
    STRIPS(ENTER_STRIP)};

/* A strip's way out: from the registers into the result, or, where the general way is needed, by
 * way of as many sums as planes_sums holds: its first two dimensions are the strip's rows. */
enum { KEPT_ROWS = FC_PLANES_CHANNELS * MAX_ROWS };

FC_INLINE void cover_strip(const fc_planes_args *p, strip_function run, strip *s, int vectors,
                           int at_once) {
    if (at_once) {
        s->out = p->out + s->at.row * p->out_row + s->at.column * (ptrdiff_t)sizeof(real);
        s->out_row = p->out_row;
        s->out_vector = s->at.across ? (ptrdiff_t)sizeof(vec) : s->at.down * p->out_row;
        run(p, s);
        return;
    }
    planes_sums kept;
    s->out = (char *)kept;
    s->out_row = sizeof(kept[0][0]);
    s->out_vector = sizeof(vec);
    run(p, s);
    place at = s->at;
    for (ptrdiff_t row = 0; row < s->rows; row += MAX_ROWS, at.row += MAX_ROWS) {
        const ptrdiff_t left = s->rows - row;
        finish_tile(p, kept + row / MAX_ROWS, left < MAX_ROWS ? left : MAX_ROWS, &at, vectors);
    }
}

/* Two vectors share a narrow block from so many rows on: the multiply-adds of one wait for each
 * other. Strips are as tall as fits so many bytes of x, or of SHORTEST rows: beside each other they
 * should find in the cache what they share, and memory likes to be read along its rows. */
enum { TWO_BANDS = 8, STRIP_BYTES = 32 << 10, SHORTEST = 4 };

static void in_place(const fc_planes_args *p) {
    const int kind = p->taps == 5 ? STRIP_5_1 : p->stride == 2 ? STRIP_3_2 : STRIP_3_1;
    const int at_once = leaves_at_once(p), narrow = p->columns <= FC_LANES;
    const int bands = narrow && p->rows >= TWO_BANDS ? 2 : 1;
    const ptrdiff_t widest = PLANES_VECTORS * FC_LANES;
    const ptrdiff_t reach = widest * p->stride + (FC_HAS_FOLLOWING ? FC_LANES : p->taps);
    const ptrdiff_t pitch = p->x_row < 0 ? -p->x_row : p->x_row;
    const ptrdiff_t most = !at_once                            ? KEPT_ROWS
                           : SHORTEST * pitch >= STRIP_BYTES ? SHORTEST
                           : pitch                             ? STRIP_BYTES / pitch
                                                               : p->rows;
    struct edge_masks edges;
    strip s = {.at.edges = &edges, .at.across = narrow ? 0 : FC_LANES};
    if (at_once) {
        s.bias = p->epilogue.bias ? *(const real *)p->epilogue.bias : 0;
        s.numbers = numbers_of(&p->epilogue);
    }
    for (; s.at.row < p->rows; s.at.row += bands * s.rows) {
        const ptrdiff_t rows = ceil_div(p->rows - s.at.row, bands);
        s.rows = rows < most ? rows : most;
        s.at.down = narrow ? s.rows : 0;
        for (s.at.column = 0; s.at.column < p->columns; s.at.column += widest) {
            const ptrdiff_t columns = p->columns - s.at.column;
            const ptrdiff_t x = p->left + s.at.column * p->stride;
            const int inside = columns >= widest && x >= 0 && x + reach <= p->x_columns;
            const int beside = columns < widest ? (int)ceil_div(columns, FC_LANES) : PLANES_VECTORS;
            if (!inside) mask_edges(p, s.at.column, beside, &edges);
            const int form = narrow ? 0 : 1 + inside, vectors = narrow ? bands : beside;
            cover_strip(p, strips[kind][form][vectors], &s, vectors, at_once);
        }
    }
}

#endif
