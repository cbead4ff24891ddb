/* The direct algorithm's tiles for depthwise convolutions: vectors along the channels.
 *
 * A tile holds some neighbouring pixels of some channels; a weight vector is loaded once for all of
 * them, and where their windows overlap tap by tap an input vector once for all its taps.
 */
#ifndef FC_DEPTHWISE_TILES_H
#define FC_DEPTHWISE_TILES_H

#include "activation.h"
#include "kernels.h"
#include "simd.h"

/* One line a level: pixels x vectors accumulators beside two vectors of weights. */
#define UPTO_4(X, v, n) X(1, v, n) X(2, v, n) X(3, v, n) X(4, v, n)
#define UPTO_6(X, v, n) UPTO_4(X, v, n) X(5, v, n) X(6, v, n)
#define UPTO_8(X, v, n) UPTO_6(X, v, n) X(7, v, n) X(8, v, n)
#if FC_VECTOR_BYTES == 64
enum { DEPTHWISE_PIXELS = 8 };
#define UPTO_PIXELS UPTO_8
#elif FC_VECTOR_BYTES == 32
enum { DEPTHWISE_PIXELS = 6 };
#define UPTO_PIXELS UPTO_6
#else
enum { DEPTHWISE_PIXELS = 4 };
#define UPTO_PIXELS UPTO_4
#endif
enum { DEPTHWISE_VECTORS = 2, SLIDING_TAPS = 3, SLIDING_MOST = 5 };

typedef vec depthwise_sums[DEPTHWISE_PIXELS][DEPTHWISE_VECTORS];

FC_NOINLINE void finish_pixels(const fc_pixels_out *d, const depthwise_sums sum, ptrdiff_t pixel,
                               int pixels, ptrdiff_t channel, ptrdiff_t channels) {
    const fc_epilogue *e = &d->epilogue;
    const real *bias = (const real *)e->bias;
    for (int j = 0; j < pixels; j++) {
        real *out = (real *)(d->out + (pixel + j) * d->out_pixel);
        const real *residual =
            d->residual ? (const real *)(d->residual + (pixel + j) * d->residual_pixel) : NULL;
        for (int v = 0; v * FC_LANES < channels; v++) {
            const ptrdiff_t c = channel + v * FC_LANES, left = channels - v * FC_LANES;
            vec y = sum[j][v];
            if (bias) y += load_upto(bias + c, left);
            if (residual) y += load_upto(residual + c, left);
            store_upto(out + c, activate(y, e), left);
        }
    }
}

/* + bias, + residual, activation, and into the result: straight from the registers where there is
 * no residual and the activation is a simple one. lanes: of the last vector, FC_LANES where whole. */
FC_INLINE void leave_pixels(const int pixels, const int vectors, const int whole, const int lanes,
                            const fc_pixels_out *d, const depthwise_sums sum, ptrdiff_t pixel,
                            ptrdiff_t channel) {
    const fc_epilogue *e = &d->epilogue;
    if (d->residual || !is_inline_activation(e)) {
        depthwise_sums kept;
        FC_UNROLL for (int j = 0; j < pixels; j++) {
            FC_UNROLL for (int v = 0; v < vectors; v++) kept[j][v] = sum[j][v];
        }
        finish_pixels(d, kept, pixel, pixels, channel, (vectors - 1) * FC_LANES + lanes);
        return;
    }
    char *out = d->out + pixel * d->out_pixel + channel * (ptrdiff_t)sizeof(real);
    vec y[DEPTHWISE_PIXELS * DEPTHWISE_VECTORS];
    FC_UNROLL for (int v = 0; v < vectors; v++) {
        const real *bias = (const real *)e->bias + channel + v * FC_LANES;
        const vec b = !e->bias ? (vec){0} : whole ? load(bias) : load_first(bias, lanes);
        FC_UNROLL for (int j = 0; j < pixels; j++) y[j * vectors + v] = sum[j][v] + b;
    }
    const inline_numbers numbers = numbers_of(e);
    inline_activations(&numbers, pixels * vectors, y);
    FC_UNROLL for (int j = 0; j < pixels; j++) {
        FC_UNROLL for (int v = 0; v < vectors; v++) {
            real *to = (real *)(out + j * d->out_pixel) + v * FC_LANES;
            if (whole) store(to, y[j * vectors + v]);
            else store_first(to, y[j * vectors + v], lanes);
        }
    }
}

/* One kernel row over windows that share taps (pixels are `stride` taps apart): every input vector
 * is loaded once for all the pixels that it belongs to, and each pixel adds its taps in order. */
FC_INLINE void sliding_row(const int taps, const int stride, const int pixels, const int vectors,
                           const int whole, const int lanes, depthwise_sums sum, const char *x,
                           ptrdiff_t step, const char *w, ptrdiff_t w_tap) {
    vec weight[SLIDING_MOST][DEPTHWISE_VECTORS];
    FC_UNROLL for (int t = 0; t < taps; t++) {
        FC_UNROLL for (int v = 0; v < vectors; v++)
            weight[t][v] = load((const real *)(w + t * w_tap) + v * FC_LANES);
    }
    FC_UNROLL for (int i = 0; i < (pixels - 1) * stride + taps; i++) {
        FC_UNROLL for (int v = 0; v < vectors; v++) {
            const real *xi = (const real *)(x + i * step) + v * FC_LANES;
            vec value = whole ? load(xi) : load_first(xi, lanes);
            FC_IN_REGISTER(value);
            FC_UNROLL for (int t = 0; t < taps; t++) {
                const int j = (i - t) / stride;
                if (i >= t && (i - t) % stride == 0 && j < pixels)
                    sum[j][v] += weight[t][v] * value;
            }
        }
    }
}

FC_NOINLINE void join_pixels(int pixels, int vectors, int later, depthwise_sums sum,
                             depthwise_sums total) {
    for (int j = 0; j < pixels; j++) {
        for (int v = 0; v < vectors; v++) {
            if (later) sum[j][v] = total[j][v] + sum[j][v];
            total[j][v] = sum[j][v];
        }
    }
}

/* Add what earlier chains left, and keep it for later ones: once for hundreds of steps. */
FC_INLINE void join_chains(const int pixels, const int vectors, const int later,
                           depthwise_sums sum, depthwise_sums total) {
    depthwise_sums kept; /* indexed by variables: sum itself must stay in registers */
    FC_UNROLL for (int j = 0; j < pixels; j++) {
        FC_UNROLL for (int v = 0; v < vectors; v++) kept[j][v] = sum[j][v];
    }
    join_pixels(pixels, vectors, later, kept, total);
    FC_UNROLL for (int j = 0; j < pixels; j++) {
        FC_UNROLL for (int v = 0; v < vectors; v++) sum[j][v] = kept[j][v];
    }
}

/* taps: of a kernel row whose windows share taps at this stride; 0 for any.
 * lanes: of the last vector, FC_LANES for a whole one (a constant where whole). */
FC_INLINE void depthwise_tile(const int pixels, const int vectors, const int whole, const int taps,
                              const int stride, const fc_depthwise_args *d, ptrdiff_t pixel,
                              ptrdiff_t channel) {
    const ptrdiff_t left = d->channels - channel;
    const int lanes = whole || left > FC_LANES ? FC_LANES : (int)left;
    const ptrdiff_t at = channel * (ptrdiff_t)sizeof(real);
    const char *w = d->w + at;
    depthwise_sums sum, total;
    for (ptrdiff_t y0 = 0;;) {
        const ptrdiff_t y1 = d->rows - y0 > d->chain_rows ? y0 + d->chain_rows : d->rows;
        FC_UNROLL for (int j = 0; j < pixels; j++) {
            FC_UNROLL for (int v = 0; v < vectors; v++) sum[j][v] = (vec){0};
        }
        for (ptrdiff_t y = y0; y < y1; y++) {
            const fc_window_row *row = &d->window[y];
            const ptrdiff_t step = row->pixel;
            const char *x = row->x + at + pixel * step;
            if (taps) {
                sliding_row(taps, stride, pixels, vectors, whole, lanes, sum, x, row->tap, w,
                            d->w_tap);
                w += taps * d->w_tap;
            } else for (ptrdiff_t t = 0; t < d->taps; t++, x += row->tap, w += d->w_tap) {
                vec weight[DEPTHWISE_VECTORS];
                FC_UNROLL for (int v = 0; v < vectors; v++)
                    weight[v] = load((const real *)w + v * FC_LANES);
                FC_UNROLL for (int j = 0; j < pixels; j++) {
                    const real *xj = (const real *)(x + j * step);
                    FC_UNROLL for (int v = 0; v < vectors; v++)
                        sum[j][v] += weight[v] * (whole ? load(xj + v * FC_LANES)
                                                        : load_first(xj, lanes));
                }
            }
        }
        if (y0 > 0 || y1 < d->rows) join_chains(pixels, vectors, y0 > 0, sum, total);
        if (y1 == d->rows) break;
        y0 = y1;
    }
    leave_pixels(pixels, vectors, whole, lanes, &d->out, sum, pixel, channel);
}

/* Two whole vectors, one whole vector, one masked vector; each for any window and for those that
 * share taps: taps of a row, stride. Five taps in double are rare, and a third of the code. */
#if FC_FREE_MASKS
#define DEPTHWISE_TILES(X) UPTO_PIXELS(X, 2, 1) UPTO_PIXELS(X, 1, 0)
#else
#define DEPTHWISE_TILES(X) UPTO_PIXELS(X, 2, 1) UPTO_PIXELS(X, 1, 1) UPTO_PIXELS(X, 1, 0)
#endif
#if FC_DTYPE == 32
#define SLIDING_KINDS(X, ...) \
    X(0, 1, __VA_ARGS__) X(3, 1, __VA_ARGS__) X(5, 1, __VA_ARGS__) X(5, 2, __VA_ARGS__)
enum { KIND_0_1, KIND_3_1, KIND_5_1, KIND_5_2, KIND_COUNT };
#else
#define SLIDING_KINDS(X, ...) X(0, 1, __VA_ARGS__) X(3, 1, __VA_ARGS__)
enum { KIND_0_1, KIND_3_1, KIND_COUNT };
#endif

#define DEPTHWISE_NAME(taps, stride, pixels, vectors, whole) \
    depthwise_##taps##_##stride##_##pixels##x##vectors##x##whole
#define DEFINE_KIND(taps, stride, pixels, vectors, whole)                                        \
    static void DEPTHWISE_NAME(taps, stride, pixels, vectors, whole)(const fc_depthwise_args *d, \
                                                                     ptrdiff_t pixel,            \
                                                                     ptrdiff_t channel) {        \
        depthwise_tile(pixels, vectors, whole, taps, stride, d, pixel, channel);                 \
    }
#define DEFINE_DEPTHWISE(pixels, vectors, whole) SLIDING_KINDS(DEFINE_KIND, pixels, vectors, whole)
DEPTHWISE_TILES(DEFINE_DEPTHWISE)

typedef void (*depthwise_function)(const fc_depthwise_args *, ptrdiff_t, ptrdiff_t);
#define ENTER_KIND(taps, stride, pixels, vectors, whole)   \
    [KIND_##taps##_##stride][vectors - 1 + whole][pixels] = \
        DEPTHWISE_NAME(taps, stride, pixels, vectors, whole),
#define ENTER_DEPTHWISE(pixels, vectors, whole) SLIDING_KINDS(ENTER_KIND, pixels, vectors, whole)
static const depthwise_function
    depthwise_tiles[KIND_COUNT][DEPTHWISE_VECTORS + 1][DEPTHWISE_PIXELS + 1] = {
        DEPTHWISE_TILES(ENTER_DEPTHWISE)};

#define ENTER_SHAPE(taps, stride, ...) [KIND_##taps##_##stride] = {taps, stride},
static const struct {
    int taps, stride;
} kinds[KIND_COUNT] = {SLIDING_KINDS(ENTER_SHAPE)};

/* The kind of tile for these windows: neighbouring pixels are so many taps apart in every row. */
FC_INLINE int kind_of(const fc_window_row *window, ptrdiff_t rows, ptrdiff_t taps) {
    for (int kind = 1; kind < KIND_COUNT; kind++) {
        ptrdiff_t y = taps == kinds[kind].taps ? 0 : rows + 1;
        while (y < rows && window[y].pixel == kinds[kind].stride * window[y].tap) y++;
        if (y == rows) return kind;
    }
    return KIND_0_1;
}

/* Whether SLIDING_TAPS taps are as far apart as neighbouring pixels. */
FC_INLINE int windows_slide(const fc_window_row *window, ptrdiff_t rows, ptrdiff_t taps) {
    return kind_of(window, rows, taps) == KIND_3_1;
}

static void depthwise(const fc_depthwise_args *d) {
    const int kind = kind_of(d->window, d->rows, d->taps);
    for (ptrdiff_t pixel = 0; pixel < d->pixels; pixel += DEPTHWISE_PIXELS) {
        const ptrdiff_t left = d->pixels - pixel;
        const ptrdiff_t pixels = left < DEPTHWISE_PIXELS ? left : DEPTHWISE_PIXELS;
        for (ptrdiff_t channel = 0; channel < d->channels;) {
            const ptrdiff_t whole = (d->channels - channel) / FC_LANES;
            const ptrdiff_t vectors = whole < DEPTHWISE_VECTORS ? whole : DEPTHWISE_VECTORS;
            const int form = FC_FREE_MASKS && vectors == 1 ? 0 : (int)vectors;
            depthwise_tiles[kind][form][pixels](d, pixel, channel);
            channel += (vectors ? vectors : 1) * FC_LANES;
        }
    }
}

#endif
