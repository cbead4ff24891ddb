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

/* NaN passes: a comparison with it is false, and then the second one is taken. */
FC_INLINE vec clip_vec(vec x, vec low, vec high) { return smaller(high, larger(low, x)); }

FC_INLINE vec hardsigmoid_vec(vec x) { return clip_vec(x + 3, splat(0), splat(6)) / 6; }

/* x * hardsigmoid(x) * alpha + beta; sixth is alpha / 6: a division costs as much as a tile's sums
 * over some channels. */
FC_INLINE vec hardswish_vec(vec x, real sixth, real beta) {
    return x * (clip_vec(x + 3, splat(0), splat(6)) * sixth) + beta;
}

FC_INLINE int is_hardswish(const fc_epilogue *e) {
    return e->activation == FC_ACT_HARDSWISH || e->activation == FC_ACT_SCALED_HARDSWISH;
}

FC_INLINE real hardswish_sixth(const fc_epilogue *e) {
    return (real)((e->activation == FC_ACT_SCALED_HARDSWISH ? e->alpha : 1) / 6);
}

/* What changes nothing is -0: the sign of a zero stays. */
FC_INLINE real hardswish_beta(const fc_epilogue *e) {
    return e->activation == FC_ACT_SCALED_HARDSWISH ? (real)e->beta : (real)-0.0;
}

FC_NOINLINE vec activate_general(vec x, const fc_epilogue *e) {
    switch (e->activation) {
    case FC_ACT_CLIP: return clip_vec(x, splat((real)e->alpha), splat((real)e->beta));
    case FC_ACT_LEAKY_RELU: return blend((ivec)(x < 0), x * (real)e->alpha, x);
    case FC_ACT_SIGMOID: return sigmoid_vec(x);
    case FC_ACT_TANH: return tanh_vec(x);
    case FC_ACT_SILU: return silu_vec(x);
    case FC_ACT_HARDSIGMOID: return hardsigmoid_vec(x);
    case FC_ACT_HARDSWISH:
    case FC_ACT_SCALED_HARDSWISH: return hardswish_vec(x, hardswish_sixth(e), hardswish_beta(e));
    default: return x;
    }
}

FC_INLINE vec activate(vec x, const fc_epilogue *e) {
    if (e->activation == FC_ACT_NONE) return x;
    if (e->activation == FC_ACT_RELU) return blend((ivec)(x < 0), splat(0), x);
    return activate_general(x, e);
}

/* Activations of a few instructions are inlined next to the sums; the others go through a rolled
 * loop. */
FC_INLINE int is_inline_activation(const fc_epilogue *e) {
    return e->activation <= FC_ACT_LAST_INLINE;
}

/* What they need, ready: a clip's bounds, or a hard swish's sixth and beta. No vectors: they might
 * want the stack aligned, which costs the tiles a register. */
typedef struct {
    int any, swish;
    real low, high;
} activation_bounds;

FC_INLINE activation_bounds bounds_of(const fc_epilogue *e) {
    const int clip = e->activation == FC_ACT_CLIP, swish = is_hardswish(e);
    return (activation_bounds){
        .any = e->activation != FC_ACT_NONE,
        .swish = swish,
        .low = swish ? hardswish_sixth(e) : clip ? (real)e->alpha : 0,
        .high = swish ? hardswish_beta(e) : clip ? (real)e->beta : (real)__builtin_inf(),
    };
}

/* Bounds at most. */
FC_INLINE int is_clip_activation(const fc_epilogue *e) { return e->activation <= FC_ACT_CLIP; }

FC_INLINE vec clip_activation(vec v, const activation_bounds *b) {
    return b->any ? clip_vec(v, splat(b->low), splat(b->high)) : v;
}

FC_INLINE vec inline_activation(vec v, const activation_bounds *b) {
    return b->swish ? hardswish_vec(v, b->low, b->high) : clip_activation(v, b);
}

#endif
