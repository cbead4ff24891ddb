/* Sums over a channel: double whatever the elements are, in several chains per block. The driver adds
 * the blocks, which do not depend on the threads, in their order.
 */
#include "kernels.h"
#include "simd.h"

enum { ELEMENT = sizeof(real) };

/* A register of doubles, and as many elements. */
typedef double wide __attribute__((vector_size(FC_VECTOR_BYTES)));
typedef int64_t wide_mask __attribute__((vector_size(FC_VECTOR_BYTES)));
enum { WIDE_LANES = FC_VECTOR_BYTES / 8, CHAINS = 4 };
/* Vectors of plain sums side by side, half as many as there are registers: a row's piece should be
 * long, for the next row's may lie a page further on. */
#if FC_VECTOR_BYTES == 64
enum { ACROSS = 16 };
#else
enum { ACROSS = 8 };
#endif
typedef real narrow
    __attribute__((vector_size(WIDE_LANES * sizeof(real)), aligned(sizeof(real)), may_alias));

/* Out of line: what is rare would be most of the code where it is inlined. */
FC_NOINLINE void load_apart(const char *p, ptrdiff_t step, ptrdiff_t count, wide *v) {
    double lanes[WIDE_LANES] = {0};
    for (ptrdiff_t i = 0; i < WIDE_LANES && i < count; i++)
        lanes[i] = *(const real *)(p + i * step);
    memcpy(v, lanes, sizeof *v);
}

/* The first `count` of the lanes (all from WIDE_LANES on); the others read as zero. */
FC_INLINE wide load_wide(const char *p, ptrdiff_t step, ptrdiff_t count) {
    if (step == ELEMENT && count >= WIDE_LANES)
        return __builtin_convertvector(*(const narrow *)p, wide);
    wide v;
    load_apart(p, step, count, &v);
    return v;
}

FC_INLINE wide load_doubles(const double *p, ptrdiff_t count) {
    wide v = {0};
    if (count >= WIDE_LANES) memcpy(&v, p, sizeof v);
    else memcpy(&v, p, count * sizeof(double));
    return v;
}

FC_INLINE wide wide_where(wide_mask mask, wide v) { return (wide)(mask & (wide_mask)v); }

FC_INLINE int reads_grad(const int op) { return op == FC_SUMS_GRADIENT || op == FC_SUMS_NEGATIVE; }

FC_INLINE double center_of(const int op, const fc_sums_args *a, ptrdiff_t channel) {
    return op == FC_SUMS_PLAIN ? 0 : a->center[channel];
}

/* Add the terms of one vector; `inside` is NULL where all lanes exist. */
FC_INLINE void add_terms(const int op, wide x, wide g, wide center, const wide_mask *inside,
                         wide *first, wide *second) {
    if (op == FC_SUMS_PLAIN) {
        *first += inside ? wide_where(*inside, x) : x;
        return;
    }
    if (op == FC_SUMS_NEGATIVE) {
        const wide_mask negative = ~(wide_mask)(x > 0);
        x = wide_where(negative, x);
        g = wide_where(negative, g);
    }
    const wide d = x - center;
    const wide u = op == FC_SUMS_MOMENTS ? d : g;
    const wide product = u * d;
    *first += inside ? wide_where(*inside, u) : u;
    *second += inside ? wide_where(*inside, product) : product;
}

/* Sum of the chains, then of the lanes. */
FC_INLINE double fold(wide chain[CHAINS]) {
    const wide v = (chain[0] + chain[1]) + (chain[2] + chain[3]);
    double sum = 0;
    for (int i = 0; i < WIDE_LANES; i++) sum += v[i];
    return sum;
}

/* Rows `from` and following, all of one channel. */
FC_INLINE void sums_along(const int op, const fc_sums_args *a, ptrdiff_t from, ptrdiff_t rows,
                          double center, double *sums) {
    const wide middle = center - (wide){0};
    const ptrdiff_t step = CHAINS * WIDE_LANES;
    const int contiguous = a->x_col == ELEMENT && (!reads_grad(op) || a->grad_col == ELEMENT);
    wide first[CHAINS] = {{0}}, second[CHAINS] = {{0}};
    for (ptrdiff_t r = from; r < from + rows; r++) {
        const char *x = a->x + r * a->x_row, *grad = a->grad + r * a->grad_row;
        ptrdiff_t c = 0;
        if (contiguous)
            for (; c + step <= a->cols; c += step)
                FC_UNROLL for (int j = 0; j < CHAINS; j++) {
                    const ptrdiff_t at = (c + j * WIDE_LANES) * ELEMENT;
                    const wide v = load_wide(x + at, ELEMENT, WIDE_LANES);
                    const wide g = reads_grad(op) ? load_wide(grad + at, ELEMENT, WIDE_LANES) : v;
                    add_terms(op, v, g, middle, NULL, &first[j], &second[j]);
                }
        for (int j = 0; c < a->cols; c += WIDE_LANES, j = (j + 1) % CHAINS) {
            const ptrdiff_t left = a->cols - c;
            const wide v = load_wide(x + c * a->x_col, a->x_col, left);
            const wide g =
                reads_grad(op) ? load_wide(grad + c * a->grad_col, a->grad_col, left) : v;
            wide_mask inside;
            FC_UNROLL for (int i = 0; i < WIDE_LANES; i++) inside[i] = -(i < left);
            add_terms(op, v, g, middle, &inside, &first[j], &second[j]);
        }
    }
    sums[0] = fold(first);
    sums[1] = fold(second);
}

/* `vectors` vectors of neighbouring channels, all rows. */
FC_INLINE void sums_across(const int op, const int vectors, const fc_sums_args *a, ptrdiff_t c) {
    const ptrdiff_t left = a->cols - c;
    wide center[ACROSS], first[ACROSS] = {{0}}, second[ACROSS] = {{0}};
    FC_UNROLL for (int j = 0; j < vectors; j++)
        center[j] = op == FC_SUMS_PLAIN ? (wide){0}
                                        : load_doubles(a->center + c + j * WIDE_LANES, left);
    for (ptrdiff_t r = 0; r < a->rows; r++) {
        const char *x = a->x + r * a->x_row + c * a->x_col;
        const char *grad = a->grad + r * a->grad_row + c * a->grad_col;
        FC_UNROLL for (int j = 0; j < vectors; j++) {
            const wide v = load_wide(x + j * WIDE_LANES * a->x_col, a->x_col, left);
            const wide g =
                reads_grad(op) ? load_wide(grad + j * WIDE_LANES * a->grad_col, a->grad_col, left)
                               : v;
            add_terms(op, v, g, center[j], NULL, &first[j], &second[j]);
        }
    }
    for (int j = 0; j < vectors; j++)
        for (ptrdiff_t i = 0; i < WIDE_LANES && j * WIDE_LANES + i < left; i++) {
            double *sums = a->sums + 2 * (c + j * WIDE_LANES + i);
            sums[0] = first[j][i];
            sums[1] = second[j][i];
        }
}

FC_INLINE void sums_op(const int op, const fc_sums_args *a) {
    if (a->channel_col) {
        ptrdiff_t c = 0;
        if (op == FC_SUMS_PLAIN)
            for (; c + ACROSS * WIDE_LANES <= a->cols; c += ACROSS * WIDE_LANES)
                sums_across(op, ACROSS, a, c);
        for (; c + CHAINS * WIDE_LANES <= a->cols; c += CHAINS * WIDE_LANES)
            sums_across(op, CHAINS, a, c);
        for (; c < a->cols; c += WIDE_LANES) sums_across(op, 1, a, c);
    } else if (a->channel_row) {
        for (ptrdiff_t r = 0; r < a->rows; r++)
            sums_along(op, a, r, 1, center_of(op, a, r), a->sums + 2 * r);
    } else {
        sums_along(op, a, 0, a->rows, center_of(op, a, 0), a->sums);
    }
}

static void sums(const fc_sums_args *a) {
    switch (a->op) {
    case FC_SUMS_PLAIN: sums_op(FC_SUMS_PLAIN, a); break;
    case FC_SUMS_MOMENTS: sums_op(FC_SUMS_MOMENTS, a); break;
    case FC_SUMS_GRADIENT: sums_op(FC_SUMS_GRADIENT, a); break;
    case FC_SUMS_NEGATIVE: sums_op(FC_SUMS_NEGATIVE, a); break;
    }
}

const fc_sums_kernels FC_TABLE(sums) = {sums};
