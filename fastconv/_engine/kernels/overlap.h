/* overlap: runs that land on top of each other, as the windows of neighbouring pixels do.
 *
 *   sums[p * pixel_step + t * row_step + i] += src[p * src_pixel + t * run + i]
 *
 * for t < rows, p < pixels, i < run; steps and pitches are bytes, run is elements, and the runs of
 * one row and pixel are contiguous. Each sum takes its terms in an order that depends on nothing
 * but these numbers. */
#ifndef FC_OVERLAP_H
#define FC_OVERLAP_H

#include <stddef.h>

typedef struct {
    const char *src;
    ptrdiff_t src_pixel;
    ptrdiff_t pixels, rows, run;
    char *sums;
    ptrdiff_t pixel_step, row_step;
} fc_overlap_args;

typedef struct {
    void (*add)(const fc_overlap_args *);
} fc_overlap_kernels;

#endif
