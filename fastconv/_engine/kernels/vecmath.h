/* exp, log, roots and powers of one vector, as accurate as one rounding after another allows.
 *
 * Everything comes from two reductions: x = n ln 2 + r for exponentials and d = 2^n m for
 * logarithms, with a series in r or m long enough for the element type. Powers of two are applied
 * in two halves, so that results run into denormals and infinity gradually, as they should.
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

/* Integers between the low mantissa bits of n + FC_ROUND_MAGIC and elements. */
FC_INLINE ivec whole_bits(vec shifted) { return (ivec)shifted - (ivec)splat(FC_ROUND_MAGIC); }
FC_INLINE vec whole_value(ivec n) {
    return (vec)(n + (ivec)splat(FC_ROUND_MAGIC)) - (real)FC_ROUND_MAGIC;
}

/* 2^n where that is a normal number. */
FC_INLINE vec power_of_two(ivec n) { return (vec)((n + FC_EXPONENT_BIAS) << FC_EXPONENT_BITS); }

/* e^r - 1 for |r| <= ln2 / 2; the sign of a zero is lost. */
FC_INLINE vec expm1_series(vec r) {
    static const real inverse_factorial[] = {
        1.0,       1.0,         1.0 / 2,      1.0 / 6,       1.0 / 24,
        1.0 / 120, 1.0 / 720,   1.0 / 5040,   1.0 / 40320,   1.0 / 362880,
        1.0 / 3628800, 1.0 / 39916800, 1.0 / 479001600, 1.0 / 6227020800.0};
    vec p = splat(inverse_factorial[FC_EXP_TERMS - 1]);
    FC_UNROLL
    for (int i = FC_EXP_TERMS - 2; i >= 2; i--) p = p * r + inverse_factorial[i];
    return r * r * p + r;
}

/* x = n ln 2 + r: returns e^r - 1 and n, for FC_EXP_LOWEST <= x <= -FC_EXP_LOWEST; NaN for NaN,
 * with any n. */
FC_INLINE vec expm1_reduced(vec x, ivec *n) {
    const vec shifted = x * (real)FC_LOG2_E + (real)FC_ROUND_MAGIC;
    const vec whole = shifted - (real)FC_ROUND_MAGIC;
    *n = whole_bits(shifted);
    return expm1_series((x - whole * (real)FC_LN2_HIGH) - whole * (real)FC_LN2_LOW);
}

/* e^x for x <= 0 in two factors, the returned one and *scale: whatever multiplies the first sees
 * all its digits even where e^x is denormal. NaN for NaN. */
FC_INLINE vec exp_in_halves(vec x, vec *scale) {
    const vec lowest = splat(FC_EXP_LOWEST);
    const ivec vanishes = (ivec)(x < lowest);
    ivec n;
    const vec q = expm1_reduced(blend(vanishes, lowest, x), &n);
    const ivec half = n >> 1;
    *scale = blend(vanishes, splat(0), power_of_two(n - half));
    return (q + 1) * power_of_two(half);
}

/* e^x for x <= 0; NaN for NaN. */
FC_INLINE vec exp_nonpositive(vec x) {
    vec scale;
    const vec e = exp_in_halves(x, &scale);
    return e * scale;
}

/* e^x - 1 for x <= 0, without cancellation near 0; NaN for NaN. */
FC_INLINE vec expm1_nonpositive(vec x) {
    const vec lowest = splat(-64); /* e^-64 no longer changes -1, and 2^n stays normal */
    ivec n;
    const vec q = expm1_reduced(blend((ivec)(x < lowest), lowest, x), &n);
    const vec s = power_of_two(n);
    return q * s + (s - 1);
}

/* d = 2^n m with m in [sqrt(1/2), sqrt(2)): returns ln m and n, for positive normal d. With
 * s = (m - 1) / (m + 1), ln m = 2 (s + s^3 / 3 + s^5 / 5 + ...). */
FC_INLINE vec log_reduced(vec d, vec *n) {
    const ivec exponent = ((ivec)d - (ivec)splat((real)0.70710678118654752440)) >> FC_EXPONENT_BITS;
    const vec f = (vec)((ivec)d - (exponent << FC_EXPONENT_BITS)) - 1;
    const vec s = f / (f + 2), z = s * s;
    vec p = splat((real)(2.0 / (2 * FC_LOG_TERMS - 1)));
    FC_UNROLL
    for (int i = FC_LOG_TERMS - 2; i >= 1; i--) p = p * z + (real)(2.0 / (2 * i + 1));
    *n = whole_value(exponent);
    return s * z * p + 2 * s;
}

/* ln d for positive normal d; NaN for NaN. */
FC_INLINE vec log_positive(vec d) {
    vec n;
    const vec log_m = log_reduced(d, &n);
    const vec y = n * (real)FC_LN2_HIGH + (n * (real)FC_LN2_LOW + log_m);
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
    const vec rest = (exact - whole) + (n * low + log_m * (real)(p * FC_LOG2_E));
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
