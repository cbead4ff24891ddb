/* Between the arrays and the channels-last scratch: gather pixels in, finish sums out.
 *
 * finish takes a block of sums [pixels][channels] through the epilogue (bias, residual,
 * activation) to wherever the result lives: rows() where a pixel's channels are contiguous,
 * planes() where a channel's pixels are (through a register transpose) or for any strides.
 * Both apply the same operations in the same order, so the layout never changes a bit.
 */
#include "activation.h"
#include "kernels.h"
#include "simd.h"
#include "strided.h"
#include "transposed.h"

/* Lines of a result that no cache has near would come one after the other. */
enum { PIXELS_AHEAD = 4 };

/* A pixel's channels on their way out; its loops fetch nothing else from memory that a store might have
 * changed, for all that the compiler knows. */
typedef struct {
    const real *sums, *bias, *residual;
    real *out, *soon; /* and where some pixels later go */
} pixel_rows;

/* Some vectors from channel c on, a constant number, of which the last may be narrower; `bounded` says
 * that bounds are all that is asked for. */
FC_INLINE void finish_vectors(const int bounded, const int vectors, const pixel_rows *r,
                              const fc_epilogue *e, const inline_numbers *numbers, ptrdiff_t c,
                              ptrdiff_t left) {
    FC_UNROLL for (int i = 0; i < vectors; i++, c += FC_LANES, left -= FC_LANES) {
        vec v = load_upto(r->sums + c, left);
        __builtin_prefetch(r->soon + c, 1);
        if (r->bias) v += load_upto(r->bias + c, left);
        if (r->residual) v += load_upto(r->residual + c, left);
        if (bounded) v = clip_vec(v, splat(numbers->low), splat(numbers->high));
        else if (is_inline_activation(e)) inline_activations(numbers, slopes_of(e, c, left), 1, &v);
        else v = activate_general(v, e);
        store_upto(r->out + c, v, left);
    }
}

FC_INLINE void finish_rows(const int bounded, const fc_finish_args *f) {
    const fc_epilogue *e = &f->epilogue;
    inline_numbers numbers = numbers_of(e);
    if (!numbers.any) numbers.low = -numbers.high; /* nothing is beyond infinity */
    const ptrdiff_t pixels = f->pixels, channels = f->channels, sum_row = f->sum_row;
    const ptrdiff_t row_offset = f->row_offset, residual_row_offset = f->residual_row_offset;
    char *const *const out_rows = f->out_rows;
    const char *const *const residual_rows = f->residual_rows;
    const char *sums = f->sums;
    pixel_rows r = {.bias = (const real *)e->bias};
    for (ptrdiff_t p = 0; p < pixels; p++, sums += sum_row) {
        ptrdiff_t c = 0;
        r.sums = (const real *)sums;
        r.out = (real *)(out_rows[p] + row_offset);
        r.soon = (real *)(out_rows[p + PIXELS_AHEAD < pixels ? p + PIXELS_AHEAD : p] + row_offset);
        if (residual_rows) r.residual = (const real *)(residual_rows[p] + residual_row_offset);
        for (; channels - c >= 2 * FC_LANES; c += 2 * FC_LANES)
            finish_vectors(bounded, 2, &r, e, &numbers, c, 2 * FC_LANES);
        for (; c < channels; c += FC_LANES)
            finish_vectors(bounded, 1, &r, e, &numbers, c, channels - c);
    }
}

static void rows(const fc_finish_args *f) {
    if (is_clip_activation(&f->epilogue)) finish_rows(1, f);
    else finish_rows(0, f);
}

/* One channel's run of at most FC_LANES pixels through the epilogue to the result. */
FC_INLINE void finish_channel(const fc_finish_args *f, vec v, ptrdiff_t c, ptrdiff_t p) {
    const real *bias = (const real *)f->epilogue.bias;
    const ptrdiff_t pixels = f->pixels - p;
    if (bias) v += bias[c];
    if (f->residual)
        v += load_strided(f->residual + c * f->residual_channel + p * f->residual_pixel,
                          f->residual_pixel, pixels);
    store_strided(f->out + c * f->out_channel + p * f->out_pixel, f->out_pixel,
                  activate_pixels(v, &f->epilogue, c), pixels);
}

/* Whether every channel's pixels lie side by side, and nothing but vectors' own operations is asked
 * of them. */
static int is_dense(const fc_finish_args *f) {
    const ptrdiff_t element = sizeof(real);
    return f->out_pixel == element && (!f->residual || f->residual_pixel == element) &&
           is_inline_activation(&f->epilogue);
}

/* A square of sums, turned: what finish_channel() does to each channel, all branches taken once. */
FC_INLINE void dense_block(const fc_finish_args *f, const inline_numbers *numbers, const int whole,
                           ptrdiff_t c0, ptrdiff_t p0) {
    const ptrdiff_t element = sizeof(real);
    const ptrdiff_t channels = f->channels - c0, pixels = whole ? FC_LANES : f->pixels - p0;
    vec block[FC_LANES];
    if (whole) { /* the next square's lines are in as many planes: no processor foresees those */
        const char *soon = f->out + c0 * f->out_channel + (p0 + FC_LANES) * element;
        FC_UNROLL for (int i = 0; i < FC_LANES; i++) __builtin_prefetch(soon + i * f->out_channel, 1);
    }
    load_transposed(block, whole, f->sums + p0 * f->sum_row + c0 * element, f->sum_row, pixels,
                    channels);
    if (f->epilogue.bias) {
        const real *bias = (const real *)f->epilogue.bias + c0;
        FC_UNROLL for (int i = 0; i < FC_LANES; i++)
            if (whole || i < channels) block[i] += bias[i];
    }
    if (f->residual) {
        const char *residual = f->residual + c0 * f->residual_channel + p0 * element;
        FC_UNROLL for (int i = 0; i < FC_LANES; i++)
            if (whole || i < channels)
                block[i] += load_upto((const real *)(residual + i * f->residual_channel), pixels);
    }
    if (numbers->sloped) {
        const real *slopes = (const real *)f->epilogue.slopes + c0;
        FC_UNROLL for (int i = 0; i < FC_LANES; i++)
            if (whole || i < channels) block[i] = leaky_vec(block[i], splat(slopes[i]));
    } else {
        inline_activations(numbers, (vec){0}, FC_LANES, block);
    }
    char *out = f->out + c0 * f->out_channel + p0 * element;
    FC_UNROLL for (int i = 0; i < FC_LANES; i++)
        if (whole || i < channels) store_upto((real *)(out + i * f->out_channel), block[i], pixels);
}

static void strided_block(const fc_finish_args *f, ptrdiff_t c0, ptrdiff_t p0) {
    const ptrdiff_t channels = f->channels - c0;
    vec block[FC_LANES];
    load_transposed(block, 0, f->sums + p0 * f->sum_row + c0 * (ptrdiff_t)sizeof(real), f->sum_row,
                    f->pixels - p0, channels);
    for (int i = 0; i < FC_LANES && i < channels; i++) finish_channel(f, block[i], c0 + i, p0);
}

static void planes(const fc_finish_args *f) {
    const inline_numbers numbers = numbers_of(&f->epilogue);
    const int dense = is_dense(f);
    for (ptrdiff_t c0 = 0; c0 < f->channels; c0 += FC_LANES)
        for (ptrdiff_t p0 = 0; p0 < f->pixels; p0 += FC_LANES) {
            const int whole = f->pixels - p0 >= FC_LANES && f->channels - c0 >= FC_LANES;
            if (!dense) strided_block(f, c0, p0);
            else if (whole) dense_block(f, &numbers, 1, c0, p0);
            else dense_block(f, &numbers, 0, c0, p0);
        }
}

/* The stores of planes() go to many planes at once: their lines, where no cache has them, would come one
 * after the other. */
static void expect(const fc_finish_args *f) {
    const ptrdiff_t bytes = f->pixels * f->out_pixel;
    for (ptrdiff_t c = 0; c < f->channels; c++)
        for (ptrdiff_t at = 0; at < bytes; at += FC_CACHE_LINE)
            __builtin_prefetch(f->out + c * f->out_channel + at, 1, 2);
}

/* A square of pixels [FC_LANES] x channels [FC_LANES], or what is left of it, into the scratch. */
FC_INLINE void gather_out(const fc_gather_args *g, const int whole, ptrdiff_t c0, ptrdiff_t p0,
                          const vec block[FC_LANES]) {
    const ptrdiff_t pixels = g->pixels - p0, channels = g->channels - c0;
    char *dst = g->dst + p0 * g->dst_pixel + c0 * (ptrdiff_t)sizeof(real);
    if (whole) {
        FC_UNROLL for (int i = 0; i < FC_LANES; i++) store((real *)(dst + i * g->dst_pixel), block[i]);
    } else {
        FC_UNROLL for (int i = 0; i < FC_LANES; i++)
            if (i < pixels) store_upto((real *)(dst + i * g->dst_pixel), block[i], channels);
    }
}

FC_INLINE void gather_block(const fc_gather_args *g, const int whole, ptrdiff_t c0, ptrdiff_t p0) {
    vec block[FC_LANES];
    load_transposed(block, whole, g->src + c0 * g->src_channel + p0 * (ptrdiff_t)sizeof(real),
                    g->src_channel, g->channels - c0, g->pixels - p0);
    gather_out(g, whole, c0, p0, block);
}

/* A vector's channels along the row: their lines are still near when the next pixels need the rest of
 * them, though planes of a power of two bytes, or nearly so, share few sets of the cache. The rows of
 * the next channels, too short for the processor to foresee, are asked for meanwhile. */
static void gather_transposed(const fc_gather_args *g) {
    for (ptrdiff_t c0 = 0; c0 < g->channels; c0 += FC_LANES)
        for (ptrdiff_t p0 = 0; p0 < g->pixels; p0 += FC_LANES) {
            if (g->pixels - p0 >= FC_LANES && g->channels - c0 >= FC_LANES) {
                if (g->channels - c0 >= 2 * FC_LANES) {
                    const char *next = g->src + (c0 + FC_LANES) * g->src_channel
                                       + p0 * (ptrdiff_t)sizeof(real);
                    for (int i = 0; i < FC_LANES; i++)
                        __builtin_prefetch(next + i * g->src_channel);
                }
                gather_block(g, 1, c0, p0);
            } else {
                gather_block(g, 0, c0, p0);
            }
        }
}

/* Every second pixel, as a stride of two wants them; the next channels' lines are asked for, too. */
static void gather_halves(const fc_gather_args *g) {
    for (ptrdiff_t c0 = 0; c0 < g->channels; c0 += FC_LANES) {
        const ptrdiff_t next = g->channels - c0 > FC_LANES ? FC_LANES * g->src_channel : 0;
        for (ptrdiff_t p0 = 0; p0 < g->pixels; p0 += FC_LANES) {
            const ptrdiff_t left = 2 * (g->pixels - p0) - 1; /* elements of a channel */
            const char *src = g->src + c0 * g->src_channel + p0 * g->src_pixel;
            vec block[FC_LANES];
            FC_UNROLL for (int i = 0; i < FC_LANES; i++) {
                const real *row = (const real *)(src + i * g->src_channel);
                __builtin_prefetch((const char *)row + next);
                __builtin_prefetch((const char *)(row + FC_LANES) + next);
                block[i] = i >= g->channels - c0
                               ? (vec){0}
                               : even_lanes(load_upto(row, left),
                                            load_upto(row + FC_LANES,
                                                      left > FC_LANES ? left - FC_LANES : 0));
            }
            transpose(block);
            gather_out(g, 0, c0, p0, block);
        }
    }
}

/* Three channels side by side, as colours are. */
static void gather_interleaved(const fc_gather_args *g) {
    const real *src[3];
    for (int c = 0; c < 3; c++) src[c] = (const real *)(g->src + c * g->src_channel);
    for (ptrdiff_t p = 0; p < g->pixels; p += FC_LANES) {
        const ptrdiff_t left = g->pixels - p;
        real *dst = (real *)g->dst + 3 * p;
        vec mixed[3];
        in_turn(load_upto(src[0] + p, left), load_upto(src[1] + p, left),
                load_upto(src[2] + p, left), mixed);
        for (int i = 0; i < 3 && 3 * left > i * FC_LANES; i++)
            store_upto(dst + i * FC_LANES, mixed[i], 3 * left - i * FC_LANES);
    }
}

static void gather_strided(const fc_gather_args *g) {
    for (ptrdiff_t p = 0; p < g->pixels; p++) {
        const char *src = g->src + p * g->src_pixel;
        real *dst = (real *)(g->dst + p * g->dst_pixel);
        for (ptrdiff_t c = 0; c < g->channels; c++) dst[c] = *(const real *)(src + c * g->src_channel);
    }
}

static void gather(const fc_gather_args *g) {
    const ptrdiff_t element = sizeof(real);
    if (g->src_channel == element) {
        const int dense = g->src_pixel == g->channels * element && g->dst_pixel == g->src_pixel;
        const ptrdiff_t runs = dense ? 1 : g->pixels;
        const size_t bytes = (size_t)(g->channels * element * (dense ? g->pixels : 1));
        for (ptrdiff_t p = 0; p < runs; p++)
            memcpy(g->dst + p * g->dst_pixel, g->src + p * g->src_pixel, bytes);
    } else if (g->src_pixel == element && g->channels == 3 && g->dst_pixel == 3 * element) {
        gather_interleaved(g);
    } else if (g->src_pixel == element && g->channels >= 2) {
        gather_transposed(g);
    } else if (g->src_pixel == 2 * element && g->channels >= 2) {
        gather_halves(g);
    } else {
        gather_strided(g);
    }
}

const fc_finish_kernels FC_TABLE(finish) = {rows, planes, expect, gather, end_stream};
