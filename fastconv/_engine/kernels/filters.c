/* Lines combined into a line, and the conversions on the way in and out; filters.h has the contracts.
 *
 * A block of WIDE vectors stays in registers while the terms pass by. This family is compiled
 * without contraction: in double, products and sums are rounded one by one as in the loops whose
 * integers ours must equal; in float, where only the error bound counts, they are fused by name.
 */
#include "kernels.h"
#include "simd.h"

enum { WIDE = FC_VECTOR_BYTES == 64 ? 8 : 4, ELEMENT = sizeof(real) };

#if FC_DTYPE == 32 && defined(__AVX512F__)
FC_INLINE vec add_product(vec a, vec b, vec sum) {
    return (vec)_mm512_fmadd_ps((__m512)a, (__m512)b, (__m512)sum);
}
#elif FC_DTYPE == 32 && defined(__AVX2__)
FC_INLINE vec add_product(vec a, vec b, vec sum) {
    return (vec)_mm256_fmadd_ps((__m256)a, (__m256)b, (__m256)sum);
}
#else
FC_INLINE vec add_product(vec a, vec b, vec sum) { return a * b + sum; }
#endif

FC_INLINE int is_paired(const int op) { return op == FC_FILTER_EVEN || op == FC_FILTER_ODD; }

FC_INLINE vec weight_of(const fc_filter_args *a, ptrdiff_t t) {
    return splat(((const real *)a->weight)[t]);
}

/* Vector j of term t, at elements x and following. */
FC_INLINE vec term(const fc_filter_args *a, ptrdiff_t t, ptrdiff_t x, ptrdiff_t left) {
    return load_upto((const real *)a->line[t] + x, left);
}

FC_INLINE vec first_value(const int op, vec v, vec w) {
    if (op == FC_FILTER_SUM || is_paired(op)) return v * w;
    if (op == FC_FILTER_UPPER || op == FC_FILTER_LOWER) return v + w;
    return v;
}

FC_INLINE vec joined(const int op, vec acc, vec v, vec w) {
    if (op == FC_FILTER_SUM || is_paired(op)) return add_product(v, w, acc);
    if (op == FC_FILTER_BOX) return acc + v;
    if (op == FC_FILTER_MAX) return max_nan(v, acc);
    if (op == FC_FILTER_MIN) return min_nan(v, acc);
    return op == FC_FILTER_UPPER ? larger(v + w, acc) : smaller(v + w, acc);
}

/* Lanes that callers want to hear of. */
FC_INLINE ivec unusual(const int op, vec v) {
    if (op == FC_FILTER_UPPER || op == FC_FILTER_LOWER) return (ivec){0};
    if (op == FC_FILTER_MAX || op == FC_FILTER_MIN) return (ivec)(v != v);
    return (ivec)(v - v != 0);
}

/* `vectors` vectors from element x on; the last of them may be cut short. */
FC_INLINE ivec block(const int op, const int vectors, const fc_filter_args *a, ptrdiff_t x,
                     ptrdiff_t left) {
    const ptrdiff_t last = a->terms - 1, middle = last / 2;
    const ptrdiff_t start = is_paired(op) ? middle : 0;
    const int weighted = op != FC_FILTER_BOX && op != FC_FILTER_MAX && op != FC_FILTER_MIN;
    vec acc[WIDE];
    vec w = weighted ? weight_of(a, start) : splat(0);
    FC_UNROLL for (int j = 0; j < vectors; j++)
        acc[j] = first_value(op, term(a, start, x + j * FC_LANES, left - j * FC_LANES), w);
    for (ptrdiff_t t = is_paired(op) ? 0 : 1; t < (is_paired(op) ? middle : a->terms); t++) {
        if (weighted) w = weight_of(a, t);
        FC_UNROLL for (int j = 0; j < vectors; j++) {
            const ptrdiff_t at = x + j * FC_LANES, rest = left - j * FC_LANES;
            vec v = term(a, t, at, rest);
            if (op == FC_FILTER_EVEN) v += term(a, last - t, at, rest);
            if (op == FC_FILTER_ODD) v -= term(a, last - t, at, rest);
            acc[j] = joined(op, acc[j], v, w);
        }
    }
    ivec odd = {0};
    FC_UNROLL for (int j = 0; j < vectors; j++) {
        if (op == FC_FILTER_BOX && a->divisor != 1) acc[j] /= splat((real)a->divisor);
        odd |= unusual(op, acc[j]);
        store_upto((real *)a->out + x + j * FC_LANES, acc[j], left - j * FC_LANES);
    }
    return odd;
}

FC_INLINE int combine(const int op, const fc_filter_args *a) {
    ivec odd = {0};
    ptrdiff_t x = 0;
    for (; x + WIDE * FC_LANES <= a->length; x += WIDE * FC_LANES)
        odd |= block(op, WIDE, a, x, WIDE * FC_LANES);
    for (; x + FC_LANES <= a->length; x += FC_LANES) odd |= block(op, 1, a, x, FC_LANES);
    if (x < a->length) {
        /* the lanes behind the end hold zeros, whose combination may be anything */
        const ivec cut = block(op, 1, a, x, a->length - x);
        for (ptrdiff_t i = 0; i < a->length - x; i++) odd[0] |= cut[i];
    }
    lane_int any = 0;
    for (int i = 0; i < FC_LANES; i++) any |= odd[i];
    return any != 0;
}

#define FOR_EACH_OP(X) \
    X(SUM) X(EVEN) X(ODD) X(BOX) X(MAX) X(MIN) X(UPPER) X(LOWER)
#define DEFINE(op) \
    static int combine_##op(const fc_filter_args *a) { return combine(FC_FILTER_##op, a); }
FOR_EACH_OP(DEFINE)

static void extend(char *line, ptrdiff_t before, ptrdiff_t length, ptrdiff_t after,
                   const ptrdiff_t *source, double fill) {
    real *p = (real *)line;
    for (ptrdiff_t i = 0; i < before; i++)
        p[i] = source[i] < 0 ? (real)fill : p[before + source[i]];
    for (ptrdiff_t i = before + length; i < before + length + after; i++)
        p[i] = source[i] < 0 ? (real)fill : p[before + source[i]];
}

static void fill(char *line, ptrdiff_t count, double value) {
    for (ptrdiff_t i = 0; i < count; i++) ((real *)line)[i] = (real)value;
}

/* --- conversions ------------------------------------------------------------------------------ */

#define TO_SMALL(type, v) (type)(int32_t)(v)
#define TO_BOOL(type, v) (TO_SMALL(type, v) != 0)
#define TO_UINT32(type, v) (type)(int64_t)(v)
#define TO_UINT64(type, v) ((v) > -1 ? (type)(v) : -(type)-(v))
#define PLAIN(type, v) (type)(v)

/* name, type, conversion of a real */
#define FOR_EACH_TYPE(X)                                                                     \
    X(BOOL, uint8_t, TO_BOOL) X(INT8, int8_t, TO_SMALL) X(UINT8, uint8_t, TO_SMALL)          \
    X(INT16, int16_t, TO_SMALL) X(UINT16, uint16_t, TO_SMALL) X(INT32, int32_t, PLAIN)       \
    X(UINT32, uint32_t, TO_UINT32) X(INT64, int64_t, PLAIN) X(UINT64, uint64_t, TO_UINT64)   \
    X(FLOAT32, float, PLAIN) X(FLOAT64, double, PLAIN)

#define CONVERT(name, type, from_real)                                                       \
    static void load_##name(const char *from, ptrdiff_t step, ptrdiff_t count, char *line) { \
        real *to = (real *)line;                                                             \
        if (step == sizeof(type))                                                            \
            for (ptrdiff_t i = 0; i < count; i++) to[i] = (real)((const type *)from)[i];     \
        else                                                                                 \
            for (ptrdiff_t i = 0; i < count; i++) to[i] = (real)*(const type *)(from + i * step); \
    }                                                                                        \
    static void store_##name(const char *line, ptrdiff_t count, char *to, ptrdiff_t step) {  \
        const real *v = (const real *)line;                                                  \
        if (step == sizeof(type))                                                            \
            for (ptrdiff_t i = 0; i < count; i++) ((type *)to)[i] = from_real(type, v[i]);   \
        else                                                                                 \
            for (ptrdiff_t i = 0; i < count; i++) *(type *)(to + i * step) = from_real(type, v[i]); \
    }
FOR_EACH_TYPE(CONVERT)

#define ENTER_OP(op) [FC_FILTER_##op] = combine_##op,
#define ENTER_LOAD(name, type, from_real) [FC_##name] = load_##name,
#define ENTER_STORE(name, type, from_real) [FC_##name] = store_##name,
const fc_filters_kernels FC_TABLE(filters) = {
    {FOR_EACH_OP(ENTER_OP)},
    extend,
    fill,
    {FOR_EACH_TYPE(ENTER_LOAD)},
    {FOR_EACH_TYPE(ENTER_STORE)},
};
