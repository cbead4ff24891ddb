/* Arguments and table of the kernel that sums over channels. Strides are bytes and may have any sign;
 * pointers are aligned to the element. */
#ifndef FC_SUMS_H
#define FC_SUMS_H

#include <stddef.h>

/* What is summed over the elements of a channel, with d = x - center: two sums each, in double. */
typedef enum {
    FC_SUMS_PLAIN,    /* x, and 0; grad and center are not read */
    FC_SUMS_MOMENTS,  /* d and d^2; grad is not read */
    FC_SUMS_GRADIENT, /* grad and grad * d */
    FC_SUMS_NEGATIVE, /* the same, where not x > 0 */
    FC_SUMS_OPS
} fc_sums_op;

/* sums: a block of rows x cols elements whose channel is the row, the column (channel_col) or the
 * same for all (neither). Writes two doubles per channel. */
typedef struct {
    const char *x, *grad;
    ptrdiff_t x_row, x_col, grad_row, grad_col;
    ptrdiff_t rows, cols;
    const double *center; /* one per channel of the block */
    double *sums;         /* [channels of the block][2] */
    int op, channel_row, channel_col;
} fc_sums_args;

typedef struct {
    void (*sums)(const fc_sums_args *);
} fc_sums_kernels;

#endif
