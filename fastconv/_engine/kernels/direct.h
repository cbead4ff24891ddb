/* The direct algorithm's kernels: argument structs and table.
 *
 * Three forms. planes: vectors run along the width of one channel's rows, which a zero-padded copy
 * holds split into stride phases, so every tap is a contiguous load; two kinds of small kernels read
 * the planes in place. depthwise: vectors run along the channels of channels-last memory, one input
 * channel for each output channel. grouped: the same with several groups of a few channels in a
 * vector.
 */
#ifndef FC_DIRECT_H
#define FC_DIRECT_H

enum { FC_PLANES_CHANNELS = 6 }; /* most output channels of one planes tile */
enum { FC_COPYING_CHANNELS = 5 }; /* fewest of one that copies what it reads */

/* Order one output channel block's weights: dst[t * channels + k] = weight[k * taps + t]. */
typedef struct {
    const char *weight;
    ptrdiff_t taps, channels;
    char *dst;
} fc_interleave_args;

/* The padded copy of one plane's rows. Element j of row i is src[i - first_row][j - first] inside
 * [first_row, last_row) x [first, last) and zero elsewhere. A row of the copy keeps `slots` pieces:
 * slot u holds the elements j that follow phase = u * dilation % stride in steps of stride, at
 * dst + i * dst_row + u * slot + (j - phase) / stride. Up to a vector more may be written behind
 * each piece, before the next one. */
typedef struct {
    const char *src;
    ptrdiff_t src_row, src_pixel;
    ptrdiff_t rows, first_row, last_row;
    ptrdiff_t columns, first, last;
    ptrdiff_t stride, dilation;
    ptrdiff_t slots, slot;
    char *dst;
    ptrdiff_t dst_row;
} fc_split_args;

/* planes: a block of `rows` output rows of `channels` <= FC_PLANES_CHANNELS output channels.
 *   sum[k][r][j] = sum over input planes p < planes, kernel rows y < kernel_rows, taps t < taps of
 *     x[p * x_plane + (r * stride + y) * x_row + tap[t] + j] *
 *     w[p * w_plane + y * w_row + t * channels + k]
 * for k < channels, r < rows, j < columns, all steps but those of j, t and k in bytes. `tap` goes on
 * with the taps of the next kernel rows and planes, as they lie from x on, and w has no gaps: tiles
 * of one row, which are those of many channels and those of blocks of one row, take all of them in
 * one loop (not in_place nor pointwise, which read no tap; pointwise alone reads w_channel, the
 * bytes from k to k + 1). One fresh chain per element, added to `sums` (where load_sums is set) and
 * either kept there or finished.
 * Reads of x go on to whole vectors and whole tiles of planes_rows[channels] rows, of
 * planes_vectors times as many where columns <= lanes. */
typedef struct {
    int channels, load_sums, finish;
    ptrdiff_t rows, columns, stride;
    ptrdiff_t planes, kernel_rows, taps;
    const char *x;
    ptrdiff_t x_plane, x_row;
    const ptrdiff_t *tap;
    const char *w;
    ptrdiff_t w_plane, w_row, w_channel;
    char *sums;
    ptrdiff_t sum_channel, sum_row;
    fc_epilogue epilogue;
    char *out;
    ptrdiff_t out_channel, out_row, out_pixel;
    const char *residual; /* NULL without residual */
    ptrdiff_t residual_channel, residual_row, residual_pixel;
    /* pointwise() only. What lies `next` bytes further on in each plane is brought near meanwhile, or
     * whole vectors of the planes are left in `copy`, unless that is NULL (of FC_COPYING_CHANNELS and
     * more). */
    int begun, broken_off;
    char *part;
    ptrdiff_t next;
    char *copy;
    ptrdiff_t copy_plane;
    /* in_place() only */
    ptrdiff_t top, left, x_rows, x_columns;
} fc_planes_args;

/* in_place: the same for one output channel, one input plane, one chain and a square kernel, 3x3 at
 * stride 1 or 2 or 5x5 at stride 1, read where the plane lies: x points at its first element, its
 * x_rows x x_columns elements are contiguous along the width. The block's first window begins at
 * its row `top` and column `left`, -lanes <= left. Whatever is outside the plane counts as zero and
 * is not touched. Windows outside on the right belong to the last vector of the block's columns. */

/* pointwise: the same for one row and one tap (rows = kernel_rows = taps = 1, tap[0] = 0) of at most
 * planes_vectors * lanes columns. Reads nothing beyond them. A chain may be made in several calls:
 * one that is broken off leaves it in `part`, as many vectors as the tile's, and the next one, begun,
 * goes on from there. */

/* One kernel row of a depthwise window: where its first tap lies for the first output pixel, and
 * how far apart the windows of neighbouring pixels and neighbouring taps are. A row outside the
 * input points at zeros with both steps 0. Columns that do not begin in the `span` bytes from
 * `first` on are outside the input (depthwise only). */
typedef struct {
    const char *x;
    ptrdiff_t pixel, tap;
    const char *first;
    size_t span;
} fc_window_row;

/* Where the sums of neighbouring pixels go, channels side by side. */
typedef struct {
    fc_epilogue epilogue; /* bias NULL and no activation where sums are wanted */
    char *out;
    ptrdiff_t out_pixel;
    const char *residual; /* NULL without residual */
    ptrdiff_t residual_pixel;
} fc_pixels_out;

/* depthwise: `pixels` neighbouring output pixels, `channels` channels of each.
 *   sum[j][c] = sum over rows y, taps t of window[y].x[j * pixel + t * tap + c] * w[y][t][c]
 * with zeros for columns outside the input, which pixels in [inner, inner_end) do not meet. Chains
 * of chain_rows kernel rows, added in order. w's rows are w_tap bytes apart. out shares memory with
 * nothing but the residual. */
typedef struct {
    ptrdiff_t pixels, channels;
    ptrdiff_t inner, inner_end;
    ptrdiff_t rows, taps, chain_rows;
    const fc_window_row *window;
    const char *w;
    ptrdiff_t w_tap;
    fc_pixels_out out;
} fc_depthwise_args;

/* The groups that one vector holds: how many input and output channels they have, each at most
 * `lanes`, and for each input channel of a group a vector of integers as wide as an element that
 * says which of the vector's input channels each lane reads (any of them in lanes left over). */
typedef struct {
    int channels_in, channels_out;
    const char *index;
} fc_group_lanes;

/* grouped: `pixels` neighbouring output pixels, `vectors` vectors of whole groups. Lane c of a
 * vector whose input channels begin at `first`:
 *   sum[j][c] = sum over rows y, input channels i < group_in, taps t of
 *     window[y].x[j * pixel + t * tap + first + index[i][c]] * w[vector][y][i][t][c]
 * Chains of chain_rows kernel rows, added in order; the vectors' channels lie side by side. */
typedef struct {
    ptrdiff_t pixels, vectors;
    fc_group_lanes usual, last; /* of the last vector, and of all before it */
    ptrdiff_t group_in;
    ptrdiff_t rows, taps, chain_rows;
    const fc_window_row *window;
    const char *w;
    ptrdiff_t w_vector;
    fc_pixels_out out;
} fc_grouped_args;

typedef struct {
    int lanes;
    int planes_vectors; /* widest planes tile */
    int planes_rows[FC_PLANES_CHANNELS + 1];
    int depthwise_pixels, depthwise_vectors;
    void (*interleave)(const fc_interleave_args *);
    void (*split)(const fc_split_args *);
    void (*planes)(const fc_planes_args *);
    void (*in_place)(const fc_planes_args *);
    void (*pointwise)(const fc_planes_args *);
    void (*depthwise)(const fc_depthwise_args *);
    void (*grouped)(const fc_grouped_args *);
} fc_direct_kernels;

#endif
