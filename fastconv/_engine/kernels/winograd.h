/* winograd: the transforms around Winograd's products, a vector of channels at a time.
 *
 * Three layouts meet here, all in elements of the working type:
 *   V  transformed input    [point][row group][channel block][rows][block], read by gemm's tile
 *   M  products             [point][tile][output channels of a slab]
 *   U  transformed weights  [panel][point][channel][width]
 * Points of a 2-D tile are numbered row point * (points along a row) + column point.
 */
#ifndef FC_WINOGRAD_H
#define FC_WINOGRAD_H

#include <stddef.h>

enum { FC_WINOGRAD_MAX_TILE = 6, FC_WINOGRAD_FORMS = 6 };

/* A run of tiles beside each other, from channels-last pixels into V. A 1-D tile runs along
 * src_pixel. */
typedef struct {
    const char *src;                         /* the first tile's first pixel */
    ptrdiff_t src_row, src_pixel, src_tile;  /* bytes */
    ptrdiff_t tiles, channels;               /* lanes past `channels` are written as zero */
    char *dst;                               /* V */
    ptrdiff_t first_tile, first_channel;     /* where the run begins in V; whole vectors */
    ptrdiff_t rows, block;                   /* tiles of a row group, channels of a block */
    ptrdiff_t dst_point, dst_group, dst_block; /* bytes */
} fc_winograd_input_args;

/* A run of tiles from M to channels-last pixels, through the epilogue (activations up to
 * FC_ACT_LAST_INLINE) with the residual. Outputs past `height` rows and `width` columns, counted
 * from the run's first, are dropped. A 1-D tile's outputs run along dst_pixel and count as columns;
 * where that is downwards, tile_width is 0. With a dilation `height` counts every such row, `width`
 * still every column. */
typedef struct {
    const char *src;                 /* M, at the run's first tile and channel */
    ptrdiff_t src_point, src_tile;   /* bytes */
    ptrdiff_t tiles, channels;
    char *dst;
    ptrdiff_t dst_row, dst_pixel, dst_tile; /* bytes */
    ptrdiff_t height, width;
    ptrdiff_t tile_width, dilation;  /* columns to the next tile, to a tile's next output */
    fc_epilogue epilogue;
    const char *residual;            /* NULL without */
    ptrdiff_t residual_row, residual_pixel, residual_tile;
    int streams;                     /* past the caches: whole vectors, on vectors' boundaries */
} fc_winograd_output_args;

/* Some input channels of one panel's filters, transformed in double and rounded once. */
typedef struct {
    const char *weight;       /* the panel's first output channel, first of the input channels */
    ptrdiff_t row;            /* bytes between output channels */
    ptrdiff_t depth;          /* input channels; their taps lie one after the other */
    ptrdiff_t channels, width; /* output channels; those from `channels` to `width` are zero */
    char *dst;                /* U, at the panel and first input channel */
    ptrdiff_t dst_point;      /* bytes */
} fc_winograd_filter_args;

/* Along one axis and two; the input's by its points (4, 6, 8), the others by F(m, taps). A form
 * that is compiled along one axis only has NULL for two. */
typedef struct {
    int forms[FC_WINOGRAD_FORMS][2]; /* (m, taps) of each */
    void (*input[2][3])(const fc_winograd_input_args *);
    void (*output[2][FC_WINOGRAD_FORMS])(const fc_winograd_output_args *);
    void (*filter[2][FC_WINOGRAD_FORMS])(const fc_winograd_filter_args *);
} fc_winograd_kernels;

#endif
