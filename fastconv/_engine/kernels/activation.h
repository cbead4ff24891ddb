/* Activations on one vector: the single place that says what each of them computes.
 *
 * exp is 2^n * e^r with r in [-ln2/2, ln2/2] and a Taylor polynomial long enough for the element
 * type; sigmoid and tanh go through exp(-|x|), which never overflows. NaN stays NaN everywhere.
 */
#ifndef FC_ACTIVATION_H
#define FC_ACTIVATION_H

#include "kernels.h"
#include "simd.h"

#if FC_DTYPE == 32
#define FC_EXPONENT_BITS 23
#define FC_EXPONENT_BIAS 127
#define FC_EXP_LOWEST -87.0f /* below, 2^n would be denormal; the result is 0 to working precision */
#define FC_LN2_HIGH 0.693359375f
#define FC_LN2_LOW -2.12194440e-4f
#define FC_EXP_TERMS 8
#define FC_ROUND_MAGIC 12582912.0f /* 1.5 * 2^23: adding and subtracting it rounds to an integer */
#else
#define FC_EXPONENT_BITS 52
#define FC_EXPONENT_BIAS 1023
#define FC_EXP_LOWEST -708.0
#define FC_LN2_HIGH 6.93145751953125e-1
#define FC_LN2_LOW 1.42860682030941723212e-6
#define FC_EXP_TERMS 14
#define FC_ROUND_MAGIC 6755399441055744.0
#endif

/* e^x for x <= 0; NaN for NaN. */
FC_INLINE vec exp_nonpositive(vec x) {
    static const real inverse_factorial[] = {
        1.0,       1.0,        1.0 / 2,     1.0 / 6,      1.0 / 24,      1.0 / 120,       1.0 / 720,
        1.0 / 5040, 1.0 / 40320, 1.0 / 362880, 1.0 / 3628800, 1.0 / 39916800, 1.0 / 479001600,
        1.0 / 6227020800.0};
    const vec lowest = splat((real)FC_EXP_LOWEST);
    const ivec tiny = (ivec)(x < lowest);
    x = blend(tiny, lowest, x);
    const vec shifted = x * (real)1.44269504088896340736 + (real)FC_ROUND_MAGIC;
    const vec n = shifted - (real)FC_ROUND_MAGIC;
    const vec r = (x - n * (real)FC_LN2_HIGH) - n * (real)FC_LN2_LOW;
    vec p = splat(inverse_factorial[FC_EXP_TERMS - 1]);
    for (int i = FC_EXP_TERMS - 2; i >= 0; i--) p = p * r + inverse_factorial[i];
    /* The rounded n sits in shifted's low mantissa bits. */
    const ivec exponent = ((ivec)shifted - (ivec)splat((real)FC_ROUND_MAGIC) + FC_EXPONENT_BIAS)
                          << FC_EXPONENT_BITS;
    return blend(tiny, splat(0), blend((ivec)(x != x), x, p * (vec)exponent));
}

FC_INLINE vec absolute(vec x) { return blend((ivec)(x < 0), -x, x); }

FC_NOINLINE vec sigmoid_vec(vec x) {
    const vec e = exp_nonpositive(-absolute(x));
    return blend((ivec)(x < 0), e, splat(1)) / (e + 1);
}

/* |x| small: the odd series, where 1 - e^-2|x| would cancel. */
FC_NOINLINE vec tanh_vec(vec x) {
    const vec magnitude = absolute(x);
    const vec e = exp_nonpositive(magnitude * -2);
    const vec large = (1 - e) / (1 + e);
    const vec s = x * x;
#if FC_DTYPE == 32
    const real limit = (real)0.25;
    const vec small = magnitude * (1 + s * ((real)(-1.0 / 3) + s * ((real)(2.0 / 15) +
                      s * ((real)(-17.0 / 315) + s * (real)(62.0 / 2835)))));
#else
    const real limit = (real)0.0625;
    const vec small = magnitude * (1 + s * ((real)(-1.0 / 3) + s * ((real)(2.0 / 15) +
                      s * ((real)(-17.0 / 315) + s * ((real)(62.0 / 2835) +
                      s * ((real)(-1382.0 / 155925) + s * (real)(21844.0 / 6081075)))))));
#endif
    const vec t = blend((ivec)(magnitude < limit), small, large);
    return blend((ivec)(x != x), x, blend((ivec)(x < 0), -t, t));
}

FC_INLINE vec clip_vec(vec x, vec low, vec high) {
    x = blend((ivec)(x < low), low, x);
    return blend((ivec)(x > high), high, x);
}

FC_NOINLINE vec activate_general(vec x, const fc_epilogue *e) {
    switch (e->activation) {
    case FC_ACT_CLIP: return clip_vec(x, splat((real)e->alpha), splat((real)e->beta));
    case FC_ACT_LEAKY_RELU: return blend((ivec)(x < 0), x * (real)e->alpha, x);
    case FC_ACT_SIGMOID: return sigmoid_vec(x);
    case FC_ACT_TANH: return tanh_vec(x);
    case FC_ACT_SILU: return x * sigmoid_vec(x);
    case FC_ACT_HARDSIGMOID: return clip_vec(x + 3, splat(0), splat(6)) / 6;
    case FC_ACT_HARDSWISH: return x * clip_vec(x + 3, splat(0), splat(6)) / 6;
    default: return x;
    }
}

FC_INLINE vec activate(vec x, const fc_epilogue *e) {
    if (e->activation == FC_ACT_NONE) return x;
    if (e->activation == FC_ACT_RELU) return blend((ivec)(x < 0), splat(0), x);
    return activate_general(x, e);
}

#endif
