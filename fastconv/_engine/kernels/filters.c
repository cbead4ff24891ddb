/* Lines combined into a line, and the conversions on the way in and out; filters.h has the contracts.
 *
 * A block of WIDE vectors stays in registers while the terms pass by. This family is compiled
 * without contraction: in double, products and sums are rounded one by one as in the loops whose
 * integers ours must equal; in float, where only the error bound counts, they are fused by name.
 */
#include "kernels.h"
#include "simd.h"

enum {
    WIDE = FC_VECTOR_BYTES == 64 ? 8 : 4,
    TILE = FC_VECTOR_BYTES == 64 ? 6 : 2, /* vectors of each row of a window's tile */
    ELEMENT = sizeof(real)
};

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

FC_INLINE ivec not_finite(vec v) { return (ivec)(v - v != 0); }

/* Lanes that callers want to hear of. */
FC_INLINE ivec unusual(const int op, vec v) {
    if (op == FC_FILTER_UPPER || op == FC_FILTER_LOWER) return (ivec){0};
    if (op == FC_FILTER_MAX || op == FC_FILTER_MIN) return (ivec)(v != v);
    return not_finite(v);
}

FC_INLINE int any_lane(ivec lanes) {
    lane_int any = 0;
    for (int i = 0; i < FC_LANES; i++) any |= lanes[i];
    return any != 0;
}

FC_INLINE void put(int streams, char *out, ptrdiff_t x, vec v, ptrdiff_t left) {
    real *p = (real *)out + x;
    if (streams && left >= FC_LANES) stream(p, v);
    else store_upto(p, v, left);
}

/* Elements before the first one on a vector's boundary. */
FC_INLINE ptrdiff_t misaligned(const char *out, ptrdiff_t length) {
    const ptrdiff_t elements = -(uintptr_t)out % FC_VECTOR_BYTES / ELEMENT;
    return elements < length ? elements : length;
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
        put(a->streams, a->out, x + j * FC_LANES, acc[j], left - j * FC_LANES);
    }
    return odd;
}

/* The lanes behind the end hold zeros, whose combination may be anything. */
FC_INLINE ivec first_lanes(ivec lanes, ptrdiff_t count) {
    for (ptrdiff_t i = count; i < FC_LANES; i++) lanes[i] = 0;
    return lanes;
}

FC_INLINE int combine(const int op, const fc_filter_args *a) {
    ptrdiff_t x = a->streams ? misaligned(a->out, a->length) : 0;
    ivec odd = {0};
    if (x) odd = first_lanes(block(op, 1, a, 0, x), x);
    for (; x + WIDE * FC_LANES <= a->length; x += WIDE * FC_LANES)
        odd |= block(op, WIDE, a, x, WIDE * FC_LANES);
    for (; x + FC_LANES <= a->length; x += FC_LANES) odd |= block(op, 1, a, x, FC_LANES);
    if (x < a->length) odd |= first_lanes(block(op, 1, a, x, a->length - x), a->length - x);
    if (a->streams) end_stream();
    return any_lane(odd);
}

#define FOR_EACH_OP(X) \
    X(SUM) X(EVEN) X(ODD) X(BOX) X(MAX) X(MIN) X(UPPER) X(LOWER)
#define DEFINE(op) \
    static int combine_##op(const fc_filter_args *a) { return combine(FC_FILTER_##op, a); }
FOR_EACH_OP(DEFINE)

/* --- windows ---------------------------------------------------------------------------------- */

/* Row `row` of the picture, times the weights that results first ... end - 1 have for it. */
FC_INLINE void add_row(const int vectors, const int first, const int end, vec acc[][TILE],
                       const real *row, const real *weight, ptrdiff_t col_taps, ptrdiff_t left) {
    for (ptrdiff_t tap = 0; tap < col_taps; tap++) {
        vec v[TILE];
        FC_UNROLL for (int j = 0; j < vectors; j++)
            v[j] = load_upto(row + tap + j * FC_LANES, left - j * FC_LANES);
        FC_UNROLL for (int r = first; r < end; r++) {
            const vec w = splat(weight[tap - r * col_taps]);
            FC_UNROLL for (int j = 0; j < vectors; j++) acc[r][j] = add_product(v[j], w, acc[r][j]);
        }
    }
}

/* Elements x and following of `rows` results. Row i of a plane counts for result r by the weights of
 * row i - r: the first rows for the first results alone, the last for the last. */
FC_INLINE ivec tile(const int rows, const int vectors, const fc_window_args *a, ptrdiff_t x,
                    ptrdiff_t left) {
    vec acc[FC_WINDOW_ROWS][TILE];
    FC_UNROLL for (int r = 0; r < rows; r++)
        FC_UNROLL for (int j = 0; j < vectors; j++) acc[r][j] = splat(0);
    const char *const *line = a->line;
    const real *weight = (const real *)a->weight;
    for (ptrdiff_t plane = 0; plane < a->planes; plane++) {
#define ADD_ROW(i, first, end)                                                      \
    add_row(vectors, first, end, acc, (const real *)line[i] + x, weight + (i) * a->col_taps, \
            a->col_taps, left)
        FC_UNROLL for (int i = 0; i < rows - 1; i++) ADD_ROW(i, 0, i + 1);
        for (ptrdiff_t i = rows - 1; i < a->row_taps; i++) ADD_ROW(i, 0, rows);
        FC_UNROLL for (int i = 1; i < rows; i++) ADD_ROW(a->row_taps + i - 1, i, rows);
        line += a->row_taps + rows - 1;
        weight += a->row_taps * a->col_taps;
    }
    ivec odd = {0};
    FC_UNROLL for (int r = 0; r < rows; r++)
        FC_UNROLL for (int j = 0; j < vectors; j++) {
            odd |= not_finite(acc[r][j]);
            put(a->streams, a->out[r], x + j * FC_LANES, acc[r][j], left - j * FC_LANES);
        }
    return odd;
}

FC_INLINE int window(const int rows, const fc_window_args *a) {
    ptrdiff_t x = a->streams ? misaligned(a->out[0], a->length) : 0;
    ivec odd = {0};
    if (x) odd = first_lanes(tile(rows, 1, a, 0, x), x);
    for (; x + TILE * FC_LANES <= a->length; x += TILE * FC_LANES)
        odd |= tile(rows, TILE, a, x, TILE * FC_LANES);
    for (; x + FC_LANES <= a->length; x += FC_LANES) odd |= tile(rows, 1, a, x, FC_LANES);
    if (x < a->length) odd |= first_lanes(tile(rows, 1, a, x, a->length - x), a->length - x);
    if (a->streams) end_stream();
    return any_lane(odd);
}

static int window_1(const fc_window_args *a) { return window(1, a); }
static int window_2(const fc_window_args *a) { return window(2, a); }
static int window_3(const fc_window_args *a) { return window(3, a); }
static int window_4(const fc_window_args *a) { return window(4, a); }

/* --- margins ---------------------------------------------------------------------------------- */

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
    {window_1, window_2, window_3, window_4},
    extend,
    fill,
    {FOR_EACH_TYPE(ENTER_LOAD)},
    {FOR_EACH_TYPE(ENTER_STORE)},
};
