/* The register tiles of the direct algorithm.
 *
 * planes: vectors along the width. A tile holds some output rows of some output channels; one
 * input row is loaded once per tap and feeds every output row whose window it lies in, so a 5x5
 * filter with four output rows loads 40 vectors for 100 multiply-adds. Each element's sum still
 * runs over input plane, kernel row, tap in this order, whatever tile it falls into. From four
 * output channels on a tile is one output row, and that order one loop.
 *
 * planes_in_place.h holds the tiles that need no copy of a plane, pointwise_tiles.h those of one
 * tap. Vectors along the channels: depthwise_tiles.h and, for groups of a few, grouped_tiles.h.
 */
#include "depthwise_tiles.h"
#include "grouped_tiles.h"
#include "kernels.h"
#include "planes_in_place.h"
#include "planes_tiles.h"
#include "pointwise_tiles.h"
#include "simd.h"
#include "transposed.h"

/* ---------------------------------------------------------------- planes: copies */

static void interleave(const fc_interleave_args *p) {
    const ptrdiff_t row = p->taps * (ptrdiff_t)sizeof(real);
    for (ptrdiff_t k = 0; k < p->channels; k += FC_LANES) {
        for (ptrdiff_t t = 0; t < p->taps; t += FC_LANES) {
            const ptrdiff_t channels = p->channels - k, taps = p->taps - t;
            const char *weight = p->weight + k * row + t * (ptrdiff_t)sizeof(real);
            real *dst = (real *)p->dst + t * p->channels + k;
            vec block[FC_LANES];
            load_transposed(block, 0, weight, row, channels, taps);
            FC_UNROLL for (int i = 0; i < FC_LANES; i++)
                if (i < taps) store_upto(dst + i * p->channels, block[i], channels);
        }
    }
}

static void zero(real *dst, ptrdiff_t first, ptrdiff_t last) {
    for (ptrdiff_t i = first; i < last; i += FC_LANES) store(dst + i, (vec){0});
}

/* Elements of a row before column `end` that lie at phase, phase + stride, ... */
FC_INLINE ptrdiff_t count_before(ptrdiff_t end, ptrdiff_t phase, ptrdiff_t stride) {
    return end > phase ? (end - phase + stride - 1) / stride : 0;
}

/* One piece of a row: zeros, elements [from, to) from src, zeros up to count. All of it is written
 * in whole vectors going upwards, each overwriting what the one before wrote too much. */
typedef struct {
    ptrdiff_t from, to, count;
} piece;

FC_INLINE void copy_contiguous(real *dst, const real *src, piece p) {
    store(dst, (vec){0});
    if (p.from > FC_LANES) zero(dst, FC_LANES, p.from);
    for (; p.to - p.from >= FC_LANES; p.from += FC_LANES, src += FC_LANES)
        store(dst + p.from, load(src));
    if (p.from < p.to) {
        store(dst + p.from, load_first(src, (int)(p.to - p.from)));
        p.from += FC_LANES;
    }
    if (p.from < p.count) zero(dst, p.from, p.count);
}

/* Both halves of a row at stride 2: src's first element belongs to p, its second to q. */
FC_INLINE void copy_halves(real *p_dst, piece p, real *q_dst, piece q, const real *src) {
    zero(p_dst, 0, p.from);
    zero(q_dst, 0, q.from);
    for (ptrdiff_t left = p.to - p.from + q.to - q.from; left > 0; left -= 2 * FC_LANES) {
        const vec a = load_upto(src, left);
        const vec b = load_upto(src + FC_LANES, left > FC_LANES ? left - FC_LANES : 0);
        store(p_dst + p.from, even_lanes(a, b));
        store(q_dst + q.from, odd_lanes(a, b));
        p.from += FC_LANES;
        q.from += FC_LANES;
        src += 2 * FC_LANES;
    }
    zero(p_dst, p.from, p.count);
    zero(q_dst, q.from, q.count);
}

FC_INLINE void copy_strided(real *dst, const char *src, ptrdiff_t step, piece p) {
    zero(dst, 0, p.from);
    for (ptrdiff_t i = p.from; i < p.to; i++, src += step) dst[i] = *(const real *)src;
    zero(dst, p.to, p.count);
}

FC_INLINE piece piece_of(const fc_split_args *s, ptrdiff_t phase) {
    const ptrdiff_t stride = s->stride;
    return (piece){count_before(s->first, phase, stride), count_before(s->last, phase, stride),
                   count_before(s->columns, phase, stride)};
}

static void split_strided(const fc_split_args *s, const char *src, char *dst) {
    for (ptrdiff_t slot = 0; slot < s->slots; slot++, dst += s->slot) {
        const ptrdiff_t phase = slot * s->dilation % s->stride;
        const piece p = piece_of(s, phase);
        copy_strided((real *)dst, src + (p.from * s->stride + phase - s->first) * s->src_pixel,
                     s->stride * s->src_pixel, p);
    }
}

static void split(const fc_split_args *s) {
    const int contiguous = s->src_pixel == (ptrdiff_t)sizeof(real) && s->first < s->last;
    const int whole = contiguous && s->stride == 1;
    const int halves = contiguous && s->stride == 2 && s->slots == 2;
    /* of the slots that get the first and the second element */
    const ptrdiff_t phase = halves ? s->first & 1 : 0;
    const piece here = piece_of(s, phase), there = piece_of(s, 1 - phase);
    const char *src = s->src;
    char *dst = s->dst;
    for (ptrdiff_t row = 0; row < s->rows; row++, dst += s->dst_row) {
        if (row < s->first_row || row >= s->last_row) {
            zero((real *)dst, 0, s->slots * s->slot / (ptrdiff_t)sizeof(real) - FC_LANES);
            continue;
        }
        if (whole)
            copy_contiguous((real *)dst, (const real *)src, here);
        else if (halves)
            copy_halves((real *)(dst + phase * s->slot), here,
                        (real *)(dst + (1 - phase) * s->slot), there, (const real *)src);
        else
            split_strided(s, src, dst);
        src += s->src_row;
    }
}

/* ---------------------------------------------------------------- planes: tiles */

/* One input row's share of output rows first..last. w belongs to output row 0; the next output row
 * meets the same input row `up` elements of w earlier. Vectors of x are `step` bytes apart. */
FC_INLINE void add_row(const int channels, const int vectors, const int first, const int last,
                       planes_sums sum, const char *x, ptrdiff_t step, const real *w, ptrdiff_t up,
                       const fc_planes_args *p) {
    FC_TWO_STEPS for (ptrdiff_t t = 0; t < p->taps; t++, w += channels) {
        const char *xt = x + p->tap[t];
        vec value[PLANES_VECTORS];
        FC_UNROLL for (int v = 0; v < vectors; v++) value[v] = load((const real *)(xt + v * step));
        FC_UNROLL for (int r = first; r <= last; r++) {
            FC_UNROLL for (int k = 0; k < channels; k++) {
                const vec weight = splat(w[k - r * up]);
                FC_UNROLL for (int v = 0; v < vectors; v++) sum[k][r][v] += value[v] * weight;
            }
        }
    }
}

#define ROW_RANGE(FIRST, LAST)                                                            \
    case FIRST * MAX_ROWS + LAST:                                                         \
        if (LAST < rows) add_row(channels, vectors, FIRST, LAST, sum, x, step, w, up, p); \
        break;

/* All input rows of one plane that the windows of the tile's first `count` rows see. */
FC_INLINE void add_plane(const int channels, const int rows, const int vectors, ptrdiff_t count,
                         planes_sums sum, const char *x, ptrdiff_t step, const real *w,
                         const fc_planes_args *p) {
    const ptrdiff_t row_step = p->w_row / (ptrdiff_t)sizeof(real), up = p->stride * row_step;
    /* Output rows first..last see input row y; both go up by one every `stride` rows. */
    ptrdiff_t first = 0, last = 0, to_first = p->kernel_rows, to_last = p->stride;
    const ptrdiff_t input_rows = (count - 1) * p->stride + p->kernel_rows;
    for (ptrdiff_t y = 0; y < input_rows; y++, x += p->x_row, w += row_step) {
        if (to_last == 0) {
            to_last = p->stride;
            if (last < count - 1) last++;
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

FC_INLINE void planes_tile(const int channels, const int rows, const int vectors,
                           const fc_planes_args *p, const place *at) {
    planes_sums sum;
    clear_tile(channels, rows, vectors, sum);
    const ptrdiff_t element = sizeof(real), left = p->rows - at->row;
    const ptrdiff_t step = at->down * p->stride * p->x_row + at->across * element;
    const char *x = p->x + at->row * p->stride * p->x_row + at->column * element, *w = p->w;
    for (ptrdiff_t plane = 0; plane < p->planes; plane++, x += p->x_plane, w += p->w_plane)
        add_plane(channels, rows, vectors, left < rows ? left : rows, sum, x, step,
                  (const real *)w, p);
    if (p->load_sums || !p->finish) keep_tile(channels, rows, vectors, p, sum, at);
    if (p->finish) leave_tile(channels, rows, vectors, 1, p, sum, at);
}

/* One output row of many channels: the chain's steps, whatever planes, rows and taps they belong to,
 * are one loop. Each weight is broadcast once for all vectors. */
FC_INLINE void steps_tile(const int channels, const int vectors, const fc_planes_args *p,
                          const place *at) {
    planes_sums sum;
    clear_tile(channels, 1, vectors, sum);
    const ptrdiff_t below = p->stride * p->x_row, element = sizeof(real);
    /* More vectors than others have always stand beside each other. */
    const ptrdiff_t step =
        vectors > PLANES_VECTORS ? FC_VECTOR_BYTES : at->down * below + at->across * element;
    const char *x = p->x + at->row * below + at->column * element;
    const real *w = (const real *)p->w;
    const ptrdiff_t *tap = p->tap;
    for (ptrdiff_t left = p->planes * p->kernel_rows * p->taps; left > 0; left--, w += channels) {
        const char *from = x + *tap++;
        vec value[LINE_VECTORS];
        FC_UNROLL for (int v = 0; v < vectors; v++) value[v] = load((const real *)(from + v * step));
        FC_UNROLL for (int k = 0; k < channels; k++) {
            vec weight = splat(w[k]);
            FC_IN_REGISTER(weight);
            FC_UNROLL for (int v = 0; v < vectors; v++) sum[k][0][v] += value[v] * weight;
        }
    }
    if (p->load_sums || !p->finish) keep_tile(channels, 1, vectors, p, sum, at);
    if (!p->finish) return;
    if (at->across) leave_tile(channels, 1, vectors, 1, p, sum, at); /* constants: fewer branches */
    else leave_tile(channels, 1, vectors, 0, p, sum, at);
}

/* One line a kind of tile: output channels and rows, or output channels of one row. */
#define PLANES_KINDS(X, v) X(1, 4, v) X(2, 3, v) X(3, 2, v)
#define STEPS_KINDS(X, v) X(1, v) X(4, v) X(5, v) X(6, v)
#if FC_VECTOR_BYTES == 64
#define PLANES_TILES(X) PLANES_KINDS(X, 1) PLANES_KINDS(X, 2) PLANES_KINDS(X, 3) PLANES_KINDS(X, 4)
#define STEPS_TILES(X)                                                              \
    STEPS_KINDS(X, 1) STEPS_KINDS(X, 2) STEPS_KINDS(X, 3) STEPS_KINDS(X, 4) X(1, 5) \
    X(1, 6) X(1, 7) X(1, 8)
#else
#define PLANES_TILES(X) PLANES_KINDS(X, 1) PLANES_KINDS(X, 2)
#define STEPS_TILES(X) STEPS_KINDS(X, 1) STEPS_KINDS(X, 2) X(1, 3) X(1, 4)
#endif

#define DEFINE_PLANES(channels, rows, vectors)                                                 \
    static void planes_##channels##x##vectors(const fc_planes_args *p, const place *at) {      \
        planes_tile(channels, rows, vectors, p, at);                                           \
    }
PLANES_TILES(DEFINE_PLANES)

#define DEFINE_STEPS(channels, vectors)                                                 \
    static void steps_##channels##x##vectors(const fc_planes_args *p, const place *at) { \
        steps_tile(channels, vectors, p, at);                                           \
    }
STEPS_TILES(DEFINE_STEPS)

#define ENTER_PLANES(channels, rows, vectors) [channels][vectors] = planes_##channels##x##vectors,
#define ENTER_STEPS(channels, vectors) [channels][vectors] = steps_##channels##x##vectors,
typedef planes_function tiles_by_size[FC_PLANES_CHANNELS + 1][LINE_VECTORS + 1];
static const tiles_by_size planes_tiles = {PLANES_TILES(ENTER_PLANES)};
static const tiles_by_size steps_tiles = {STEPS_TILES(ENTER_STEPS)};

static void planes(const fc_planes_args *p) {
    const int one_row = planes_rows[p->channels] == 1 || (p->channels == 1 && p->rows == 1);
    const planes_function *tiles = (one_row ? steps_tiles : planes_tiles)[p->channels];
    const ptrdiff_t rows = one_row ? 1 : planes_rows[p->channels];
    const ptrdiff_t vectors = ceil_div(p->columns, FC_LANES);
    /* Tiles of a row, as even as can be: the last `wider` ones have a vector more. */
    const ptrdiff_t count =
        ceil_div(vectors, one_row && p->channels == 1 ? LINE_VECTORS : PLANES_VECTORS);
    const ptrdiff_t least = count ? vectors / count : 0, wider = vectors - least * count;
    if (p->columns <= FC_LANES) {
        cover_narrow(p, tiles, (place){.down = rows});
        return;
    }
    for (place at = {.across = FC_LANES}; at.row < p->rows; at.row += rows) {
        at.column = 0;
        for (ptrdiff_t left = count; left > 0; left--) {
            const ptrdiff_t wide = least + (left <= wider);
            tiles[wide](p, &at);
            at.column += wide * FC_LANES;
        }
    }
}

const fc_direct_kernels FC_TABLE(direct) = {
    FC_LANES,         PLANES_VECTORS, PLANES_ROWS, DEPTHWISE_PIXELS, DEPTHWISE_VECTORS,
    interleave,       split,          planes,      in_place,         pointwise,
    depthwise,        grouped,
};
