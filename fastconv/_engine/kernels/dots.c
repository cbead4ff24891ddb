/* Products of runs: both factors lie along the vector, as pixels of two planes do.
 *
 * rows x columns accumulators stay in registers while the runs pass by; their lanes are added up
 * only at the very end, by the driver. For sums over pixels whose factors have few channels, where
 * a register tile with channels for lanes would leave most of them empty.
 *
 * Where each channel has a factor of its own and channels lie side by side, lanes are these: then a
 * sum for each tap of a window stays in a register.
 */
#include "kernels.h"
#include "simd.h"

#if FC_VECTOR_BYTES == 64
enum { ROWS = 4, COLUMNS = 6 };
#define COLUMN_COUNTS(X, m) X(m, 1) X(m, 2) X(m, 3) X(m, 4) X(m, 5) X(m, 6)
#define TILES(X) \
    COLUMN_COUNTS(X, 1) COLUMN_COUNTS(X, 2) COLUMN_COUNTS(X, 3) COLUMN_COUNTS(X, 4)
#else
enum { ROWS = 2, COLUMNS = 4 };
#define COLUMN_COUNTS(X, m) X(m, 1) X(m, 2) X(m, 3) X(m, 4)
#define TILES(X) COLUMN_COUNTS(X, 1) COLUMN_COUNTS(X, 2)
#endif

typedef vec dot_sums[ROWS][COLUMNS];

FC_INLINE void add_products(const int rows, const int columns, const int whole,
                            const real *const *a, const real *const *b, ptrdiff_t p, int count,
                            dot_sums sum) {
    vec left[ROWS];
    FC_UNROLL for (int i = 0; i < rows; i++)
        left[i] = whole ? load(a[i] + p) : load_first(a[i] + p, count);
    FC_UNROLL for (int j = 0; j < columns; j++) {
        const vec right = whole ? load(b[j] + p) : load_first(b[j] + p, count);
        FC_UNROLL for (int i = 0; i < rows; i++) sum[i][j] += left[i] * right;
    }
}

FC_INLINE void dot_body(const int rows, const int columns, const fc_dots_args *d) {
    dot_sums sum;
    FC_UNROLL for (int i = 0; i < rows; i++) {
        FC_UNROLL for (int j = 0; j < columns; j++) sum[i][j] = (vec){0};
    }
    const ptrdiff_t whole = d->length / FC_LANES * FC_LANES;
    const int rest = (int)(d->length - whole);
    for (ptrdiff_t t = 0; t < d->lines; t++) {
        const real *a[ROWS], *b[COLUMNS];
        FC_UNROLL for (int i = 0; i < rows; i++) a[i] = (const real *)d->a[t * d->a_step + i];
        FC_UNROLL for (int j = 0; j < columns; j++) b[j] = (const real *)d->b[t * d->b_step + j];
        for (ptrdiff_t p = 0; p < whole; p += FC_LANES)
            add_products(rows, columns, 1, a, b, p, 0, sum);
        if (rest) add_products(rows, columns, 0, a, b, whole, rest, sum);
    }
    FC_UNROLL for (int i = 0; i < rows; i++) {
        real *c = (real *)(d->c + i * d->c_row);
        FC_UNROLL for (int j = 0; j < columns; j++) {
            if (d->accumulate) sum[i][j] += load(c + j * FC_LANES);
            store(c + j * FC_LANES, sum[i][j]);
        }
    }
}

#define DEFINE_TILE(rows, columns) \
    static void dots_##rows##x##columns(const fc_dots_args *d) { dot_body(rows, columns, d); }
TILES(DEFINE_TILE)

#define ENTER_TILE(rows, columns) [rows][columns] = dots_##rows##x##columns,
static void (*const tiles[ROWS + 1][COLUMNS + 1])(const fc_dots_args *) = {TILES(ENTER_TILE)};

static void tile(const fc_dots_args *d) { tiles[d->rows][d->columns](d); }

/* ---------------------------------------------------------------- lanes are channels */

#if FC_VECTOR_BYTES == 64
enum { TAPS = 9 };
#define TAP_COUNTS(X) X(1) X(2) X(3) X(4) X(5) X(6) X(7) X(8) X(9)
#else
enum { TAPS = 5 };
#define TAP_COUNTS(X) X(1) X(2) X(3) X(4) X(5)
#endif

FC_INLINE void taps_body(const int taps, const int whole, const fc_taps_args *t, ptrdiff_t first) {
    const lane_mask mask = lanes_between(0, t->channels);
    const char *a[TAPS], *b = t->b;
    vec sum[TAPS];
    FC_UNROLL for (int i = 0; i < taps; i++) {
        a[i] = t->a[first + i];
        sum[i] = (vec){0};
    }
    for (ptrdiff_t p = 0, at = 0; p < t->pixels; p++, at += t->a_pixel, b += t->b_pixel) {
        const vec right = whole ? load((const real *)b) : load_masked((const real *)b, mask);
        FC_UNROLL for (int i = 0; i < taps; i++) {
            const real *from = (const real *)(a[i] + at);
            sum[i] += (whole ? load(from) : load_masked(from, mask)) * right;
        }
    }
    real *c = (real *)t->c + first * FC_LANES;
    FC_UNROLL for (int i = 0; i < taps; i++)
        store(c + i * FC_LANES, load(c + i * FC_LANES) + sum[i]);
}

#define DEFINE_TAPS(n)                                                             \
    static void taps_##n(const fc_taps_args *t, ptrdiff_t first) {                 \
        if (t->channels >= FC_LANES) taps_body(n, 1, t, first);                    \
        else taps_body(n, 0, t, first);                                            \
    }
TAP_COUNTS(DEFINE_TAPS)

#define ENTER_TAPS(n) [n] = taps_##n,
static void (*const tap_counts[TAPS + 1])(const fc_taps_args *, ptrdiff_t) = {
    TAP_COUNTS(ENTER_TAPS)};

static void taps(const fc_taps_args *t) {
    for (ptrdiff_t first = 0; first < t->taps; first += TAPS) {
        const ptrdiff_t left = t->taps - first;
        tap_counts[left < TAPS ? left : TAPS](t, first);
    }
}

const fc_dots_kernels FC_TABLE(dots) = {ROWS, COLUMNS, tile, taps};
