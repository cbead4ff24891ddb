/* halves: floats as the sum of two bfloat16, laid out for tiles (tiles.h).
 *
 * The high one is the nearest bfloat16, the low one that of the rest, of two equally near the larger:
 * together they stand for a float to a relative 2^-17. Where the nearest would be infinite for a finite float it is the one
 * before. What is not finite lies in the low one, and the high one is zero: then of the three
 * products just one sees it, with the other operand's high half, and gives what the float would
 * give; in the high one it would make NaN with the other's low half, which is often zero.
 * A block of 32 channels is 16 pairs of a channel and the one 16 channels further on: a pair is one
 * 32-bit word, and vectors of words come from vectors of floats without crossing lanes.
 * float32 only; double's table is empty.
 */
#ifndef FC_HALVES_H
#define FC_HALVES_H

#include <stddef.h>

/* A row of pixels into copies [channel block][pixel][16 pairs][2], zero past `channels`. */
typedef struct {
    const char *src;                    /* the first pixel that there is */
    ptrdiff_t src_pixel, src_channel;   /* bytes */
    ptrdiff_t channels;
    ptrdiff_t width;                    /* pixels of the row */
    ptrdiff_t first, pixels;            /* those that src has; the others are zeros */
    char *dst;                          /* the high copy's row in the first channel block */
    ptrdiff_t block;                    /* bytes to the next channel block */
    ptrdiff_t low;                      /* bytes to the low copy; 0: the high halves are all */
} fc_halves_split_args;

/* Floats that lie side by side into halves that do, in the same order. */
typedef struct {
    const char *src;
    ptrdiff_t count;
    char *high, *low;                   /* low NULL: the high halves are all */
} fc_halves_run_args;

/* A panel of weights [output channel][input channel][tap] into tiles of pairs of input channels:
 * [channel block][tap][high, low][tile][16 pairs][16 output channels][2]. */
typedef struct {
    const char *weight;
    ptrdiff_t row;                      /* bytes between output channels */
    ptrdiff_t depth, taps;              /* input channels; at most FC_HALVES_TAPS taps */
    ptrdiff_t channels, across;         /* output channels, and the tiles that hold them */
    int low;                            /* whether there are low tiles */
    char *dst;
} fc_halves_pack_args;

enum { FC_HALVES_TAPS = 256 };

typedef struct {
    void (*split)(const fc_halves_split_args *);
    void (*pack)(const fc_halves_pack_args *);
    void (*add)(char *sums, const char *more, ptrdiff_t count); /* whole vectors */
    void (*run)(const fc_halves_run_args *);
} fc_halves_kernels;

#endif
