/* Splitting pixels and weights into bfloat16 halves for tiles; halves.h says which halves. */
#include "kernels.h"
#include "simd.h"

#if FC_DTYPE == 32
#include "strided.h"
#include "transposed.h"

enum { PAIRS = FC_TILE_DEPTH / 2 }; /* of a block's channels */

/* ---- halves ---- */

typedef uint32_t uvec __attribute__((vector_size(FC_VECTOR_BYTES)));

/* In each lane's upper half the nearest bfloat16, of two equally near the larger one. */
FC_INLINE uvec nearest(uvec bits) { return bits + 0x8000; }

/* Whether a lane of a or b is not finite, or would round to infinity. */
FC_INLINE int any_extreme(vec a, vec b) {
    const ivec first = (ivec)a & 0x7fffffff, second = (ivec)b & 0x7fffffff;
    const ivec extreme = (ivec)(first >= 0x7f7f8000) | (ivec)(second >= 0x7f7f8000);
#if defined(__AVX512F__)
    return _mm512_movepi32_mask((__m512i)extreme) != 0;
#elif defined(__AVX2__)
    return _mm256_movemask_ps((__m256)extreme) != 0;
#else
    int any = 0;
    for (int i = 0; i < FC_LANES; i++) any |= extreme[i];
    return any != 0;
#endif
}

/* v as the sum of two bfloat16, in upper halves, where no lane is extreme. */
FC_INLINE void halves_of(vec v, uvec *high, uvec *low) {
    *high = nearest((uvec)v) & 0xffff0000u;
    *low = nearest((uvec)(v - (vec)*high)); /* of an exact difference */
}

/* The same for every v: what is not finite in the low half, beside a high one of zero. */
FC_NOINLINE void halves_of_any(vec v, uvec *high, uvec *low) {
    const ivec magnitude = (ivec)v & 0x7fffffff;
    const ivec finite = (ivec)(magnitude < 0x7f800000);
    const vec rounded = blend((ivec)(magnitude >= 0x7f7f8000), v, (vec)nearest((uvec)v));
    *high = (uvec)((ivec)rounded & (finite & -0x10000));
    const vec rest = v - (vec)*high; /* a NaN comes out quiet, which its upper half shows */
    *low = (uvec)blend(finite, (vec)nearest((uvec)rest), rest);
}

/* The high half alone: NaN stays NaN, and a finite float stays finite. */
FC_NOINLINE uvec half_of_any(vec v) {
    const ivec magnitude = (ivec)v & 0x7fffffff;
    const ivec quiet = (ivec)(magnitude > 0x7f800000) & 0x00400000; /* else some would be infinite */
    return (uvec)blend((ivec)(magnitude >= 0x7f7f8000), (vec)((ivec)v | quiet),
                       (vec)nearest((uvec)v));
}

/* A word a lane: the upper halves of a, below, and b, above. */
FC_INLINE void store_words(char *dst, uvec a, uvec b) {
    store((real *)dst, (vec)(a >> 16 | (b & 0xffff0000u)));
}

/* Pairs of channels: high halves to dst and, where there are any, low ones so many bytes further. */
FC_INLINE void put_pairs(char *dst, ptrdiff_t low, vec a, vec b) {
    const int extreme = any_extreme(a, b);
    uvec high[2], rest[2];
    if (!low) {
        high[0] = extreme ? half_of_any(a) : nearest((uvec)a);
        high[1] = extreme ? half_of_any(b) : nearest((uvec)b);
        store_words(dst, high[0], high[1]);
        return;
    }
    if (__builtin_expect(extreme, 0)) {
        halves_of_any(a, &high[0], &rest[0]);
        halves_of_any(b, &high[1], &rest[1]);
    } else {
        halves_of(a, &high[0], &rest[0]);
        halves_of(b, &high[1], &rest[1]);
    }
    store_words(dst, high[0], high[1]);
    store_words(dst + low, rest[0], rest[1]);
}

/* ---- pixels ---- */

FC_INLINE vec load_there(const real *from, ptrdiff_t left) {
    return left <= 0 ? (vec){0} : load_upto(from, left);
}

/* A block of channels that are contiguous. */
static void split_rows(const fc_halves_split_args *s, const char *src, ptrdiff_t channels,
                       char *dst) {
    for (ptrdiff_t p = 0; p < s->pixels; p++, src += s->src_pixel, dst += FC_TILE_PIXEL) {
        const real *from = (const real *)src;
        if (channels >= FC_TILE_DEPTH) {
            FC_UNROLL for (int c = 0; c < PAIRS; c += FC_LANES)
                put_pairs(dst + c * 4, s->low, load(from + c), load(from + c + PAIRS));
        } else {
            for (int c = 0; c < PAIRS; c += FC_LANES)
                put_pairs(dst + c * 4, s->low, load_there(from + c, channels - c),
                          load_there(from + c + PAIRS, channels - c - PAIRS));
        }
    }
}

/* A vector of a plane's pixels; of every other pixel two vectors hold it. */
FC_INLINE vec load_pixels(const char *src, ptrdiff_t step, ptrdiff_t pixels) {
    const real *from = (const real *)src;
    const ptrdiff_t span = 2 * pixels - 1;
    if (step == 2 * (ptrdiff_t)sizeof(real))
        return even_lanes(load_there(from, span), load_there(from + FC_LANES, span - FC_LANES));
    return load_strided(src, step, pixels);
}

/* FC_LANES channels x FC_LANES pixels of planes, turned in registers. */
FC_INLINE void load_square(vec block[FC_LANES], const fc_halves_split_args *s, const int whole,
                           const char *src, ptrdiff_t channels, ptrdiff_t pixels) {
    if (s->src_pixel == (ptrdiff_t)sizeof(real)) {
        load_transposed(block, whole, src, s->src_channel, channels, pixels);
        return;
    }
    FC_UNROLL for (int i = 0; i < FC_LANES; i++)
        block[i] = whole || i < channels
                       ? load_pixels(src + i * s->src_channel, s->src_pixel, pixels)
                       : (vec){0};
    transpose(block);
}

/* The pairs of two squares, PAIRS channels apart. */
FC_INLINE void split_square(const fc_halves_split_args *s, const int whole, const char *src,
                            ptrdiff_t channels, ptrdiff_t pixels, char *dst) {
    vec a[FC_LANES], b[FC_LANES];
    load_square(a, s, whole, src, channels, pixels);
    load_square(b, s, whole, src + PAIRS * s->src_channel, channels - PAIRS, pixels);
    FC_UNROLL for (int i = 0; i < FC_LANES; i++)
        if (whole || i < pixels) put_pairs(dst + i * FC_TILE_PIXEL, s->low, a[i], b[i]);
}

static void split_planes(const fc_halves_split_args *s, const char *src, ptrdiff_t channels,
                         char *dst) {
    for (int c = 0; c < PAIRS; c += FC_LANES)
        for (ptrdiff_t p = 0; p < s->pixels; p += FC_LANES) {
            const char *from = src + c * s->src_channel + p * s->src_pixel;
            char *to = dst + p * FC_TILE_PIXEL + c * 4;
            const ptrdiff_t left = channels - c, pixels = s->pixels - p;
            if (left >= PAIRS + FC_LANES && pixels >= FC_LANES)
                split_square(s, 1, from, left, pixels, to);
            else
                split_square(s, 0, from, left, pixels, to);
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

/* ---- runs ---- */

typedef uint16_t half_words
    __attribute__((vector_size(FC_VECTOR_BYTES / 2), aligned(2), may_alias));

FC_INLINE void store_halves(char *dst, uvec upper) {
    *(half_words *)dst = __builtin_convertvector(upper >> 16, half_words);
}

static void run(const fc_halves_run_args *r) {
    for (ptrdiff_t i = 0; i < r->count; i += FC_LANES) {
        const vec v = load_upto((const real *)r->src + i, r->count - i);
        const int extreme = any_extreme(v, v);
        uvec high, low;
        if (!r->low) {
            store_halves(r->high + 2 * i, extreme ? half_of_any(v) : nearest((uvec)v));
            continue;
        }
        if (__builtin_expect(extreme, 0)) halves_of_any(v, &high, &low);
        else halves_of(v, &high, &low);
        store_halves(r->high + 2 * i, high);
        store_halves(r->low + 2 * i, low);
    }
}

/* ---- weights ---- */

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

/* Some pairs of a block's input channels, for FC_LANES output channels. */
static void pack_pairs(const fc_halves_pack_args *p, ptrdiff_t block, ptrdiff_t pair,
                       ptrdiff_t count, ptrdiff_t column) {
    real scratch[2][(FC_HALVES_TAPS + FC_LANES) * FC_LANES] FC_ALIGNED; /* their weights, turned */
    ptrdiff_t there[2];
    for (int i = 0; i < 2; i++) {
        const ptrdiff_t channel = block * FC_TILE_DEPTH + i * PAIRS + pair;
        const ptrdiff_t left = p->depth > channel ? p->depth - channel : 0;
        there[i] = left < count ? left : count;
        turn(p, column, channel * p->taps, there[i] * p->taps, scratch[i]);
    }
    const ptrdiff_t low = p->low ? p->across * FC_TILE_BYTES : 0;
    const ptrdiff_t step = p->across * FC_TILE_BYTES + low;
    char *dst = p->dst + block * p->taps * step + pair * 64
                + column / FC_TILE_COLUMNS * FC_TILE_BYTES + column % FC_TILE_COLUMNS * 4;
    for (ptrdiff_t c = 0; c < count; c++, dst += 64)
        for (ptrdiff_t tap = 0; tap < p->taps; tap++) {
            const ptrdiff_t at = (c * p->taps + tap) * FC_LANES;
            put_pairs(dst + tap * step, low, c < there[0] ? load(scratch[0] + at) : (vec){0},
                      c < there[1] ? load(scratch[1] + at) : (vec){0});
        }
}

static void pack(const fc_halves_pack_args *p) {
    const ptrdiff_t blocks = (p->depth + FC_TILE_DEPTH - 1) / FC_TILE_DEPTH;
    const ptrdiff_t fit = FC_HALVES_TAPS / p->taps;
    for (ptrdiff_t block = 0; block < blocks; block++)
        for (ptrdiff_t pair = 0; pair < PAIRS; pair += fit)
            for (ptrdiff_t k = 0; k < p->across * FC_TILE_COLUMNS; k += FC_LANES)
                pack_pairs(p, block, pair, PAIRS - pair < fit ? PAIRS - pair : fit, k);
}

static void add(char *sums, const char *more, ptrdiff_t count) {
    real *to = (real *)sums;
    const real *from = (const real *)more;
    for (ptrdiff_t i = 0; i < count; i += FC_LANES) store(to + i, load(to + i) + load(from + i));
}

const fc_halves_kernels FC_TABLE(halves) = {split, pack, add, run};
#else
const fc_halves_kernels FC_TABLE(halves) = {0};
#endif
