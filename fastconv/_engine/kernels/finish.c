/* Between the arrays and the channels-last scratch: gather pixels in, finish sums out.
 *
 * finish takes a block of sums [pixels][channels] through the epilogue (bias, residual,
 * activation) to wherever the result lives: rows() where a pixel's channels are contiguous,
 * planes() where a channel's pixels are (through a register transpose) or for any strides.
 * Both apply the same operations in the same order, so the layout never changes a bit.
 */
#include "activation.h"
#include "kernels.h"
#include "simd.h"

static void rows(const fc_finish_args *f) {
    const fc_epilogue *e = &f->epilogue;
    const real *bias = (const real *)e->bias;
    for (ptrdiff_t p = 0; p < f->pixels; p++) {
        const real *sums = (const real *)(f->sums + p * f->sum_row);
        real *out = (real *)(f->out_rows[p] + f->row_offset);
        const real *residual =
            f->residual_rows ? (const real *)(f->residual_rows[p] + f->residual_row_offset) : NULL;
        for (ptrdiff_t c = 0; c < f->channels; c += FC_LANES) {
            const ptrdiff_t left = f->channels - c;
            vec v = load_upto(sums + c, left);
            if (bias) v += load_upto(bias + c, left);
            if (residual) v += load_upto(residual + c, left);
            store_upto(out + c, activate(v, e), left);
        }
    }
}

/* One channel's run of pixels, at any pixel stride. */
FC_INLINE vec load_strided(const char *p, ptrdiff_t step, ptrdiff_t count) {
    if (step == (ptrdiff_t)sizeof(real)) return load_upto((const real *)p, count);
    vec v = {0};
    for (ptrdiff_t i = 0; i < FC_LANES && i < count; i++) v[i] = *(const real *)(p + i * step);
    return v;
}

FC_INLINE void store_strided(char *p, ptrdiff_t step, vec v, ptrdiff_t count) {
    if (step == (ptrdiff_t)sizeof(real)) {
        store_upto((real *)p, v, count);
        return;
    }
    real lanes[FC_LANES] FC_ALIGNED;
    store(lanes, v);
    for (ptrdiff_t i = 0; i < FC_LANES && i < count; i++) *(real *)(p + i * step) = lanes[i];
}

static void planes(const fc_finish_args *f) {
    const fc_epilogue *e = &f->epilogue;
    const real *bias = (const real *)e->bias;
    for (ptrdiff_t c0 = 0; c0 < f->channels; c0 += FC_LANES) {
        for (ptrdiff_t p0 = 0; p0 < f->pixels; p0 += FC_LANES) {
            const ptrdiff_t pixels = f->pixels - p0, channels = f->channels - c0;
            vec block[FC_LANES];
            for (int i = 0; i < FC_LANES; i++) {
                const real *sums = (const real *)(f->sums + (p0 + i) * f->sum_row) + c0;
                block[i] = i < pixels ? load_upto(sums, channels) : (vec){0};
            }
            transpose(block);
            for (int i = 0; i < FC_LANES && i < channels; i++) {
                vec v = block[i];
                if (bias) v += bias[c0 + i];
                if (f->residual)
                    v += load_strided(f->residual + (c0 + i) * f->residual_channel +
                                          p0 * f->residual_pixel,
                                      f->residual_pixel, pixels);
                store_strided(f->out + (c0 + i) * f->out_channel + p0 * f->out_pixel, f->out_pixel,
                              activate(v, e), pixels);
            }
        }
    }
}

static void gather_transposed(const fc_gather_args *g) {
    for (ptrdiff_t p0 = 0; p0 < g->pixels; p0 += FC_LANES) {
        const ptrdiff_t pixels = g->pixels - p0;
        for (ptrdiff_t c0 = 0; c0 < g->channels; c0 += FC_LANES) {
            const ptrdiff_t channels = g->channels - c0;
            vec block[FC_LANES];
            for (int i = 0; i < FC_LANES; i++) {
                const char *src = g->src + (c0 + i) * g->src_channel + p0 * (ptrdiff_t)sizeof(real);
                block[i] = i < channels ? load_upto((const real *)src, pixels) : (vec){0};
            }
            transpose(block);
            for (int i = 0; i < FC_LANES && i < pixels; i++)
                store_upto((real *)(g->dst + (p0 + i) * g->dst_pixel) + c0, block[i], channels);
        }
    }
}

static void gather_strided(const fc_gather_args *g) {
    for (ptrdiff_t p = 0; p < g->pixels; p++) {
        const char *src = g->src + p * g->src_pixel;
        real *dst = (real *)(g->dst + p * g->dst_pixel);
        for (ptrdiff_t c = 0; c < g->channels; c++) dst[c] = *(const real *)(src + c * g->src_channel);
    }
}

static void gather(const fc_gather_args *g) {
    const ptrdiff_t element = sizeof(real);
    if (g->src_channel == element) {
        for (ptrdiff_t p = 0; p < g->pixels; p++)
            memcpy(g->dst + p * g->dst_pixel, g->src + p * g->src_pixel, g->channels * sizeof(real));
    } else if (g->src_pixel == element && g->channels >= FC_LANES / 4) {
        gather_transposed(g);
    } else {
        gather_strided(g);
    }
}

const fc_finish_kernels FC_TABLE(finish) = {rows, planes, gather};
