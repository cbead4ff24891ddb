/* A square of values turned in registers on its way in. */
#ifndef FC_TRANSPOSED_H
#define FC_TRANSPOSED_H

#include "simd.h"

/* FC_LANES x FC_LANES values with rows `row` bytes apart, transposed; what lies past the last row
 * or column reads as zero. `whole` is a constant: whole blocks stay in registers. */
FC_INLINE void load_transposed(vec block[FC_LANES], const int whole, const char *src, ptrdiff_t row,
                               ptrdiff_t rows, ptrdiff_t columns) {
    if (whole) {
        /* Gathering pieces as they are loaded is half of the exchange, and aligned ones lie in one
         * cache line each, where vectors of rows that begin anywhere lie in two. */
        FC_UNROLL for (int i = 0; i < FC_LANES; i++)
            block[i] = load_pieces(src + i % FC_PIECE * row + i / FC_PIECE * 16, FC_PIECE * row);
        transpose_pieces(block);
        return;
    }
    const lane_mask mask = lanes_between(0, columns);
    FC_UNROLL for (int i = 0; i < FC_LANES; i++)
        block[i] = i < rows ? load_masked((const real *)(src + i * row), mask) : (vec){0};
    transpose(block);
}

#endif
