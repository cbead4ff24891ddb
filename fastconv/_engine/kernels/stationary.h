/* stationary: windows so small that all their weights for one vector of output channels stay in
 * registers while neighbouring output pixels pass by.
 *
 *   sum[j][c] = sum over kernel rows r < rows, i < run of x[r][j * step[r] + i] * w[r][i][c]
 *
 * for j < pixels and c < channels, at most a vector of them. A kernel row is one run of its pixels'
 * input channels; rows outside the input point at zeros with step 0. One fresh chain for each row,
 * two where its run is long, added in order. Windows of more rows take several calls: all but the
 * first are `begun` and add to `sums`, one whole vector a pixel, and all but the last are `kept`
 * there. */
#ifndef FC_STATIONARY_H
#define FC_STATIONARY_H

#include "direct.h"

enum { FC_STATIONARY_ROWS = 5 }; /* most kernel rows of a call */

typedef struct {
    ptrdiff_t pixels;
    int rows, run, channels;
    const char *x[FC_STATIONARY_ROWS];
    ptrdiff_t step[FC_STATIONARY_ROWS];
    const char *w;
    int begun, kept;
    char *sums;
    fc_pixels_out out;
    int streams; /* whole vectors past the caches, on vectors' boundaries */
} fc_stationary_args;

typedef struct {
    int weights; /* most of a call, rows x run */
    void (*run)(const fc_stationary_args *);
} fc_stationary_kernels;

#endif
