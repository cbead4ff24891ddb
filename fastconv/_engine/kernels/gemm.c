/* The register tile that every matrix-shaped algorithm runs on, and the packing it reads.
 *
 * rows x vectors accumulators stay in registers while one chain of multiply-adds runs over taps
 * and depth: per step `vectors` loads of b and `rows` broadcasts of a feed rows * vectors FMAs.
 * Tiles of 24 accumulators keep loads well under one per FMA on AVX-512; narrower ones serve the
 * last panel of a channel count that is no multiple of the widest. Every row count has its own
 * instance, so a ragged edge costs its share and nothing outside the arrays is touched.
 */
#include "activation.h"
#include "kernels.h"
#include "simd.h"
#include "transposed.h"

#define UPTO_3(X, v) X(1, v) X(2, v) X(3, v)
#define UPTO_4(X, v) UPTO_3(X, v) X(4, v)
#define UPTO_6(X, v) UPTO_4(X, v) X(5, v) X(6, v)
#define UPTO_8(X, v) UPTO_6(X, v) X(7, v) X(8, v)
#define UPTO_10(X, v) UPTO_8(X, v) X(9, v) X(10, v)
#define UPTO_12(X, v) UPTO_10(X, v) X(11, v) X(12, v)

/* One line a level: the tile's rows for each panel width in vectors. */
#if FC_VECTOR_BYTES == 64
enum { WIDEST = 4 };
#define TILES(X) UPTO_10(X, 1) UPTO_12(X, 2) UPTO_8(X, 3) UPTO_6(X, 4)
#define TILE_ROWS {WIDEST, 10, 12, 8, 6}
#elif FC_VECTOR_BYTES == 32
enum { WIDEST = 2 };
#define TILES(X) UPTO_8(X, 1) UPTO_6(X, 2)
#define TILE_ROWS {WIDEST, 8, 6, 0, 0}
#else
/* Without broadcasts from memory each row costs a shuffle, which the units of multiplications and
 * additions make: so few rows. */
enum { WIDEST = 4 };
#define TILES(X) UPTO_6(X, 1) UPTO_6(X, 2) UPTO_3(X, 3) UPTO_3(X, 4)
#define TILE_ROWS {WIDEST, 6, 6, 3, 3}
#endif

/* A chain of up to BRIEF_STEPS steps is a brief one, and so is one of taps shorter than
 * FC_AHEAD_STEPS. */
enum { MAX_ROWS = 12, BRIEF_STEPS = 32 };

typedef vec tile_sums[MAX_ROWS][FC_MAX_VECTORS];

/* The way out from the registers: what finish's rows() does, in the same order. */
FC_INLINE void finish_sums(const int rows, const int vectors, const fc_gemm_args *g,
                           tile_sums sum) {
    const fc_finish_args *f = g->finish;
    const real *bias = (const real *)f->epilogue.bias;
    const ptrdiff_t last = f->channels - (vectors - 1) * FC_LANES;
    if (bias) {
        FC_UNROLL for (int j = 0; j < vectors; j++) {
            const real *from = bias + j * FC_LANES;
            const vec v = j < vectors - 1 ? load(from) : load_upto(from, last);
            FC_UNROLL for (int i = 0; i < rows; i++) sum[i][j] += v;
        }
    }
    if (f->residual_rows) {
        FC_UNROLL for (int i = 0; i < rows; i++) {
            const real *from =
                (const real *)(f->residual_rows[g->first + i] + f->residual_row_offset);
            FC_UNROLL for (int j = 0; j < vectors - 1; j++) sum[i][j] += load(from + j * FC_LANES);
            sum[i][vectors - 1] += load_upto(from + (vectors - 1) * FC_LANES, last);
        }
    }
    const inline_numbers numbers = numbers_of(&f->epilogue);
    if (numbers.sloped) {
        FC_UNROLL for (int j = 0; j < vectors; j++) {
            const real *from = (const real *)f->epilogue.slopes + j * FC_LANES;
            const vec v = j < vectors - 1 ? load(from) : load_upto(from, last);
            FC_UNROLL for (int i = 0; i < rows; i++) sum[i][j] = leaky_vec(sum[i][j], v);
        }
    } else if (numbers.swish) {
        FC_UNROLL for (int i = 0; i < rows; i++) {
            FC_UNROLL for (int j = 0; j < vectors; j++)
                sum[i][j] = hardswish_vec(sum[i][j], numbers.sixth, numbers.beta);
        }
    } else if (numbers.any) {
        FC_UNROLL for (int i = 0; i < rows; i++) {
            FC_UNROLL for (int j = 0; j < vectors; j++)
                sum[i][j] = clip_activation(sum[i][j], &numbers);
        }
    }
    /* all addresses first: the stores might change them, for all that the compiler knows */
    real *out[MAX_ROWS];
    FC_UNROLL for (int i = 0; i < rows; i++)
        out[i] = (real *)(f->out_rows[g->first + i] + f->row_offset);
    if (f->streams) {
        FC_UNROLL for (int i = 0; i < rows; i++) {
            FC_UNROLL for (int j = 0; j < vectors; j++) stream(out[i] + j * FC_LANES, sum[i][j]);
        }
        return;
    }
    FC_UNROLL for (int i = 0; i < rows; i++) {
        FC_UNROLL for (int j = 0; j < vectors - 1; j++) store(out[i] + j * FC_LANES, sum[i][j]);
        store_upto(out[i] + (vectors - 1) * FC_LANES, sum[i][vectors - 1], last);
    }
}

/* Sixteen registers hold no four weights besides 12 sums. */
FC_INLINE int keeps_weights(const int rows, const int vectors) {
    return FC_VECTOR_BYTES > 16 || rows * vectors + vectors < 15;
}

/* One weight at a time, for two rows and then for the next ones anew: for one row alone, loading takes
 * longer than multiplying. Without AVX, only what lies on a vector's boundary, as packed weights do, may
 * be a product's operand. */
FC_INLINE void add_step_by_pairs(const int rows, const int vectors, tile_sums sum,
                                 const real *const *a, ptrdiff_t k, const real *b) {
    FC_UNROLL for (int i = 0; i < rows; i += 2) {
        const int pair = i + 1 < rows;
        const vec value = splat(a[i][k]), below = pair ? splat(a[i + 1][k]) : value;
        __asm__("" : "+r"(b));
        FC_UNROLL for (int j = 0; j < vectors; j++) {
            vec weight = load(__builtin_assume_aligned(b + j * FC_LANES, FC_VECTOR_BYTES));
            if (pair) FC_IN_REGISTER(weight);
            sum[i][j] += value * weight;
            if (pair) sum[i + 1][j] += below * weight;
        }
    }
}

FC_INLINE void add_step(const int rows, const int vectors, tile_sums sum, const real *const *a,
                        ptrdiff_t k, const real *b) {
    if (!keeps_weights(rows, vectors)) {
        add_step_by_pairs(rows, vectors, sum, a, k, b);
        return;
    }
    vec weight[FC_MAX_VECTORS];
    FC_UNROLL for (int j = 0; j < vectors; j++) weight[j] = load(b + j * FC_LANES);
    FC_UNROLL for (int i = 0; i < rows; i++) {
        const vec value = splat(a[i][k]);
        FC_UNROLL for (int j = 0; j < vectors; j++) sum[i][j] += value * weight[j];
    }
}

/* Tiles of few rows have registers to spare for a chain without questions. 11 rows and more leave none
 * for what is ahead, nor for a bound of k but zero. */
enum { FEW_ROWS = 6, MANY_ROWS = 11 };

/* Steps from *k up to end; both places move on. */
FC_INLINE void add_steps(const int rows, const int vectors, tile_sums sum, const real *const *a,
                         ptrdiff_t *k, ptrdiff_t end, const real **b) {
    FC_TWO_STEPS for (; *k < end; (*k)++, *b += vectors * FC_LANES) {
        FC_END_UNKNOWN(*b);
        add_step(rows, vectors, sum, a, *k, *b);
    }
}

/* A chain, and every FC_AHEAD_STEPS steps, where `asks`, what the caller will read soon is asked for.
 * `asks` is a constant: finding out whether to ask costs a short chain up to a fifth of its time. */
FC_INLINE void add_chain(const int rows, const int vectors, const int asks, const fc_gemm_args *g,
                         tile_sums sum) {
    const real *b = (const real *)g->b;
    const char *const *pixel = g->a;
    const char *ahead = g->ahead;
    const ptrdiff_t ahead_lines = g->ahead_lines, next = g->next;
    const ptrdiff_t offset = g->offset, depth = g->depth;
    for (ptrdiff_t tap = 0; tap < g->taps; tap++, pixel += g->a_step) {
        const real *a[MAX_ROWS];
        FC_UNROLL for (int i = 0; i < rows; i++) a[i] = (const real *)(pixel[i] + offset) + depth;
        ptrdiff_t k = -depth;
        if (!asks) {
            add_steps(rows, vectors, sum, a, &k, 0, &b);
            continue;
        }
        do {
            for (ptrdiff_t line = 0; line < ahead_lines; line++, ahead += FC_CACHE_LINE)
                __builtin_prefetch(ahead, 0, 2);
            if (next) {
                FC_UNROLL for (int i = 0; i < rows; i++)
                    __builtin_prefetch((const real *)(pixel[next + i] + offset) + depth + k, 0, 3);
            }
            const ptrdiff_t end = k < -FC_AHEAD_STEPS ? k + FC_AHEAD_STEPS : 0;
            add_steps(rows, vectors, sum, a, &k, end, &b);
        } while (k < 0);
    }
}

FC_INLINE void tile_body(const int rows, const int vectors, const fc_gemm_args *g) {
    tile_sums sum;
    FC_UNROLL for (int i = 0; i < rows; i++) {
        FC_UNROLL for (int j = 0; j < vectors; j++) sum[i][j] = (vec){0};
    }
    const int asks = g->ahead_lines || g->next;
    if (rows < MANY_ROWS && (rows > FEW_ROWS || asks)) add_chain(rows, vectors, 1, g, sum);
    else add_chain(rows, vectors, 0, g, sum);
    const ptrdiff_t c_row = g->c_row;
    if (g->accumulate) {
        FC_UNROLL for (int i = 0; i < rows; i++) {
            const real *c = (const real *)(g->c + i * c_row);
            FC_UNROLL for (int j = 0; j < vectors; j++) sum[i][j] += load(c + j * FC_LANES);
        }
    }
    if (g->finish) {
        finish_sums(rows, vectors, g, sum);
        return;
    }
    FC_UNROLL for (int i = 0; i < rows; i++) {
        real *c = (real *)(g->c + i * c_row);
        FC_UNROLL for (int j = 0; j < vectors; j++) store(c + j * FC_LANES, sum[i][j]);
    }
}

#define DEFINE_TILE(rows, vectors) \
    static void tile_##rows##x##vectors(const fc_gemm_args *g) { tile_body(rows, vectors, g); }
TILES(DEFINE_TILE)

#define ENTER_TILE(rows, vectors) [vectors][rows] = tile_##rows##x##vectors,
static void (*const tiles[FC_MAX_VECTORS + 1][MAX_ROWS + 1])(const fc_gemm_args *) = {
    TILES(ENTER_TILE)};

static void tile(const fc_gemm_args *g) { tiles[g->vectors][g->rows](g); }

static const int tile_rows[FC_MAX_VECTORS + 1] = TILE_ROWS;

/* A short chain's tile is over before it has asked for much, and one of short taps would ask all the
 * time; and its stores may wait for their lines: all is asked for at once, of the tile that is `rows`
 * further on. */
static void bring_rows(const fc_gemm_args *g, ptrdiff_t rows) {
    const ptrdiff_t bytes = g->depth * (ptrdiff_t)sizeof(real);
    for (ptrdiff_t tap = 0; tap < g->taps; tap++) {
        const char *const *pixel = g->a + tap * g->a_step + rows;
        for (int i = 0; i < g->rows; i++)
            for (ptrdiff_t at = 0; at < bytes; at += FC_CACHE_LINE)
                __builtin_prefetch(pixel[i] + g->offset + at, 0, 3);
    }
    if (!g->finish || !g->finish->expects_rows) return;
    for (int i = 0; i < g->rows; i++) {
        const char *out = g->finish->out_rows[g->first + rows + i] + g->finish->row_offset;
        for (int j = 0; j < g->vectors; j++) __builtin_prefetch(out + j * FC_VECTOR_BYTES, 1, 3);
    }
}

static void tiles_of(const fc_gemm_args *all, ptrdiff_t pixels) {
    fc_gemm_args g = *all;
    const int brief = g.depth < FC_AHEAD_STEPS || g.taps * g.depth <= BRIEF_STEPS;
    if (brief) g.ahead_lines = 0;
    const ptrdiff_t ahead = fc_gemm_ahead_bytes(&g);
    for (g.rows = tile_rows[g.vectors]; pixels > 0; pixels -= g.rows) {
        if (pixels < g.rows) g.rows = (int)pixels;
        const int next = pixels >= 2 * g.rows ? g.rows : 0;
        g.next = brief ? 0 : next;
        if (brief && next) bring_rows(&g, next);
        tile(&g);
        g.a += g.rows;
        g.c += g.rows * g.c_row;
        g.first += g.rows;
        g.ahead += ahead;
    }
}

static void point(const char **dst, const char *first, ptrdiff_t step, ptrdiff_t count) {
    for (ptrdiff_t i = 0; i < count; i++) dst[i] = first + i * step;
}

static void shift(const char **dst, const char *const *src, ptrdiff_t distance, ptrdiff_t count) {
    for (ptrdiff_t i = 0; i < count; i++) dst[i] = src[i] + distance;
}

/* Where the next weight of a channel goes: taps follow each other, each a plane of the panel. */
typedef struct {
    real *dst;
    ptrdiff_t tap_step, back; /* elements to the next tap, from behind the last one to the first */
    ptrdiff_t tap, taps;      /* how many are left of a channel's, and all of them */
} panel_place;

/* FC_LANES output channels x `count` consecutive weights of each; returns NaN in the lanes of those
 * that are not finite. `whole` is a constant. */
FC_INLINE vec pack_block(const int whole, const char *weight, ptrdiff_t row, ptrdiff_t channels,
                         ptrdiff_t count, panel_place *at) {
    vec block[FC_LANES], zeros[2] = {0};
    load_transposed(block, whole, weight, row, channels, count);
    FC_UNROLL for (int i = 0; i < FC_LANES; i++) zeros[i % 2] += block[i] * 0;
    FC_UNROLL for (int i = 0; i < FC_LANES; i++) {
        if (!whole && i == count) break;
        store(at->dst, block[i]);
        at->dst += at->tap_step;
        if (--at->tap == 0) {
            at->tap = at->taps;
            at->dst -= at->back;
        }
    }
    return zeros[0] + zeros[1];
}

/* FC_LANES whole channels x all whole blocks of their weights. */
FC_NOINLINE vec pack_blocks(const char *weight, ptrdiff_t row, ptrdiff_t blocks, panel_place *at) {
    panel_place to = *at;
    vec zeros = {0};
    for (; blocks > 0; blocks--, weight += FC_VECTOR_BYTES)
        zeros += pack_block(1, weight, row, FC_LANES, FC_LANES, &to);
    *at = to;
    return zeros;
}

FC_NOINLINE vec pack_ragged(const char *weight, ptrdiff_t row, ptrdiff_t channels,
                            ptrdiff_t count, panel_place *at) {
    return pack_block(0, weight, row, channels, count, at);
}

static int pack(const fc_pack_args *p) {
    const ptrdiff_t run = p->depth * p->taps, tap_step = p->depth * p->width;
    vec zeros = {0};
    for (ptrdiff_t j0 = 0; j0 < p->width; j0 += FC_LANES) {
        const ptrdiff_t channels = p->channels - j0;
        const ptrdiff_t blocks = channels >= FC_LANES ? run / FC_LANES : 0;
        const char *weight = p->weight + j0 * p->row;
        panel_place at = {(real *)p->dst + j0, tap_step, p->taps * tap_step - p->width, p->taps,
                          p->taps};
        zeros += pack_blocks(weight, p->row, blocks, &at);
        for (ptrdiff_t w = blocks * FC_LANES; w < run; w += FC_LANES)
            zeros += pack_ragged(weight + w * (ptrdiff_t)sizeof(real), p->row, channels,
                                 run - w < FC_LANES ? run - w : FC_LANES, &at);
    }
    real total = 0;
    for (int i = 0; i < FC_LANES; i++) total += zeros[i];
    return total == 0;
}

/* What the level's registers can do at most: independent multiply-adds, no memory. */
static double peak(ptrdiff_t rounds) {
    enum { CHAINS = FC_VECTOR_BYTES == 16 ? 10 : 14 }; /* of 16 registers some for products */
    vec sum[CHAINS];
    vec x = splat((real)1.0000001), y = splat((real)1e-9);
    FC_UNROLL for (int i = 0; i < CHAINS; i++) sum[i] = splat((real)i);
    for (ptrdiff_t r = 0; r < rounds; r++) {
        FC_UNROLL for (int i = 0; i < CHAINS; i++) {
            FC_IN_REGISTER(x); /* or one product would do for all sums, where they are no FMAs */
            sum[i] += x * y;
        }
    }
    vec total = {0};
    FC_UNROLL for (int i = 0; i < CHAINS; i++) total += sum[i];
    __asm__ volatile("" : : "x"(total));
    return 2.0 * CHAINS * FC_LANES * (double)rounds;
}

const fc_gemm_kernels FC_TABLE(gemm) = {
    FC_LANES, TILE_ROWS, tile, tiles_of, point, shift, pack, peak};
