/* Activations on one vector: the single place that says what each of them computes.
 *
 * sigmoid, silu and tanh go through e^-|x|, which never overflows, and stay within 3 units in the
 * last place over the whole range, denormal results included. NaN stays NaN everywhere; -inf gives
 * NaN for silu and hardswish, as -inf * 0 does.
 */
#ifndef FC_ACTIVATION_H
#define FC_ACTIVATION_H

#include "kernels.h"
#include "simd.h"
#include "vecmath.h"

/* times / (1 + e^-x), which is times * e^x / (1 + e^x) for negative x; times is 1 or x. */
FC_INLINE vec times_sigmoid(vec times, vec x) {
    const ivec negative = (ivec)(x < 0);
    vec scale;
    const vec e = exp_in_halves(-absolute(x), &scale);
    const vec ratio = times * blend(negative, e, splat(1)) / (e * scale + 1);
    return ratio * blend(negative, scale, splat(1));
}

FC_NOINLINE vec sigmoid_vec(vec x) { return times_sigmoid(splat(1), x); }

FC_NOINLINE vec silu_vec(vec x) { return times_sigmoid(x, x); }

/* With m = e^-2|x| - 1, tanh |x| = -m / (m + 2). */
FC_NOINLINE vec tanh_vec(vec x) {
    const vec m = expm1_nonpositive(absolute(x) * -2);
    return with_sign_of(m / (m + 2), x);
}

FC_INLINE vec clip_vec(vec x, vec low, vec high) {
    x = blend((ivec)(x < low), low, x);
    return blend((ivec)(x > high), high, x);
}

FC_INLINE vec hardsigmoid_vec(vec x) { return clip_vec(x + 3, splat(0), splat(6)) / 6; }

FC_NOINLINE vec activate_general(vec x, const fc_epilogue *e) {
    switch (e->activation) {
    case FC_ACT_CLIP: return clip_vec(x, splat((real)e->alpha), splat((real)e->beta));
    case FC_ACT_LEAKY_RELU: return blend((ivec)(x < 0), x * (real)e->alpha, x);
    case FC_ACT_SIGMOID: return sigmoid_vec(x);
    case FC_ACT_TANH: return tanh_vec(x);
    case FC_ACT_SILU: return silu_vec(x);
    case FC_ACT_HARDSIGMOID: return hardsigmoid_vec(x);
    case FC_ACT_HARDSWISH: return x * hardsigmoid_vec(x);
    case FC_ACT_SCALED_HARDSWISH:
        return x * hardsigmoid_vec(x) * (real)e->alpha + (real)e->beta;
    default: return x;
    }
}

FC_INLINE vec activate(vec x, const fc_epilogue *e) {
    if (e->activation == FC_ACT_NONE) return x;
    if (e->activation == FC_ACT_RELU) return blend((ivec)(x < 0), splat(0), x);
    return activate_general(x, e);
}

/* Activations that are inlined next to the sums, bounds at most; the others go through a rolled
 * loop. */
FC_INLINE int is_inline_activation(const fc_epilogue *e) {
    return e->activation == FC_ACT_NONE || e->activation == FC_ACT_RELU ||
           e->activation == FC_ACT_CLIP;
}

/* No vectors: they might want the stack aligned, which costs the tiles a register. */
typedef struct {
    int any;
    real low, high;
} activation_bounds;

FC_INLINE activation_bounds bounds_of(const fc_epilogue *e) {
    const int clip = e->activation == FC_ACT_CLIP;
    return (activation_bounds){
        .any = e->activation != FC_ACT_NONE,
        .low = clip ? (real)e->alpha : 0,
        .high = clip ? (real)e->beta : (real)__builtin_inf(),
    };
}

/* NaN passes: a comparison with it is false, and then the second one is taken. */
FC_INLINE vec inline_activation(vec v, const activation_bounds *b) {
    return b->any ? smaller(splat(b->high), larger(splat(b->low), v)) : v;
}

#endif
