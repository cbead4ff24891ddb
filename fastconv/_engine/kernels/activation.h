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
    const lane_test negative = less(x, splat(0));
    two_to n;
    const vec e = exp_begun(-absolute(x), &n);
    const vec ratio = times * quotient(either(negative, e, splat(1)), one_plus_last_step(e, n));
    return either(negative, last_step(ratio, n), ratio);
}

FC_INLINE vec sigmoid_vec(vec x) { return times_sigmoid(splat(1), x); }

FC_INLINE vec silu_vec(vec x) { return times_sigmoid(x, x); }

/* With m = e^-2|x| - 1, tanh |x| = -m / (m + 2). */
FC_INLINE vec tanh_vec(vec x) {
    const vec m = expm1_nonpositive(absolute(x) * -2);
    return with_sign_of(quotient(m, m + 2), x);
}

FC_INLINE vec relu_vec(vec x) { return blend((ivec)(x < 0), splat(0), x); }

/* NaN passes: a comparison with it is false, and then the second one is taken. */
FC_INLINE vec clip_vec(vec x, vec low, vec high) { return smaller(high, larger(low, x)); }

FC_INLINE vec leaky_vec(vec x, vec slope) {
    const lane_test negative = less(x, splat(0));
    return either(negative, x * slope, x);
}

FC_INLINE vec hardsigmoid_vec(vec x) { return clip_vec(x + 3, splat(0), splat(6)) / 6; }

/* x * hardsigmoid(x) * alpha + beta; sixth is alpha / 6: a division costs as much as a tile's sums
 * over some channels. */
FC_INLINE vec hardswish_vec(vec x, real sixth, real beta) {
    return plus(x, clip_vec(x + 3, splat(0), splat(6)) * sixth, beta);
}

FC_INLINE int is_hardswish(const fc_epilogue *e) {
    return e->activation == FC_ACT_HARDSWISH || e->activation == FC_ACT_SCALED_HARDSWISH;
}

FC_INLINE int is_sloped(const fc_epilogue *e) { return e->activation == FC_ACT_PRELU; }

FC_INLINE real hardswish_sixth(const fc_epilogue *e) {
    return (real)((e->activation == FC_ACT_SCALED_HARDSWISH ? e->alpha : 1) / 6);
}

/* What changes nothing is -0: the sign of a zero stays. */
FC_INLINE real hardswish_beta(const fc_epilogue *e) {
    return e->activation == FC_ACT_SCALED_HARDSWISH ? (real)e->beta : (real)-0.0;
}

/* Where e's activation is a constant, so is the path. None that has a number for each channel. */
FC_INLINE vec activate_known(vec x, const fc_epilogue *e) {
    switch (e->activation) {
    case FC_ACT_RELU: return relu_vec(x);
    case FC_ACT_CLIP: return clip_vec(x, splat((real)e->alpha), splat((real)e->beta));
    case FC_ACT_LEAKY_RELU: return leaky_vec(x, splat((real)e->alpha));
    case FC_ACT_SIGMOID: return sigmoid_vec(x);
    case FC_ACT_TANH: return tanh_vec(x);
    case FC_ACT_SILU: return silu_vec(x);
    case FC_ACT_HARDSIGMOID: return hardsigmoid_vec(x);
    case FC_ACT_HARDSWISH:
    case FC_ACT_SCALED_HARDSWISH: return hardswish_vec(x, hardswish_sixth(e), hardswish_beta(e));
    default: return x;
    }
}

FC_NOINLINE vec activate_general(vec x, const fc_epilogue *e) { return activate_known(x, e); }

FC_INLINE vec activate(vec x, const fc_epilogue *e) {
    if (e->activation == FC_ACT_NONE) return x;
    if (e->activation == FC_ACT_RELU) return relu_vec(x);
    return activate_general(x, e);
}

/* A pixel's channels from c on, at most `left` of them. */
FC_INLINE vec activate_channels(vec x, const fc_epilogue *e, ptrdiff_t c, ptrdiff_t left) {
    if (!is_sloped(e)) return activate(x, e);
    return leaky_vec(x, load_upto((const real *)e->slopes + c, left));
}

/* Pixels of channel c. */
FC_INLINE vec activate_pixels(vec x, const fc_epilogue *e, ptrdiff_t c) {
    if (!is_sloped(e)) return activate(x, e);
    return leaky_vec(x, splat(((const real *)e->slopes)[c]));
}

/* Activations of a few instructions are inlined next to the sums; the others go through a rolled
 * loop. */
FC_INLINE int is_inline_activation(const fc_epilogue *e) {
    return e->activation <= FC_ACT_LAST_INLINE;
}

/* What they need, ready: a clip's bounds, or a hard swish's sixth and what it adds; slopes are where
 * the bias is. No vectors: they might want the stack aligned, which costs the tiles a register. */
typedef struct {
    int any, swish, sloped;
    union { real low, sixth; };
    union { real high, beta; };
} inline_numbers;

FC_INLINE inline_numbers numbers_of(const fc_epilogue *e) {
    inline_numbers n = {
        .any = e->activation != FC_ACT_NONE,
        .swish = is_hardswish(e),
        .sloped = is_sloped(e),
        .low = 0,
        .high = (real)__builtin_inf(),
    };
    if (n.swish) {
        n.sixth = hardswish_sixth(e);
        n.beta = hardswish_beta(e);
    } else if (e->activation == FC_ACT_CLIP) {
        n.low = (real)e->alpha;
        n.high = (real)e->beta;
    }
    return n;
}

/* Bounds at most. */
FC_INLINE int is_clip_activation(const fc_epilogue *e) { return e->activation <= FC_ACT_CLIP; }

FC_INLINE vec clip_activation(vec v, const inline_numbers *n) {
    return n->any ? clip_vec(v, splat(n->low), splat(n->high)) : v;
}

/* The slopes of channels side by side from c on, at most `left` of them; nothing without slopes. */
FC_INLINE vec slopes_of(const fc_epilogue *e, ptrdiff_t c, ptrdiff_t left) {
    return is_sloped(e) ? load_upto((const real *)e->slopes + c, left) : (vec){0};
}

/* Of so many vectors, a constant number, with one vector of slopes: which one it is, is asked once. */
FC_INLINE void inline_activations(const inline_numbers *n, vec slope, const int count, vec *v) {
    if (n->sloped) {
        FC_UNROLL for (int i = 0; i < count; i++) v[i] = leaky_vec(v[i], slope);
    } else if (n->swish) {
        FC_UNROLL for (int i = 0; i < count; i++) v[i] = hardswish_vec(v[i], n->sixth, n->beta);
    } else if (n->any) {
        FC_UNROLL for (int i = 0; i < count; i++)
            v[i] = clip_vec(v[i], splat(n->low), splat(n->high));
    }
}

#endif
