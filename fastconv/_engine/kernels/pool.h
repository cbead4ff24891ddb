/* pool: windows along depth, height and width, reduced to their maximum or mean.
 *
 * A kernel makes one band of the result: some output columns of some output rows of one slice, for
 * `channels` channels. The driver has clipped the depth to the slices that exist; rows and columns
 * the kernels clip themselves, with fc_pool_window. All strides are bytes.
 */
#ifndef FC_POOL_H
#define FC_POOL_H

#include <stddef.h>
#include <stdint.h>

enum {
    FC_POOL_LINE_BYTES = 16384, /* padded input columns that `lines` kernels hold at once */
    FC_POOL_LINE_VECTORS = 32   /* and room behind them for the ends of whole vectors */
};

typedef enum { FC_POOL_MAX, FC_POOL_MEAN, FC_POOL_ARGMAX, FC_POOL_OPS } fc_pool_op;

/* How a kernel walks; every method serves every op.
 *   lines     rows are folded into one padded line, vectors along it, and the line is folded
 *             sideways: rows + columns steps for rows * columns taps
 *   windows   tap by tap, vectors along the channels; channels = 1 serves any strides
 *   segments  vectors along the columns of one window, folded in the end: wide windows */
typedef enum {
    FC_POOL_LINES,
    FC_POOL_WINDOWS,
    FC_POOL_SEGMENTS,
    FC_POOL_METHODS
} fc_pool_method;

/* What a mean divides by, along one axis. */
typedef enum {
    FC_POOL_COUNT_INSIDE, /* taps inside the input */
    FC_POOL_COUNT_PADDED, /* taps inside the input or its padding */
    FC_POOL_COUNT_ONE     /* nothing: divisor_override */
} fc_pool_counting;

typedef struct {
    ptrdiff_t size, outs;
    ptrdiff_t kernel, stride, dilation;
    ptrdiff_t before, after; /* padding */
    int fitted;              /* adaptive: outs windows cover the axis; dilation is 1 */
} fc_pool_axis;

typedef struct {
    ptrdiff_t first, count;
} fc_pool_span;

/* The taps of output `o` that lie inside the input: position of the first, and how many. */
static inline fc_pool_span fc_pool_window(const fc_pool_axis *axis, ptrdiff_t o) {
    if (axis->fitted) {
        const ptrdiff_t first = o * axis->size / axis->outs;
        const ptrdiff_t end = ((o + 1) * axis->size + axis->outs - 1) / axis->outs;
        return (fc_pool_span){first, end - first};
    }
    const ptrdiff_t step = axis->dilation;
    ptrdiff_t first = o * axis->stride - axis->before, count = axis->kernel;
    if (first < 0) {
        const ptrdiff_t skipped = (step - 1 - first) / step;
        first += skipped * step;
        count -= skipped;
    }
    if (first + (count - 1) * step >= axis->size)
        count = first < axis->size ? (axis->size - 1 - first) / step + 1 : 0;
    return count > 0 ? (fc_pool_span){first, count} : (fc_pool_span){0, 0};
}

/* What output `o` counts along this axis. */
static inline ptrdiff_t fc_pool_cells(const fc_pool_axis *axis, ptrdiff_t o, int counting) {
    if (counting == FC_POOL_COUNT_ONE) return 1;
    if (counting == FC_POOL_COUNT_INSIDE || axis->fitted) return fc_pool_window(axis, o).count;
    const ptrdiff_t left = axis->size + axis->after + axis->before - o * axis->stride;
    return left < axis->kernel ? left : axis->kernel;
}

typedef struct {
    const char *x;                 /* first slice of the windows, row 0, column 0 */
    ptrdiff_t x_row, x_column;
    ptrdiff_t depth_taps, x_depth; /* slices of the windows that exist, and their distance */
    ptrdiff_t channels;            /* neighbours in x where there are several */
    const fc_pool_axis *height, *width;
    ptrdiff_t row, rows;           /* the band: output rows row .. row + rows */
    ptrdiff_t column, columns;
    char *out;                     /* of the band's first element */
    ptrdiff_t out_row, out_column, out_channel;
    const ptrdiff_t *taps;         /* lines: places of an output's taps, in columns */
    ptrdiff_t phase;               /* lines, one channel: elements between stride phases */
    ptrdiff_t line, held;          /* lines: elements of one, and how many are held at once */
    int counting;                  /* mean */
    double cells;                  /* mean: counted cells along the depth, or divisor_override */
    char *index;                   /* argmax: int64, flat place in the channel's input */
    ptrdiff_t index_row, index_column, index_channel;
    ptrdiff_t place, place_depth;  /* argmax: place of x, and from slice to slice, in elements */
} fc_pool_args;

typedef struct {
    void (*run[FC_POOL_METHODS][FC_POOL_OPS])(const fc_pool_args *);
} fc_pool_kernels;

#endif
