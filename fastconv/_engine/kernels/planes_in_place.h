/* The planes tiles that read the input where it lies: small square kernels on single planes.
 *
 * No copy and no padding in memory: rows outside the input are a row of zeros, columns outside it
 * lanes that a mask leaves out. Kernel size and stride are constants, so no loop is left and the
 * many small depthwise and filter kernels spend their time on arithmetic alone.
 */
#ifndef FC_PLANES_IN_PLACE_H
#define FC_PLANES_IN_PLACE_H

#include "kernels.h"
#include "planes_tiles.h"
#include "simd.h"

/* An input row feeds the taps in groups: at stride 1 each tap has its own load; at stride 2 two
 * loads side by side give a tap from their even elements and the next one from the odd ones. */
enum { MOST_LOADS = 5, SQUARE_ROWS = 4 };

FC_INLINE int loads_of(const int size, const int stride) { return stride == 1 ? size : size + 1; }

FC_INLINE int offset_of(const int stride, const int i) {
    return stride == 1 ? i : i / 2 * 2 + i % 2 * FC_LANES;
}

/* For each load of a tile's first and last vector the lanes inside the input's columns. */
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

/* The masks of the tile of so many vectors, side by side, at a column of the block. */
FC_NOINLINE void mask_edges(const fc_planes_args *p, ptrdiff_t column, ptrdiff_t vectors,
                            struct edge_masks *edges) {
    const int size = (int)p->taps, stride = (int)p->stride;
    const ptrdiff_t left = p->left + column * stride;
    mask_loads(size, stride, p, left, edges->first);
    mask_loads(size, stride, p, left + (vectors - 1) * FC_LANES * stride, edges->last);
}

FC_INLINE vec load_where(const real *x, const int stride, const int i, const lane_mask *mask) {
    const real *from = x + offset_of(stride, i);
    return mask ? load_masked(from, mask[i]) : load(from);
}

static const real no_row[2 * PLANES_VECTORS * FC_LANES + 2 * FC_LANES] FC_ALIGNED;

FC_INLINE const real *row_from(const fc_planes_args *p, ptrdiff_t row, ptrdiff_t column) {
    return 0 <= row && row < p->x_rows ? (const real *)(p->x + row * p->x_row) + column : no_row;
}

/* beside: vectors stand side by side, else below each other; masked: columns may lie outside. */
FC_INLINE void square_tile(const int size, const int stride, const int vectors, const int beside,
                           const int masked, const fc_planes_args *p, const place *at) {
    enum { rows = SQUARE_ROWS };
    const ptrdiff_t top = p->top + at->row * stride, left = p->left + at->column * stride;
    const real *w = (const real *)p->w;
    const lane_mask *mask[PLANES_VECTORS] = {NULL};
    if (masked) {
        FC_UNROLL for (int v = 0; v < vectors; v++)
            mask[v] = !beside || v == 0   ? at->edges->first
                      : v == vectors - 1 ? at->edges->last
                                         : NULL;
    }
    planes_sums sum;
    clear_tile(1, rows, vectors, sum);
    FC_UNROLL for (int y = 0; y < (rows - 1) * stride + size; y++) {
        const real *x[PLANES_VECTORS];
        FC_UNROLL for (int v = 0; v < vectors; v++)
            x[v] = beside && v ? x[0] + v * FC_LANES * stride
                               : row_from(p, top + v * rows * stride + y, left);
        FC_UNROLL for (int t = 0; t < size; t += stride) {
            vec value[2][PLANES_VECTORS];
            FC_UNROLL for (int v = 0; v < vectors; v++) {
                value[0][v] = load_where(x[v], stride, t, mask[v]);
                if (stride == 2) {
                    const vec next = load_where(x[v], stride, t + 1, mask[v]);
                    value[1][v] = odd_lanes(value[0][v], next);
                    value[0][v] = even_lanes(value[0][v], next);
                }
                FC_IN_REGISTER(value[0][v]);
            }
            FC_UNROLL for (int i = 0; i < stride; i++) {
                FC_UNROLL for (int r = 0; r < rows; r++) {
                    const int row = y - r * stride;
                    if (row < 0 || row >= size || t + i >= size) continue;
                    const vec weight = splat(w[row * size + t + i]);
                    FC_UNROLL for (int v = 0; v < vectors; v++)
                        sum[0][r][v] += value[i][v] * weight;
                }
            }
        }
    }
    leave_tile(1, rows, vectors, beside, p, sum, at);
}

/* One line a kind of tile: size and stride of the kernel. */
#define SQUARE_KINDS(X, v, beside, masked) \
    X(3, 1, v, beside, masked) X(3, 2, v, beside, masked) X(5, 1, v, beside, masked)
#define SQUARE_EDGES(X, v) SQUARE_KINDS(X, v, 0, 1) SQUARE_KINDS(X, v, 1, 1)
#if FC_VECTOR_BYTES == 64
#define SQUARE_TILES(X) \
    SQUARE_EDGES(X, 1) SQUARE_EDGES(X, 2) SQUARE_EDGES(X, 3) SQUARE_EDGES(X, 4) \
    SQUARE_KINDS(X, 4, 1, 0)
#else
#define SQUARE_TILES(X) SQUARE_EDGES(X, 1) SQUARE_EDGES(X, 2) SQUARE_KINDS(X, 2, 1, 0)
#endif

#define SQUARE_NAME(size, stride, vectors, beside, masked) \
    square_##size##_##stride##x##vectors##_##beside##_##masked
#define DEFINE_SQUARE(size, stride, vectors, beside, masked)                           \
    static void SQUARE_NAME(size, stride, vectors, beside, masked)(                    \
        const fc_planes_args *p, const place *at) {                                    \
        square_tile(size, stride, vectors, beside, masked, p, at);                     \
    }
SQUARE_TILES(DEFINE_SQUARE)

enum { SQUARE_3_1, SQUARE_3_2, SQUARE_5_1, SQUARE_KIND_COUNT };
#define ENTER_SQUARE(size, stride, vectors, beside, masked)               \
    [SQUARE_##size##_##stride][beside + (beside && !masked)][vectors] =   \
        SQUARE_NAME(size, stride, vectors, beside, masked),
/* By kind; below each other, side by side, side by side inside the input; by vectors. */
static const planes_function square_tiles[SQUARE_KIND_COUNT][3][PLANES_VECTORS + 1] = {
    SQUARE_TILES(ENTER_SQUARE)};

static void in_place(const fc_planes_args *p) {
    const int kind = p->taps == 5 ? SQUARE_5_1 : p->stride == 2 ? SQUARE_3_2 : SQUARE_3_1;
    const planes_function(*tiles)[PLANES_VECTORS + 1] = square_tiles[kind];
    const ptrdiff_t widest = PLANES_VECTORS * FC_LANES, reach = widest * p->stride + p->taps;
    struct edge_masks edges;
    place at = {.across = FC_LANES, .edges = &edges};
    if (p->columns <= widest) mask_edges(p, 0, ceil_div(p->columns, FC_LANES), &edges);
    if (p->columns <= FC_LANES) {
        cover_narrow(p, tiles[0], at);
        return;
    }
    for (; at.row < p->rows; at.row += SQUARE_ROWS) {
        for (at.column = 0; at.column < p->columns; at.column += widest) {
            const ptrdiff_t columns = p->columns - at.column, x = p->left + at.column * p->stride;
            const ptrdiff_t vectors = columns < widest ? ceil_div(columns, FC_LANES) : PLANES_VECTORS;
            const int inside = columns >= widest && x >= 0 && x + reach <= p->x_columns;
            if (!inside && p->columns > widest) mask_edges(p, at.column, vectors, &edges);
            tiles[1 + inside][vectors](p, &at);
        }
    }
}

#endif
