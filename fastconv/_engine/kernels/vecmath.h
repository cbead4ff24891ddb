/* exp, log, roots and powers of one vector, as accurate as one rounding after another allows.
 *
 * Everything comes from two reductions: x = n ln 2 + r for exponentials and d = 2^n m for
 * logarithms, with a series in r or m long enough for the element type. Powers of two are applied
 * by the instruction for it or in two halves, so that results run into denormals and infinity
 * gradually, as they should.
 */
#ifndef FC_VECMATH_H
#define FC_VECMATH_H

#include <math.h>

#include "simd.h"

#if FC_DTYPE == 32
#define FC_EXPONENT_BITS 23
#define FC_EXPONENT_BIAS 127
#define FC_LOW_BITS 0xff       /* of the mantissa: what remains times an exponent is exact */
#define FC_SMALLEST_NORMAL 0x1p-126f
#define FC_EXP_LOWEST -110.0f  /* below, even x * e^x rounds to 0 */
#define FC_LN2_HIGH 0.693359375f
#define FC_LN2_LOW -2.12194440e-4f
#define FC_EXP_TERMS 8
#define FC_LOG_TERMS 6
#define FC_ROUND_MAGIC 0x1.8p23f /* adding and subtracting it rounds to an integer */
#else
#define FC_EXPONENT_BITS 52
#define FC_EXPONENT_BIAS 1023
#define FC_LOW_BITS 0xfff
#define FC_SMALLEST_NORMAL 0x1p-1022
#define FC_EXP_LOWEST -755.0
#define FC_LN2_HIGH 6.93145751953125e-1
#define FC_LN2_LOW 1.42860682030941723212e-6
#define FC_EXP_TERMS 14
#define FC_LOG_TERMS 12
#define FC_ROUND_MAGIC 0x1.8p52
#endif

#define FC_LOG2_E 1.44269504088896340736
#define FC_LN2 0.693147180559945309417

FC_INLINE vec absolute(vec x) { return (vec)((ivec)x & ~(ivec)splat((real)-0.0)); }

FC_INLINE vec with_sign_of(vec magnitude, vec sign) {
    const ivec mask = (ivec)splat((real)-0.0);
    return (vec)(((ivec)magnitude & ~mask) | ((ivec)sign & mask));
}

FC_INLINE vec square_root(vec x) {
#if defined(__AVX512F__) && FC_DTYPE == 32
    return (vec)_mm512_sqrt_ps((__m512)x);
#elif defined(__AVX512F__)
    return (vec)_mm512_sqrt_pd((__m512d)x);
#elif defined(__AVX2__) && FC_DTYPE == 32
    return (vec)_mm256_sqrt_ps((__m256)x);
#elif defined(__AVX2__)
    return (vec)_mm256_sqrt_pd((__m256d)x);
#else
    FC_UNROLL for (int i = 0; i < FC_LANES; i++) x[i] = (real)sqrt(x[i]);
    return x;
#endif
}

/* a * b + c, rounded once where the level can. Formulas are written with it, so that every copy of
 * them rounds alike, whatever products and sums the compiler may fuse of itself. */
#if defined(__AVX512F__) && FC_DTYPE == 32
FC_INLINE vec fused(vec a, vec b, vec c) {
    return (vec)_mm512_fmadd_ps((__m512)a, (__m512)b, (__m512)c);
}
#elif defined(__AVX512F__)
FC_INLINE vec fused(vec a, vec b, vec c) {
    return (vec)_mm512_fmadd_pd((__m512d)a, (__m512d)b, (__m512d)c);
}
#elif defined(__AVX2__) && FC_DTYPE == 32
FC_INLINE vec fused(vec a, vec b, vec c) {
    return (vec)_mm256_fmadd_ps((__m256)a, (__m256)b, (__m256)c);
}
#elif defined(__AVX2__)
FC_INLINE vec fused(vec a, vec b, vec c) {
    return (vec)_mm256_fmadd_pd((__m256d)a, (__m256d)b, (__m256d)c);
}
#elif defined(__FP_FAST_FMA) && defined(__FP_FAST_FMAF)
FC_INLINE vec fused(vec a, vec b, vec c) {
    FC_UNROLL for (int i = 0; i < FC_LANES; i++)
        c[i] = FC_DTYPE == 32 ? __builtin_fmaf(a[i], b[i], c[i]) : __builtin_fma(a[i], b[i], c[i]);
    return c;
}
#else
FC_INLINE vec fused(vec a, vec b, vec c) { return a * b + c; }
#endif
/* The same with a constant. */
FC_INLINE vec plus(vec a, vec b, real c) { return fused(a, b, splat(c)); }

/* Lanes for which a < b, and what is taken in these and in the others. */
#if defined(__AVX512F__) && FC_DTYPE == 32
typedef __mmask16 lane_test;
FC_INLINE lane_test less(vec a, vec b) {
    return _mm512_cmp_ps_mask((__m512)a, (__m512)b, _CMP_LT_OQ);
}
FC_INLINE vec either(lane_test t, vec a, vec b) {
    return (vec)_mm512_mask_blend_ps(t, (__m512)b, (__m512)a);
}
#elif defined(__AVX512F__)
typedef __mmask8 lane_test;
FC_INLINE lane_test less(vec a, vec b) {
    return _mm512_cmp_pd_mask((__m512d)a, (__m512d)b, _CMP_LT_OQ);
}
FC_INLINE vec either(lane_test t, vec a, vec b) {
    return (vec)_mm512_mask_blend_pd(t, (__m512d)b, (__m512d)a);
}
#else
typedef ivec lane_test;
FC_INLINE lane_test less(vec a, vec b) { return (ivec)(a < b); }
FC_INLINE vec either(lane_test t, vec a, vec b) { return blend(t, a, b); }
#endif

/* a / d for finite a and 1 <= d <= 2, or NaN: within a unit in the last place. */
#if defined(__AVX512F__)
FC_INLINE vec quotient(vec a, vec d) {
#if FC_DTYPE == 32
    vec y = (vec)_mm512_rcp14_ps((__m512)d);
#else
    vec y = (vec)_mm512_rcp14_pd((__m512d)d);
    y = fused(y, plus(-d, y, 1), y);
#endif
    y = fused(y, plus(-d, y, 1), y);
    const vec q = a * y;
    return fused(fused(-d, q, a), y, q);
}
#else
FC_INLINE vec quotient(vec a, vec d) { return a / d; }
#endif

/* Integers between the low mantissa bits of n + FC_ROUND_MAGIC and elements. */
FC_INLINE ivec whole_bits(vec shifted) { return (ivec)shifted - (ivec)splat(FC_ROUND_MAGIC); }
FC_INLINE vec whole_value(ivec n) {
    return (vec)(n + (ivec)splat(FC_ROUND_MAGIC)) - (real)FC_ROUND_MAGIC;
}

/* 2^n where that is a normal number. */
FC_INLINE vec power_of_two(ivec n) { return (vec)((n + FC_EXPONENT_BIAS) << FC_EXPONENT_BITS); }

/* (e^r - 1 - r) / r^2 for |r| <= ln2 / 2. */
FC_INLINE vec exp_tail(vec r) {
    static const real inverse_factorial[] = {
        1.0,       1.0,         1.0 / 2,      1.0 / 6,       1.0 / 24,
        1.0 / 120, 1.0 / 720,   1.0 / 5040,   1.0 / 40320,   1.0 / 362880,
        1.0 / 3628800, 1.0 / 39916800, 1.0 / 479001600, 1.0 / 6227020800.0};
    vec p = splat(inverse_factorial[FC_EXP_TERMS - 1]);
    FC_UNROLL
    for (int i = FC_EXP_TERMS - 2; i >= 2; i--) p = plus(p, r, inverse_factorial[i]);
    return p;
}

/* e^r - 1 for |r| <= ln2 / 2; the sign of a zero is lost. */
FC_INLINE vec expm1_series(vec r) { return fused(r * r, exp_tail(r), r); }

/* x = n ln 2 + r: returns r, and n + FC_ROUND_MAGIC, for FC_EXP_LOWEST <= x <= -FC_EXP_LOWEST; NaN
 * for NaN, with any n. */
FC_INLINE vec exp_reduced(vec x, vec *shifted) {
    *shifted = plus(x, splat((real)FC_LOG2_E), (real)FC_ROUND_MAGIC);
    const vec whole = *shifted - (real)FC_ROUND_MAGIC;
    return fused(whole, splat((real)-FC_LN2_LOW), fused(whole, splat((real)-FC_LN2_HIGH), x));
}

/* A power of two, or 0, that is applied in two steps: the first leaves a normal number below 1, so
 * that what multiplies it neither overflows nor loses digits; the second rounds into denormals
 * once, and makes NaN of infinity times 0. */
#if defined(__AVX512F__)
typedef vec two_to;
FC_INLINE two_to two_to_whole(vec shifted, lane_test vanishes) {
    return either(vanishes, splat((real)-INFINITY), shifted - (real)(FC_ROUND_MAGIC - 1));
}
FC_INLINE vec first_step(vec v, two_to n) { return (void)n, v * (real)0.5; }
FC_INLINE vec last_step(vec v, two_to n) {
#if FC_DTYPE == 32
    return (vec)_mm512_scalef_ps((__m512)v, (__m512)n);
#else
    return (vec)_mm512_scalef_pd((__m512d)v, (__m512d)n);
#endif
}
FC_INLINE vec one_plus_last_step(vec v, two_to n) { return last_step(v, n) + 1; }
#else
typedef struct { vec half, rest; } two_to;
FC_INLINE two_to two_to_whole(vec shifted, lane_test vanishes) {
    const ivec n = whole_bits(shifted), half = n >> 1;
    return (two_to){power_of_two(half), either(vanishes, splat(0), power_of_two(n - half))};
}
FC_INLINE vec first_step(vec v, two_to n) { return v * n.half; }
FC_INLINE vec last_step(vec v, two_to n) { return v * n.rest; }
FC_INLINE vec one_plus_last_step(vec v, two_to n) { return plus(v, n.rest, 1); }
#endif

/* e^x for x <= 0 before the last step by *n: whatever multiplies it sees all its digits even where
 * e^x is denormal. NaN for NaN. */
FC_INLINE vec exp_begun(vec x, two_to *n) {
    const vec lowest = splat(FC_EXP_LOWEST);
    const lane_test vanishes = less(x, lowest);
    vec shifted;
    const vec r = exp_reduced(larger(lowest, x), &shifted);
    *n = two_to_whole(shifted, vanishes);
    return first_step(plus(plus(exp_tail(r), r, 1), r, 1), *n);
}

/* e^x for x <= 0; NaN for NaN. */
FC_INLINE vec exp_nonpositive(vec x) {
    two_to n;
    const vec e = exp_begun(x, &n);
    return last_step(e, n);
}

/* e^x - 1 for x <= 0, without cancellation near 0; NaN for NaN. */
FC_INLINE vec expm1_nonpositive(vec x) {
    const vec lowest = splat(-64); /* e^-64 no longer changes -1, and 2^n stays normal */
    vec shifted;
    const vec q = expm1_series(exp_reduced(larger(lowest, x), &shifted));
    const vec s = power_of_two(whole_bits(shifted));
    return fused(q, s, s - 1);
}

/* d = 2^n m with m in [sqrt(1/2), sqrt(2)): returns ln m and n, for positive normal d. With
 * s = (m - 1) / (m + 1), ln m = 2 (s + s^3 / 3 + s^5 / 5 + ...). */
FC_INLINE vec log_reduced(vec d, vec *n) {
    const ivec exponent = ((ivec)d - (ivec)splat((real)0.70710678118654752440)) >> FC_EXPONENT_BITS;
    const vec f = (vec)((ivec)d - (exponent << FC_EXPONENT_BITS)) - 1;
    const vec s = f / (f + 2), z = s * s;
    vec p = splat((real)(2.0 / (2 * FC_LOG_TERMS - 1)));
    FC_UNROLL
    for (int i = FC_LOG_TERMS - 2; i >= 1; i--) p = plus(p, z, (real)(2.0 / (2 * i + 1)));
    *n = whole_value(exponent);
    return fused(s * z, p, 2 * s);
}

/* ln d for positive normal d; NaN for NaN. */
FC_INLINE vec log_positive(vec d) {
    vec n;
    const vec log_m = log_reduced(d, &n);
    const vec y = fused(n, splat((real)FC_LN2_HIGH), fused(n, splat((real)FC_LN2_LOW), log_m));
    return blend((ivec)(d != d), d, y);
}

/* d^p for d >= 0 (denormals, infinity and NaN too) and |p| <= 1000. The exponent of d goes through
 * an exact product with the high bits of p, so that large and small d lose no digits. */
FC_INLINE vec power(vec d, double p) {
    const ivec denormal = (ivec)(d < splat(FC_SMALLEST_NORMAL));
    vec n;
    const vec up = blend(denormal, splat((real)((lane_int)1 << FC_EXPONENT_BITS)), splat(1));
    const vec log_m = log_reduced(d * up, &n);
    n -= blend(denormal, splat(FC_EXPONENT_BITS), splat(0));

    const vec high = (vec)((ivec)splat((real)p) & ~(lane_int)FC_LOW_BITS);
    const vec low = splat((real)(p - (double)high[0]));
    const vec exact = n * high;
    const vec whole = (exact + (real)FC_ROUND_MAGIC) - (real)FC_ROUND_MAGIC;
    const vec rest = (exact - whole) + fused(n, low, log_m * (real)(p * FC_LOG2_E));
    const vec more = (rest + (real)FC_ROUND_MAGIC) - (real)FC_ROUND_MAGIC;
    const vec q = expm1_series((rest - more) * (real)FC_LN2);

    /* Both halves of the power of two must be normal numbers. */
    const vec limit = splat(2 * (FC_EXPONENT_BIAS - 2));
    vec total = whole + more;
    total = blend((ivec)(total > limit), limit, total);
    total = blend((ivec)(total < -limit), -limit, total);
    const ivec bits = whole_bits(total + (real)FC_ROUND_MAGIC), half = bits >> 1;
    const vec y = (q + 1) * power_of_two(half) * power_of_two(bits - half);

    const vec infinity = splat((real)INFINITY);
    const vec at_zero = p > 0 ? splat(0) : p < 0 ? infinity : splat(1);
    const vec at_infinity = p > 0 ? infinity : p < 0 ? splat(0) : splat(1);
    const vec ends = blend((ivec)(d == 0), at_zero, blend((ivec)(d == infinity), at_infinity, y));
    return blend((ivec)(d != d), d, ends);
}

#endif
