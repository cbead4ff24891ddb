/* The tiles of 1x1 convolutions on planes: vectors along the pixels, read where they lie.
 *
 * Up to 6 output channels x 4 vectors of pixels are 24 accumulators. A step takes one input
 * channel: 4 loads, 6 broadcast weights, 24 multiply-adds. Nothing is transposed, and copied only where
 * planes lie so that others' tiles had better find their strip in one piece: then by the first of
 * them, while it multiplies. A mask on the last vector keeps a tile inside its pixels.
 */
#ifndef FC_POINTWISE_TILES_H
#define FC_POINTWISE_TILES_H

#include "kernels.h"
#include "planes_tiles.h"
#include "simd.h"

/* masked: the last vector may be none of all lanes. copies: a plane's vectors are left in the copy. */
FC_INLINE void pointwise_tile(const int channels, const int vectors, const int masked,
                              const int copies, const fc_planes_args *p) {
    const place at = {.across = FC_LANES};
    const lane_mask mask = lanes_between(0, p->columns - (vectors - 1) * FC_LANES);
    planes_sums sum;
    vec *part = (vec *)p->part;
    if (p->begun) {
        FC_UNROLL for (int i = 0; i < channels * vectors; i++)
            sum[i / vectors][0][i % vectors] = part[i];
    } else {
        clear_tile(channels, 1, vectors, sum);
    }
    const char *x = p->x;
    const char *w = p->w;
    char *copy = p->copy;
    const ptrdiff_t w_channel = p->w_channel, next = p->next;
    FC_TWO_STEPS for (ptrdiff_t plane = p->planes; plane > 0; plane--) {
        vec value[PLANES_VECTORS];
        if (!copies) __builtin_prefetch(x + next, 0, 3);
        FC_UNROLL for (int v = 0; v < vectors; v++) {
            const real *from = (const real *)x + v * FC_LANES;
            value[v] = masked && v == vectors - 1 ? load_masked(from, mask) : load(from);
            if (copies) store((real *)copy + v * FC_LANES, value[v]);
        }
        if (copies) copy += p->copy_plane;
        FC_UNROLL for (int k = 0; k < channels; k++) {
            vec weight = splat(*(const real *)(w + k * w_channel));
            FC_IN_REGISTER(weight);
            FC_UNROLL for (int v = 0; v < vectors; v++) sum[k][0][v] += value[v] * weight;
        }
        x += p->x_plane;
        w += p->w_plane;
    }
    if (p->broken_off) {
        FC_UNROLL for (int i = 0; i < channels * vectors; i++)
            part[i] = sum[i / vectors][0][i % vectors];
        return;
    }
    if (p->load_sums || !p->finish) keep_tile(channels, 1, vectors, p, sum, &at);
    if (p->finish) leave_tile(channels, 1, vectors, 1, p, sum, &at);
}

#define POINTWISE_KINDS(X, v, masked)                                               \
    X(1, v, masked) X(2, v, masked) X(3, v, masked) X(4, v, masked) X(5, v, masked) \
    X(6, v, masked)
#if FC_FREE_MASKS
#define POINTWISE_EDGES(X, v) POINTWISE_KINDS(X, v, 1)
#else
#define POINTWISE_EDGES(X, v) POINTWISE_KINDS(X, v, 0) POINTWISE_KINDS(X, v, 1)
#endif
#if FC_VECTOR_BYTES == 64
#define POINTWISE_TILES(X) \
    POINTWISE_EDGES(X, 1) POINTWISE_EDGES(X, 2) POINTWISE_EDGES(X, 3) POINTWISE_EDGES(X, 4)
#else
#define POINTWISE_TILES(X) POINTWISE_EDGES(X, 1) POINTWISE_EDGES(X, 2)
#endif

#define DEFINE_POINTWISE(channels, vectors, masked)                                    \
    static void pointwise_##channels##x##vectors##_##masked(const fc_planes_args *p) {  \
        if (channels >= FC_COPYING_CHANNELS && p->copy)                                 \
            pointwise_tile(channels, vectors, masked, 1, p);                            \
        else                                                                            \
            pointwise_tile(channels, vectors, masked, 0, p);                            \
    }
POINTWISE_TILES(DEFINE_POINTWISE)

#define ENTER_POINTWISE(channels, vectors, masked) \
    [masked][channels][vectors] = pointwise_##channels##x##vectors##_##masked,
static void (*const pointwise_tiles[2][FC_PLANES_CHANNELS + 1][PLANES_VECTORS + 1])(
    const fc_planes_args *) = {POINTWISE_TILES(ENTER_POINTWISE)};

static void pointwise(const fc_planes_args *p) {
    const int masked = FC_FREE_MASKS || p->columns % FC_LANES != 0;
    pointwise_tiles[masked][p->channels][ceil_div(p->columns, FC_LANES)](p);
}

#endif
