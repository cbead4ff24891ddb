/* Gradients of elementwise operations and of reductions along one axis.
 *
 * As in elementwise.c every element goes through the same vector body whatever its place and
 * strides.
 */
#include "activation.h"
#include "gradient.h"
#include "strided.h"
#include "vecmath.h"

enum { ELEMENT = sizeof(real) };

/* --- map ---------------------------------------------------------------------------------------- */

FC_INLINE vec where(ivec mask, vec v) { return (vec)(mask & (ivec)v); }

FC_NOINLINE vec silu_slope(vec x) {
    const vec s = sigmoid_vec(x);
    return s * (1 + x * (1 - s));
}

/* Per-channel values of the columns from `col` on: the same for all, or one each. */
FC_INLINE vec values(const fc_gradient_map_args *a, int table, ptrdiff_t row, ptrdiff_t col) {
    const real *p = (const real *)(a->table[table] + row * a->channel_row + col * a->channel_col);
    return a->channel_col ? load_upto(p, a->cols - col) : splat(*p);
}

/* The comparisons are PyTorch's: they decide where the gradient of NaN goes. */
FC_INLINE vec gradient(const int op, vec x, vec g, const fc_gradient_map_args *a, ptrdiff_t row,
                       ptrdiff_t col) {
    switch (op) {
    case FC_GRAD_POSITIVE: return where(~(ivec)(x <= 0), g);
    case FC_GRAD_INSIDE:
        return where(~((ivec)(x <= splat((real)a->alpha)) | (ivec)(x >= splat((real)a->beta))), g);
    case FC_GRAD_SLOPE: return blend((ivec)(x > 0), g, g * (real)a->alpha);
    case FC_GRAD_SIGMOID: return g * (1 - x) * x;
    case FC_GRAD_TANH: return g * (1 - x * x);
    case FC_GRAD_SILU: return g * silu_slope(x);
    case FC_GRAD_HARDSIGMOID: return where((ivec)(x > -3) & (ivec)(x < 3), g / 6);
    case FC_GRAD_HARDSWISH: {
        const vec bent = g * (x / 3 + (real)0.5);
        return where(~(ivec)(x <= -3), blend((ivec)(x < 3), bent, g));
    }
    case FC_GRAD_CHANNEL_SLOPE:
        return blend((ivec)(x > 0), g, g * values(a, 0, row, col));
    default: {
        const vec offset = values(a, 0, row, col), center = values(a, 1, row, col);
        const vec slope = values(a, 2, row, col), scale = values(a, 3, row, col);
        return (g - offset - (x - center) * slope) * scale;
    }
    }
}

FC_INLINE void map_rows(const int op, const fc_gradient_map_args *a) {
    const int contiguous = a->x_col == ELEMENT && a->grad_col == ELEMENT && a->out_col == ELEMENT;
    for (ptrdiff_t r = 0; r < a->rows; r++) {
        const char *x = a->x + r * a->x_row, *grad = a->grad + r * a->grad_row;
        char *out = a->out + r * a->out_row;
        ptrdiff_t c = 0;
        if (contiguous)
            for (; c + FC_LANES <= a->cols; c += FC_LANES)
                store((real *)out + c, gradient(op, load((const real *)x + c),
                                                load((const real *)grad + c), a, r, c));
        for (; c < a->cols; c += FC_LANES) {
            const ptrdiff_t left = a->cols - c;
            const vec v = load_strided(x + c * a->x_col, a->x_col, left);
            const vec g = load_strided(grad + c * a->grad_col, a->grad_col, left);
            store_strided(out + c * a->out_col, a->out_col, gradient(op, v, g, a, r, c), left);
        }
    }
}

#define FC_MAP_CASE(op) case op: map_rows(op, a); break;
static void map(const fc_gradient_map_args *a) {
    switch (a->op) {
        FC_MAP_CASE(FC_GRAD_POSITIVE)
        FC_MAP_CASE(FC_GRAD_INSIDE)
        FC_MAP_CASE(FC_GRAD_SLOPE)
        FC_MAP_CASE(FC_GRAD_SIGMOID)
        FC_MAP_CASE(FC_GRAD_TANH)
        FC_MAP_CASE(FC_GRAD_SILU)
        FC_MAP_CASE(FC_GRAD_HARDSIGMOID)
        FC_MAP_CASE(FC_GRAD_HARDSWISH)
        FC_MAP_CASE(FC_GRAD_CHANNEL_SLOPE)
        FC_MAP_CASE(FC_GRAD_STANDARD)
    }
}

/* --- softmax ------------------------------------------------------------------------------------ */

/* What a line's sum is made of. */
FC_INLINE vec softmax_term(vec y, vec g, int logarithm) { return logarithm ? g : y * g; }

FC_INLINE vec softmax_result(vec y, vec g, vec sum, int logarithm) {
    return logarithm ? g - exp_nonpositive(y) * sum : y * (g - sum);
}

/* One line, the vector along it: FC_LANES interleaved chains, joined by halves. */
static void softmax_line(const fc_softmax_gradient_args *a, const char *y, const char *grad,
                         char *out) {
    real lanes[FC_LANES] FC_ALIGNED;
    vec acc = {0};
    /* Lanes past the end read as zero and add zero. */
    for (ptrdiff_t i = 0; i < a->length; i += FC_LANES) {
        const ptrdiff_t left = a->length - i;
        const vec v = load_strided(y + i * a->y_step, a->y_step, left);
        acc += softmax_term(v, load_strided(grad + i * a->grad_step, a->grad_step, left),
                            a->logarithm);
    }
    store(lanes, acc);
    for (int half = FC_LANES / 2; half; half /= 2)
        for (int j = 0; j < half; j++) lanes[j] += lanes[j + half];
    for (ptrdiff_t i = 0; i < a->length; i += FC_LANES) {
        const ptrdiff_t left = a->length - i;
        const vec v = load_strided(y + i * a->y_step, a->y_step, left);
        const vec g = load_strided(grad + i * a->grad_step, a->grad_step, left);
        store_strided(out + i * a->out_step, a->out_step,
                      softmax_result(v, g, splat(lanes[0]), a->logarithm), left);
    }
}

static void softmax_along(const fc_softmax_gradient_args *a) {
    for (ptrdiff_t l = 0; l < a->lines; l++)
        softmax_line(a, a->y + l * a->y_line, a->grad + l * a->grad_line, a->out + l * a->out_line);
}

/* FC_LANES lines at once, one per lane: the same steps in the same order as softmax_line. */
static void softmax_across(const fc_softmax_gradient_args *a) {
    for (ptrdiff_t l = 0; l < a->lines; l += FC_LANES) {
        const ptrdiff_t left = a->lines - l;
        const char *y = a->y + l * a->y_line, *grad = a->grad + l * a->grad_line;
        vec chain[FC_LANES] = {{0}};
        for (ptrdiff_t i = 0; i < a->length; i++) {
            const vec v = load_strided(y + i * a->y_step, a->y_line, left);
            chain[i % FC_LANES] += softmax_term(
                v, load_strided(grad + i * a->grad_step, a->grad_line, left), a->logarithm);
        }
        for (int half = FC_LANES / 2; half; half /= 2)
            for (int j = 0; j < half; j++) chain[j] += chain[j + half];
        for (ptrdiff_t i = 0; i < a->length; i++) {
            const vec v = load_strided(y + i * a->y_step, a->y_line, left);
            const vec g = load_strided(grad + i * a->grad_step, a->grad_line, left);
            store_strided(a->out + i * a->out_step + l * a->out_line, a->out_line,
                          softmax_result(v, g, chain[0], a->logarithm), left);
        }
    }
}

/* --- local response normalisation --------------------------------------------------------------- */

/* With D the base of a channel, the inputs, g * D^-beta and g * x * D^(-beta - 1) of all channels
 * wait in scratch; the last is then summed over the channels whose windows reach a channel. */
static void lrn(const fc_lrn_gradient_args *a) {
    vec *input = (vec *)a->scratch, *direct = input + a->length, *shared = direct + a->length;
    const real factor = (real)(-2 * a->alpha * a->beta);
    for (ptrdiff_t l = 0; l < a->lines; l += FC_LANES) {
        const ptrdiff_t left = a->lines - l;
        const char *x = a->x + l * a->x_line, *grad = a->grad + l * a->grad_line;
        for (ptrdiff_t i = 0; i < a->length; i++)
            input[i] = load_strided(x + i * a->x_step, a->x_line, left);
        for (ptrdiff_t i = 0; i < a->length; i++) {
            const ptrdiff_t first = i > a->before ? i - a->before : 0;
            const ptrdiff_t end = a->length - i > a->after ? i + a->after + 1 : a->length;
            vec energy = {0};
            for (ptrdiff_t c = first; c < end; c++) energy += input[c] * input[c];
            const vec base = energy * (real)a->alpha + (real)a->k;
            direct[i] = load_strided(grad + i * a->grad_step, a->grad_line, left) *
                        power(base, -a->beta);
            shared[i] = direct[i] * input[i] / base;
        }
        for (ptrdiff_t i = 0; i < a->length; i++) {
            const ptrdiff_t first = i > a->after ? i - a->after : 0;
            const ptrdiff_t end = a->length - i > a->before ? i + a->before + 1 : a->length;
            vec sum = {0};
            for (ptrdiff_t c = first; c < end; c++) sum += shared[c];
            store_strided(a->out + i * a->out_step + l * a->out_line, a->out_line,
                          direct[i] + factor * input[i] * sum, left);
        }
    }
}

const fc_gradient_kernels FC_TABLE(gradient) = {FC_LANES, map, softmax_along, softmax_across,
                                                lrn};
