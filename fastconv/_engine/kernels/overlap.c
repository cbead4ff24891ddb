/* Adding overlapping runs: from products [pixel][tap][channel] to the lines that taps land on.
 *
 * A run read back right after a neighbour's was written over part of it waits for that store to
 * leave, also where the store's mask leaves that part out. So the pixels of a line are taken some at
 * a time, as far apart as the vectors of a run are long.
 */
#include "kernels.h"
#include "simd.h"

FC_INLINE void add_run(real *sums, const real *src, ptrdiff_t run) {
    for (ptrdiff_t i = 0; i < run; i += FC_LANES) {
        const ptrdiff_t left = run - i;
        store_upto(sums + i, load_upto(sums + i, left) + load_upto(src + i, left), left);
    }
}

static void add(const fc_overlap_args *o) {
    const ptrdiff_t bytes = o->run * (ptrdiff_t)sizeof(real);
    const ptrdiff_t vectors = (o->run + FC_LANES - 1) / FC_LANES;
    const ptrdiff_t apart = (vectors * FC_VECTOR_BYTES + o->pixel_step - 1) / o->pixel_step;
    for (ptrdiff_t t = 0; t < o->rows; t++) {
        const char *src = o->src + t * bytes;
        char *sums = o->sums + t * o->row_step;
        for (ptrdiff_t first = 0; first < apart; first++)
            for (ptrdiff_t p = first; p < o->pixels; p += apart)
                add_run((real *)(sums + p * o->pixel_step), (const real *)(src + p * o->src_pixel),
                        o->run);
    }
}

const fc_overlap_kernels FC_TABLE(overlap) = {add};
