/* The register tiles of the direct algorithm.
 *
 * planes: vectors along the width. A tile holds some output rows of some output channels; one
 * input row is loaded once per tap and feeds every output row whose window it lies in, so a 5x5
 * filter with four output rows loads 40 vectors for 100 multiply-adds. Each element's sum still
 * runs over input plane, kernel row, tap in this order, whatever tile it falls into.
 *
 * depthwise: vectors along the channels. A tile holds some neighbouring pixels of some channels;
 * a weight vector is loaded once for all of them.
 */
#include "activation.h"
#include "kernels.h"
#include "simd.h"
#include "strided.h"

/* Activations that are inlined next to the sums; the others go through a rolled loop. */
FC_INLINE int is_inline_activation(const fc_epilogue *e) {
    return e->activation == FC_ACT_NONE || e->activation == FC_ACT_RELU;
}

FC_INLINE vec inline_activation(vec v, int relu) {
    return relu ? blend((ivec)(v < 0), splat(0), v) : v;
}

/* ---------------------------------------------------------------- planes: copies */

static void interleave(const fc_interleave_args *p) {
    real *dst = (real *)p->dst;
    for (ptrdiff_t k = 0; k < p->channels; k++) {
        const real *weight = (const real *)p->weight + k * p->taps;
        for (ptrdiff_t t = 0; t < p->taps; t++) dst[t * p->channels + k] = weight[t];
    }
}

FC_INLINE ptrdiff_t ceil_div(ptrdiff_t a, ptrdiff_t b) { return (a + b - 1) / b; }

static void zero(real *dst, ptrdiff_t first, ptrdiff_t last) {
    for (ptrdiff_t i = first; i < last; i += FC_LANES) store_upto(dst + i, (vec){0}, last - i);
}

static void copy_run(real *dst, const real *src, ptrdiff_t count) {
    for (ptrdiff_t i = 0; i < count; i += FC_LANES)
        store_upto(dst + i, load_upto(src + i, count - i), count - i);
}

static void copy_strided(real *dst, const char *src, ptrdiff_t step, ptrdiff_t count) {
    for (ptrdiff_t i = 0; i < count; i++) dst[i] = *(const real *)(src + i * step);
}

#if FC_VECTOR_BYTES * 8 / FC_DTYPE == 16
#define EVEN 0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30
#define ODD 1, 3, 5, 7, 9, 11, 13, 15, 17, 19, 21, 23, 25, 27, 29, 31
#elif FC_VECTOR_BYTES * 8 / FC_DTYPE == 8
#define EVEN 0, 2, 4, 6, 8, 10, 12, 14
#define ODD 1, 3, 5, 7, 9, 11, 13, 15
#elif FC_VECTOR_BYTES * 8 / FC_DTYPE == 4
#define EVEN 0, 2, 4, 6
#define ODD 1, 3, 5, 7
#else
#define EVEN 0, 2
#define ODD 1, 3
#endif

/* count elements, every other to even and to odd. */
static void copy_halves(real *even, real *odd, const real *src, ptrdiff_t count) {
    for (ptrdiff_t i = 0; 2 * i < count; i += FC_LANES) {
        const ptrdiff_t left = count - 2 * i, high = left - FC_LANES;
        const vec a = load_upto(src + 2 * i, left);
        const vec b = load_upto(src + 2 * i + FC_LANES, high > 0 ? high : 0);
        store_upto(even + i, __builtin_shufflevector(a, b, EVEN), (left + 1) / 2);
        store_upto(odd + i, __builtin_shufflevector(a, b, ODD), left / 2);
    }
}

/* Elements of a row before column `end` that lie at phase, phase + stride, ... */
FC_INLINE ptrdiff_t count_before(ptrdiff_t end, ptrdiff_t phase, ptrdiff_t stride) {
    return end > phase ? (end - phase + stride - 1) / stride : 0;
}

static void split(const fc_split_args *s) {
    const ptrdiff_t element = sizeof(real), stride = s->stride;
    const ptrdiff_t last = s->src ? s->last : s->first;
    const int contiguous = s->src_pixel == element;
    const int halves = contiguous && stride == 2 && s->slots == 2;
    for (ptrdiff_t slot = 0; slot < s->slots; slot++) {
        real *dst = (real *)(s->dst + slot * s->slot);
        const ptrdiff_t phase = slot * s->dilation % stride;
        const ptrdiff_t from = count_before(s->first, phase, stride);
        const ptrdiff_t to = count_before(last, phase, stride);
        zero(dst, 0, from);
        zero(dst, to, count_before(s->columns, phase, stride));
        if (from == to || halves) continue;
        const char *src = s->src + (from * stride + phase - s->first) * s->src_pixel;
        if (contiguous && stride == 1) copy_run(dst + from, (const real *)src, to - from);
        else copy_strided(dst + from, src, stride * s->src_pixel, to - from);
    }
    if (halves && last > s->first) {
        const ptrdiff_t odd = s->first & 1; /* then the odd half gets the first element */
        real *here = (real *)(s->dst + odd * s->slot) + s->first / 2;
        real *there = (real *)(s->dst + (1 - odd) * s->slot) + (s->first + 1) / 2;
        copy_halves(here, there, (const real *)s->src, last - s->first);
    }
}

/* ---------------------------------------------------------------- planes: tiles */

/* Output rows for each number of output channels: the product stays within the registers. */
#define PLANES_ROWS {0, 4, 3, 2, 1, 1, 1}
enum { MAX_ROWS = 4, PLANES_VECTORS = FC_VECTOR_BYTES == 64 ? 4 : 2 };

typedef vec planes_sums[FC_PLANES_CHANNELS][MAX_ROWS][PLANES_VECTORS];

/* One input row's share of output rows first..last. w belongs to output row 0; the next output row
 * meets the same input row `up` elements of w earlier. */
FC_INLINE void add_row(const int channels, const int vectors, const int first, const int last,
                       planes_sums sum, const char *x, const real *w, ptrdiff_t up,
                       const fc_planes_args *p) {
    for (ptrdiff_t t = 0; t < p->taps; t++, w += channels) {
        const real *xt = (const real *)(x + p->tap[t]);
        vec value[PLANES_VECTORS];
        FC_UNROLL for (int v = 0; v < vectors; v++) value[v] = load(xt + v * FC_LANES);
        FC_UNROLL for (int r = first; r <= last; r++) {
            FC_UNROLL for (int k = 0; k < channels; k++) {
                const vec weight = splat(w[k - r * up]);
                FC_UNROLL for (int v = 0; v < vectors; v++) sum[k][r][v] += value[v] * weight;
            }
        }
    }
}

#define ROW_RANGE(FIRST, LAST)                                                                  \
    case FIRST * MAX_ROWS + LAST:                                                               \
        if (LAST < rows) add_row(channels, vectors, FIRST, LAST, sum, x, w, up, p);             \
        break;

/* All input rows of one plane that the tile's windows see. */
FC_INLINE void add_plane(const int channels, const int rows, const int vectors, planes_sums sum,
                         const char *x, const real *w, const fc_planes_args *p) {
    const ptrdiff_t row_step = p->w_row / (ptrdiff_t)sizeof(real), up = p->stride * row_step;
    /* Output rows first..last see input row y; both go up by one every `stride` rows. */
    ptrdiff_t first = 0, last = 0, to_first = p->kernel_rows, to_last = p->stride;
    const ptrdiff_t input_rows = (p->rows - 1) * p->stride + p->kernel_rows;
    for (ptrdiff_t y = 0; y < input_rows; y++, x += p->x_row, w += row_step) {
        if (to_last == 0) {
            to_last = p->stride;
            if (last < p->rows - 1) last++;
        }
        if (to_first == 0) {
            to_first = p->stride;
            first++;
        }
        to_last--;
        to_first--;
        switch (first * MAX_ROWS + last) {
            ROW_RANGE(0, 0) ROW_RANGE(0, 1) ROW_RANGE(0, 2) ROW_RANGE(0, 3)
            ROW_RANGE(1, 1) ROW_RANGE(1, 2) ROW_RANGE(1, 3)
            ROW_RANGE(2, 2) ROW_RANGE(2, 3)
            ROW_RANGE(3, 3)
        default: break; /* between the windows */
        }
    }
}

/* The general way out of a tile: any strides, residual, every activation. */
FC_NOINLINE void finish_tile(const fc_planes_args *p, const planes_sums sum, ptrdiff_t column) {
    const fc_epilogue *e = &p->epilogue;
    const ptrdiff_t left = p->columns - column;
    for (int k = 0; k < p->channels; k++) {
        const real bias = e->bias ? ((const real *)e->bias)[k] : 0;
        for (int r = 0; r < p->rows; r++) {
            char *out = p->out + k * p->out_channel + r * p->out_row;
            const char *residual =
                p->residual ? p->residual + k * p->residual_channel + r * p->residual_row : NULL;
            for (ptrdiff_t j = 0; j < left && j < PLANES_VECTORS * FC_LANES; j += FC_LANES) {
                vec v = sum[k][r][j / FC_LANES];
                if (e->bias) v += bias;
                if (residual)
                    v += load_strided(residual + (column + j) * p->residual_pixel,
                                      p->residual_pixel, left - j);
                store_strided(out + (column + j) * p->out_pixel, p->out_pixel, activate(v, e),
                              left - j);
            }
        }
    }
}

/* Contiguous result, no residual, a simple activation: straight from the registers. */
FC_INLINE void store_tile(const int channels, const int rows, const int vectors,
                          const fc_planes_args *p, const planes_sums sum, ptrdiff_t column) {
    const fc_epilogue *e = &p->epilogue;
    const int relu = e->activation == FC_ACT_RELU;
    FC_UNROLL for (int k = 0; k < channels; k++) {
        const vec bias = splat(e->bias ? ((const real *)e->bias)[k] : 0);
        FC_UNROLL for (int r = 0; r < rows; r++) {
            if (r >= p->rows) continue;
            real *out = (real *)(p->out + k * p->out_channel + r * p->out_row) + column;
            FC_UNROLL for (int v = 0; v < vectors - 1; v++)
                store(out + v * FC_LANES, inline_activation(sum[k][r][v] + bias, relu));
            const ptrdiff_t done = (vectors - 1) * FC_LANES;
            store_upto(out + done, inline_activation(sum[k][r][vectors - 1] + bias, relu),
                       p->columns - column - done);
        }
    }
}

FC_INLINE void planes_tile(const int channels, const int rows, const int vectors,
                           const fc_planes_args *p, ptrdiff_t column) {
    planes_sums sum;
    FC_UNROLL for (int k = 0; k < channels; k++) {
        FC_UNROLL for (int r = 0; r < rows; r++) {
            FC_UNROLL for (int v = 0; v < vectors; v++) sum[k][r][v] = (vec){0};
        }
    }
    const char *x = p->x + column * (ptrdiff_t)sizeof(real), *w = p->w;
    for (ptrdiff_t plane = 0; plane < p->planes; plane++, x += p->x_plane, w += p->w_plane)
        add_plane(channels, rows, vectors, sum, x, (const real *)w, p);

    if (p->load_sums || !p->finish) {
        FC_UNROLL for (int k = 0; k < channels; k++) {
            FC_UNROLL for (int r = 0; r < rows; r++) {
                if (r >= p->rows) continue;
                real *sums = (real *)(p->sums + k * p->sum_channel + r * p->sum_row) + column;
                FC_UNROLL for (int v = 0; v < vectors; v++) {
                    if (p->load_sums) sum[k][r][v] = load(sums + v * FC_LANES) + sum[k][r][v];
                    if (!p->finish) store(sums + v * FC_LANES, sum[k][r][v]);
                }
            }
        }
        if (!p->finish) return;
    }
    if (p->out_pixel == (ptrdiff_t)sizeof(real) && !p->residual &&
        is_inline_activation(&p->epilogue)) {
        store_tile(channels, rows, vectors, p, sum, column);
        return;
    }
    planes_sums kept; /* indexed by variables: sum itself must stay in registers */
    FC_UNROLL for (int k = 0; k < channels; k++) {
        FC_UNROLL for (int r = 0; r < rows; r++) {
            FC_UNROLL for (int v = 0; v < vectors; v++) kept[k][r][v] = sum[k][r][v];
        }
    }
    finish_tile(p, kept, column);
}

#define PLANES_CHANNELS(X, v) X(1, 4, v) X(2, 3, v) X(3, 2, v) X(4, 1, v) X(5, 1, v) X(6, 1, v)
#if FC_VECTOR_BYTES == 64
#define PLANES_TILES(X) \
    PLANES_CHANNELS(X, 1) PLANES_CHANNELS(X, 2) PLANES_CHANNELS(X, 3) PLANES_CHANNELS(X, 4)
#else
#define PLANES_TILES(X) PLANES_CHANNELS(X, 1) PLANES_CHANNELS(X, 2)
#endif

#define DEFINE_PLANES(channels, rows, vectors)                                                  \
    static void planes_##channels##x##rows##x##vectors(const fc_planes_args *p, ptrdiff_t column) { \
        planes_tile(channels, rows, vectors, p, column);                                        \
    }
PLANES_TILES(DEFINE_PLANES)

#define ENTER_PLANES(channels, rows, vectors) \
    [channels][vectors] = planes_##channels##x##rows##x##vectors,
static void (*const planes_tiles[FC_PLANES_CHANNELS + 1][PLANES_VECTORS + 1])(
    const fc_planes_args *, ptrdiff_t) = {PLANES_TILES(ENTER_PLANES)};

static void planes(const fc_planes_args *p) {
    const ptrdiff_t widest = PLANES_VECTORS * FC_LANES;
    for (ptrdiff_t column = 0; column < p->columns; column += widest) {
        const ptrdiff_t left = p->columns - column;
        const ptrdiff_t vectors = left >= widest ? PLANES_VECTORS : ceil_div(left, FC_LANES);
        planes_tiles[p->channels][vectors](p, column);
    }
}

/* ---------------------------------------------------------------- depthwise */

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
enum { DEPTHWISE_VECTORS = 2 };

typedef vec depthwise_sums[DEPTHWISE_PIXELS][DEPTHWISE_VECTORS];

FC_NOINLINE void finish_pixels(const fc_depthwise_args *d, const depthwise_sums sum,
                               ptrdiff_t pixel, int pixels, ptrdiff_t channel, int vectors) {
    const fc_epilogue *e = &d->epilogue;
    const real *bias = (const real *)e->bias;
    for (int j = 0; j < pixels; j++) {
        real *out = (real *)(d->out + (pixel + j) * d->out_pixel);
        const real *residual =
            d->residual ? (const real *)(d->residual + (pixel + j) * d->residual_pixel) : NULL;
        for (int v = 0; v < vectors; v++) {
            const ptrdiff_t c = channel + v * FC_LANES, left = d->channels - c;
            vec y = sum[j][v];
            if (bias) y += load_upto(bias + c, left);
            if (residual) y += load_upto(residual + c, left);
            store_upto(out + c, activate(y, e), left);
        }
    }
}

/* lanes: of the last vector, FC_LANES for a whole one (a constant where whole). */
FC_INLINE void depthwise_tile(const int pixels, const int vectors, const int whole,
                              const fc_depthwise_args *d, ptrdiff_t pixel, ptrdiff_t channel) {
    const int lanes = whole ? FC_LANES : (int)(d->channels - channel);
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
            for (ptrdiff_t t = 0; t < d->taps; t++, x += row->tap, w += d->w_tap) {
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
        if (y0 > 0 || y1 < d->rows) {
            FC_UNROLL for (int j = 0; j < pixels; j++) {
                FC_UNROLL for (int v = 0; v < vectors; v++) {
                    if (y0 > 0) sum[j][v] = total[j][v] + sum[j][v];
                    total[j][v] = sum[j][v];
                }
            }
        }
        if (y1 == d->rows) break;
        y0 = y1;
    }
    const fc_epilogue *e = &d->epilogue;
    if (d->residual || !is_inline_activation(e)) {
        depthwise_sums kept;
        FC_UNROLL for (int j = 0; j < pixels; j++) {
            FC_UNROLL for (int v = 0; v < vectors; v++) kept[j][v] = sum[j][v];
        }
        finish_pixels(d, kept, pixel, pixels, channel, vectors);
        return;
    }
    const int relu = e->activation == FC_ACT_RELU;
    char *out = d->out + pixel * d->out_pixel + at;
    FC_UNROLL for (int v = 0; v < vectors; v++) {
        const real *bias = (const real *)e->bias + channel + v * FC_LANES;
        const vec b = !e->bias ? (vec){0} : whole ? load(bias) : load_first(bias, lanes);
        FC_UNROLL for (int j = 0; j < pixels; j++) {
            const vec y = inline_activation(sum[j][v] + b, relu);
            real *to = (real *)(out + j * d->out_pixel) + v * FC_LANES;
            if (whole) store(to, y);
            else store_first(to, y, lanes);
        }
    }
}

/* Two whole vectors, one whole vector, one masked vector. */
#define DEPTHWISE_TILES(X) UPTO_PIXELS(X, 2, 1) UPTO_PIXELS(X, 1, 1) UPTO_PIXELS(X, 1, 0)
#define DEFINE_DEPTHWISE(pixels, vectors, whole)                                             \
    static void depthwise_##pixels##x##vectors##x##whole(const fc_depthwise_args *d,         \
                                                         ptrdiff_t pixel, ptrdiff_t channel) { \
        depthwise_tile(pixels, vectors, whole, d, pixel, channel);                           \
    }
DEPTHWISE_TILES(DEFINE_DEPTHWISE)

#define ENTER_DEPTHWISE(pixels, vectors, whole) \
    [vectors - 1 + whole][pixels] = depthwise_##pixels##x##vectors##x##whole,
static void (*const depthwise_tiles[DEPTHWISE_VECTORS + 1][DEPTHWISE_PIXELS + 1])(
    const fc_depthwise_args *, ptrdiff_t, ptrdiff_t) = {DEPTHWISE_TILES(ENTER_DEPTHWISE)};

static void depthwise(const fc_depthwise_args *d) {
    for (ptrdiff_t pixel = 0; pixel < d->pixels; pixel += DEPTHWISE_PIXELS) {
        const ptrdiff_t left = d->pixels - pixel;
        const ptrdiff_t pixels = left < DEPTHWISE_PIXELS ? left : DEPTHWISE_PIXELS;
        for (ptrdiff_t channel = 0; channel < d->channels;) {
            const ptrdiff_t whole = (d->channels - channel) / FC_LANES;
            const ptrdiff_t vectors = whole < DEPTHWISE_VECTORS ? whole : DEPTHWISE_VECTORS;
            depthwise_tiles[vectors][pixels](d, pixel, channel);
            channel += (vectors ? vectors : 1) * FC_LANES;
        }
    }
}

const fc_direct_kernels FC_TABLE(direct) = {
    FC_LANES,         PLANES_VECTORS, PLANES_ROWS, DEPTHWISE_PIXELS, DEPTHWISE_VECTORS,
    interleave,       split,          planes,      depthwise,
};
