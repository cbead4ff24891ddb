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

typedef struct {
    int rows, columns; /* of the largest tile */
    void (*tile)(const fc_dots_args *);
} fc_dots_kernels;

#endif
