/* The direct algorithm's tiles for depthwise convolutions: vectors along the channels.
 *
 * A tile holds some neighbouring pixels of some channels; a weight vector is loaded once for all of
 * them, and where their windows overlap tap by tap an input vector once for several of its taps.
 * At the ends of a row a tile asks of every window column whether the input has it, and makes zeros
 * of the others, as it does where fewer pixels are left than it holds.
 */
#ifndef FC_DEPTHWISE_TILES_H
#define FC_DEPTHWISE_TILES_H

#include "activation.h"
#include "kernels.h"
#include "simd.h"

/* Pixels of a tile: with its vectors so many accumulators beside those for weights. */
#if FC_VECTOR_BYTES == 64
enum { DEPTHWISE_PIXELS = 8 };
#elif FC_VECTOR_BYTES == 32
enum { DEPTHWISE_PIXELS = 6 };
#else
enum { DEPTHWISE_PIXELS = 4 };
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
            store_upto(out + c, activate_channels(y, e, c, left), left);
        }
    }
}

/* + bias, + residual, activation, and into the result: straight from the registers where there is
 * no residual and the activation is a simple one. lanes: of the last vector, FC_LANES where whole.
 * count: the pixels that are wanted, the first ones. */
FC_INLINE void leave_pixels(const int pixels, const int vectors, const int whole, const int lanes,
                            const int count, const fc_pixels_out *d, const depthwise_sums sum,
                            ptrdiff_t pixel, ptrdiff_t channel) {
    const fc_epilogue *e = &d->epilogue;
    if (d->residual || !is_inline_activation(e)) {
        depthwise_sums kept;
        FC_UNROLL for (int j = 0; j < pixels; j++) {
            FC_UNROLL for (int v = 0; v < vectors; v++) kept[j][v] = sum[j][v];
        }
        finish_pixels(d, kept, pixel, count, channel, (vectors - 1) * FC_LANES + lanes);
        return;
    }
    char *out = d->out + pixel * d->out_pixel + channel * (ptrdiff_t)sizeof(real);
    vec y[DEPTHWISE_VECTORS * DEPTHWISE_PIXELS];
    const inline_numbers numbers = numbers_of(e);
    FC_UNROLL for (int v = 0; v < vectors; v++) {
        const ptrdiff_t c = channel + v * FC_LANES;
        const real *bias = (const real *)e->bias + c;
        const vec b = !e->bias ? (vec){0} : whole ? load(bias) : load_first(bias, lanes);
        FC_UNROLL for (int j = 0; j < pixels; j++) y[v * pixels + j] = sum[j][v] + b;
        inline_activations(&numbers, slopes_of(e, c, whole ? FC_LANES : lanes), pixels, y + v * pixels);
    }
    FC_UNROLL for (int j = 0; j < pixels; j++) {
        if (j >= count) break;
        FC_UNROLL for (int v = 0; v < vectors; v++) {
            real *to = (real *)(out + j * d->out_pixel) + v * FC_LANES;
            if (whole) store(to, y[v * pixels + j]);
            else store_first(to, y[v * pixels + j], lanes);
        }
    }
}

/* The lanes that the input has of a window's column: none at an end that it does not reach. */
FC_INLINE int lanes_inside(const int edged, const int lanes, const char *column, const char *first,
                           size_t span) {
    return edged && (size_t)(column - first) >= span ? 0 : lanes;
}

/* Some lanes of a column, which are all or none of `lanes`. */
FC_INLINE vec load_column(const int edged, const int whole, const int lanes, const int inside,
                          const char *column, int v) {
    const real *x = (const real *)column + v * FC_LANES;
    if (edged && !inside) return (vec){0};
    return whole ? load(x) : load_first(x, lanes);
}

/* Some taps of a kernel row over windows that share them (pixels are `stride` taps apart): every
 * input vector is loaded once for all the pixels that it belongs to, and each pixel adds its taps
 * in order. */
FC_INLINE void sliding_taps(const int taps, const int stride, const int edged, const int pixels,
                            const int vectors, const int whole, const int lanes,
                            depthwise_sums sum, const char *x, const char *first,
                            const fc_window_row *row, const char *w, ptrdiff_t w_tap) {
    vec weight[SLIDING_MOST][DEPTHWISE_VECTORS];
    FC_UNROLL for (int t = 0; t < taps; t++) {
        FC_UNROLL for (int v = 0; v < vectors; v++)
            weight[t][v] = load((const real *)(w + t * w_tap) + v * FC_LANES);
    }
    FC_UNROLL for (int i = 0; i < (pixels - 1) * stride + taps; i++) {
        const char *column = x + i * row->tap;
        const int inside = lanes_inside(edged, lanes, column, first, row->span);
        FC_UNROLL for (int v = 0; v < vectors; v++) {
            vec value = load_column(edged, whole, lanes, inside, column, v);
            FC_IN_REGISTER(value);
            FC_UNROLL for (int t = 0; t < taps; t++) {
                const int j = (i - t) / stride;
                if (i >= t && (i - t) % stride == 0 && j < pixels)
                    sum[j][v] += weight[t][v] * value;
            }
        }
    }
}

/* One tap over any windows. */
FC_INLINE void one_tap(const int edged, const int pixels, const int vectors, const int whole,
                       const int lanes, depthwise_sums sum, const char *x, const char *first,
                       const fc_window_row *row, const char *w) {
    vec weight[DEPTHWISE_VECTORS];
    FC_UNROLL for (int v = 0; v < vectors; v++)
        weight[v] = load((const real *)w + v * FC_LANES);
    FC_UNROLL for (int j = 0; j < pixels; j++) {
        const char *column = x + j * row->pixel;
        const int inside = lanes_inside(edged, lanes, column, first, row->span);
        FC_UNROLL for (int v = 0; v < vectors; v++)
            sum[j][v] += weight[v] * load_column(edged, whole, lanes, inside, column, v);
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

/* taps: so many are taken together where windows share them at this stride; 0 for any windows.
 * lanes: of the last vector, FC_LANES for a whole one (a constant where whole).
 * edged: windows may reach beyond the input's rows, and pixels may be fewer. */
FC_INLINE void depthwise_tile(const int pixels, const int vectors, const int whole, const int taps,
                              const int stride, const int edged, const fc_depthwise_args *d,
                              ptrdiff_t pixel, ptrdiff_t channel) {
    const ptrdiff_t left = d->channels - channel, wanted = d->pixels - pixel;
    const int lanes = whole || left > FC_LANES ? FC_LANES : (int)left;
    const int count = edged && wanted < pixels ? (int)wanted : pixels;
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
            const char *x = row->x + at + pixel * row->pixel, *first = row->first + at;
            ptrdiff_t t = 0;
            if (taps) {
                for (; t + taps <= d->taps; t += taps, x += taps * row->tap, w += taps * d->w_tap)
                    sliding_taps(taps, stride, edged, pixels, vectors, whole, lanes, sum, x, first,
                                 row, w, d->w_tap);
            }
            for (; t < d->taps; t++, x += row->tap, w += d->w_tap)
                one_tap(edged, pixels, vectors, whole, lanes, sum, x, first, row, w);
        }
        if (y0 > 0 || y1 < d->rows) join_chains(pixels, vectors, y0 > 0, sum, total);
        if (y1 == d->rows) break;
        y0 = y1;
    }
    leave_pixels(pixels, vectors, whole, lanes, count, &d->out, sum, pixel, channel);
}

/* Two whole vectors, one whole vector, one masked vector; each for any window and for those that
 * share taps: taps taken together, stride. In double all but three taps are rare. */
#define DEPTHWISE_VECTORS_OF(X, ...) \
    X(__VA_ARGS__, 2, 1) X(__VA_ARGS__, 1, 1) X(__VA_ARGS__, 1, 0)
#if FC_DTYPE == 32
#define SLIDING_KINDS(X) X(0, 1) X(3, 1) X(5, 1) X(5, 2)
#else
#define SLIDING_KINDS(X) X(0, 1) X(3, 1)
#endif
/* Size: 0 for a whole tile inside; 1, 2, 3 for edged ones of as many pixels, half, a quarter. */
enum { DEPTHWISE_SIZES = 4 };
#define DEPTHWISE_TILES(X, taps, stride)                                                      \
    DEPTHWISE_VECTORS_OF(X, taps, stride, 0) DEPTHWISE_VECTORS_OF(X, taps, stride, 1)         \
    DEPTHWISE_VECTORS_OF(X, taps, stride, 2) DEPTHWISE_VECTORS_OF(X, taps, stride, 3)
#define PIXELS_OF(size) (DEPTHWISE_PIXELS >> ((size) ? (size) - 1 : 0))

#define NAME_KIND(taps, stride) KIND_##taps##_##stride,
enum { SLIDING_KINDS(NAME_KIND) KIND_COUNT };

#define DEPTHWISE_NAME(taps, stride, size, vectors, whole) \
    depthwise_##taps##_##stride##_##size##x##vectors##x##whole
#define DEFINE_TILE(taps, stride, size, vectors, whole)                                           \
    static void DEPTHWISE_NAME(taps, stride, size, vectors, whole)(const fc_depthwise_args *d,    \
                                                                   ptrdiff_t pixel,               \
                                                                   ptrdiff_t channel) {           \
        const int edged = size > 0;                                                               \
        depthwise_tile(PIXELS_OF(size), vectors, whole, taps, stride, edged, d, pixel, channel);  \
    }
#define DEFINE_KIND(taps, stride) DEPTHWISE_TILES(DEFINE_TILE, taps, stride)
SLIDING_KINDS(DEFINE_KIND)

typedef void (*depthwise_function)(const fc_depthwise_args *, ptrdiff_t, ptrdiff_t);
#define ENTER_TILE(taps, stride, size, vectors, whole)     \
    [KIND_##taps##_##stride][size][vectors - 1 + whole] = \
        DEPTHWISE_NAME(taps, stride, size, vectors, whole),
#define ENTER_KIND(taps, stride) DEPTHWISE_TILES(ENTER_TILE, taps, stride)
static const depthwise_function
    depthwise_tiles[KIND_COUNT][DEPTHWISE_SIZES][DEPTHWISE_VECTORS + 1] = {
        SLIDING_KINDS(ENTER_KIND)};

#define ENTER_SHAPE(taps, stride) [KIND_##taps##_##stride] = {taps, stride},
static const struct {
    int taps, stride;
} kinds[KIND_COUNT] = {SLIDING_KINDS(ENTER_SHAPE)};

/* Whether neighbouring pixels are so many taps apart in every row. */
FC_INLINE int windows_slide(const fc_window_row *window, ptrdiff_t rows, int stride) {
    ptrdiff_t y = 0;
    while (y < rows && window[y].pixel == stride * window[y].tap) y++;
    return y == rows;
}

/* The kind of tile that loads least for these windows. */
FC_INLINE int kind_of(const fc_window_row *window, ptrdiff_t rows, ptrdiff_t taps) {
    const ptrdiff_t one = DEPTHWISE_PIXELS + 1;
    ptrdiff_t least = taps * one;
    int best = KIND_0_1;
    for (int kind = 1; kind < KIND_COUNT; kind++) {
        const int together = kinds[kind].taps, stride = kinds[kind].stride;
        const ptrdiff_t group = (DEPTHWISE_PIXELS - 1) * stride + 2 * together;
        const ptrdiff_t loads = taps / together * group + taps % together * one;
        if (loads < least && windows_slide(window, rows, stride)) {
            least = loads;
            best = kind;
        }
    }
    return best;
}

FC_INLINE int is_inside(const fc_depthwise_args *d, ptrdiff_t pixel) {
    return pixel >= d->inner && pixel + DEPTHWISE_PIXELS <= d->inner_end;
}

/* The tile at a pixel: whole inside, else the smallest that holds the pixels left. */
FC_INLINE int size_of(const fc_depthwise_args *d, ptrdiff_t pixel) {
    if (is_inside(d, pixel)) return 0;
    int size = 1;
    while (size + 1 < DEPTHWISE_SIZES && PIXELS_OF(size + 1) >= d->pixels - pixel) size++;
    return size;
}

static void depthwise(const fc_depthwise_args *d) {
    const int kind = kind_of(d->window, d->rows, d->taps);
    const ptrdiff_t last = d->pixels - DEPTHWISE_PIXELS;
    for (ptrdiff_t pixel = 0; pixel < d->pixels;) {
        /* Too few pixels for a whole tile: some are made twice where that spares an edged one. The
         * residual may be the result's own memory. */
        if (pixel > last && last >= 0 && is_inside(d, last) && !d->out.residual) pixel = last;
        const int size = size_of(d, pixel);
        for (ptrdiff_t channel = 0; channel < d->channels;) {
            const ptrdiff_t whole = (d->channels - channel) / FC_LANES;
            const ptrdiff_t vectors = whole < DEPTHWISE_VECTORS ? whole : DEPTHWISE_VECTORS;
            depthwise_tiles[kind][size][vectors](d, pixel, channel);
            channel += (vectors ? vectors : 1) * FC_LANES;
        }
        pixel += PIXELS_OF(size);
    }
}

#endif
