"""Who plays which part in a weight gradient: what is rows, what columns, and how they are read.

    skip, fold   a single tap sees every pixel at its own place: take only the pixels that it sees,
                 and make one line of all rows, slices and images that follow each other
    swap         of a single tap the product is symmetric: x and dy change roles where that spares
                 packing
    turn         an x whose channels lie side by side is turned into lines once for all tasks,
                 instead of strip by strip
"""

from .arithmetic cimport ceil_div, index, round_up
from .op cimport fc_conv, fc_view
from .weight_gradient_block cimport Reduction

# What it costs to pack an element as it lies, in multiply-adds.
cdef index COPIED = 5
# An x turned in one piece takes no more memory than this.
cdef index TURNED_BYTES = 4 << 20


cdef void plan_roles(Reduction *b, fc_view *x, fc_view *dy) noexcept:
    """Fill in what the roles decide, from the convolution and the strides of its operands; x and dy
    are left in the roles that they have then, b.x as it is read."""
    cdef fc_conv *c = &b.conv
    skip_unread(c, x)
    fold_lines(c, x, dy)
    if swap_pays(b, x, dy):
        swap_roles(b, x, dy)
    b.x = x[0]
    turn(b)
    b.in_place = reads_in_place(c, &b.x, b.element)
    b.by_lines = pays_by_lines(c, dy, c.out_channels // c.groups, b.kernels.gemm.lanes, b.element)


cdef void skip_unread(fc_conv *c, fc_view *x) noexcept:
    """Where a single tap strides over x, take only the pixels that it sees."""
    cdef int axis
    for axis in range(3):
        if c.kernel[axis] == 1 and c.pad[axis] == 0 \
                and (c.out_size[axis] - 1) * c.stride[axis] < c.in_size[axis]:
            x.space[axis] *= c.stride[axis]
            c.stride[axis] = 1
            c.in_size[axis] = c.out_size[axis]


cdef bint one_to_one(const fc_conv *c, int axis) noexcept:
    return c.kernel[axis] == 1 and c.pad[axis] == 0 and c.stride[axis] == 1 \
        and c.in_size[axis] == c.out_size[axis]


cdef bint fold(fc_conv *c, fc_view *x, fc_view *dy, index count, index x_step,
               index dy_step) noexcept:
    """Make one line of `count` lines, if they follow each other in both arrays."""
    cdef index columns = c.out_size[2]
    if count > 1 and columns == 1:
        x.space[2] = x_step
        dy.space[2] = dy_step
    elif count > 1 and (x_step != columns * x.space[2] or dy_step != columns * dy.space[2]):
        return False
    c.in_size[2] = c.out_size[2] = columns * count
    return True


cdef void fold_lines(fc_conv *c, fc_view *x, fc_view *dy) noexcept:
    """Fold rows, slices and images into lines, as far as a single tap sees each pixel."""
    cdef int axis
    if not one_to_one(c, 2):
        return
    for axis in (1, 0):
        if not one_to_one(c, axis) or not fold(c, x, dy, c.out_size[axis], x.space[axis],
                                               dy.space[axis]):
            return
        c.in_size[axis] = c.out_size[axis] = 1
    if fold(c, x, dy, c.batch, x.batch, dy.batch):
        c.batch = 1


cdef bint reads_in_place(const fc_conv *c, const fc_view *x, index element) noexcept:
    cdef int axis
    if c.stride[2] > 1 or x.space[2] != element:
        return False
    for axis in range(3):
        if c.pad[axis] > 0 or (c.out_size[axis] - 1) * c.stride[axis] - c.pad[axis] \
                + (c.kernel[axis] - 1) * c.dilation[axis] >= c.in_size[axis]:
            return False
    return True


cdef bint pays_by_lines(const fc_conv *c, const fc_view *dy, index group_out, index lanes,
                        index element) noexcept:
    """Whether a line's pixels fill vectors better than the channels of dy, side by side in it."""
    cdef index columns = c.out_size[2]
    return dy.space[2] == element and group_out < lanes \
        and columns * lanes > group_out * round_up(columns, lanes)


cdef bint single_tap(const fc_conv *c) noexcept:
    return one_to_one(c, 0) and one_to_one(c, 1) and one_to_one(c, 2)


cdef index role_cost(const fc_view *rows, index height, const fc_view *columns, index width,
                     index lanes, index element) noexcept:
    """Of one pixel's products and of its packing, in multiply-adds."""
    cdef index turned_rows = 0 if rows.space[2] == element else TURNED
    cdef index packed_columns = COPIED if columns.channel == element else TURNED
    return height * round_up(width, lanes) + height * turned_rows + width * packed_columns


cdef bint swap_pays(const Reduction *b, const fc_view *x, const fc_view *dy) noexcept:
    """Whether output channels as rows and input channels as columns cost less; where it is the
    same, the roles that leave sums in the order of the result."""
    cdef const fc_conv *c = &b.conv
    cdef index lanes = b.kernels.gemm.lanes, now, then
    if c.groups > 1 or not single_tap(c) \
            or pays_by_lines(c, dy, c.out_channels, lanes, b.element):
        return False
    now = role_cost(x, c.in_channels, dy, c.out_channels, lanes, b.element)
    then = role_cost(dy, c.out_channels, x, c.in_channels, lanes, b.element)
    return then < now or (then == now and not b.transposed)


cdef void swap_roles(Reduction *b, fc_view *x, fc_view *dy) noexcept:
    cdef fc_conv *c = &b.conv
    x[0], dy[0] = dy[0], x[0]
    c.in_channels, c.out_channels = c.out_channels, c.in_channels
    b.transposed = not b.transposed
    b.swapped = True


cdef void turn(Reduction *b) noexcept:
    """Plan to read a copy of x in which the pixels of a channel lie side by side."""
    cdef const fc_conv *c = &b.conv
    cdef fc_view *x = &b.x
    cdef index pixels = c.out_size[2], pitch
    b.turned_pitch = 0
    if not single_tap(c) or c.batch * c.out_size[0] * c.out_size[1] > 1 \
            or x.channel != b.element or pixels == 1:
        return
    # an odd number of cache lines: channels must not fall into the same sets
    pitch = (ceil_div(pixels * b.element, 64) | 1) * 64
    if pitch * c.in_channels <= TURNED_BYTES:
        b.turned_pitch = x.channel = pitch
        x.space[2] = b.element
