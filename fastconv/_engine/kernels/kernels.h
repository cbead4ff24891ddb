/* What the Cython drivers see of the C kernels: argument structs and one table per family.
 *
 * A family (gemm, finish, ...) is one source file; compiled for every level and element type it
 * exports exactly one symbol, its table. registry.c gathers the tables of one level and type into
 * an fc_kernels, the only thing a driver ever holds. Pointers are char* and strides are bytes, so
 * that a driver is written once for float and double.
 */
#ifndef FC_KERNELS_H
#define FC_KERNELS_H

#include <stddef.h>

enum { FC_MAX_VECTORS = 4 }; /* widest register tile, in vectors */

typedef enum {
    FC_ACT_NONE,
    FC_ACT_RELU,
    FC_ACT_CLIP,        /* alpha = low, beta = high */
    FC_ACT_HARDSWISH,
    FC_ACT_SCALED_HARDSWISH, /* alpha = factor behind it, beta = what is added behind that */
    FC_ACT_PRELU,       /* slopes: one per channel, for what is negative */
    FC_ACT_LAST_INLINE = FC_ACT_PRELU, /* up to here a few instructions */
    FC_ACT_LEAKY_RELU,  /* alpha = slope */
    FC_ACT_SIGMOID,
    FC_ACT_TANH,
    FC_ACT_SILU,
    FC_ACT_HARDSIGMOID,
    FC_ACT_COUNT
} fc_activation;

/* What happens to a sum on its way out: + bias[channel], + residual, activation, in that order. */
typedef struct {
    const char *bias; /* one per channel, or NULL */
    const char *slopes; /* one per channel, for FC_ACT_PRELU alone */
    int activation;
    double alpha, beta;
} fc_epilogue;

/* finish: from a block of sums [pixels][sum_row] to the result, through the epilogue. */
typedef struct {
    const char *sums;
    ptrdiff_t sum_row;
    ptrdiff_t pixels, channels;
    fc_epilogue epilogue;
    /* rows(): where each pixel's channels go, channels contiguous */
    char *const *out_rows;
    int streams;      /* gemm writes these past the caches: whole vectors, on vectors' boundaries */
    int expects_rows; /* its brief chains ask for these lines before they are written */
    const char *const *residual_rows; /* NULL without residual */
    ptrdiff_t row_offset, residual_row_offset;
    /* planes(): where each channel's pixels go, any strides */
    char *out;
    ptrdiff_t out_channel, out_pixel;
    const char *residual; /* NULL without residual */
    ptrdiff_t residual_channel, residual_pixel;
} fc_finish_args;

enum { FC_CACHE_LINE = 64, FC_AHEAD_STEPS = 16 };

/* gemm: the register tile.
 *   c[i][j] (+)= sum over t < taps, k < depth of a[t * a_step + i][k] * b[t][k][j]
 * for i < rows <= tile_rows[vectors] and j < vectors * lanes. a points at rows of `depth`
 * contiguous elements, `offset` bytes further on; b is packed without gaps. One fresh chain of
 * taps * depth fused multiply-adds per element, added to c where accumulate is set. With `finish`
 * the sums go on through its rows(), as pixels first and following, and c stays as it was. What the
 * caller will read soon is brought near meanwhile: from `ahead` on, so many lines for every
 * FC_AHEAD_STEPS steps of a tap, those that are left over included; and the rows that lie `next`
 * pointers on in a. tiles() sets rows and next itself; for brief chains it brings the next rows, and the
 * lines of the result where finish expects them, before each tile, and nothing from `ahead`. */
typedef struct {
    int rows, vectors, accumulate;
    ptrdiff_t taps, depth;
    const char *const *a;
    ptrdiff_t a_step, offset;
    const char *b;
    char *c;
    ptrdiff_t c_row;
    const fc_finish_args *finish; /* NULL: the sums stay in c; activations up to FC_ACT_LAST_INLINE */
    ptrdiff_t first;
    const char *ahead;
    ptrdiff_t ahead_lines; /* of FC_CACHE_LINE bytes, 0 where nothing is known */
    ptrdiff_t next;        /* 0 where no rows follow */
} fc_gemm_args;

/* What a tile of these arguments brings near. */
static inline ptrdiff_t fc_gemm_ahead_bytes(const fc_gemm_args *g) {
    const ptrdiff_t parts = (g->depth + FC_AHEAD_STEPS - 1) / FC_AHEAD_STEPS;
    return g->taps * parts * g->ahead_lines * FC_CACHE_LINE;
}

/* Pack weights for one panel: dst[(tap * depth + k) * width + j] = w[j * row + (k * taps + tap)],
 * zero for j >= channels; `width` elements is the panel's whole number of vectors. Returns whether
 * all weights are finite, so that zeros may be left out. */
typedef struct {
    const char *weight;
    ptrdiff_t row; /* bytes between output channels */
    ptrdiff_t depth, taps, channels, width;
    char *dst;
} fc_pack_args;

typedef struct {
    int lanes;
    int tile_rows[FC_MAX_VECTORS + 1]; /* by vectors; entry 0 holds the widest tile's vectors */
    void (*tile)(const fc_gemm_args *);
    /* tile after tile of so many pixels, rows of a, from `first` on: full ones and what is left */
    void (*tiles)(const fc_gemm_args *, ptrdiff_t pixels);
    /* tables of pointers: `step` bytes apart; and those of src, `distance` bytes further on */
    void (*point)(const char **dst, const char *first, ptrdiff_t step, ptrdiff_t count);
    void (*shift)(const char **dst, const char *const *src, ptrdiff_t distance, ptrdiff_t count);
    int (*pack)(const fc_pack_args *);
    double (*peak)(ptrdiff_t rounds); /* runs rounds of independent multiply-adds, returns flops */
} fc_gemm_kernels;

/* Gather pixels into channels-last scratch: dst[p * dst_pixel + c] = src[p * src_pixel + c * src_channel]. */
typedef struct {
    const char *src;
    ptrdiff_t src_pixel, src_channel;
    ptrdiff_t pixels, channels;
    char *dst;
    ptrdiff_t dst_pixel;
} fc_gather_args;

typedef struct {
    void (*rows)(const fc_finish_args *);
    void (*planes)(const fc_finish_args *);
    void (*expect)(const fc_finish_args *); /* asks for the lines that planes() will write */
    void (*gather)(const fc_gather_args *);
    void (*end_stream)(void); /* before other threads may look at what was streamed */
} fc_finish_kernels;

#include "direct.h"
#include "dots.h"
#include "elementwise.h"
#include "families.h"
#include "filters.h"
#include "gradient.h"
#include "halves.h"
#include "overlap.h"
#include "pool.h"
#include "pool_gradient.h"
#include "stationary.h"
#include "sums.h"
#include "tiles.h"
#include "winograd.h"

typedef struct {
    const char *level;
#define FC_MEMBER(family, ...) const fc_##family##_kernels *family;
    FC_FAMILIES(FC_MEMBER, )
#undef FC_MEMBER
    const fc_tiles_kernels *tiles; /* NULL but at the level amx, of float */
} fc_kernels;

/* level, of vectors: 0 baseline, 1 avx2, 2 avx512; tiles: whether it is the level amx, which adds
 * them to any of these; type: 0 float, 1 double; NULL where not built. */
const fc_kernels *fc_kernels_for(int level, int tiles, int type);

#endif
