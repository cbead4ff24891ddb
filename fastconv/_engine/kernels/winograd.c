/* Winograd's transforms: input tiles to V, M to output tiles, filters to U.
 *
 * Each works on one vector of channels. The nested transform of a tile is taken by groups of rows
 * (a pair of points, or outputs of one parity): a group's rows of the first transform are held in
 * registers and go through the second one at once, so a tile never makes a trip through the
 * stack; what it costs is loading the tile's pixels once per group. The 1-D transforms themselves
 * are generated (winograd_matrices.py). F(m, taps) has n = m + taps - 1 points along an axis.
 */
#include "activation.h"
#include "kernels.h"
#include "simd.h"
#include "transposed.h"

/* Doubles for the filters: a vector's worth whatever the element type. */
typedef double dvec __attribute__((vector_size(FC_VECTOR_BYTES)));
enum { DOUBLES = FC_VECTOR_BYTES / (int)sizeof(double), MAX_TAPS = 7, MAX_POINTS = 8 };
enum { MAX_KERNEL = 5 * 5 };

#include "winograd_matrices.h"

#define GROUPS(n) ((n) / 2 + 1) /* of n points: 0, the pairs, infinity */
#define IS_PAIR(n, group) ((group) != 0 && (group) != GROUPS(n) - 1)

FC_INLINE vec read(const char *p, ptrdiff_t left, const int whole) {
    return whole ? load((const real *)p) : load_first((const real *)p, (int)left);
}

/* ---- input ---- */

/* One line of n values to its n points, stored `point` apart from dst on; returns the end. */
FC_INLINE char *input_line(const int n, const vec *d, char *dst, ptrdiff_t point) {
    FC_UNROLL for (int group = 0; group < GROUPS(n); group++) {
        vec t[2];
        input_points(n, group, d, t);
        FC_UNROLL for (int k = 0; k < 2; k++) {
            if (k == 1 && !IS_PAIR(n, group)) continue;
            store((real *)dst, t[k]);
            dst += point;
        }
    }
    return dst;
}

FC_INLINE void input_tile(const int n, const int axes, const int whole,
                          const fc_winograd_input_args *a, const char *src, ptrdiff_t left,
                          char *dst) {
    const ptrdiff_t row = a->src_row, pixel = a->src_pixel, point = a->dst_point;
    /* V is larger than the nearer caches: ask for all its lines at once, not store by store. */
    for (int i = 0; i < (axes == 1 ? n : n * n); i++) __builtin_prefetch(dst + i * point, 1);
    if (axes == 1) {
        vec d[MAX_POINTS];
        FC_UNROLL for (int i = 0; i < n; i++) d[i] = read(src + i * pixel, left, whole);
        input_line(n, d, dst, point);
        return;
    }
    FC_UNROLL for (int group = 0; group < GROUPS(n); group++) {
        vec line[2][MAX_POINTS];
        FC_UNROLL for (int j = 0; j < n; j++) {
            vec d[MAX_POINTS], t[2];
            FC_UNROLL for (int i = 0; i < n; i++)
                d[i] = read(src + i * row + j * pixel, left, whole);
            input_points(n, group, d, t);
            line[0][j] = t[0];
            if (IS_PAIR(n, group)) line[1][j] = t[1];
        }
        dst = input_line(n, line[0], dst, point);
        if (IS_PAIR(n, group)) dst = input_line(n, line[1], dst, point);
    }
}

FC_INLINE void input_run(const int n, const int axes, const fc_winograd_input_args *a) {
    const ptrdiff_t element = sizeof(real), row_bytes = a->block * element;
    const ptrdiff_t first_block = a->first_channel / a->block;
    const ptrdiff_t first_inside = (a->first_channel % a->block) * element;
    ptrdiff_t group = a->first_tile / a->rows, row = a->first_tile % a->rows;
    for (ptrdiff_t tile = 0; tile < a->tiles; tile++) {
        const char *src = a->src + tile * a->src_tile;
        char *block = a->dst + group * a->dst_group + row * row_bytes + first_block * a->dst_block;
        ptrdiff_t inside = first_inside;
        for (ptrdiff_t left = a->channels; left > 0; left -= FC_LANES) {
            if (left >= FC_LANES) input_tile(n, axes, 1, a, src, left, block + inside);
            else input_tile(n, axes, 0, a, src, left, block + inside);
            src += FC_VECTOR_BYTES;
            inside += FC_VECTOR_BYTES;
            if (inside == row_bytes) {
                inside = 0;
                block += a->dst_block;
            }
        }
        if (++row == a->rows) {
            row = 0;
            group++;
        }
    }
}

/* ---- output ---- */

/* Outputs parity, parity + 2, ... of one line of n products, through the epilogue. */
FC_INLINE void output_line(const int m, const int n, const fc_winograd_output_args *a,
                           const vec *p, vec bias, vec slope, const inline_numbers *numbers,
                           ptrdiff_t width, char *dst, const char *residual, ptrdiff_t left) {
    FC_UNROLL for (int parity = 0; parity < 2; parity++) {
        vec y[FC_WINOGRAD_MAX_TILE / 2];
        output_points(m, n, parity, p, y);
        FC_UNROLL for (int i = 0; i < m / 2; i++) {
            const int column = 2 * i + parity;
            y[i] += bias;
            if (residual && column < width)
                y[i] += load_upto((const real *)(residual + column * a->residual_pixel), left);
        }
        inline_activations(numbers, slope, m / 2, y);
        FC_UNROLL for (int i = 0; i < m / 2; i++) {
            const int column = 2 * i + parity;
            if (column >= width) continue;
            real *to = (real *)(dst + column * a->dst_pixel);
            if (a->streams) stream(to, y[i]);
            else store_upto(to, y[i], left);
        }
    }
}

FC_INLINE void output_tile(const int m, const int n, const int axes,
                           const fc_winograd_output_args *a, const char *src, vec bias,
                           vec slope, const inline_numbers *numbers, ptrdiff_t width, char *dst,
                           const char *residual, ptrdiff_t left) {
    const ptrdiff_t point = a->src_point;
    if (axes == 1) {
        vec p[MAX_POINTS];
        FC_UNROLL for (int i = 0; i < n; i++) p[i] = load((const real *)(src + i * point));
        output_line(m, n, a, p, bias, slope, numbers, width, dst, residual, left);
        return;
    }
    FC_UNROLL for (int parity = 0; parity < 2; parity++) {
        vec line[FC_WINOGRAD_MAX_TILE / 2][MAX_POINTS];
        FC_UNROLL for (int j = 0; j < n; j++) {
            vec p[MAX_POINTS], y[FC_WINOGRAD_MAX_TILE / 2];
            FC_UNROLL for (int i = 0; i < n; i++)
                p[i] = load((const real *)(src + (i * n + j) * point));
            output_points(m, n, parity, p, y);
            FC_UNROLL for (int i = 0; i < m / 2; i++) line[i][j] = y[i];
        }
        FC_UNROLL for (int i = 0; i < m / 2; i++) {
            const int row = 2 * i + parity;
            if (row < a->height)
                output_line(m, n, a, line[i], bias, slope, numbers, width,
                            dst + row * a->dst_row, residual ? residual + row * a->residual_row : NULL, left);
        }
    }
}

FC_INLINE void output_run(const int m, const int n, const int axes,
                          const fc_winograd_output_args *a) {
    const char *biases = a->epilogue.bias;
    const inline_numbers numbers = numbers_of(&a->epilogue);
    for (ptrdiff_t tile = 0; tile < a->tiles; tile++) {
        const ptrdiff_t columns = a->width - tile * a->tile_width;
        const ptrdiff_t width = (columns + a->dilation - 1) / a->dilation;
        for (ptrdiff_t c = 0; c < a->channels; c += FC_LANES) {
            const ptrdiff_t left = a->channels - c, bytes = c * (ptrdiff_t)sizeof(real);
            /* -0 changes nothing, not even the sign of a zero */
            const vec bias = biases ? load_upto((const real *)biases + c, left) : splat((real)-0.0);
            const char *residual =
                a->residual ? a->residual + tile * a->residual_tile + bytes : NULL;
            const vec slope = slopes_of(&a->epilogue, c, left);
            output_tile(m, n, axes, a, a->src + tile * a->src_tile + bytes, bias, slope, &numbers,
                        width, a->dst + tile * a->dst_tile + bytes, residual, left);
        }
    }
}

/* ---- filters ---- */

#if FC_DTYPE == 32
typedef float half_vec
    __attribute__((vector_size(FC_VECTOR_BYTES / 2), aligned(sizeof(real)), may_alias));
FC_INLINE dvec widen(const real *p) {
    return __builtin_convertvector(*(const half_vec *)p, dvec);
}
FC_INLINE void store_rounded(real *p, dvec v) {
    *(half_vec *)p = __builtin_convertvector(v, half_vec);
}
#else
FC_INLINE dvec widen(const real *p) { return load(p); }
FC_INLINE void store_rounded(real *p, dvec v) { store(p, v); }
#endif

FC_INLINE char *filter_line(const int taps, const int n, const dvec *g, char *dst,
                            ptrdiff_t point) {
    FC_UNROLL for (int group = 0; group < GROUPS(n); group++) {
        dvec t[2];
        filter_points(taps, n, group, g, t);
        store_rounded((real *)dst, t[0]);
        dst += point;
        if (IS_PAIR(n, group)) {
            store_rounded((real *)dst, t[1]);
            dst += point;
        }
    }
    return dst;
}

/* One input channel's taps, [tap][lane], of DOUBLES output channels. */
FC_INLINE void filter_tile(const int taps, const int n, const int axes, const real *weights,
                           char *dst, ptrdiff_t point) {
    if (axes == 1) {
        dvec g[MAX_TAPS];
        FC_UNROLL for (int j = 0; j < taps; j++) g[j] = widen(weights + j * FC_LANES);
        filter_line(taps, n, g, dst, point);
        return;
    }
    dvec g[MAX_TAPS][MAX_TAPS]; /* [column][row] */
    FC_UNROLL for (int i = 0; i < taps; i++) {
        FC_UNROLL for (int j = 0; j < taps; j++)
            g[j][i] = widen(weights + (i * taps + j) * FC_LANES);
    }
    FC_UNROLL for (int group = 0; group < GROUPS(n); group++) {
        dvec line[2][MAX_TAPS];
        FC_UNROLL for (int j = 0; j < taps; j++) {
            dvec t[2];
            filter_points(taps, n, group, g[j], t);
            line[0][j] = t[0];
            if (IS_PAIR(n, group)) line[1][j] = t[1];
        }
        dst = filter_line(taps, n, line[0], dst, point);
        if (IS_PAIR(n, group)) dst = filter_line(taps, n, line[1], dst, point);
    }
}

/* FC_LANES consecutive weights of as many output channels, [weight][channel]. */
FC_NOINLINE void turn_weights(const char *from, ptrdiff_t row, ptrdiff_t outputs, ptrdiff_t count,
                              real *to) {
    vec block[FC_LANES];
    if (outputs >= FC_LANES && count >= FC_LANES)
        load_transposed(block, 1, from, row, outputs, count);
    else
        load_transposed(block, 0, from, row, outputs, count);
    FC_UNROLL for (int i = 0; i < FC_LANES; i++) store(to + i * FC_LANES, block[i]);
}

/* FC_LANES input channels x FC_LANES output channels at a time, transposed in registers. */
FC_INLINE void filter_panel(const int taps, const int n, const int axes,
                            const fc_winograd_filter_args *a) {
    const int kernel = axes == 1 ? taps : taps * taps;
    real scratch[MAX_KERNEL * FC_LANES * FC_LANES] FC_ALIGNED;
    for (ptrdiff_t k0 = 0; k0 < a->width; k0 += FC_LANES) {
        const ptrdiff_t outputs = a->channels - k0;
        for (ptrdiff_t c0 = 0; c0 < a->depth; c0 += FC_LANES) {
            const ptrdiff_t inputs = a->depth - c0 < FC_LANES ? a->depth - c0 : FC_LANES;
            const ptrdiff_t run = inputs * kernel;
            for (ptrdiff_t w0 = 0; w0 < run; w0 += FC_LANES) {
                const char *from = a->weight + k0 * a->row
                                   + (c0 * kernel + w0) * (ptrdiff_t)sizeof(real);
                turn_weights(from, a->row, outputs, run - w0, scratch + w0 * FC_LANES);
            }
            for (ptrdiff_t c = 0; c < inputs; c++) {
                for (int k = 0; k < FC_LANES; k += DOUBLES)
                    filter_tile(taps, n, axes, scratch + c * kernel * FC_LANES + k,
                                a->dst + ((c0 + c) * a->width + k0 + k) * (ptrdiff_t)sizeof(real),
                                a->dst_point);
            }
        }
    }
}

#define DEFINE_INPUT(n)                                                                           \
    static void input_1d_##n(const fc_winograd_input_args *a) { input_run(n, 1, a); }             \
    static void input_2d_##n(const fc_winograd_input_args *a) { input_run(n, 2, a); }

#define DEFINE_1D(m, r)                                                                           \
    static void output_1d_##m##_##r(const fc_winograd_output_args *a) {                           \
        output_run(m, m + r - 1, 1, a);                                                           \
    }                                                                                             \
    static void filter_1d_##m##_##r(const fc_winograd_filter_args *a) {                           \
        filter_panel(r, m + r - 1, 1, a);                                                         \
    }
#define DEFINE_2D(m, r)                                                                           \
    static void output_2d_##m##_##r(const fc_winograd_output_args *a) {                           \
        output_run(m, m + r - 1, 2, a);                                                           \
    }                                                                                             \
    static void filter_2d_##m##_##r(const fc_winograd_filter_args *a) {                           \
        filter_panel(r, m + r - 1, 2, a);                                                         \
    }

DEFINE_INPUT(4)
DEFINE_INPUT(6)
DEFINE_INPUT(8)
#define FORMS_1D(X) X(2, 3) X(4, 3) X(6, 3) X(2, 5) X(4, 5) X(2, 7)
#define FORMS_2D(X) X(2, 3) X(4, 3) X(6, 3) X(2, 5) X(4, 5)
FORMS_1D(DEFINE_1D)
FORMS_2D(DEFINE_2D)

#define BY_POINTS(stem) {stem##_4, stem##_6, stem##_8}
#define NAME(m, r) {m, r},
#define OUTPUT_1D(m, r) output_1d_##m##_##r,
#define OUTPUT_2D(m, r) output_2d_##m##_##r,
#define FILTER_1D(m, r) filter_1d_##m##_##r,
#define FILTER_2D(m, r) filter_2d_##m##_##r,

const fc_winograd_kernels FC_TABLE(winograd) = {
    {FORMS_1D(NAME)},
    {BY_POINTS(input_1d), BY_POINTS(input_2d)},
    {{FORMS_1D(OUTPUT_1D)}, {FORMS_2D(OUTPUT_2D)}},
    {{FORMS_1D(FILTER_1D)}, {FORMS_2D(FILTER_2D)}},
};
