/* The direct algorithm's tiles for narrow groups: vectors along the channels, several in one.
 *
 * A vector holds whole groups. For each of a group's input channels the lanes of an input vector
 * are moved, so that every lane finds the input of its own group there, and multiplied as in a
 * depthwise convolution. Where neighbouring windows overlap, a moved vector serves all its taps.
 */
#ifndef FC_GROUPED_TILES_H
#define FC_GROUPED_TILES_H

#include "depthwise_tiles.h"
#include "kernels.h"
#include "simd.h"

/* One line a level: the pixels that a tile may hold. */
#define UPTO_4(X, v, n) X(1, v, n) X(2, v, n) X(3, v, n) X(4, v, n)
#define UPTO_6(X, v, n) UPTO_4(X, v, n) X(5, v, n) X(6, v, n)
#define UPTO_8(X, v, n) UPTO_6(X, v, n) X(7, v, n) X(8, v, n)
#if FC_VECTOR_BYTES == 64
#define UPTO_PIXELS UPTO_8
#elif FC_VECTOR_BYTES == 32
#define UPTO_PIXELS UPTO_6
#else
#define UPTO_PIXELS UPTO_4
#endif

/* sliding: three taps, windows one tap apart; whole: a vector's input and output fill all lanes. */
FC_INLINE void grouped_row(const int pixels, const int whole, const int sliding,
                           const fc_grouped_args *g, const fc_group_lanes *group,
                           depthwise_sums sum, const char *x, const fc_window_row *row,
                           const real *w) {
    const ptrdiff_t step = row->pixel, tap = row->tap;
    const int lanes = whole ? FC_LANES : group->channels_in;
    const char *index = group->index;
    for (ptrdiff_t i = 0; i < g->group_in; i++, index += sizeof(ivec)) {
        ivec lane;
        memcpy(&lane, index, sizeof lane);
        if (sliding) {
            vec weight[SLIDING_TAPS];
            FC_UNROLL for (int t = 0; t < SLIDING_TAPS; t++) weight[t] = load(w + t * FC_LANES);
            w += SLIDING_TAPS * FC_LANES;
            FC_UNROLL for (int p = 0; p < pixels + SLIDING_TAPS - 1; p++) {
                vec value = load_permuted((const real *)(x + p * step), lanes, lane);
                FC_IN_REGISTER(value);
                FC_UNROLL for (int t = 0; t < SLIDING_TAPS; t++) {
                    if (p >= t && p - t < pixels) sum[p - t][0] += weight[t] * value;
                }
            }
        } else {
            const char *xt = x;
            for (ptrdiff_t t = 0; t < g->taps; t++, xt += tap, w += FC_LANES) {
                const vec weight = load(w);
                FC_UNROLL for (int j = 0; j < pixels; j++)
                    sum[j][0] += weight * load_permuted((const real *)(xt + j * step), lanes, lane);
            }
        }
    }
}

FC_INLINE void grouped_tile(const int pixels, const int whole, const int sliding,
                            const fc_grouped_args *g, ptrdiff_t pixel, ptrdiff_t vector) {
    const fc_group_lanes *group = vector == g->vectors - 1 ? &g->last : &g->usual;
    const ptrdiff_t at = vector * g->usual.channels_in * (ptrdiff_t)sizeof(real);
    const ptrdiff_t w_row = g->group_in * g->taps * FC_LANES;
    const real *w = (const real *)(g->w + vector * g->w_vector);
    depthwise_sums sum, total;
    for (ptrdiff_t y0 = 0;;) {
        const ptrdiff_t y1 = g->rows - y0 > g->chain_rows ? y0 + g->chain_rows : g->rows;
        FC_UNROLL for (int j = 0; j < pixels; j++) sum[j][0] = (vec){0};
        for (ptrdiff_t y = y0; y < y1; y++, w += w_row) {
            const fc_window_row *row = &g->window[y];
            const char *x = row->x + at + pixel * row->pixel;
            grouped_row(pixels, whole, sliding, g, group, sum, x, row, w);
        }
        if (y0 > 0 || y1 < g->rows) join_chains(pixels, 1, y0 > 0, sum, total);
        if (y1 == g->rows) break;
        y0 = y1;
    }
    leave_pixels(pixels, 1, whole, whole ? FC_LANES : group->channels_out, pixels, &g->out, sum,
                 pixel, vector * g->usual.channels_out);
}

/* Any windows and sliding ones, each for whole vectors and for others. */
#if FC_FREE_MASKS
#define GROUPED_TILES(X) UPTO_PIXELS(X, 0, 0) UPTO_PIXELS(X, 1, 0)
#else
#define GROUPED_TILES(X) UPTO_PIXELS(X, 0, 0) UPTO_PIXELS(X, 0, 1) UPTO_PIXELS(X, 1, 0) \
    UPTO_PIXELS(X, 1, 1)
#endif
#define DEFINE_GROUPED(pixels, sliding, whole)                                        \
    static void grouped_##pixels##x##sliding##x##whole(                               \
        const fc_grouped_args *g, ptrdiff_t pixel, ptrdiff_t vector) {                \
        grouped_tile(pixels, whole, sliding, g, pixel, vector);                       \
    }
GROUPED_TILES(DEFINE_GROUPED)

typedef void (*grouped_function)(const fc_grouped_args *, ptrdiff_t, ptrdiff_t);
#define ENTER_GROUPED(pixels, sliding, whole) \
    [sliding][whole][pixels] = grouped_##pixels##x##sliding##x##whole,
static const grouped_function grouped_tiles[2][2][DEPTHWISE_PIXELS + 1] = {
    GROUPED_TILES(ENTER_GROUPED)};

FC_INLINE int fills_lanes(const fc_group_lanes *group) {
    return !FC_FREE_MASKS && group->channels_in == FC_LANES && group->channels_out == FC_LANES;
}

static void grouped(const fc_grouped_args *g) {
    const int sliding = g->taps == SLIDING_TAPS && windows_slide(g->window, g->rows, 1);
    const int usual = fills_lanes(&g->usual), last = fills_lanes(&g->last);
    /* as even shares as whole pixels allow: a tile of few pixels waits for its sums */
    const ptrdiff_t tiles = (g->pixels + DEPTHWISE_PIXELS - 1) / DEPTHWISE_PIXELS;
    for (ptrdiff_t tile = 0, pixel = 0; tile < tiles; tile++) {
        const ptrdiff_t end = (tile + 1) * g->pixels / tiles;
        for (ptrdiff_t vector = 0; vector < g->vectors; vector++) {
            const int whole = vector == g->vectors - 1 ? last : usual;
            grouped_tiles[sliding][whole][end - pixel](g, pixel, vector);
        }
        pixel = end;
    }
}

#endif
