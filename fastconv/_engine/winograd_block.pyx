"""Winograd's transforms of a block of tiles: input to V before the products, M to output after.

    x --(copy strip)--> input kernel --> V        V x U -> M: winograd_products.pyx
    M --> output kernel --(finish)--> out

The steps in brackets are taken where channels are not contiguous, at the image's edges, and for
activations that the output kernel does not know. Tiles are handled in runs: tiles of one tile row
beside each other.

With a dilation d the picture is d grids along an axis, each of every d-th pixel and convolved by
itself. Tiles of all grids are numbered together, in the order of their first outputs:

    outputs along a row, F(2,3), d = 3     0 1 2 0 1 2 3 4 5 3 4 5 6 7 8 6
                                           |-----------|
                                           tiles 0, 1, 2: a run, one column from tile to tile
"""

from .arithmetic cimport ceil_div, clamp, index
from .epilogue cimport epilogue_of, no_epilogue
from .kernels cimport fc_finish_args, fc_gather_args
from .op cimport fc_view
from .result cimport starts_on_boundary
from .winograd_kernels cimport fc_winograd_input_args, fc_winograd_output_args

from libc.string cimport memset


cdef struct Run:
    # Tiles beside each other, the place of the first one in the result and in the input.
    index image, depth, row, column, tiles
    index in_depth, in_row, in_column


cdef inline index first_output(index tile, index size, index dilation) noexcept nogil:
    """Where along an axis a tile begins; its outputs are a dilation apart."""
    return tile // dilation * size * dilation + tile % dilation


cdef Run run_at(const Blocking *b, index tile, index left) noexcept nogil:
    """The run that begins with a tile: it ends with the tile row, the block or a full run.

    With a dilation it also ends where all grids have had their turn.
    """
    cdef Run r
    cdef index plane = tile // (b.tiles_down * b.tiles_across)
    cdef index down = tile // b.tiles_across % b.tiles_down, across = tile % b.tiles_across
    r.image = plane // b.conv.out_size[0]
    r.depth = plane % b.conv.out_size[0]
    r.row = first_output(down, b.tile_height, b.dilation_down)
    r.column = first_output(across, b.tile_width, b.dilation_across)
    r.tiles = min(min(b.run, left), b.tiles_across - across)
    if b.dilation_across > 1:
        r.tiles = min(r.tiles, b.dilation_across - across % b.dilation_across)
    r.in_depth = r.depth - b.conv.pad[0]
    r.in_row = r.row - b.conv.pad[1]
    r.in_column = r.column - b.conv.pad[2]
    return r


cdef inline char *address(const fc_view *view, index image, index depth, index row,
                          index column) noexcept nogil:
    return view.data + image * view.batch + depth * view.space[0] + row * view.space[1] \
        + column * view.space[2]


cdef inline bint inside(index at, index size) noexcept nogil:
    return 0 <= at < size


cdef Strip strip_of(const Blocking *b, index tiles, index pixels) noexcept nogil:
    """A row of tiles of a run, so many pixels of each across."""
    cdef Strip s
    if b.dilation_across == 1:
        s.pixel = 1
        s.tile = b.tile_step
        s.width = s.stretch = (tiles - 1) * b.tile_step + pixels
    else:
        s.pixel = tiles
        s.tile = 1
        s.width = tiles * pixels
        # all grids together leave no gap
        s.stretch = s.width if tiles == b.dilation_across else tiles
    return s


cdef void clip(const Blocking *b, Strip *s, index columns) noexcept nogil:
    """Keep the pixels of a strip's first columns of the picture: they come first in scratch."""
    if s.stretch < s.width:
        columns = columns // b.dilation_across * s.stretch \
            + min(s.stretch, columns % b.dilation_across)
    s.width = min(s.width, columns)


cdef void copy_stretch(const Task *t, fc_gather_args *g, const Run *r, index row,
                       index column) noexcept nogil:
    """Input pixels beside each other into scratch, zeros outside."""
    cdef const fc_conv *c = &t.b.conv
    cdef const fc_view *x = &t.call.x
    cdef fc_gather_args part = g[0]
    cdef index before = clamp(-column, 0, g.pixels)
    cdef index end = clamp(c.in_size[2] - column, before, g.pixels)
    if before == end or not inside(r.in_depth, c.in_size[0]) or not inside(row, c.in_size[1]):
        memset(g.dst, 0, g.pixels * g.dst_pixel)
        return
    memset(g.dst, 0, before * g.dst_pixel)
    part.src += address(x, r.image, r.in_depth, row, column + before) - x.data
    part.dst += before * g.dst_pixel
    part.pixels = end - before
    t.b.kernels.finish.gather(&part)
    memset(g.dst + end * g.dst_pixel, 0, (g.pixels - end) * g.dst_pixel)


cdef void copy_strip(const Task *t, const Run *r, const Strip *s, index channel,
                     index channels) noexcept nogil:
    """Input that a run's tiles see into channels-last scratch."""
    cdef const Blocking *b = t.b
    cdef index row, at
    cdef fc_gather_args g
    g.src = t.call.x.data + channel * t.call.x.channel
    g.src_pixel = t.call.x.space[2]
    g.src_channel = t.call.x.channel
    g.channels = channels
    g.dst = t.workspace + b.scratch_at
    g.dst_pixel = b.strip * b.element
    for row in range(b.in_height):
        at = 0
        while at < s.width:
            g.pixels = min(s.stretch, s.width - at)
            copy_stretch(t, &g, r, r.in_row + row * b.dilation_down,
                         r.in_column + at // s.stretch * b.dilation_across)
            g.dst += g.pixels * g.dst_pixel
            at += g.pixels


cdef inline index pixel_step(const Blocking *b, index row, index pixel) noexcept nogil:
    """From a pixel to the next as the kernels see it: 1-D tiles of a column of taps run down."""
    return row if b.tile_width == 1 else pixel


cdef void transform_copied(const Task *t, fc_winograd_input_args *a, const Run *r) noexcept nogil:
    """A run's tiles by way of scratch."""
    cdef const Blocking *b = t.b
    cdef index pitch = b.strip * b.element, channel = 0
    cdef Strip s = strip_of(b, r.tiles, b.in_width)
    a.src = t.workspace + b.scratch_at
    a.src_row = s.width * pitch
    a.src_pixel = pixel_step(b, a.src_row, s.pixel * pitch)
    a.src_tile = s.tile * pitch
    while channel < b.group_in:
        a.first_channel = channel
        a.channels = min(b.strip, b.group_in - channel)
        copy_strip(t, r, &s, t.group * b.group_in + channel, a.channels)
        b.kernels.winograd.input[b.axes][b.input_form](a)
        channel += b.strip


cdef void transform_in_place(const Task *t, fc_winograd_input_args *a,
                             const Run *r) noexcept nogil:
    cdef const Blocking *b = t.b
    cdef const fc_view *x = &t.call.x
    a.src = address(x, r.image, r.in_depth, r.in_row, r.in_column) \
        + t.group * b.group_in * b.element
    a.src_row = b.dilation_down * x.space[1]
    a.src_pixel = pixel_step(b, a.src_row, b.dilation_across * x.space[2])
    a.src_tile = b.tile_step * x.space[2]
    a.first_channel = 0
    a.channels = b.group_in
    b.kernels.winograd.input[b.axes][b.input_form](a)


cdef index tiles_inside(const Task *t, const Run *r, index *first) noexcept nogil:
    """How many of a run's tiles lie inside channels-last input, and the first one of them."""
    cdef const Blocking *b = t.b
    cdef const fc_conv *c = &b.conv
    cdef index down = (b.in_height - 1) * b.dilation_down + 1
    cdef index across = (b.in_width - 1) * b.dilation_across + 1
    cdef index end
    first[0] = 0
    if not b.in_place or not inside(r.in_depth, c.in_size[0]) or r.in_row < 0 \
            or r.in_row + down > c.in_size[1]:
        return 0
    if r.in_column < 0:
        first[0] = ceil_div(-r.in_column, b.tile_step)
    if c.in_size[2] < r.in_column + across:
        return 0
    end = min(r.tiles, (c.in_size[2] - r.in_column - across) // b.tile_step + 1)
    return max(0, end - first[0])


cdef void transform_part(const Task *t, fc_winograd_input_args *a, const Run *r, index first,
                         index tiles, bint in_place) noexcept nogil:
    """The tiles from `first` on of a run, which begins at tile a.first_tile of V."""
    cdef Run part = r[0]
    if tiles <= 0:
        return
    part.in_column += first * t.b.tile_step
    part.tiles = a.tiles = tiles
    a.first_tile += first
    if in_place:
        transform_in_place(t, a, &part)
    else:
        transform_copied(t, a, &part)
    a.first_tile -= first


cdef void transform_input(const Task *t) noexcept nogil:
    """The block's tiles into V."""
    cdef const Blocking *b = t.b
    cdef fc_winograd_input_args a
    cdef Run r
    cdef index begin, whole
    a.dst = t.v
    a.rows = b.rows
    a.block = b.block
    a.dst_point = b.v_point
    a.dst_group = b.v_group
    a.dst_block = b.v_block
    a.first_tile = 0
    while a.first_tile < t.tiles:
        r = run_at(b, t.first + a.first_tile, t.tiles - a.first_tile)
        whole = tiles_inside(t, &r, &begin)
        if whole == 0:
            begin = r.tiles
        transform_part(t, &a, &r, 0, begin, False)
        transform_part(t, &a, &r, begin, whole, True)
        transform_part(t, &a, &r, begin + whole, r.tiles - begin - whole, False)
        a.first_tile += r.tiles


cdef void write_in_place(const Task *t, fc_winograd_output_args *a, const Run *r,
                         index channel) noexcept nogil:
    """Output transform straight to a result whose channels are contiguous."""
    cdef const Blocking *b = t.b
    cdef const fc_view *out = &t.call.out
    cdef const fc_view *residual = &t.call.residual
    a.dst = address(out, r.image, r.depth, r.row, r.column) + channel * b.element
    a.dst_row = b.dilation_down * out.space[1]
    a.dst_pixel = pixel_step(b, a.dst_row, b.dilation_across * out.space[2])
    a.dst_tile = b.tile_step * out.space[2]
    a.epilogue = epilogue_of(&b.conv, t.call, channel)
    if residual.data != NULL:
        a.residual = address(residual, r.image, r.depth, r.row, r.column) + channel * b.element
        a.residual_row = b.dilation_down * residual.space[1]
        a.residual_pixel = pixel_step(b, a.residual_row, b.dilation_across * residual.space[2])
        a.residual_tile = b.tile_step * residual.space[2]
    b.kernels.winograd.output[b.axes][b.form](a)


cdef void point_at_result(const Task *t, fc_finish_args *f, const Run *r, const Strip *s,
                          index height) noexcept nogil:
    """Where each pixel of a run lies, for a result whose channels are contiguous."""
    cdef const Blocking *b = t.b
    cdef index room = b.run * b.tile_height * b.tile_width, line, at, row, column
    cdef char **out = <char **> (t.workspace + b.scratch_at + room * f.sum_row)
    cdef const char **residual = <const char **> (out + room)
    f.pixels = 0
    for line in range(height):
        row = r.row + line * b.dilation_down
        for at in range(s.width):
            column = r.column + at // s.stretch * b.dilation_across + at % s.stretch
            out[f.pixels] = address(&t.call.out, r.image, r.depth, row, column)
            if t.call.residual.data != NULL:
                residual[f.pixels] = address(&t.call.residual, r.image, r.depth, row, column)
            f.pixels += 1
    f.out_rows = out
    f.residual_rows = residual if t.call.residual.data != NULL else NULL


cdef void finish_stretch(const Task *t, fc_finish_args *f, const Run *r, index row, index column,
                         index channel, bint ahead) noexcept nogil:
    """Pixels beside each other from scratch to a result of any strides; moves f.sums on. `ahead` of
    that only asks for the result's lines."""
    cdef const fc_view *residual = &t.call.residual
    f.out = address(&t.call.out, r.image, r.depth, row, column) + channel * f.out_channel
    if residual.data != NULL:
        f.residual = address(residual, r.image, r.depth, row, column) \
            + channel * f.residual_channel
    if ahead:
        t.b.kernels.finish.expect(f)
    else:
        t.b.kernels.finish.planes(f)
    f.sums += f.pixels * f.sum_row


cdef inline bint dense_rows(const fc_view *view, index dilation, index width) noexcept nogil:
    return view.data == NULL or dilation * view.space[1] == width * view.space[2]


cdef void finish_planes(const Task *t, fc_finish_args *f, const Run *r, const Strip *s,
                        index height, index channel, bint ahead) noexcept nogil:
    """Scratch to a result of any strides: a channel's rows, all at once where they touch."""
    cdef const fc_view *out = &t.call.out
    cdef const fc_view *residual = &t.call.residual
    cdef index line = 0, lines = 1, at
    if s.stretch >= s.width and dense_rows(out, t.b.dilation_down, s.width) \
            and dense_rows(residual, t.b.dilation_down, s.width):
        lines = height
    f.out_channel = out.channel
    f.out_pixel = out.space[2]
    f.residual_channel = residual.channel
    f.residual_pixel = residual.space[2]
    f.residual = NULL
    while line < height:
        at = 0
        while at < s.width:
            f.pixels = lines * min(s.stretch, s.width - at)
            finish_stretch(t, f, r, r.row + line * t.b.dilation_down,
                           r.column + at // s.stretch * t.b.dilation_across, channel, ahead)
            at += s.stretch
        line += lines


cdef void write_copied(const Task *t, fc_winograd_output_args *a, const Run *r, index height,
                       index channel) noexcept nogil:
    """Output transform to dense channels-last scratch, a vector of channels, and out from there."""
    cdef const Blocking *b = t.b
    cdef index lanes = b.kernels.gemm.lanes, last = channel + a.channels
    cdef Strip s = strip_of(b, r.tiles, b.tile_width)
    cdef fc_finish_args f
    clip(b, &s, b.conv.out_size[2] - r.column)
    f.sum_row = lanes * b.element
    a.dst = t.workspace + b.scratch_at
    a.dst_row = s.width * f.sum_row
    a.dst_pixel = pixel_step(b, a.dst_row, s.pixel * f.sum_row)
    a.dst_tile = s.tile * f.sum_row
    if b.rows_out:
        point_at_result(t, &f, r, &s, height)
    while channel < last:
        a.channels = lanes
        f.sums = a.dst
        f.channels = min(lanes, last - channel)
        if b.expects:
            finish_planes(t, &f, r, &s, height, channel, True)
            f.sums = a.dst
        b.kernels.winograd.output[b.axes][b.form](a)
        f.epilogue = epilogue_of(&b.conv, t.call, channel)
        if b.rows_out:
            f.row_offset = f.residual_row_offset = channel * b.element
            b.kernels.finish.rows(&f)
        else:
            finish_planes(t, &f, r, &s, height, channel, False)
        a.src += f.sum_row
        channel += lanes


cdef void transform_output(const Task *t, index panel) noexcept nogil:
    """A panel of M through the inverse transform and the epilogue."""
    cdef const Blocking *b = t.b
    cdef const fc_conv *c = &b.conv
    cdef index channel = panel_start(b, panel), done = 0, height
    cdef index channels = min(b.group_out, panel_start(b, panel + 1)) - channel
    cdef fc_winograd_output_args a
    cdef Run r
    a.src_point = b.m_point
    a.src_tile = b.m_row
    while done < t.tiles:
        r = run_at(b, t.first + done, t.tiles - done)
        height = min(b.tile_height, ceil_div(c.out_size[1] - r.row, b.dilation_down))
        a.src = t.workspace + b.m_at + done * b.m_row
        a.tiles = r.tiles
        a.channels = channels
        a.height = height
        a.width = c.out_size[2] - r.column
        a.tile_width = b.tile_step
        a.dilation = b.dilation_across
        if b.tile_width == 1:
            a.width = height
            a.tile_width = 0
        a.epilogue = no_epilogue()
        a.residual = NULL
        a.streams = b.streams and starts_on_boundary(&t.call.out)
        if b.fused:
            write_in_place(t, &a, &r, t.group * b.group_out + channel)
        else:
            write_copied(t, &a, &r, height, t.group * b.group_out + channel)
        done += r.tiles
