/* Splitting pixels and weights into bfloat16 halves for tiles; halves.h says which halves. */
#include "kernels.h"
#include "simd.h"

#if FC_DTYPE == 32
#include "strided.h"
#include "transposed.h"

/* ---- pixels ---- */

/* FC_LANES channels of a pixel to the upper halves' place in its copies. */
FC_INLINE void put(const fc_halves_split_args *s, char *dst, vec v) {
    if (s->low) {
        ivec high, low;
        to_halves(v, &high, &low);
        store_upper(dst, high);
        store_upper(dst + s->low, low);
    } else {
        store_upper(dst, to_half(v));
    }
}

/* A block of channels that are contiguous. */
static void split_rows(const fc_halves_split_args *s, const char *src, ptrdiff_t channels,
                       char *dst) {
    for (ptrdiff_t p = 0; p < s->pixels; p++, src += s->src_pixel, dst += FC_TILE_PIXEL) {
        const real *from = (const real *)src;
        if (channels >= FC_TILE_DEPTH) {
            FC_UNROLL for (int c = 0; c < FC_TILE_DEPTH; c += FC_LANES)
                put(s, dst + c * 2, load(from + c));
        } else {
            for (int c = 0; c < FC_TILE_DEPTH; c += FC_LANES)
                put(s, dst + c * 2, c < channels ? load_upto(from + c, channels - c) : (vec){0});
        }
    }
}

/* A vector of a plane's pixels; of every other pixel two vectors hold it, where more follow. */
FC_INLINE vec load_pixels(const char *src, ptrdiff_t step, ptrdiff_t pixels) {
    const real *from = (const real *)src;
    if (step == 2 * (ptrdiff_t)sizeof(real) && pixels > FC_LANES)
        return even_lanes(load(from), load(from + FC_LANES));
    return load_strided(src, step, pixels);
}

/* FC_LANES pixels x FC_LANES channels of planes, turned in registers. */
FC_INLINE void split_square(const fc_halves_split_args *s, const int whole, const char *src,
                            ptrdiff_t channels, ptrdiff_t pixels, char *dst) {
    vec block[FC_LANES];
    if (s->src_pixel == (ptrdiff_t)sizeof(real)) {
        load_transposed(block, whole, src, s->src_channel, channels, pixels);
    } else {
        for (int i = 0; i < FC_LANES; i++)
            block[i] = i < channels ? load_pixels(src + i * s->src_channel, s->src_pixel, pixels)
                                    : (vec){0};
        transpose(block);
    }
    if (whole) {
        FC_UNROLL for (int i = 0; i < FC_LANES; i++) put(s, dst + i * FC_TILE_PIXEL, block[i]);
    } else {
        for (int i = 0; i < FC_LANES && i < pixels; i++) put(s, dst + i * FC_TILE_PIXEL, block[i]);
    }
}

static void split_planes(const fc_halves_split_args *s, const char *src, ptrdiff_t channels,
                         char *dst) {
    for (int c = 0; c < FC_TILE_DEPTH; c += FC_LANES)
        for (ptrdiff_t p = 0; p < s->pixels; p += FC_LANES) {
            const char *from = src + c * s->src_channel + p * s->src_pixel;
            char *to = dst + p * FC_TILE_PIXEL + c * 2;
            const ptrdiff_t left = channels - c, pixels = s->pixels - p;
            if (left >= FC_LANES && pixels >= FC_LANES) split_square(s, 1, from, left, pixels, to);
            else split_square(s, 0, from, left, pixels, to);
        }
}

static void zero(const fc_halves_split_args *s, char *dst, ptrdiff_t pixels) {
    memset(dst, 0, (size_t)(pixels * FC_TILE_PIXEL));
    if (s->low) memset(dst + s->low, 0, (size_t)(pixels * FC_TILE_PIXEL));
}

static void split(const fc_halves_split_args *s) {
    const ptrdiff_t end = s->first + s->pixels;
    const char *src = s->src;
    char *dst = s->dst;
    for (ptrdiff_t c = 0; c < s->channels; c += FC_TILE_DEPTH) {
        zero(s, dst, s->first);
        if (s->src_channel == (ptrdiff_t)sizeof(real))
            split_rows(s, src, s->channels - c, dst + s->first * FC_TILE_PIXEL);
        else
            split_planes(s, src, s->channels - c, dst + s->first * FC_TILE_PIXEL);
        zero(s, dst + end * FC_TILE_PIXEL, s->width - end);
        src += FC_TILE_DEPTH * s->src_channel;
        dst += s->block;
    }
}

/* ---- weights ---- */

enum { SCRATCH = 2 * FC_HALVES_TAPS }; /* weights of a vector of output channels, turned */

/* Consecutive weights of FC_LANES output channels, [weight][output channel]. */
static void turn(const fc_halves_pack_args *p, ptrdiff_t column, ptrdiff_t weight, ptrdiff_t count,
                 real *to) {
    const char *from = p->weight + column * p->row + weight * (ptrdiff_t)sizeof(real);
    for (ptrdiff_t w = 0; w < count; w += FC_LANES) {
        vec block[FC_LANES];
        load_transposed(block, 0, from + w * (ptrdiff_t)sizeof(real), p->row,
                        p->channels - column, count - w);
        FC_UNROLL for (int i = 0; i < FC_LANES; i++) store(to + (w + i) * FC_LANES, block[i]);
    }
}

/* A pair of input channels' weights side by side, the first in the lower half of each lane. */
FC_INLINE void put_pair(const fc_halves_pack_args *p, vec first, vec second, char *dst) {
    if (p->low) {
        ivec high[2], low[2];
        to_halves(first, &high[0], &low[0]);
        to_halves(second, &high[1], &low[1]);
        store((real *)dst, upper_pairs(high[0], high[1]));
        store((real *)(dst + p->across * FC_TILE_BYTES), upper_pairs(low[0], low[1]));
    } else {
        store((real *)dst, upper_pairs(to_half(first), to_half(second)));
    }
}

/* Some input channels, an even number, of FC_LANES output channels. */
static void pack_channels(const fc_halves_pack_args *p, ptrdiff_t channel, ptrdiff_t count,
                          ptrdiff_t column) {
    real scratch[(SCRATCH + FC_LANES) * FC_LANES] FC_ALIGNED;
    const ptrdiff_t there = p->depth - channel < count ? p->depth - channel : count;
    const ptrdiff_t step = p->across * FC_TILE_BYTES * (p->low ? 2 : 1);
    const ptrdiff_t block = channel / FC_TILE_DEPTH, pair = channel % FC_TILE_DEPTH / 2;
    char *dst = p->dst + block * p->taps * step + pair * 64
                + column / FC_TILE_COLUMNS * FC_TILE_BYTES + column % FC_TILE_COLUMNS * 4;
    turn(p, column, channel * p->taps, there * p->taps, scratch);
    for (ptrdiff_t c = 0; c < count; c += 2, dst += 64)
        for (ptrdiff_t tap = 0; tap < p->taps; tap++) {
            const real *from = scratch + (c * p->taps + tap) * FC_LANES;
            const vec first = c < there ? load(from) : (vec){0};
            const vec second = c + 1 < there ? load(from + p->taps * FC_LANES) : (vec){0};
            put_pair(p, first, second, dst + tap * step);
        }
}

static void pack(const fc_halves_pack_args *p) {
    const ptrdiff_t whole = (p->depth + FC_TILE_DEPTH - 1) / FC_TILE_DEPTH * FC_TILE_DEPTH;
    const ptrdiff_t fit = SCRATCH / p->taps / 2 * 2;
    for (ptrdiff_t first = 0; first < whole; first += FC_TILE_DEPTH)
        for (ptrdiff_t c = 0; c < FC_TILE_DEPTH; c += fit) {
            const ptrdiff_t count = FC_TILE_DEPTH - c < fit ? FC_TILE_DEPTH - c : fit;
            for (ptrdiff_t k = 0; k < p->across * FC_TILE_COLUMNS; k += FC_LANES)
                pack_channels(p, first + c, count, k);
        }
}

static void add(char *sums, const char *more, ptrdiff_t count) {
    real *to = (real *)sums;
    const real *from = (const real *)more;
    for (ptrdiff_t i = 0; i < count; i += FC_LANES) store(to + i, load(to + i) + load(from + i));
}

const fc_halves_kernels FC_TABLE(halves) = {split, pack, add};
#else
const fc_halves_kernels FC_TABLE(halves) = {0};
#endif
