/* Two by two tiles of sums stay in registers while the steps run.
 *
 *     tmm0 tmm1    pixels 0-15    x  channels 0-15, 16-31      tmm4, tmm5  a's tiles
 *     tmm2 tmm3    pixels 16-31   x  channels 0-15, 16-31      tmm6, tmm7  b's tiles
 *
 * In the order low x high, high x high, high x low each set of tiles is loaded once: 8 loads for 12
 * products. A product takes longer than the next may begin after it, so the four sums take turns.
 *
 * Instructions are written out: GCC 12's intrinsics do not say which memory they read, and stores
 * into it, of the configuration to begin with, may vanish or come too late.
 */
#include "../kernels.h"
#include "../simd.h"

typedef struct {
    unsigned char palette, start_row, reserved[14];
    unsigned short row_bytes[16];
    unsigned char rows[16];
} tile_config;

#define OF_ALL_TILES(n) {n, n, n, n, n, n, n, n}
static const tile_config config = {
    .palette = 1,
    .row_bytes = OF_ALL_TILES(64),
    .rows = OF_ALL_TILES(16),
};

static void configure(void) { __asm__ volatile("ldtilecfg %0" : : "m"(config)); }
static void release(void) { __asm__ volatile("tilerelease" : : : "memory"); }

#define LOAD(tile, from, row) \
    __asm__ volatile("tileloadd (%0,%1), %%tmm" #tile : : "r"(from), "r"((ptrdiff_t)(row)) : "memory")
#define STORE(tile, to, row) \
    __asm__ volatile("tilestored %%tmm" #tile ", (%0,%1)" : : "r"(to), "r"((ptrdiff_t)(row)) : "memory")
#define ZERO(tile) __asm__ volatile("tilezero %%tmm" #tile : :)
#define MULTIPLY(c, a, b) __asm__ volatile("tdpbf16ps %%tmm" #b ", %%tmm" #a ", %%tmm" #c : :)

FC_INLINE void load_a(const int down, const fc_tiles_args *t, ptrdiff_t distance) {
    LOAD(4, t->a[0] + distance, t->pixel);
    if (down == 2) LOAD(5, t->a[1] + distance, t->pixel);
}

FC_INLINE void load_b(const int across, const char *b) {
    LOAD(6, b, 64);
    if (across == 2) LOAD(7, b + FC_TILE_BYTES, 64);
}

FC_INLINE void multiply(const int down, const int across) {
    MULTIPLY(0, 4, 6);
    if (down == 2) MULTIPLY(2, 5, 6);
    if (across == 2) MULTIPLY(1, 4, 7);
    if (down == 2 && across == 2) MULTIPLY(3, 5, 7);
}

FC_INLINE void end(const int down, const int across, const fc_tiles_args *t) {
    char *second = t->c + FC_TILE_PIXELS * FC_TILE_SUM_ROW;
    STORE(0, t->c, FC_TILE_SUM_ROW);
    if (across == 2) STORE(1, t->c + 64, FC_TILE_SUM_ROW);
    if (down == 2) STORE(2, second, FC_TILE_SUM_ROW);
    if (down == 2 && across == 2) STORE(3, second + 64, FC_TILE_SUM_ROW);
}

FC_INLINE void run(const int down, const int across, const int low, const fc_tiles_args *t) {
    const char *b = t->b, *ahead = t->ahead;
    ptrdiff_t tap = t->first_tap, block = 0;
    ZERO(0);
    ZERO(1);
    ZERO(2);
    ZERO(3);
    for (ptrdiff_t step = 0; step < t->steps; step++) {
        const ptrdiff_t at = block + t->tap[tap];
        for (ptrdiff_t line = 0; line < t->ahead_lines; line++, ahead += FC_CACHE_LINE)
            __builtin_prefetch(ahead, 0, 2);
        load_b(across, b);
        if (low) {
            load_a(down, t, at + t->low);
            multiply(down, across);
        }
        load_a(down, t, at);
        multiply(down, across);
        b += across * FC_TILE_BYTES;
        if (low) {
            load_b(across, b);
            multiply(down, across);
            b += across * FC_TILE_BYTES;
        }
        if (++tap == t->taps) {
            tap = 0;
            block += t->block;
        }
    }
    end(down, across, t);
}

FC_INLINE void run_shape(const int low, const fc_tiles_args *t) {
    if (t->down == 2 && t->across == 2) run(2, 2, low, t);
    else if (t->down == 2) run(2, 1, low, t);
    else if (t->across == 2) run(1, 2, low, t);
    else run(1, 1, low, t);
}

static void three(const fc_tiles_args *t) { run_shape(1, t); }
static void one(const fc_tiles_args *t) { run_shape(0, t); }

const fc_tiles_kernels FC_TABLE(tiles) = {configure, release, three, one};
