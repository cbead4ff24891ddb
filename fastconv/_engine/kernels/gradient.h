/* Arguments and table of the gradient kernels: maps of two inputs, soft maxima, local response
 * normalisation. Strides are bytes and may have any sign; pointers are aligned to the
 * element. `grad` is always the gradient with respect to the forward operation's result. */
#ifndef FC_GRADIENT_H
#define FC_GRADIENT_H

#include <stddef.h>

/* What multiplies the gradient, as a function of v: the forward operation's result where that is
 * enough, its input otherwise. */
typedef enum {
    FC_GRAD_POSITIVE,    /* result: 0 where v <= 0 */
    FC_GRAD_INSIDE,      /* result: 0 where v <= alpha or v >= beta */
    FC_GRAD_SLOPE,       /* input: alpha where not v > 0 */
    FC_GRAD_SIGMOID,     /* result */
    FC_GRAD_TANH,        /* result */
    FC_GRAD_SILU,        /* input */
    FC_GRAD_HARDSIGMOID, /* input */
    FC_GRAD_HARDSWISH,   /* input */
    FC_GRAD_CHANNEL_SLOPE, /* input: table[0] where not v > 0 */
    FC_GRAD_STANDARD,    /* input: (grad - table[0] - (v - table[1]) * table[2]) * table[3] */
    FC_GRAD_OPS
} fc_gradient_op;

enum { FC_GRADIENT_TABLES = 4 };

/* map: a block of rows x cols elements. The tables hold one element per channel; channel_row and
 * channel_col say how far in them one row and one column go (channel_col is 0 or an element). */
typedef struct {
    const char *x, *grad; /* x is v */
    ptrdiff_t x_row, x_col, grad_row, grad_col;
    char *out;
    ptrdiff_t out_row, out_col;
    ptrdiff_t rows, cols;
    const char *table[FC_GRADIENT_TABLES];
    ptrdiff_t channel_row, channel_col;
    int op;
    double alpha, beta;
} fc_gradient_map_args;

/* softmax: `lines` independent lines of `length` elements of the result y; `logarithm` says that y
 * is a log-softmax. Both kernels add in the same order and give the same bits. */
typedef struct {
    const char *y, *grad;
    ptrdiff_t y_step, y_line, grad_step, grad_line;
    char *out;
    ptrdiff_t out_step, out_line;
    ptrdiff_t length, lines;
    int logarithm;
} fc_softmax_gradient_args;

/* lrn: `lines` pixels of `length` channels of the input x; see elementwise.h for the numbers.
 * Needs a scratch of FC_LRN_VECTORS * length vectors. */
enum { FC_LRN_VECTORS = 3 };

typedef struct {
    const char *x, *grad;
    ptrdiff_t x_step, x_line, grad_step, grad_line;
    char *out;
    ptrdiff_t out_step, out_line;
    ptrdiff_t length, lines;
    ptrdiff_t before, after;
    double alpha, beta, k;
    char *scratch;
} fc_lrn_gradient_args;

typedef struct {
    int lanes;
    void (*map)(const fc_gradient_map_args *);
    void (*softmax_along)(const fc_softmax_gradient_args *);
    void (*softmax_across)(const fc_softmax_gradient_args *);
    void (*lrn)(const fc_lrn_gradient_args *);
} fc_gradient_kernels;

#endif
