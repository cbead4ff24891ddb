/* Elementwise operations and reductions along one axis: map, binary, weigh, pick, softmax, local
 * response normalisation.
 *
 * Every element goes through the same vector body whatever its place, its strides and the direction
 * the vectors run in, so neither layout nor blocking changes a bit. Lines are summed in FC_LANES
 * interleaved chains, joined by halves: a vector along the line does that by nature, and vectors
 * across lines keep one accumulator per chain. One trap: a product is fused with its sum only where
 * no branch stands between them, so whatever may branch is read before the arithmetic starts.
 */
#include "activation.h"
#include "elementwise.h"
#include "strided.h"
#include "transposed.h"
#include "vecmath.h"

/* Per-channel values of `count` columns: the same for all, or one each. */
FC_INLINE vec channel_values(const char *table, ptrdiff_t step, ptrdiff_t count) {
    return step ? load_upto((const real *)table, count) : splat(*(const real *)table);
}

/* What a copy of the loop over whole vectors is made for. */
typedef struct { int affine, sloped, known; } map_kind;

FC_INLINE vec map_vector(const map_kind kind, vec v, const fc_map_args *a, const fc_epilogue *e,
                         ptrdiff_t row, ptrdiff_t col) {
    const ptrdiff_t channel = row * a->channel_row + col * a->channel_col;
    const ptrdiff_t left = a->cols - col;
    if (kind.affine) {
        const vec center = channel_values(a->center + channel, a->channel_col, left);
        const vec scale = channel_values(a->scale + channel, a->channel_col, left);
        const vec shift = channel_values(a->shift + channel, a->channel_col, left);
        v = (v - center) * scale + shift;
    }
    if (kind.sloped) {
        const vec slope = channel_values(a->slope + channel, a->channel_col, left);
        v = leaky_vec(v, slope);
    }
    return kind.known ? activate_known(v, e) : activate(v, e);
}

/* Where the kind is a constant, and where known e's activation, so is the path through the loop. */
FC_INLINE void map_rows(const map_kind kind, const fc_map_args *a, const fc_epilogue *e) {
    const ptrdiff_t element = sizeof(real);
    const int contiguous = a->x_col == element && a->out_col == element;
    for (ptrdiff_t r = 0; r < a->rows; r++) {
        const char *x = a->x + r * a->x_row;
        char *out = a->out + r * a->out_row;
        ptrdiff_t c = 0;
        if (contiguous)
            for (; c + FC_LANES <= a->cols; c += FC_LANES)
                store((real *)out + c, map_vector(kind, load((const real *)x + c), a, e, r, c));
        for (; c < a->cols; c += FC_LANES) {
            const ptrdiff_t left = a->cols - c;
            const vec v = load_strided(x + c * a->x_col, a->x_col, left);
            store_strided(out + c * a->out_col, a->out_col,
                          map_vector(kind, v, a, e, r, c), left);
        }
    }
}

/* A block of x whose contiguous elements run down the rows. */
FC_INLINE void map_block(const fc_map_args *a, const fc_epilogue *e, const int whole, ptrdiff_t r,
                         ptrdiff_t c) {
    const ptrdiff_t rows = a->rows - r, left = a->cols - c;
    const map_kind kind = {a->scale != NULL, a->slope != NULL, 0};
    char *out = a->out + r * a->out_row + c * a->out_col;
    vec block[FC_LANES];
    load_transposed(block, whole, a->x + r * a->x_row + c * a->x_col, a->x_col, left, rows);
    if (whole) {
        FC_UNROLL for (int i = 0; i < FC_LANES; i++)
            store_strided(out + i * a->out_row, a->out_col,
                          map_vector(kind, block[i], a, e, r + i, c), FC_LANES);
    } else {
        for (int i = 0; i < FC_LANES && i < rows; i++)
            store_strided(out + i * a->out_row, a->out_col,
                          map_vector(kind, block[i], a, e, r + i, c), left);
    }
}

static void map_transposed(const fc_map_args *a, const fc_epilogue *e) {
    for (ptrdiff_t r = 0; r < a->rows; r += FC_LANES)
        for (ptrdiff_t c = 0; c < a->cols; c += FC_LANES)
            if (a->rows - r >= FC_LANES && a->cols - c >= FC_LANES) map_block(a, e, 1, r, c);
            else map_block(a, e, 0, r, c);
}

/* Rows of an activation alone. */
FC_INLINE void map_known(const int activation, const fc_map_args *a) {
    const fc_epilogue e = {.activation = activation, .alpha = a->alpha, .beta = a->beta};
    map_rows((map_kind){0, 0, 1}, a, &e);
}

static void map_activation(const fc_map_args *a) {
    switch (a->activation) {
    case FC_ACT_RELU: map_known(FC_ACT_RELU, a); break;
    case FC_ACT_CLIP: map_known(FC_ACT_CLIP, a); break;
    case FC_ACT_HARDSWISH: map_known(FC_ACT_HARDSWISH, a); break;
    case FC_ACT_SCALED_HARDSWISH: map_known(FC_ACT_SCALED_HARDSWISH, a); break;
    case FC_ACT_LEAKY_RELU: map_known(FC_ACT_LEAKY_RELU, a); break;
    case FC_ACT_SIGMOID: map_known(FC_ACT_SIGMOID, a); break;
    case FC_ACT_TANH: map_known(FC_ACT_TANH, a); break;
    case FC_ACT_SILU: map_known(FC_ACT_SILU, a); break;
    case FC_ACT_HARDSIGMOID: map_known(FC_ACT_HARDSIGMOID, a); break;
    default: map_known(FC_ACT_NONE, a);
    }
}

static void map_any(const fc_map_args *a) {
    static const fc_epilogue none = {.activation = FC_ACT_NONE}, relu = {.activation = FC_ACT_RELU};
    const fc_epilogue e = {.activation = a->activation, .alpha = a->alpha, .beta = a->beta};
    const ptrdiff_t element = sizeof(real);
    const int affine = a->scale != NULL, sloped = a->slope != NULL;
    if (a->x_row == element && a->x_col != element && a->rows > 1) map_transposed(a, &e);
    else if (!affine && !sloped) map_activation(a);
    else if (affine && !sloped && a->activation == FC_ACT_RELU)
        map_rows((map_kind){1, 0, 0}, a, &relu);
    else if (affine && !sloped && a->activation == FC_ACT_NONE)
        map_rows((map_kind){1, 0, 0}, a, &none);
    else if (!affine && sloped && a->activation == FC_ACT_NONE)
        map_rows((map_kind){0, 1, 0}, a, &none);
    else map_rows((map_kind){affine, sloped, 0}, a, &e);
}

enum { FEW_CHANNELS = 32 };
typedef real repeated[FC_LANES * FEW_CHANNELS];

/* Whether rows of a few channels each follow each other in memory, enough to join FC_LANES of them. */
FC_INLINE int joins_rows(const fc_map_args *a) {
    const ptrdiff_t element = sizeof(real), row = a->cols * element;
    return a->cols <= FEW_CHANNELS && a->rows >= 2 * FC_LANES && a->channel_col == element &&
           a->channel_row == 0 && a->x_col == element && a->out_col == element &&
           a->x_row == row && a->out_row == row;
}

FC_INLINE const char *repeat(const char *table, ptrdiff_t channels, repeated values) {
    if (!table) return NULL;
    for (int r = 0; r < FC_LANES; r++)
        for (ptrdiff_t c = 0; c < channels; c++)
            values[r * channels + c] = ((const real *)table)[c];
    return (const char *)values;
}

/* Joined, rows are whole vectors, however many channels there are. */
static void map(const fc_map_args *a) {
    if (!joins_rows(a)) {
        map_any(a);
        return;
    }
    repeated center, scale, shift, slope;
    fc_map_args joined = *a, rest = *a;
    joined.center = repeat(a->center, a->cols, center);
    joined.scale = repeat(a->scale, a->cols, scale);
    joined.shift = repeat(a->shift, a->cols, shift);
    joined.slope = repeat(a->slope, a->cols, slope);
    joined.rows /= FC_LANES;
    joined.cols *= FC_LANES;
    joined.x_row *= FC_LANES;
    joined.out_row *= FC_LANES;
    map_any(&joined);
    rest.x += joined.rows * joined.x_row;
    rest.out += joined.rows * joined.out_row;
    rest.rows %= FC_LANES;
    map_any(&rest);
}

/* One vector of an operand, which may be the same element in all lanes. */
FC_INLINE vec operand(const char *p, ptrdiff_t step, ptrdiff_t count) {
    return step ? load_strided(p, step, count) : splat(*(const real *)p);
}

FC_INLINE vec combine(const int op, vec x, vec y) {
    switch (op) {
    case FC_ADD: return x + y;
    case FC_SUB: return x - y;
    case FC_MUL: return x * y;
    default: return x / y;
    }
}

/* Where op is a constant, and whether an operand is the same along a row, so is the loop. */
FC_INLINE void binary_row(const int op, const int x_same, const int y_same, const real *x,
                          const real *y, real *out, ptrdiff_t cols) {
    ptrdiff_t c = 0;
    for (; c + FC_LANES <= cols; c += FC_LANES)
        store(out + c, combine(op, x_same ? splat(*x) : load(x + c),
                               y_same ? splat(*y) : load(y + c)));
    if (c < cols)
        store_upto(out + c, combine(op, x_same ? splat(*x) : load_upto(x + c, cols - c),
                                    y_same ? splat(*y) : load_upto(y + c, cols - c)), cols - c);
}

FC_INLINE void binary_rows(const int op, const fc_binary_args *a) {
    const ptrdiff_t element = sizeof(real);
    const int x_plain = a->x_col == element, y_plain = a->y_col == element;
    const int plain = a->out_col == element && (x_plain || !a->x_col) && (y_plain || !a->y_col);
    for (ptrdiff_t r = 0; r < a->rows; r++) {
        const char *x = a->x + r * a->x_row, *y = a->y + r * a->y_row;
        char *out = a->out + r * a->out_row;
        const real *xs = (const real *)x, *ys = (const real *)y;
        if (plain && x_plain && y_plain) binary_row(op, 0, 0, xs, ys, (real *)out, a->cols);
        else if (plain && x_plain) binary_row(op, 0, 1, xs, ys, (real *)out, a->cols);
        else if (plain && y_plain) binary_row(op, 1, 0, xs, ys, (real *)out, a->cols);
        else
            for (ptrdiff_t c = 0; c < a->cols; c += FC_LANES) {
                const ptrdiff_t left = a->cols - c;
                const vec v = combine(op, operand(x + c * a->x_col, a->x_col, left),
                                      operand(y + c * a->y_col, a->y_col, left));
                store_strided(out + c * a->out_col, a->out_col, v, left);
            }
    }
}

static void binary(const fc_binary_args *a) {
    switch (a->op) {
    case FC_ADD: binary_rows(FC_ADD, a); break;
    case FC_SUB: binary_rows(FC_SUB, a); break;
    case FC_MUL: binary_rows(FC_MUL, a); break;
    default: binary_rows(FC_DIV, a);
    }
}

FC_INLINE void weigh_lines(const int taps, const fc_weigh_args *a) {
    for (ptrdiff_t c = 0; c < a->count; c += FC_LANES) {
        const ptrdiff_t left = a->count - c;
        vec sum = splat(0);
        for (int t = 0; t < taps; t++) {
            const vec v = load_upto((const real *)(a->x + a->offset[t]) + c, left);
            sum = t ? sum + v * (real)a->weight[t] : v * (real)a->weight[t];
        }
        store_upto((real *)a->out + c, sum, left);
    }
}

static void weigh(const fc_weigh_args *a) {
    switch (a->taps) {
    case 1: weigh_lines(1, a); break;
    case 2: weigh_lines(2, a); break;
    default: weigh_lines(a->taps, a);
    }
}

static void pick(const fc_pick_args *a) {
    for (ptrdiff_t r = 0; r < a->rows; r++) {
        const real *x = (const real *)(a->x + r * a->x_row);
        real *out = (real *)(a->out + r * a->out_row);
        for (ptrdiff_t c = 0; c < a->cols; c++) out[c] = x[a->index[c]];
    }
}

/* All ones in the first `count` lanes. */
FC_INLINE ivec first_lanes(ptrdiff_t count) {
    ivec lane = {0};
    for (int i = 0; i < FC_LANES; i++) lane[i] = i;
    return lane < (lane_int)(count < FC_LANES ? count : FC_LANES);
}

/* A line's sum, whose lanes are chains. */
FC_INLINE real joined(vec chains) {
    real lanes[FC_LANES] FC_ALIGNED;
    store(lanes, chains);
    for (int half = FC_LANES / 2; half; half /= 2)
        for (int j = 0; j < half; j++) lanes[j] += lanes[j + half];
    return lanes[0];
}

FC_INLINE vec peak_of(const fc_softmax_args *a, const char *x) {
    real lanes[FC_LANES] FC_ALIGNED;
    vec peak = splat((real)-INFINITY);
    for (ptrdiff_t i = 0; i < a->length; i += FC_LANES) {
        const ptrdiff_t left = a->length - i;
        const vec v = load_strided(x + i * a->x_step, a->x_step, left);
        peak = max_nan(peak, left < FC_LANES ? blend(first_lanes(left), v, peak) : v);
    }
    store(lanes, peak);
    for (int half = FC_LANES / 2; half; half /= 2)
        for (int j = 0; j < half; j++)
            if (!(lanes[j] >= lanes[j + half]) && lanes[j] == lanes[j]) lanes[j] = lanes[j + half];
    return splat(lanes[0]);
}

/* One line, the vector along it. The powers wait in out until their sum is known. */
static void softmax_line(const fc_softmax_args *a, const char *x, char *out) {
    const vec peak = peak_of(a, x);
    vec chains = splat(0);
    for (ptrdiff_t i = 0; i < a->length; i += FC_LANES) {
        const ptrdiff_t left = a->length - i;
        const vec e = exp_nonpositive(load_strided(x + i * a->x_step, a->x_step, left) - peak);
        chains += left < FC_LANES ? blend(first_lanes(left), e, splat(0)) : e;
        if (!a->logarithm) store_strided(out + i * a->out_step, a->out_step, e, left);
    }
    const vec sum = splat(joined(chains));
    const vec log_sum = a->logarithm ? log_positive(sum) : sum, share = 1 / sum;
    for (ptrdiff_t i = 0; i < a->length; i += FC_LANES) {
        const ptrdiff_t left = a->length - i;
        char *to = out + i * a->out_step;
        const vec v = a->logarithm
                          ? load_strided(x + i * a->x_step, a->x_step, left) - peak - log_sum
                          : load_strided(to, a->out_step, left) * share;
        store_strided(to, a->out_step, v, left);
    }
}

static void softmax_along(const fc_softmax_args *a) {
    for (ptrdiff_t l = 0; l < a->lines; l++)
        softmax_line(a, a->x + l * a->x_line, a->out + l * a->out_line);
}

/* FC_LANES lines at once, one per lane: the same steps in the same order as softmax_line. */
static void softmax_lines(const fc_softmax_args *a, const char *x, char *out, ptrdiff_t lines) {
    vec peak = splat((real)-INFINITY);
    for (ptrdiff_t i = 0; i < a->length; i++)
        peak = max_nan(peak, load_strided(x + i * a->x_step, a->x_line, lines));

    vec chain[FC_LANES] = {{0}};
    for (ptrdiff_t i = 0; i < a->length; i++) {
        const vec e = exp_nonpositive(load_strided(x + i * a->x_step, a->x_line, lines) - peak);
        chain[i % FC_LANES] += e;
        if (!a->logarithm) store_strided(out + i * a->out_step, a->out_line, e, lines);
    }
    for (int half = FC_LANES / 2; half; half /= 2)
        for (int j = 0; j < half; j++) chain[j] += chain[j + half];
    const vec sum = chain[0];
    const vec log_sum = a->logarithm ? log_positive(sum) : sum, share = 1 / sum;
    for (ptrdiff_t i = 0; i < a->length; i++) {
        char *to = out + i * a->out_step;
        const vec v = a->logarithm
                          ? load_strided(x + i * a->x_step, a->x_line, lines) - peak - log_sum
                          : load_strided(to, a->out_line, lines) * share;
        store_strided(to, a->out_line, v, lines);
    }
}

static void softmax_across(const fc_softmax_args *a) {
    for (ptrdiff_t l = 0; l < a->lines; l += FC_LANES)
        softmax_lines(a, a->x + l * a->x_line, a->out + l * a->out_line, a->lines - l);
}

/* The usual power, 3/4, is two roots: a fraction of what any power takes. */
FC_INLINE vec lrn_result(vec x, vec energy, const fc_lrn_args *a) {
    const vec d = energy * (real)a->alpha + (real)a->k;
    if (a->beta == 0.75 && a->alpha >= 0 && (real)a->k >= FC_SMALLEST_NORMAL) {
        const vec root = square_root(d);
        return x / (root * square_root(root));
    }
    return x * power(d, -a->beta);
}

/* A line copied between zeros, so that every window is whole. */
static void lrn_copy(const fc_lrn_args *a, const char *x, real *line) {
    const ptrdiff_t padded = (a->length + FC_LANES - 1) / FC_LANES * FC_LANES;
    memset(line, 0, a->before * sizeof(real));
    for (ptrdiff_t i = 0; i < a->length; i += FC_LANES)
        store(line + a->before + i, load_strided(x + i * a->x_step, a->x_step, a->length - i));
    memset(line + a->before + padded, 0, a->after * sizeof(real));
}

static void lrn_line(const fc_lrn_args *a, const real *line, char *out) {
    for (ptrdiff_t i = 0; i < a->length; i += FC_LANES) {
        vec energy = {0};
        for (ptrdiff_t t = 0; t <= a->before + a->after; t++) {
            const vec v = load(line + i + t);
            energy += v * v;
        }
        store_strided(out + i * a->out_step, a->out_step,
                      lrn_result(load(line + a->before + i), energy, a), a->length - i);
    }
}

/* Copies lines ahead: a load over two stores that are still on their way would wait for both. */
static void lrn_along(const fc_lrn_args *a) {
    for (ptrdiff_t l = 0; l < a->lines; l += FC_LRN_LINES) {
        const int lines = a->lines - l < FC_LRN_LINES ? (int)(a->lines - l) : FC_LRN_LINES;
        for (int i = 0; i < lines; i++)
            lrn_copy(a, a->x + (l + i) * a->x_line, (real *)(a->scratch + i * a->scratch_line));
        for (int i = 0; i < lines; i++)
            lrn_line(a, (const real *)(a->scratch + i * a->scratch_line),
                     a->out + (l + i) * a->out_line);
    }
}

/* Vectors over neighbouring lines, one channel after the other. */
static void lrn_across(const fc_lrn_args *a) {
    for (ptrdiff_t i = 0; i < a->length; i++) {
        const ptrdiff_t first = i > a->before ? i - a->before : 0;
        const ptrdiff_t end = a->length - i > a->after ? i + a->after + 1 : a->length;
        for (ptrdiff_t l = 0; l < a->lines; l += FC_LANES) {
            const ptrdiff_t left = a->lines - l;
            const char *x = a->x + l * a->x_line;
            vec energy = {0};
            for (ptrdiff_t c = first; c < end; c++) {
                const vec v = load_strided(x + c * a->x_step, a->x_line, left);
                energy += v * v;
            }
            const vec centre = load_strided(x + i * a->x_step, a->x_line, left);
            store_strided(a->out + i * a->out_step + l * a->out_line, a->out_line,
                          lrn_result(centre, energy, a), left);
        }
    }
}

const fc_elementwise_kernels FC_TABLE(elementwise) = {
    FC_LANES, map, binary, weigh, pick, softmax_along, softmax_across, lrn_along, lrn_across};
