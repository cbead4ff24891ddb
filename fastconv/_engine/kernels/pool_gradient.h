/* pool_gradient: from the gradient of a pool's result to that of its input. All arrays are
 * contiguous in their layout; steps are elements.
 */
#ifndef FC_POOL_GRADIENT_H
#define FC_POOL_GRADIENT_H

#include <stddef.h>
#include <stdint.h>

#include "pool.h"

/* max: `channels` channels of one image. Each output's gradient is added at the place that `index`
 * names, in the order of the outputs; -1 names none. */
typedef struct {
    const int64_t *index;
    const char *grad;
    char *out;
    ptrdiff_t places, outs; /* of a channel: elements of the input and of the result */
    ptrdiff_t channels;
    ptrdiff_t step;         /* pixels(): elements from place to place, and from output to output */
} fc_max_gradient_args;

/* Lines that mean kernels hold at once: enough for stores to leave the store buffer. */
enum { FC_MEAN_HELD = 8 };

/* mean: rows row .. row + rows of slice `depth` of the input, for one channel or for some channels
 * of every pixel. An element gets the gradients of the windows that hold it, each times its share,
 * the product of one factor for each axis. */
typedef struct {
    const char *grad; /* of the image or plane, first channel */
    char *out;        /* of the slice's row 0 */
    const fc_pool_axis *height, *width;
    fc_pool_span slices;                   /* outputs along the depth that hold this slice */
    const fc_pool_span *rows_of;           /* outputs along the height that hold each row, ... */
    const fc_pool_span *columns_of;        /* ... and along the width each column: pixels() */
    const char *depth_share, *row_share, *column_share; /* by output */
    ptrdiff_t row, rows;
    ptrdiff_t channels, step;              /* pixels(): of a block, and of a whole pixel */
    char *line;                            /* workspace, FC_MEAN_HELD times fc_mean_line() elements */
} fc_mean_gradient_args;

/* Windows that a phase of the width's stride meets, at most. */
static inline ptrdiff_t fc_mean_reach(const fc_pool_axis *width) {
    return (width->kernel + width->before) / width->stride + 1;
}

/* Elements of a line: one for each output and channel, and zeros on both sides. */
static inline ptrdiff_t fc_mean_line(const fc_pool_axis *width, ptrdiff_t channels, int lanes) {
    const ptrdiff_t outs = width->outs > width->size ? width->outs : width->size;
    return (outs + 2 * fc_mean_reach(width)) * channels + 2 * lanes;
}

typedef struct {
    int lanes;
    int (*max_planes)(const fc_max_gradient_args *); /* 1: a place outside the input, otherwise 0 */
    int (*max_pixels)(const fc_max_gradient_args *);
    void (*mean_planes)(const fc_mean_gradient_args *);
    void (*mean_pixels)(const fc_mean_gradient_args *);
} fc_pool_gradient_kernels;

#endif
