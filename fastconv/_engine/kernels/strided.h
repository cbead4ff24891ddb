/* One vector from or to elements at any distance; contiguous ones take the ordinary way. */
#ifndef FC_STRIDED_H
#define FC_STRIDED_H

#include "simd.h"

/* The first `count` of the lanes (all from FC_LANES on), `step` bytes apart in memory. */
FC_INLINE vec load_strided(const char *p, ptrdiff_t step, ptrdiff_t count) {
    if (step == (ptrdiff_t)sizeof(real)) return load_upto((const real *)p, count);
    real lanes[FC_LANES] FC_ALIGNED = {0};
    for (ptrdiff_t i = 0; i < FC_LANES && i < count; i++) lanes[i] = *(const real *)(p + i * step);
    return load(lanes);
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

#endif
