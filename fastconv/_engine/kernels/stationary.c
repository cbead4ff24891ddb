/* Windows of a few input channels, one output pixel at a time.
 *
 * Per multiply-add one input value is broadcast from memory and nothing else is loaded: a tile of
 * several pixels loads less, but where a window is as short as its weights are few it spends as
 * long on its pointers and its sums. A chain for each kernel row keeps enough sums under way: a pixel's
 * multiply-adds wait for each other, and only a few pixels fit the processor's scheduler.
 */
#include "activation.h"
#include "kernels.h"
#include "simd.h"

/* One line a level: the weights that leave room for a bias, a sum and a chain, and for bounds. */
#define RUNS_2(X, rows) X(rows, 1) X(rows, 2)
#define RUNS_3(X, rows) RUNS_2(X, rows) X(rows, 3)
#define RUNS_4(X, rows) RUNS_3(X, rows) X(rows, 4)
#define RUNS_5(X, rows) RUNS_4(X, rows) X(rows, 5)
#define RUNS_6(X, rows) RUNS_5(X, rows) X(rows, 6)
#define RUNS_9(X, rows) RUNS_6(X, rows) X(rows, 7) X(rows, 8) X(rows, 9)
#define RUNS_10(X, rows) RUNS_9(X, rows) X(rows, 10)
#define RUNS_13(X, rows) RUNS_10(X, rows) X(rows, 11) X(rows, 12) X(rows, 13)
#define RUNS_18(X, rows) \
    RUNS_13(X, rows) X(rows, 14) X(rows, 15) X(rows, 16) X(rows, 17) X(rows, 18)
#define RUNS_23(X, rows) \
    RUNS_18(X, rows) X(rows, 19) X(rows, 20) X(rows, 21) X(rows, 22) X(rows, 23)
#define RUNS_27(X, rows) RUNS_23(X, rows) X(rows, 24) X(rows, 25) X(rows, 26) X(rows, 27)
#if FC_VECTOR_BYTES == 64
enum { MOST = 27 };
#define WINDOWS(X) RUNS_27(X, 1) RUNS_13(X, 2) RUNS_9(X, 3) RUNS_6(X, 4) RUNS_5(X, 5)
#else
enum { MOST = 10 };
#define WINDOWS(X) RUNS_10(X, 1) RUNS_5(X, 2) RUNS_3(X, 3) RUNS_2(X, 4) RUNS_2(X, 5)
#endif

/* Runs of more than this make two chains. Sixteen registers hold no slopes besides the most weights. */
enum { CHAIN = 14, SLOPES_AT_ONCE = FC_VECTOR_BYTES == 64 };

FC_INLINE vec chain(const int first, const int end, const real *x, const vec *weight) {
    vec sum = splat(x[first]) * weight[first];
    FC_UNROLL for (int i = first + 1; i < end; i++) sum += splat(x[i]) * weight[i];
    return sum;
}

/* One kernel row's sum. */
FC_INLINE vec run_sum(const int run, const real *x, const vec *weight) {
    if (run <= CHAIN) return chain(0, run, x, weight);
    return chain(0, run / 2, x, weight) + chain(run / 2, run, x, weight);
}

/* whole: all lanes are channels. */
FC_INLINE void activate_inline(const fc_stationary_args *s, const int whole) {
    const fc_epilogue *e = &s->out.epilogue;
    const ptrdiff_t channels = whole ? FC_LANES : s->channels;
    const inline_numbers numbers = numbers_of(e);
    const vec slope = slopes_of(e, 0, channels);
    for (ptrdiff_t p = 0; p < s->pixels; p++) {
        real *out = (real *)(s->out.out + p * s->out.out_pixel);
        vec sum = load_upto(out, channels);
        inline_activations(&numbers, slope, 1, &sum);
        store_upto(out, sum, channels);
    }
}

FC_NOINLINE void activate_result(const fc_stationary_args *s) {
    const fc_epilogue *e = &s->out.epilogue;
    if (is_inline_activation(e)) {
        if (s->channels == FC_LANES) activate_inline(s, 1);
        else activate_inline(s, 0);
        return;
    }
    for (ptrdiff_t p = 0; p < s->pixels; p++) {
        real *out = (real *)(s->out.out + p * s->out.out_pixel);
        store_upto(out, activate(load_upto(out, s->channels), e), s->channels);
    }
}

/* plain: a whole vector in one call, no residual; what a pixel then costs beside its multiply-adds
 * is an eighth of them. */
FC_INLINE void window_body(const int rows, const int run, const int plain,
                           const fc_stationary_args *s) {
    const int begun = !plain && s->begun, kept = !plain && s->kept;
    const int channels = plain ? FC_LANES : s->channels;
    const fc_epilogue *e = &s->out.epilogue;
    /* The others would want registers: they come when all sums are there. Where a pixel is less than a
     * vector, that waits for every store before the next load. */
    const int bounded = !kept && is_clip_activation(e);
    const int sloped = SLOPES_AT_ONCE && !kept && is_sloped(e);
    const int streams = plain && bounded && s->streams;
    const inline_numbers numbers = numbers_of(e);
    const real *biases = kept ? NULL : (const real *)e->bias;
    const vec bias = biases ? load_upto(biases, channels) : splat(-(real)0); /* changes nothing */
    vec weight[FC_STATIONARY_ROWS][MOST];
    FC_UNROLL for (int r = 0; r < rows; r++) {
        FC_UNROLL for (int i = 0; i < run; i++) {
            weight[r][i] = load((const real *)s->w + (r * run + i) * FC_LANES);
            FC_IN_REGISTER(weight[r][i]);
        }
    }
    const char *x[FC_STATIONARY_ROWS];
    ptrdiff_t step[FC_STATIONARY_ROWS];
    FC_UNROLL for (int r = 0; r < rows; r++) {
        x[r] = s->x[r];
        step[r] = s->step[r];
    }
    real *sums = (real *)s->sums;
    char *out = s->out.out;
    const ptrdiff_t out_pixel = s->out.out_pixel;
    const char *residual = plain ? NULL : s->out.residual;
    for (ptrdiff_t p = s->pixels; p > 0; p--) {
        vec sum = run_sum(run, (const real *)x[0], weight[0]);
        FC_UNROLL for (int r = 1; r < rows; r++) sum += run_sum(run, (const real *)x[r], weight[r]);
        FC_UNROLL for (int r = 0; r < rows; r++) x[r] += step[r];
        if (begun) sum = load(sums) + sum;
        if (kept) {
            store(sums, sum);
        } else {
            sum += bias;
            if (residual) {
                sum += load_upto((const real *)residual, channels);
                residual += s->out.residual_pixel;
            }
            if (bounded) sum = clip_activation(sum, &numbers);
            else if (sloped) sum = leaky_vec(sum, load_upto((const real *)e->slopes, channels));
            if (streams) stream((real *)out, sum);
            else store_upto((real *)out, sum, channels);
            out += out_pixel;
        }
        if (!plain) sums += FC_LANES;
    }
    if (!kept && !bounded && !sloped) activate_result(s);
}

#define DEFINE_WINDOW(rows, run)                                      \
    static void plain_##rows##x##run(const fc_stationary_args *s) {   \
        window_body(rows, run, 1, s);                                 \
    }                                                                 \
    static void window_##rows##x##run(const fc_stationary_args *s) {  \
        window_body(rows, run, 0, s);                                 \
    }
WINDOWS(DEFINE_WINDOW)

#define ENTER_WINDOW(rows, run) [rows][run] = {window_##rows##x##run, plain_##rows##x##run},
static void (*const windows[FC_STATIONARY_ROWS + 1][MOST + 1][2])(const fc_stationary_args *) = {
    WINDOWS(ENTER_WINDOW)};

static void window(const fc_stationary_args *s) {
    const int plain = !s->begun && !s->kept && !s->out.residual && s->channels == FC_LANES;
    windows[s->rows][s->run][plain](s);
}

const fc_stationary_kernels FC_TABLE(stationary) = {MOST, window};
