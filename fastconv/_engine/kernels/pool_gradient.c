/* Gradients of pools: maxima scatter, means spread.
 *
 *   max    the plane is zeroed, then every output adds to one place, in order
 *   mean   the outputs above and below a row are folded into one line, each times its share, and the
 *          line is spread sideways: what pool_lines.h does, backwards
 */
#include "pool_gradient.h"
#include "kernels.h"
#include "simd.h"

/* --- max ---------------------------------------------------------------------------------------- */

/* Add `g` at `place`, if there is one; returns whether it lies outside. */
FC_INLINE int scatter(real *out, int64_t place, ptrdiff_t places, ptrdiff_t step, real g) {
    if ((uint64_t)place < (uint64_t)places) {
        out[place * step] += g;
        return 0;
    }
    return place != -1;
}

static int max_planes(const fc_max_gradient_args *a) {
    int outside = 0;
    for (ptrdiff_t c = 0; c < a->channels; c++) {
        const int64_t *index = a->index + c * a->outs;
        const real *grad = (const real *)a->grad + c * a->outs;
        real *out = (real *)a->out + c * a->places;
        memset(out, 0, a->places * sizeof(real));
        for (ptrdiff_t o = 0; o < a->outs; o++)
            outside |= scatter(out, index[o], a->places, 1, grad[o]);
    }
    return outside;
}

static int max_pixels(const fc_max_gradient_args *a) {
    int outside = 0;
    real *out = (real *)a->out;
    for (ptrdiff_t place = 0; place < a->places; place++)
        memset(out + place * a->step, 0, a->channels * sizeof(real));
    for (ptrdiff_t o = 0; o < a->outs; o++) {
        const int64_t *index = a->index + o * a->step;
        const real *grad = (const real *)a->grad + o * a->step;
        for (ptrdiff_t c = 0; c < a->channels; c++)
            outside |= scatter(out + c, index[c], a->places, a->step, grad[c]);
    }
    return outside;
}

/* --- mean, one channel -------------------------------------------------------------------------- */

/* Vectors along the width: outputs under row span `rows`, from `source` on. */
FC_INLINE vec fold_outputs(const fc_mean_gradient_args *a, const fc_pool_span *rows,
                           const real *source, ptrdiff_t row_step, ptrdiff_t left) {
    const real *depth_share = (const real *)a->depth_share, *row_share = (const real *)a->row_share;
    vec sum = {0};
    for (ptrdiff_t d = a->slices.first; d < a->slices.first + a->slices.count; d++)
        for (ptrdiff_t h = rows->first; h < rows->first + rows->count; h++) {
            const real share = depth_share[d] * row_share[h];
            sum += load_upto(source + (d * a->height->outs + h) * row_step, left) * share;
        }
    return sum;
}

/* Column j * stride + phase of the row lies in outputs j + base, j + base - 1, ...: `count`. */
typedef struct {
    ptrdiff_t base, count;
} reach;

FC_INLINE reach reach_of(const fc_pool_axis *width, int phase) {
    const ptrdiff_t at = phase + width->before, tap = at % width->stride;
    const ptrdiff_t count =
        tap < width->kernel ? (width->kernel - 1 - tap) / width->stride + 1 : 0;
    return (reach){at / width->stride, count};
}

/* The columns from j * stride on of one phase. */
FC_INLINE vec phase_sum(const real *line, const reach *r, ptrdiff_t j) {
    vec sum = {0};
    for (ptrdiff_t m = 0; m < r->count; m++) sum += load(line + j + r->base - m);
    return sum;
}

#if FC_VECTOR_BYTES * 8 / FC_DTYPE == 16
#define FC_LOW 0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23
#define FC_HIGH 8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31
#elif FC_VECTOR_BYTES * 8 / FC_DTYPE == 8
#define FC_LOW 0, 8, 1, 9, 2, 10, 3, 11
#define FC_HIGH 4, 12, 5, 13, 6, 14, 7, 15
#elif FC_VECTOR_BYTES * 8 / FC_DTYPE == 4
#define FC_LOW 0, 4, 1, 5
#define FC_HIGH 2, 6, 3, 7
#else
#define FC_LOW 0, 2
#define FC_HIGH 1, 3
#endif

enum { MOST_PHASES = 4 };

/* Fixed windows at a narrow stride: vectors of each phase, interleaved on their way out. */
FC_INLINE void spread_phases(const int stride, const fc_pool_axis *width, const real *line,
                             real *out) {
    reach phases[MOST_PHASES];
    for (int p = 0; p < stride; p++) phases[p] = reach_of(width, p);
    for (ptrdiff_t j = 0; j * stride < width->size; j += FC_LANES) {
        const ptrdiff_t left = width->size - j * stride;
        real *to = out + j * stride;
        if (stride == 1) {
            store_upto(to, phase_sum(line, &phases[0], j), left);
        } else if (stride == 2) {
            const vec even = phase_sum(line, &phases[0], j), odd = phase_sum(line, &phases[1], j);
            store_upto(to, __builtin_shufflevector(even, odd, FC_LOW), left);
            if (left > FC_LANES)
                store_upto(to + FC_LANES, __builtin_shufflevector(even, odd, FC_HIGH),
                           left - FC_LANES);
        } else {
            real lanes[MOST_PHASES][FC_LANES] FC_ALIGNED;
            for (int p = 0; p < stride; p++) store(lanes[p], phase_sum(line, &phases[p], j));
            for (ptrdiff_t i = 0; i < stride * FC_LANES && i < left; i++)
                to[i] = lanes[i % stride][i / stride];
        }
    }
}

/* Any windows: output by output. */
static void spread_windows(const fc_pool_axis *width, const real *line, real *out) {
    memset(out, 0, width->size * sizeof(real));
    for (ptrdiff_t o = 0; o < width->outs; o++) {
        const fc_pool_span window = fc_pool_window(width, o);
        for (ptrdiff_t w = window.first; w < window.first + window.count; w++) out[w] += line[o];
    }
}

static void spread(const fc_pool_axis *width, const real *line, real *out) {
    if (width->fitted || width->outs == 1 || width->stride > MOST_PHASES)
        spread_windows(width, line, out);
    else if (width->stride == 1) spread_phases(1, width, line, out);
    else if (width->stride == 2) spread_phases(2, width, line, out);
    else if (width->stride == 3) spread_phases(3, width, line, out);
    else spread_phases(4, width, line, out);
}

FC_INLINE int same_span(fc_pool_span a, fc_pool_span b) {
    return a.first == b.first && a.count == b.count;
}

static void mean_planes(const fc_mean_gradient_args *a) {
    const ptrdiff_t outs = a->width->outs;
    const real *column_share = (const real *)a->column_share;
    /* Behind the outputs the line stays zero: nothing lies in windows that do not exist. */
    memset(a->line, 0, fc_mean_line(a->width, 1, FC_LANES) * sizeof(real));
    real *line = (real *)a->line + fc_mean_reach(a->width);
    fc_pool_span held = {-1, 0};
    for (ptrdiff_t h = a->row; h < a->row + a->rows; h++) {
        const fc_pool_span rows = a->rows_of[h];
        if (!same_span(rows, held))
            for (ptrdiff_t o = 0; o < outs; o += FC_LANES) {
                const vec sum =
                    fold_outputs(a, &rows, (const real *)a->grad + o, outs, outs - o);
                store_upto(line + o, sum * load_upto(column_share + o, outs - o), outs - o);
            }
        held = rows;
        spread(a->width, line, (real *)a->out + h * a->width->size);
    }
}

/* --- mean, channels next to each other ---------------------------------------------------------- */

static void mean_pixels(const fc_mean_gradient_args *a) {
    const ptrdiff_t outs = a->width->outs, channels = a->channels;
    const real *column_share = (const real *)a->column_share;
    real *line = (real *)a->line;
    fc_pool_span held = {-1, 0};
    for (ptrdiff_t h = a->row; h < a->row + a->rows; h++) {
        const fc_pool_span rows = a->rows_of[h];
        if (!same_span(rows, held))
            for (ptrdiff_t o = 0; o < outs; o++)
                for (ptrdiff_t c = 0; c < channels; c += FC_LANES) {
                    const vec sum = fold_outputs(a, &rows, (const real *)a->grad + o * a->step + c,
                                                 outs * a->step, channels - c);
                    store_upto(line + o * channels + c, sum * column_share[o], channels - c);
                }
        held = rows;
        for (ptrdiff_t w = 0; w < a->width->size; w++) {
            const fc_pool_span columns = a->columns_of[w];
            real *out = (real *)a->out + (h * a->width->size + w) * a->step;
            for (ptrdiff_t c = 0; c < channels; c += FC_LANES) {
                vec sum = {0};
                for (ptrdiff_t o = columns.first; o < columns.first + columns.count; o++)
                    sum += load_upto(line + o * channels + c, channels - c);
                store_upto(out + c, sum, channels - c);
            }
        }
    }
}

const fc_pool_gradient_kernels FC_TABLE(pool_gradient) = {FC_LANES, max_planes, max_pixels,
                                                          mean_planes, mean_pixels};
