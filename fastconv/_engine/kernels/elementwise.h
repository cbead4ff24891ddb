/* Arguments and table of the elementwise kernels: map, binary, weigh, pick, softmax, local response
 * normalisation.
 * Strides are bytes and may have any sign; pointers are aligned to the element. */
#ifndef FC_ELEMENTWISE_H
#define FC_ELEMENTWISE_H

#include <stddef.h>

/* map: a block of rows x cols elements,
 *   y = activation((x - center) * scale + shift), and x * slope for the y < 0.
 * The tables hold one element per channel; channel_row and channel_col say how far in them one row
 * and one column go (channel_col is 0 or an element). Without scale (NULL) there is no affine part,
 * without slope none of that. */
typedef struct {
    const char *x;
    ptrdiff_t x_row, x_col;
    char *out;
    ptrdiff_t out_row, out_col;
    ptrdiff_t rows, cols;
    const char *center, *scale, *shift, *slope;
    ptrdiff_t channel_row, channel_col;
    int activation;
    double alpha, beta;
} fc_map_args;

/* binary: a block of rows x cols elements, x op y. Any step may be 0. */
typedef enum { FC_ADD, FC_SUB, FC_MUL, FC_DIV } fc_binary_op;

typedef struct {
    const char *x, *y;
    ptrdiff_t x_row, x_col, y_row, y_col;
    char *out;
    ptrdiff_t out_row, out_col;
    ptrdiff_t rows, cols;
    int op;
} fc_binary_args;

/* weigh: out = the sum of `taps` lines of `count` contiguous elements, line t at x + offset[t], each
 * times its weight. */
typedef struct {
    const char *x;
    const ptrdiff_t *offset;
    const double *weight;
    int taps;
    char *out;
    ptrdiff_t count;
} fc_weigh_args;

/* pick: out[r][c] = x[r][index[c]] for rows of contiguous elements. */
typedef struct {
    const char *x;
    ptrdiff_t x_row;
    const ptrdiff_t *index;
    char *out;
    ptrdiff_t out_row;
    ptrdiff_t rows, cols;
} fc_pick_args;

/* softmax: `lines` independent lines of `length` elements; logarithm asks for log-softmax. out may
 * be x. */
typedef struct {
    const char *x;
    ptrdiff_t x_step, x_line;
    char *out;
    ptrdiff_t out_step, out_line;
    ptrdiff_t length, lines;
    int logarithm;
} fc_softmax_args;

/* lrn: `lines` pixels of `length` channels,
 *   y = x / (k + alpha * sum over before + 1 + after channels of x^2)^beta.
 * along() needs a `scratch` of FC_LRN_LINES lines, scratch_line bytes apart, of before + length +
 * after elements each, length rounded up to whole vectors. out must not overlap x. */
enum { FC_LRN_LINES = 8 };

typedef struct {
    const char *x;
    ptrdiff_t x_step, x_line;
    char *out;
    ptrdiff_t out_step, out_line;
    ptrdiff_t length, lines;
    ptrdiff_t before, after;
    double alpha, beta, k;
    char *scratch;
    ptrdiff_t scratch_line;
} fc_lrn_args;

/* along() has the vector run along a line, across() over neighbouring lines; both add in the same
 * order and give the same bits, for any strides. */
typedef struct {
    int lanes;
    void (*map)(const fc_map_args *);
    void (*binary)(const fc_binary_args *);
    void (*weigh)(const fc_weigh_args *);
    void (*pick)(const fc_pick_args *);
    void (*softmax_along)(const fc_softmax_args *);
    void (*softmax_across)(const fc_softmax_args *);
    void (*lrn_along)(const fc_lrn_args *);
    void (*lrn_across)(const fc_lrn_args *);
} fc_elementwise_kernels;

#endif
