/* tiles: products of registers of two dimensions (Intel AMX), for float32 only.
 *
 *     c[pixel][channel] = sum over steps of a[step][pixel][32] x b[step][32][channel]
 *
 * A step is one tap of one block of 32 input channels. Floats come as the sum of a high and a low
 * bfloat16 (halves.h): three() adds low x high, high x high and high x low of each step, one() the
 * high ones alone. A tile is 1 KiB: 16 pixels x 32 channels of a, 16 pairs of channels x 16 output
 * channels of b, 16 x 16 sums of c. The family needs tiles and no particular level of vectors, so it
 * is compiled once.
 */
#ifndef FC_TILES_H
#define FC_TILES_H

#include <stddef.h>

enum {
    FC_TILE_PIXELS = 16,
    FC_TILE_COLUMNS = 16, /* output channels */
    FC_TILE_DEPTH = 32,   /* input channels: the block of a step */
    FC_TILE_BYTES = 1024,
    FC_TILE_PIXEL = FC_TILE_DEPTH * 2,    /* bytes of a pixel in a copy of the input */
    FC_TILE_PANEL = 2 * FC_TILE_COLUMNS,  /* output channels of a panel */
    FC_TILE_SUM_ROW = FC_TILE_PANEL * 4,  /* bytes between the pixels of c */
};

typedef struct {
    int down, across;       /* tiles of pixels and of output channels, 1 or 2 */
    const char *a[2];       /* first pixel of each tile, high copy, channel block of the first step */
    ptrdiff_t pixel;        /* bytes to the next pixel, */
    ptrdiff_t low;          /* to the low copy */
    ptrdiff_t block;        /* bytes to the next channel block */
    const ptrdiff_t *tap;   /* bytes from an output pixel to what its taps see */
    ptrdiff_t taps, first_tap;
    ptrdiff_t steps;        /* taps follow each other, then channel blocks */
    const char *b;          /* of each step: high tiles across, then low ones */
    char *c;                /* tiles of pixels follow each other */
    const char *ahead;      /* what the caller multiplies by soon, */
    ptrdiff_t ahead_lines;  /* so many lines of FC_CACHE_LINE bytes of it in each step */
} fc_tiles_args;

typedef struct {
    void (*configure)(void); /* this thread's tiles, before the others are called; and after them */
    void (*release)(void);
    void (*three)(const fc_tiles_args *);
    void (*one)(const fc_tiles_args *);
} fc_tiles_kernels;

#endif
