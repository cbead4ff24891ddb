/* filters: lines of elements combined into one line, and the types that come in and go out.
 *
 * Whatever a filter is, along an axis, over a window or over a footprint, one line of its result is
 * a combination of lines that start elsewhere in the picture. A driver gathers their addresses and
 * calls combine(). Double arithmetic rounds every product and every sum, in the order of the terms.
 */
#ifndef FC_FILTERS_H
#define FC_FILTERS_H

#include <stddef.h>

/* How terms t = 0, 1, ... of a line p[t] with weight w[t] are combined. */
typedef enum {
    FC_FILTER_SUM,   /* w[0] p[0] + w[1] p[1] + ... */
    FC_FILTER_EVEN,  /* middle term first, then w[t] (p[t] + p[last - t]); an odd number of terms */
    FC_FILTER_ODD,   /* the same with p[t] - p[last - t] */
    FC_FILTER_BOX,   /* (p[0] + p[1] + ...) / divisor */
    FC_FILTER_MAX,   /* the largest, NaN where one is */
    FC_FILTER_MIN,
    FC_FILTER_UPPER, /* the largest p[t] + w[t]: a later one replaces the first if it is larger */
    FC_FILTER_LOWER, /* the smallest p[t] + w[t], likewise */
    FC_FILTER_OPS
} fc_filter_op;

typedef struct {
    const char *const *line; /* `terms` addresses, aligned to the element */
    const char *weight;      /* `terms` elements; not read by BOX, MAX and MIN */
    ptrdiff_t terms, length;
    double divisor;          /* BOX */
    char *out;               /* `length` elements; may be line[0] */
    int streams;             /* past the caches: what is written is not read again soon */
} fc_filter_args;

/* Rows of a result that are summed at once: what is loaded for one serves the others. */
enum { FC_WINDOW_ROWS = 4 };

/* All elements under a window weighed and added, from the first on; `rows` results, of which each
 * is one row below the one before. */
typedef struct {
    const char *const *line; /* by plane, row_taps + rows - 1 each: where a row's window begins */
    const char *weight;      /* planes x row_taps x col_taps */
    ptrdiff_t planes, row_taps, col_taps, length;
    char *out[FC_WINDOW_ROWS];
    int streams;
} fc_window_args;

typedef enum {
    FC_BOOL, FC_INT8, FC_UINT8, FC_INT16, FC_UINT16, FC_INT32, FC_UINT32, FC_INT64, FC_UINT64,
    FC_FLOAT32, FC_FLOAT64,
    FC_ELEMENT_TYPES
} fc_element_type;

/* combine: whether something out of the ordinary came out: a sum that is not finite, or a NaN.
 * window: weighted sums of `rows` rows at once, by rows - 1; row_taps must be `rows` or more. Tells
 *     of sums that are not finite.
 * extend: fill a line's margins; element p becomes the one at before + source[p], or `fill` where
 *     source[p] is negative. The elements from `before` on are there already.
 * load, store: `count` elements, `step` bytes apart; floats become integers by truncation, and what
 *     an integer of up to 32 bits cannot hold loses its upper bits. */
typedef struct {
    int (*combine[FC_FILTER_OPS])(const fc_filter_args *);
    int (*window[FC_WINDOW_ROWS])(const fc_window_args *);
    void (*extend)(char *line, ptrdiff_t before, ptrdiff_t length, ptrdiff_t after,
                   const ptrdiff_t *source, double fill);
    void (*fill)(char *line, ptrdiff_t count, double value);
    void (*load[FC_ELEMENT_TYPES])(const char *from, ptrdiff_t step, ptrdiff_t count, char *line);
    void (*store[FC_ELEMENT_TYPES])(const char *line, ptrdiff_t count, char *to, ptrdiff_t step);
} fc_filters_kernels;

#endif
