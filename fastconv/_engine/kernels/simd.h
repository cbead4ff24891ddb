/* The vector primitives that GCC and Clang vector extensions lack.
 *
 * Every kernel source is compiled once per instruction-set level and per element type:
 *   FC_LEVEL   baseline | avx2 | avx512 | amx  names the objects' symbols
 *   FC_DTYPE   32 | 64                         float or double
 * A kernel is written on `vec` (FC_LANES elements) with the ordinary operators; with
 * -ffp-contract=fast `acc += a * b` is one fused multiply-add where the level has it.
 * Nothing here is exported: two levels in one process must never share an inline function.
 */
#ifndef FC_SIMD_H
#define FC_SIMD_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#if defined(__AVX512F__)
#include <immintrin.h>
#define FC_VECTOR_BYTES 64
#elif defined(__AVX2__)
#include <immintrin.h>
#define FC_VECTOR_BYTES 32
#else
#define FC_VECTOR_BYTES 16
#endif

/* Whether loads and stores of some lanes cost no more than those of all: then whole vectors need no
 * tiles of their own. */
#if defined(__AVX512F__)
#define FC_FREE_MASKS 1
#else
#define FC_FREE_MASKS 0
#endif

#if FC_DTYPE == 32
typedef float real;
typedef int32_t lane_int;
#else
typedef double real;
typedef int64_t lane_int;
#endif

enum { FC_LANES = FC_VECTOR_BYTES / (int)sizeof(real) };

typedef real vec __attribute__((vector_size(FC_VECTOR_BYTES)));
typedef lane_int ivec __attribute__((vector_size(FC_VECTOR_BYTES)));
/* The same register read from or written to any element-aligned address. */
typedef real vec_unaligned
    __attribute__((vector_size(FC_VECTOR_BYTES), aligned(sizeof(real)), may_alias));

#define FC_INLINE static inline __attribute__((always_inline))
#define FC_NOINLINE static __attribute__((noinline))
#define FC_ALIGNED __attribute__((aligned(64)))

/* Full unrolling keeps accumulator arrays in registers; the loops it marks have constant trips. */
#if defined(__clang__)
#define FC_UNROLL _Pragma("clang loop unroll(full)")
#else
#define FC_UNROLL _Pragma("GCC unroll 32")
#endif

/* Two steps of a product in one round of its loop, where registers are plenty: rounds of 24
 * multiply-adds alone keep the units a tenth less busy. */
#if !defined(__AVX512F__)
#define FC_TWO_STEPS
#elif defined(__clang__)
#define FC_TWO_STEPS _Pragma("clang loop unroll_count(2)")
#else
#define FC_TWO_STEPS _Pragma("GCC unroll 2")
#endif

/* Hides from the compiler where a loop's pointer is in the end: with 32 vectors it computes that beside
 * the loop and keeps the summands in some of them, whose moves wait for the multiply-adds before
 * them, and what the next loop loads for the moves. */
#if defined(__AVX512F__)
#define FC_END_UNKNOWN(pointer) __asm__("" : "+r"(pointer))
#else
#define FC_END_UNKNOWN(pointer) ((void)0)
#endif

/* Keeps a value that several operations use in a register, where the compiler would load it anew
 * for each of them. */
#if defined(__AVX512F__)
#define FC_IN_REGISTER(v) __asm__("" : "+v"(v))
#elif defined(__x86_64__)
#define FC_IN_REGISTER(v) __asm__("" : "+x"(v))
#else
#define FC_IN_REGISTER(v) (void)(v)
#endif

/* Makes the compiler forget what it knows of a pointer, so that it reads anew what lies there
 * instead of carrying it around a loop in too few registers. */
#define FC_KEEP_POINTER(p) __asm__("" : "+r"(p))

FC_INLINE vec load(const real *p) { return *(const vec_unaligned *)p; }
FC_INLINE void store(real *p, vec v) { *(vec_unaligned *)p = v; }
FC_INLINE vec splat(real s) { return s - (vec){0}; } /* s - 0 is s for every s, -0 and NaN too */

/* The first n lanes, 0 <= n <= FC_LANES; the others read as zero and memory past them is untouched. */
#if defined(__AVX512F__)
#if FC_DTYPE == 32
FC_INLINE vec load_first(const real *p, int n) {
    return (vec)_mm512_maskz_loadu_ps((__mmask16)((1u << n) - 1u), p);
}
FC_INLINE void store_first(real *p, vec v, int n) {
    _mm512_mask_storeu_ps(p, (__mmask16)((1u << n) - 1u), (__m512)v);
}
#else
FC_INLINE vec load_first(const real *p, int n) {
    return (vec)_mm512_maskz_loadu_pd((__mmask8)((1u << n) - 1u), p);
}
FC_INLINE void store_first(real *p, vec v, int n) {
    _mm512_mask_storeu_pd(p, (__mmask8)((1u << n) - 1u), (__m512d)v);
}
#endif
#elif defined(__AVX2__)
static const lane_int fc_mask_source[2 * FC_LANES] = {
#if FC_DTYPE == 32
    -1, -1, -1, -1, -1, -1, -1, -1,
#else
    -1, -1, -1, -1,
#endif
};
FC_INLINE __m256i first_mask(int n) {
    return _mm256_loadu_si256((const __m256i *)(fc_mask_source + FC_LANES - n));
}
#if FC_DTYPE == 32
FC_INLINE vec load_first(const real *p, int n) { return (vec)_mm256_maskload_ps(p, first_mask(n)); }
FC_INLINE void store_first(real *p, vec v, int n) { _mm256_maskstore_ps(p, first_mask(n), (__m256)v); }
#else
FC_INLINE vec load_first(const real *p, int n) { return (vec)_mm256_maskload_pd(p, first_mask(n)); }
FC_INLINE void store_first(real *p, vec v, int n) { _mm256_maskstore_pd(p, first_mask(n), (__m256d)v); }
#endif
#else
FC_INLINE vec load_first(const real *p, int n) {
    vec v = {0};
    FC_UNROLL for (int i = 0; i < FC_LANES; i++)
        if (i < n) v[i] = p[i];
    return v;
}
FC_INLINE void store_first(real *p, vec v, int n) {
    FC_UNROLL for (int i = 0; i < FC_LANES; i++)
        if (i < n) p[i] = v[i];
}
#endif

/* n lanes, 0 <= n; n >= FC_LANES means a whole vector. */
FC_INLINE vec load_upto(const real *p, ptrdiff_t n) {
    return n >= FC_LANES ? load(p) : load_first(p, (int)n);
}
FC_INLINE void store_upto(real *p, vec v, ptrdiff_t n) {
    if (n >= FC_LANES) store(p, v);
    else store_first(p, v, (int)n);
}

/* Past the caches, to an address on a vector's boundary: memory that nobody reads soon is not
 * fetched before it is overwritten. end_stream() comes before other threads may look. */
#if defined(__AVX512F__) && FC_DTYPE == 32
FC_INLINE void stream(real *p, vec v) { _mm512_stream_ps(p, (__m512)v); }
#elif defined(__AVX512F__)
FC_INLINE void stream(real *p, vec v) { _mm512_stream_pd(p, (__m512d)v); }
#elif defined(__AVX2__) && FC_DTYPE == 32
FC_INLINE void stream(real *p, vec v) { _mm256_stream_ps(p, (__m256)v); }
#elif defined(__AVX2__)
FC_INLINE void stream(real *p, vec v) { _mm256_stream_pd(p, (__m256d)v); }
#else
FC_INLINE void stream(real *p, vec v) { store(p, v); }
#endif
FC_INLINE void end_stream(void) {
#if defined(__AVX2__)
    _mm_sfence();
#endif
}

/* Which lanes to load: those from `first` on and before `end`, either of which may lie outside. */
#if defined(__AVX512F__)
typedef uint16_t lane_mask;
#else
typedef ivec lane_mask;
#endif
FC_INLINE lane_mask lanes_between(ptrdiff_t first, ptrdiff_t end) {
    first = first < 0 ? 0 : first > FC_LANES ? FC_LANES : first;
    end = end < first ? first : end > FC_LANES ? FC_LANES : end;
#if defined(__AVX512F__)
    return (lane_mask)((1u << end) - (1u << first));
#else
    lane_mask mask;
    FC_UNROLL for (int i = 0; i < FC_LANES; i++) mask[i] = -(first <= i && i < end);
    return mask;
#endif
}

/* The lanes of the mask; the others read as zero and their memory is untouched. */
FC_INLINE vec load_masked(const real *p, lane_mask mask) {
#if defined(__AVX512F__) && FC_DTYPE == 32
    return (vec)_mm512_maskz_loadu_ps((__mmask16)mask, p);
#elif defined(__AVX512F__)
    return (vec)_mm512_maskz_loadu_pd((__mmask8)mask, p);
#elif defined(__AVX2__) && FC_DTYPE == 32
    return (vec)_mm256_maskload_ps(p, (__m256i)mask);
#elif defined(__AVX2__)
    return (vec)_mm256_maskload_pd(p, (__m256i)mask);
#else
    vec v = {0};
    FC_UNROLL for (int i = 0; i < FC_LANES; i++)
        if (mask[i]) v[i] = p[i];
    return v;
#endif
}

/* Lanes of a where mask is all ones, of b where it is zero. */
FC_INLINE vec blend(ivec mask, vec a, vec b) { return (vec)((mask & (ivec)a) | (~mask & (ivec)b)); }

/* a > b ? a : b and a < b ? a : b, one instruction where the processor has them. */
#if defined(__AVX512F__) && FC_DTYPE == 32
FC_INLINE vec larger(vec a, vec b) { return (vec)_mm512_max_ps((__m512)a, (__m512)b); }
FC_INLINE vec smaller(vec a, vec b) { return (vec)_mm512_min_ps((__m512)a, (__m512)b); }
#elif defined(__AVX512F__)
FC_INLINE vec larger(vec a, vec b) { return (vec)_mm512_max_pd((__m512d)a, (__m512d)b); }
FC_INLINE vec smaller(vec a, vec b) { return (vec)_mm512_min_pd((__m512d)a, (__m512d)b); }
#elif defined(__AVX2__) && FC_DTYPE == 32
FC_INLINE vec larger(vec a, vec b) { return (vec)_mm256_max_ps((__m256)a, (__m256)b); }
FC_INLINE vec smaller(vec a, vec b) { return (vec)_mm256_min_ps((__m256)a, (__m256)b); }
#elif defined(__AVX2__)
FC_INLINE vec larger(vec a, vec b) { return (vec)_mm256_max_pd((__m256d)a, (__m256d)b); }
FC_INLINE vec smaller(vec a, vec b) { return (vec)_mm256_min_pd((__m256d)a, (__m256d)b); }
#else
FC_INLINE vec larger(vec a, vec b) { return blend((ivec)(a > b), a, b); }
FC_INLINE vec smaller(vec a, vec b) { return blend((ivec)(a < b), a, b); }
#endif

/* The larger and the smaller, NaN if either is NaN (as NumPy's maximum, not as maxps). */
FC_INLINE vec max_nan(vec a, vec b) { return blend((ivec)(a != a), a, larger(a, b)); }
FC_INLINE vec min_nan(vec a, vec b) { return blend((ivec)(a != a), a, smaller(a, b)); }

/* Every other element of a and b together, from the first and from the second on. */
#if FC_VECTOR_BYTES * 8 / FC_DTYPE == 16
#define FC_EVEN 0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30
#define FC_ODD 1, 3, 5, 7, 9, 11, 13, 15, 17, 19, 21, 23, 25, 27, 29, 31
#elif FC_VECTOR_BYTES * 8 / FC_DTYPE == 8
#define FC_EVEN 0, 2, 4, 6, 8, 10, 12, 14
#define FC_ODD 1, 3, 5, 7, 9, 11, 13, 15
#elif FC_VECTOR_BYTES * 8 / FC_DTYPE == 4
#define FC_EVEN 0, 2, 4, 6
#define FC_ODD 1, 3, 5, 7
#else
#define FC_EVEN 0, 2
#define FC_ODD 1, 3
#endif
FC_INLINE vec even_lanes(vec a, vec b) { return __builtin_shufflevector(a, b, FC_EVEN); }
FC_INLINE vec odd_lanes(vec a, vec b) { return __builtin_shufflevector(a, b, FC_ODD); }

/* The lanes of a from the n-th on and behind them the first n of b, 0 < n <= 4. Only where one
 * instruction does it. */
#if defined(__AVX512F__)
#define FC_HAS_FOLLOWING 1
#if FC_DTYPE == 32
#define FC_FOLLOWING(n) (vec)_mm512_alignr_epi32((__m512i)b, (__m512i)a, n)
#else
#define FC_FOLLOWING(n) (vec)_mm512_alignr_epi64((__m512i)b, (__m512i)a, n)
#endif
FC_INLINE vec following(vec a, vec b, const int n) {
    switch (n) { /* the instruction takes it as a literal */
    case 1: return FC_FOLLOWING(1);
    case 2: return FC_FOLLOWING(2);
    case 3: return FC_FOLLOWING(3);
    default: return FC_FOLLOWING(4);
    }
}
#else
#define FC_HAS_FOLLOWING 0
#endif

/* Lane i is the index[i]-th of the n elements from p on. On the weakest level no instruction moves
 * lanes by a variable, so there the elements are loaded one by one. */
#if defined(__AVX512F__) && FC_DTYPE == 32
FC_INLINE vec permute(vec v, ivec index) {
    return (vec)_mm512_permutexvar_ps((__m512i)index, (__m512)v);
}
#elif defined(__AVX512F__)
FC_INLINE vec permute(vec v, ivec index) {
    return (vec)_mm512_permutexvar_pd((__m512i)index, (__m512d)v);
}
#elif defined(__AVX2__) && FC_DTYPE == 32
FC_INLINE vec permute(vec v, ivec index) {
    return (vec)_mm256_permutevar8x32_ps((__m256)v, (__m256i)index);
}
#elif defined(__AVX2__)
FC_INLINE vec permute(vec v, ivec index) {
    const ivec halves = index * 2 | (index * 2 + 1) << 32;
    return (vec)_mm256_permutevar8x32_ps((__m256)v, (__m256i)halves);
}
#endif
FC_INLINE vec load_permuted(const real *p, int n, ivec index) {
#if defined(__AVX2__)
    return permute(n == FC_LANES && !FC_FREE_MASKS ? load(p) : load_first(p, n), index);
#else
    vec v;
    FC_UNROLL for (int i = 0; i < FC_LANES; i++) v[i] = p[index[i]];
    (void)n;
    return v;
#endif
}

/* Transpose FC_LANES x FC_LANES in registers: log2(lanes) rounds, each exchanging blocks of `s`
 * lanes between rows i and i + s. The last of them stay inside pieces of 16 bytes: for rows of which
 * r[c * FC_PIECE + i] holds piece c of the rows i, i + FC_PIECE, i + 2 FC_PIECE, ... they are all. */
#define FC_SWAP(s, LO, HI)                                                   \
    for (int i = 0; i < FC_LANES; i++)                                       \
        if (!(i & (s))) {                                                    \
            const vec a = r[i], b = r[i + (s)];                              \
            r[i] = __builtin_shufflevector(a, b, LO);                        \
            r[i + (s)] = __builtin_shufflevector(a, b, HI);                  \
        }
#define FC_LIST(...) __VA_ARGS__

enum { FC_PIECE = 16 / (int)sizeof(real) };

FC_INLINE void transpose_pieces(vec r[FC_LANES]) {
#if FC_VECTOR_BYTES * 8 / FC_DTYPE == 16
    FC_UNROLL FC_SWAP(2, FC_LIST(0, 1, 16, 17, 4, 5, 20, 21, 8, 9, 24, 25, 12, 13, 28, 29),
                      FC_LIST(2, 3, 18, 19, 6, 7, 22, 23, 10, 11, 26, 27, 14, 15, 30, 31))
    FC_UNROLL FC_SWAP(1, FC_LIST(0, 16, 2, 18, 4, 20, 6, 22, 8, 24, 10, 26, 12, 28, 14, 30),
                      FC_LIST(1, 17, 3, 19, 5, 21, 7, 23, 9, 25, 11, 27, 13, 29, 15, 31))
#elif FC_VECTOR_BYTES * 8 / FC_DTYPE == 8
#if FC_DTYPE == 32
    FC_UNROLL FC_SWAP(2, FC_LIST(0, 1, 8, 9, 4, 5, 12, 13), FC_LIST(2, 3, 10, 11, 6, 7, 14, 15))
#endif
    FC_UNROLL FC_SWAP(1, FC_LIST(0, 8, 2, 10, 4, 12, 6, 14), FC_LIST(1, 9, 3, 11, 5, 13, 7, 15))
#elif FC_VECTOR_BYTES * 8 / FC_DTYPE == 4
#if FC_DTYPE == 32
    FC_UNROLL FC_SWAP(2, FC_LIST(0, 1, 4, 5), FC_LIST(2, 3, 6, 7))
#endif
    FC_UNROLL FC_SWAP(1, FC_LIST(0, 4, 2, 6), FC_LIST(1, 5, 3, 7))
#else
    FC_UNROLL FC_SWAP(1, FC_LIST(0, 2), FC_LIST(1, 3))
#endif
}

FC_INLINE void transpose(vec r[FC_LANES]) {
#if FC_VECTOR_BYTES * 8 / FC_DTYPE == 16
    FC_UNROLL FC_SWAP(8, FC_LIST(0, 1, 2, 3, 4, 5, 6, 7, 16, 17, 18, 19, 20, 21, 22, 23),
                      FC_LIST(8, 9, 10, 11, 12, 13, 14, 15, 24, 25, 26, 27, 28, 29, 30, 31))
    FC_UNROLL FC_SWAP(4, FC_LIST(0, 1, 2, 3, 16, 17, 18, 19, 8, 9, 10, 11, 24, 25, 26, 27),
                      FC_LIST(4, 5, 6, 7, 20, 21, 22, 23, 12, 13, 14, 15, 28, 29, 30, 31))
#elif FC_VECTOR_BYTES * 8 / FC_DTYPE == 8
    FC_UNROLL FC_SWAP(4, FC_LIST(0, 1, 2, 3, 8, 9, 10, 11), FC_LIST(4, 5, 6, 7, 12, 13, 14, 15))
#if FC_DTYPE == 64
    FC_UNROLL FC_SWAP(2, FC_LIST(0, 1, 8, 9, 4, 5, 12, 13), FC_LIST(2, 3, 10, 11, 6, 7, 14, 15))
#endif
#elif FC_VECTOR_BYTES * 8 / FC_DTYPE == 4 && FC_DTYPE == 64
    FC_UNROLL FC_SWAP(2, FC_LIST(0, 1, 4, 5), FC_LIST(2, 3, 6, 7))
#endif
    transpose_pieces(r);
}

/* A vector of pieces that lie `step` bytes apart. */
#if defined(__AVX2__)
FC_INLINE __m256 two_pieces(const char *p, ptrdiff_t step) {
    return _mm256_insertf128_ps(_mm256_castps128_ps256(_mm_loadu_ps((const float *)p)),
                                _mm_loadu_ps((const float *)(p + step)), 1);
}
#endif
FC_INLINE vec load_pieces(const char *p, ptrdiff_t step) {
#if defined(__AVX512F__)
    return (vec)_mm512_insertf32x8(_mm512_castps256_ps512(two_pieces(p, step)),
                                   two_pieces(p + 2 * step, step), 1);
#elif defined(__AVX2__)
    return (vec)two_pieces(p, step);
#else
    (void)step;
    return load((const real *)p);
#endif
}

/* X(lane, ...) for every lane, with commas between them: the indices of a shuffle. */
#define FC_LANES_2(X, ...) X(0, __VA_ARGS__), X(1, __VA_ARGS__)
#define FC_LANES_4(X, ...) FC_LANES_2(X, __VA_ARGS__), X(2, __VA_ARGS__), X(3, __VA_ARGS__)
#define FC_LANES_8(X, ...) \
    FC_LANES_4(X, __VA_ARGS__), X(4, __VA_ARGS__), X(5, __VA_ARGS__), X(6, __VA_ARGS__), \
    X(7, __VA_ARGS__)
#define FC_LANES_16(X, ...) \
    FC_LANES_8(X, __VA_ARGS__), X(8, __VA_ARGS__), X(9, __VA_ARGS__), X(10, __VA_ARGS__), \
    X(11, __VA_ARGS__), X(12, __VA_ARGS__), X(13, __VA_ARGS__), X(14, __VA_ARGS__), \
    X(15, __VA_ARGS__)
#if FC_VECTOR_BYTES * 8 / FC_DTYPE == 16
#define FC_PER_LANE FC_LANES_16
#elif FC_VECTOR_BYTES * 8 / FC_DTYPE == 8
#define FC_PER_LANE FC_LANES_8
#elif FC_VECTOR_BYTES * 8 / FC_DTYPE == 4
#define FC_PER_LANE FC_LANES_4
#else
#define FC_PER_LANE FC_LANES_2
#endif

/* The lanes of three vectors in turn: a0 b0 c0 a1 b1 c1 ... into three. Number of lanes and 3 have no
 * divisor in common, so each lane of one result takes another residue of a source's elements than
 * the same lane of the others: one permutation of a source serves all three, blends do the rest. */
#define FC_TURNED(lane, source) (((source + 2 * lane) * FC_LANES % 3 * FC_LANES + lane) / 3)
#define FC_TURN_OF(lane, source, result) \
    ((result * FC_LANES + lane) % 3 == source ? FC_LANES + lane : lane)
#define FC_MIX(result)                                                                             \
    __builtin_shufflevector(                                                                       \
        __builtin_shufflevector(a, b, FC_PER_LANE(FC_TURN_OF, 1, result)), c,                      \
        FC_PER_LANE(FC_TURN_OF, 2, result))
#if defined(__AVX2__)
#define FC_TURN(v, source) permute(v, (ivec){FC_PER_LANE(FC_TURNED, source)})
#else
#define FC_TURN(v, source) __builtin_shufflevector(v, v, FC_PER_LANE(FC_TURNED, source))
#endif
FC_INLINE void in_turn(vec a, vec b, vec c, vec to[3]) {
    a = FC_TURN(a, 0);
    b = FC_TURN(b, 1);
    c = FC_TURN(c, 2);
    to[0] = FC_MIX(0);
    to[1] = FC_MIX(1);
    to[2] = FC_MIX(2);
}

/* The exported table of a family: FC_TABLE(gemm) is fc_gemm_f32_avx512 and so on. */
#if FC_DTYPE == 32
#define FC_TYPE_NAME f32
#else
#define FC_TYPE_NAME f64
#endif
#define FC_PASTE4(a, b, c, d) a##b##_##c##_##d
#define FC_EXPAND4(a, b, c, d) FC_PASTE4(a, b, c, d)
#define FC_TABLE(family) FC_EXPAND4(fc_, family, FC_TYPE_NAME, FC_LEVEL)

#endif
