/* dots: products of runs of pixels, lane by lane.
 *
 *   c[i][j] (+)= sum over t < lines, p < length of a[t * a_step + i][p] * b[t * b_step + j][p]
 *
 * for i < rows and j < columns, at most those of the table, where each c[i][j] is one vector:
 * lane l holds the terms whose p leaves the remainder l. a and b point at runs of `length`
 * contiguous elements. One fresh chain per lane, added to c where accumulate is set. */
#ifndef FC_DOTS_H
#define FC_DOTS_H

#include <stddef.h>

typedef struct {
    int rows, columns, accumulate;
    ptrdiff_t lines, length;
    const char *const *a;
    ptrdiff_t a_step;
    const char *const *b;
    ptrdiff_t b_step;
    char *c;
    ptrdiff_t c_row;
} fc_dots_args;

/* taps: the same for one channel of either factor after the other, lanes being channels.
 *
 *   c[t][l] += sum over p < pixels of a[t][p * a_pixel + l] * b[p * b_pixel + l]
 *
 * for t < taps and l < channels, where each c[t] is one vector and channels at most that long;
 * pixels are so many bytes apart. One fresh chain per lane, added to c. */
typedef struct {
    ptrdiff_t taps, pixels, channels;
    const char *const *a;
    ptrdiff_t a_pixel;
    const char *b;
    ptrdiff_t b_pixel;
    char *c;
} fc_taps_args;

typedef struct {
    int rows, columns; /* of the largest tile */
    void (*tile)(const fc_dots_args *);
    void (*taps)(const fc_taps_args *);
} fc_dots_kernels;

#endif
