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
    const ptrdiff_t runs = a->channels == a->step ? 1 : a->places;
    for (ptrdiff_t r = 0; r < runs; r++)
        memset(out + r * a->step, 0, a->places / runs * a->channels * sizeof(real));
    for (ptrdiff_t o = 0; o < a->outs; o++) {
        const int64_t *index = a->index + o * a->step;
        const real *grad = (const real *)a->grad + o * a->step;
        for (ptrdiff_t c = 0; c < a->channels; c++)
            outside |= scatter(out + c, index[c], a->places, a->step, grad[c]);
    }
    return outside;
}

/* --- mean: outputs folded into lines ------------------------------------------------------------- */

/* Output rows in whose windows an input row lies, each times its share; FEW at most, at once. */
enum { FEW = 3 };
typedef struct {
    const real *source[FEW];
    real share[FEW];
} terms;

FC_INLINE void fold_terms(const int count, const terms *t, ptrdiff_t length, int more, real *line) {
    for (ptrdiff_t i = 0; i < length; i += FC_LANES) {
        vec sum = more ? load(line + i) : (vec){0};
        FC_UNROLL for (int k = 0; k < count; k++)
            sum += load_upto(t->source[k] + i, length - i) * t->share[k];
        store(line + i, sum);
    }
}

static void fold_some(int count, const terms *t, ptrdiff_t length, int more, real *line) {
    switch (count) {
    case 1: fold_terms(1, t, length, more, line); break;
    case 2: fold_terms(2, t, length, more, line); break;
    case 3: fold_terms(3, t, length, more, line); break;
    }
}

/* `length` neighbours of the line: the outputs in the slices and rows that hold an input row, each
 * times its share, and all times `factor`. Vectors may end behind the line, in zeros. */
static void fold_run(const fc_mean_gradient_args *a, const fc_pool_span *rows, const real *source,
                     ptrdiff_t row_step, ptrdiff_t length, real factor, real *line) {
    const real *depth_share = (const real *)a->depth_share, *row_share = (const real *)a->row_share;
    const fc_pool_span *slices = &a->slices;
    terms t;
    int held = 0, more = 0;
    if (rows->count == 0 || slices->count == 0) {
        memset(line, 0, length * sizeof(real));
        return;
    }
    for (ptrdiff_t d = slices->first; d < slices->first + slices->count; d++)
        for (ptrdiff_t h = rows->first; h < rows->first + rows->count; h++) {
            if (held == FEW) {
                fold_some(held, &t, length, more, line);
                held = 0;
                more = 1;
            }
            t.source[held] = source + (d * a->height->outs + h) * row_step;
            t.share[held++] = depth_share[d] * row_share[h] * factor;
        }
    fold_some(held, &t, length, more, line);
}

/* Whether all columns have the same share. */
static int even_shares(const fc_mean_gradient_args *a) {
    const real *share = (const real *)a->column_share;
    for (ptrdiff_t o = 1; o < a->width->outs; o++)
        if (share[o] != share[0]) return 0;
    return 1;
}

/* The line of all outputs, for one channel or the block's. */
static void fold_line(const fc_mean_gradient_args *a, const fc_pool_span *rows, int even,
                      real *line) {
    const real *share = (const real *)a->column_share, *source = (const real *)a->grad;
    const ptrdiff_t outs = a->width->outs, channels = a->channels;
    const ptrdiff_t runs = channels == a->step && (even || channels == 1) ? 1 : outs;
    for (ptrdiff_t r = 0; r < runs; r++)
        fold_run(a, rows, source + r * a->step, outs * a->step, outs / runs * channels,
                 runs > 1 || even ? share[r] : 1, line + r * channels);
    if (runs > 1 || even) return;
    for (ptrdiff_t o = 0; o < outs; o += FC_LANES)
        store(line + o, load(line + o) * load_upto(share + o, outs - o));
}

FC_INLINE int same_span(fc_pool_span a, fc_pool_span b) {
    return a.first == b.first && a.count == b.count;
}

/* Fold the lines of at most FC_MEAN_HELD rows from `row` on; tells where each row's line is, and
 * returns how many rows there are. Neighbouring rows in the same windows share a line. */
static ptrdiff_t fold_lines(const fc_mean_gradient_args *a, ptrdiff_t row, int even, real *lines,
                            ptrdiff_t length, const real *line_of[FC_MEAN_HELD]) {
    const ptrdiff_t left = a->row + a->rows - row, rows = left < FC_MEAN_HELD ? left : FC_MEAN_HELD;
    for (ptrdiff_t i = 0; i < rows; i++) {
        real *line = lines + i * length;
        line_of[i] = line;
        if (i && same_span(a->rows_of[row + i], a->rows_of[row + i - 1])) line_of[i] = line_of[i - 1];
        else fold_line(a, &a->rows_of[row + i], even, line);
    }
    return rows;
}

/* --- mean, one channel: the line spread along the width ------------------------------------------ */

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
FC_INLINE void spread_phases(const int stride, const reach *phases, const real *line, real *out,
                             ptrdiff_t size) {
    for (ptrdiff_t j = 0; j * stride < size; j += FC_LANES) {
        const ptrdiff_t left = size - j * stride;
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

/* Any windows: output by output, each adding where the last one has been. */
static void spread_windows(const fc_pool_axis *width, const real *line, real *out) {
    ptrdiff_t done = 0;
    for (ptrdiff_t o = 0; o < width->outs; o++) {
        const fc_pool_span window = fc_pool_window(width, o);
        const ptrdiff_t end = window.first + window.count;
        for (ptrdiff_t w = window.first; w < done && w < end; w++) out[w] += line[o];
        for (; done < window.first; done++) out[done] = 0;
        for (; done < end; done++) out[done] = line[o];
    }
    for (; done < width->size; done++) out[done] = 0;
}

/* `phases` is empty where the windows want no phases. */
static void spread(const fc_pool_axis *width, int phase_count, const reach *phases,
                   const real *line, real *out) {
    switch (phase_count) {
    case 1: spread_phases(1, phases, line, out, width->size); break;
    case 2: spread_phases(2, phases, line, out, width->size); break;
    case 3: spread_phases(3, phases, line, out, width->size); break;
    case 4: spread_phases(4, phases, line, out, width->size); break;
    default: spread_windows(width, line, out);
    }
}

/* Whether columns come in pairs with one output each, rows and slices have one at most, and all
 * columns the same share: the usual pool of 2 x 2. */
static int are_pairs(const fc_mean_gradient_args *a, int even) {
    const fc_pool_axis *width = a->width, *height = a->height;
    return even && a->slices.count == 1 && !height->fitted && height->kernel <= height->stride &&
           !width->fitted && width->kernel == 2 && width->stride == 2 && width->before == 0 &&
           width->size == 2 * width->outs;
}

/* There rows need no lines: every output goes to both its columns at once. */
static void mean_pairs(const fc_mean_gradient_args *a) {
    const real *depth_share = (const real *)a->depth_share, *row_share = (const real *)a->row_share;
    const real factor = *(const real *)a->column_share;
    const ptrdiff_t outs = a->width->outs, size = a->width->size, depth = a->slices.first;
    for (ptrdiff_t h = a->row; h < a->row + a->rows; h++) {
        const fc_pool_span rows = a->rows_of[h];
        real *out = (real *)a->out + h * size;
        if (rows.count == 0) {
            memset(out, 0, size * sizeof(real));
            continue;
        }
        const real *source = (const real *)a->grad + (depth * a->height->outs + rows.first) * outs;
        const real share = depth_share[depth] * row_share[rows.first] * factor;
        for (ptrdiff_t o = 0; o < outs; o += FC_LANES) {
            const ptrdiff_t left = size - 2 * o;
            vec sum = {0}; /* so that -0 becomes 0, as in other sums */
            sum += load_upto(source + o, outs - o) * share;
            store_upto(out + 2 * o, __builtin_shufflevector(sum, sum, FC_LOW), left);
            if (left > FC_LANES)
                store_upto(out + 2 * o + FC_LANES, __builtin_shufflevector(sum, sum, FC_HIGH),
                           left - FC_LANES);
        }
    }
}

static void mean_planes(const fc_mean_gradient_args *a) {
    const ptrdiff_t length = fc_mean_line(a->width, 1, FC_LANES);
    const int even = even_shares(a);
    if (are_pairs(a, even)) {
        mean_pairs(a);
        return;
    }
    const int narrow = !a->width->fitted && a->width->outs > 1 && a->width->stride <= MOST_PHASES;
    const int phase_count = narrow ? (int)a->width->stride : 0;
    const real *line_of[FC_MEAN_HELD];
    reach phases[MOST_PHASES];
    for (int p = 0; p < phase_count; p++) phases[p] = reach_of(a->width, p);
    /* Around the outputs the lines stay zero: nothing lies in windows that do not exist. */
    memset(a->line, 0, FC_MEAN_HELD * length * sizeof(real));
    real *lines = (real *)a->line + fc_mean_reach(a->width);
    for (ptrdiff_t h = a->row, rows; h < a->row + a->rows; h += rows) {
        rows = fold_lines(a, h, even, lines, length, line_of);
        for (ptrdiff_t i = 0; i < rows; i++)
            spread(a->width, phase_count, phases, line_of[i],
                   (real *)a->out + (h + i) * a->width->size);
    }
}

/* --- mean, channels next to each other ----------------------------------------------------------- */

/* One pixel: the sum of `count` neighbours of the line. */
FC_INLINE void spread_pixel(const real *line, ptrdiff_t count, ptrdiff_t channels, real *out) {
    for (ptrdiff_t c = 0; c < channels; c += FC_LANES) {
        const real *p = line + c;
        vec sum = {0};
        if (count == 1) sum = load(p);
        else if (count == 2) sum = load(p) + load(p + channels);
        else if (count == 3) sum = load(p) + load(p + channels) + load(p + 2 * channels);
        else
            for (ptrdiff_t o = 0; o < count; o++) sum += load(p + o * channels);
        store_upto(out + c, sum, channels - c);
    }
}

static void mean_pixels(const fc_mean_gradient_args *a) {
    const ptrdiff_t length = fc_mean_line(a->width, a->channels, FC_LANES);
    const int even = even_shares(a);
    const real *line_of[FC_MEAN_HELD];
    for (ptrdiff_t h = a->row, rows; h < a->row + a->rows; h += rows) {
        rows = fold_lines(a, h, even, (real *)a->line, length, line_of);
        for (ptrdiff_t i = 0; i < rows; i++)
            for (ptrdiff_t w = 0; w < a->width->size; w++) {
                const fc_pool_span columns = a->columns_of[w];
                spread_pixel(line_of[i] + columns.first * a->channels, columns.count, a->channels,
                             (real *)a->out + ((h + i) * a->width->size + w) * a->step);
            }
    }
}

const fc_pool_gradient_kernels FC_TABLE(pool_gradient) = {FC_LANES, max_planes, max_pixels,
                                                          mean_planes, mean_pixels};
