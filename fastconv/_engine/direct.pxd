from .arithmetic cimport ceil_div, clamp, index
from .direct_kernels cimport FC_PLANES_CHANNELS
from .op cimport Prepared, fc_conv, fc_view

# Vectors along the width: any convolution; made for single planes, few channels and depthwise
# convolutions whose pixels are contiguous.
cdef Prepared plan_planes(const fc_conv *conv, const fc_view *x, const fc_view *out,
                          const fc_view *residual)

# How the forms that have vectors along the pixels keep their weights: tiles share a group's output
# channels as evenly as whole channels allow.

cdef inline index tile_count(index group_out) noexcept nogil:
    return max(1, ceil_div(group_out, FC_PLANES_CHANNELS))


cdef inline index tile_start(index tile, index group_out) noexcept nogil:
    """A tile's first output channel within its group."""
    return tile * group_out // tile_count(group_out)


# Tile after tile: [input channel][kernel depth, height, width][output channel].
cdef int pack_tiles(const fc_conv *conv, const char *weight, char *packed) noexcept nogil

# What all direct forms count and address with.

cdef inline double conv_work(const fc_conv *c, index element) noexcept nogil:
    """Floating-point operations, a byte of input or output counted as four."""
    cdef double outputs = c.batch * c.out_channels * c.out_size[0] * c.out_size[1] * c.out_size[2]
    cdef double inputs = c.batch * c.in_channels * c.in_size[0] * c.in_size[1] * c.in_size[2]
    return 2 * outputs * (c.in_channels // c.groups) * c.kernel[0] * c.kernel[1] * c.kernel[2] \
        + 4.0 * element * (inputs + outputs)


cdef inline char *address(const fc_view *view, index image, index channel, index depth, index row,
                          index column) noexcept nogil:
    return view.data + image * view.batch + channel * view.channel + depth * view.space[0] \
        + row * view.space[1] + column * view.space[2]


cdef inline const char *input_row(const fc_conv *c, const fc_view *x, index image, index depth,
                                  index plane, index row) noexcept nogil:
    """Where an input row begins, under a kernel plane for an output depth; NULL outside."""
    depth = depth * c.stride[0] - c.pad[0] + plane * c.dilation[0]
    if not (0 <= depth < c.in_size[0] and 0 <= row < c.in_size[1]):
        return NULL
    return address(x, image, 0, depth, row, 0)


cdef inline void find_inner(const fc_conv *c, index *inner, index *inner_end) noexcept nogil:
    """The output columns whose windows lie inside the input's rows."""
    cdef index last = c.in_size[2] - 1 + c.pad[2] - (c.kernel[2] - 1) * c.dilation[2]
    inner[0] = clamp(ceil_div(max(0, c.pad[2]), c.stride[2]), 0, c.out_size[2])
    inner_end[0] = clamp(last // c.stride[2] + 1 if last >= 0 else 0, inner[0], c.out_size[2])
