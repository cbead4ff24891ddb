/* What the tiles of the planes form share: their shape, their place in the block, their way out. */
#ifndef FC_PLANES_TILES_H
#define FC_PLANES_TILES_H

#include "activation.h"
#include "kernels.h"
#include "simd.h"
#include "strided.h"

/* Output rows for each number of output channels: the product stays within the registers. */
#define PLANES_ROWS {0, 4, 3, 2, 1, 1, 1}
enum { MAX_ROWS = 4, PLANES_VECTORS = FC_VECTOR_BYTES == 64 ? 4 : 2 };
/* One row of one channel takes more, or each sum would wait for itself. */
enum { LINE_VECTORS = 2 * PLANES_VECTORS };
static const int planes_rows[FC_PLANES_CHANNELS + 1] = PLANES_ROWS;

typedef vec planes_sums[FC_PLANES_CHANNELS][MAX_ROWS][LINE_VECTORS];

/* Where a tile lies in the block. Its vectors stand side by side (across = FC_LANES, down = 0) or,
 * where a row of the block is one vector, below each other (across = 0, down = the tile's rows). */
typedef struct {
    ptrdiff_t row, column;
    ptrdiff_t down, across;
    const struct edge_masks *edges; /* of tiles that read in place */
} place;

typedef void (*planes_function)(const fc_planes_args *, const place *);

FC_INLINE ptrdiff_t ceil_div(ptrdiff_t a, ptrdiff_t b) { return (a + b - 1) / b; }

/* A block whose rows are one vector: tiles[v] takes v vectors, at.down rows below each other. */
FC_INLINE void cover_narrow(const fc_planes_args *p, const planes_function *tiles, place at) {
    at.across = 0;
    for (; at.row < p->rows; at.row += PLANES_VECTORS * at.down) {
        const ptrdiff_t vectors = ceil_div(p->rows - at.row, at.down);
        tiles[vectors < PLANES_VECTORS ? vectors : PLANES_VECTORS](p, &at);
    }
}

/* The general way out of a tile's first `rows` rows: any strides, residual, every activation. */
FC_NOINLINE void finish_tile(const fc_planes_args *p, const planes_sums sum, ptrdiff_t rows,
                             const place *from, int vectors) {
    const fc_epilogue *e = &p->epilogue;
    place at = *from;
    for (int v = 0; v < vectors; v++, at.row += at.down, at.column += at.across) {
        const ptrdiff_t left = p->columns - at.column;
        for (ptrdiff_t r = 0; r < rows && at.row + r < p->rows; r++) {
            for (int k = 0; k < p->channels; k++) {
                vec y = sum[k][r][v];
                if (e->bias) y += ((const real *)e->bias)[k];
                if (p->residual)
                    y += load_strided(p->residual + k * p->residual_channel +
                                          (at.row + r) * p->residual_row +
                                          at.column * p->residual_pixel,
                                      p->residual_pixel, left);
                store_strided(p->out + k * p->out_channel + (at.row + r) * p->out_row +
                                  at.column * p->out_pixel,
                              p->out_pixel, activate_pixels(y, e, k), left);
            }
        }
    }
}

/* Straight into the result, but from memory: the rows that the block has of a tile's. */
FC_NOINLINE void store_tile(const fc_planes_args *p, const planes_sums sum, int rows,
                            const place *at, int vectors) {
    const inline_numbers numbers = numbers_of(&p->epilogue);
    const real *biases = (const real *)p->epilogue.bias;
    for (int k = 0; k < p->channels; k++) {
        const vec bias = splat(biases ? biases[k] : 0);
        for (int v = 0; v < vectors; v++) {
            const ptrdiff_t row = at->row + v * at->down, column = at->column + v * at->across;
            const ptrdiff_t left = p->rows - row;
            char *out = p->out + k * p->out_channel + row * p->out_row;
            for (int r = 0; r < rows && r < left; r++, out += p->out_row)
                store_upto((real *)out + column, clip_activation(sum[k][r][v] + bias, &numbers),
                           p->columns - column);
        }
    }
}

/* beside: the vectors stand side by side. What is the same for all vectors is asked once. */
FC_INLINE void store_rows(const int channels, const int rows, const int vectors, const int beside,
                          const fc_planes_args *p, const planes_sums sum, const place *at) {
    const ptrdiff_t down = beside ? 0 : rows, across = beside ? FC_LANES : 0;
    const fc_epilogue *e = &p->epilogue;
    const inline_numbers numbers = numbers_of(e);
    planes_sums y;
    FC_UNROLL for (int k = 0; k < channels; k++) {
        const vec bias = splat(e->bias ? ((const real *)e->bias)[k] : 0);
        FC_UNROLL for (int i = 0; i < rows * vectors; i++)
            y[k][i / vectors][i % vectors] = sum[k][i / vectors][i % vectors] + bias;
    }
    if (numbers.any) {
        FC_UNROLL for (int k = 0; k < channels; k++) {
            FC_UNROLL for (int i = 0; i < rows * vectors; i++)
                y[k][i / vectors][i % vectors] =
                    clip_activation(y[k][i / vectors][i % vectors], &numbers);
        }
    }
    FC_UNROLL for (int k = 0; k < channels; k++) {
        FC_UNROLL for (int v = 0; v < vectors; v++) {
            const ptrdiff_t row = at->row + v * down, column = at->column + v * across;
            char *out = p->out + k * p->out_channel + row * p->out_row;
            FC_UNROLL for (int r = 0; r < rows; r++) {
                real *to = (real *)(out + r * p->out_row) + column;
                if (beside && v < vectors - 1) store(to, y[k][r][v]);
                else store_upto(to, y[k][r][v], p->columns - column);
            }
        }
    }
}

FC_INLINE void copy_tile(const int channels, const int rows, const int vectors,
                         const planes_sums from, planes_sums to) {
    FC_UNROLL for (int k = 0; k < channels; k++) {
        FC_UNROLL for (int r = 0; r < rows; r++) {
            FC_UNROLL for (int v = 0; v < vectors; v++) to[k][r][v] = from[k][r][v];
        }
    }
}

FC_NOINLINE void join_sums(const fc_planes_args *p, planes_sums sum, int rows, const place *at,
                           int vectors) {
    for (int v = 0; v < vectors; v++) {
        const ptrdiff_t row = at->row + v * at->down, column = at->column + v * at->across;
        for (ptrdiff_t r = 0; r < rows && row + r < p->rows; r++) {
            char *sums = p->sums + (row + r) * p->sum_row;
            for (int k = 0; k < p->channels; k++) {
                real *kept = (real *)(sums + k * p->sum_channel) + column;
                if (p->load_sums) sum[k][r][v] = load(kept) + sum[k][r][v];
                if (!p->finish) store(kept, sum[k][r][v]);
            }
        }
    }
}

/* Add what earlier chains left, and leave the sums to later ones: once for hundreds of steps. */
FC_INLINE void keep_tile(const int channels, const int rows, const int vectors,
                         const fc_planes_args *p, planes_sums sum, const place *at) {
    planes_sums kept; /* indexed by variables: sum itself must stay in registers */
    copy_tile(channels, rows, vectors, sum, kept);
    join_sums(p, kept, rows, at, vectors);
    copy_tile(channels, rows, vectors, kept, sum);
}

FC_INLINE void clear_tile(const int channels, const int rows, const int vectors, planes_sums sum) {
    FC_UNROLL for (int k = 0; k < channels; k++) {
        FC_UNROLL for (int r = 0; r < rows; r++) {
            FC_UNROLL for (int v = 0; v < vectors; v++) sum[k][r][v] = (vec){0};
        }
    }
}

/* Whether sums may go into the result straight from the registers: contiguous, without a residual,
 * and the activation a simple one. */
FC_INLINE int leaves_at_once(const fc_planes_args *p) {
    return p->out_pixel == (ptrdiff_t)sizeof(real) && !p->residual &&
           is_clip_activation(&p->epilogue);
}

/* + bias, + residual, activation, and into the result: by way of memory from tiles of several rows
 * of which the block lacks some, or whose vectors stand below each other. */
FC_INLINE void leave_tile(const int channels, const int rows, const int vectors, const int beside,
                          const fc_planes_args *p, const planes_sums sum, const place *at) {
    const int at_once = leaves_at_once(p);
    if (at_once && (rows == 1 || (at->across && at->row + rows <= p->rows))) {
        store_rows(channels, rows, vectors, beside, p, sum, at);
        return;
    }
    planes_sums kept; /* as in keep_tile */
    copy_tile(channels, rows, vectors, sum, kept);
    if (rows > 1 && at_once) store_tile(p, kept, rows, at, vectors);
    else finish_tile(p, kept, rows, at, vectors);
}

#endif
