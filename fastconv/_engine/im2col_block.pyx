"""One block of implicit GEMM: the steps that a task of `im2col` takes.

    locate_block      which output pixels
    gather_strip      input that does not lie channels last: a zero-padded copy that does
    point_into_*      the address of every tap of every pixel
    find_tap_ranges   which taps of each pixel do not meet padding
    find_weights      a panel's, packed; the task packs them itself where nobody has before
    multiply          a panel's sums, pass after pass of the register tile
    finish            bias, residual, activation, and out into the result's strides
"""

from libc.string cimport memcpy, memset

from .arithmetic cimport ceil_div, clamp, index
from .epilogue cimport epilogue_of
from .kernels cimport FC_AHEAD_STEPS, FC_CACHE_LINE, fc_finish_args, fc_gather_args
from .kernels cimport fc_gemm_ahead_bytes, fc_gemm_args, fc_pack_args
from .line cimport rows_touch
from .op cimport fc_call, fc_conv, fc_view
from .result cimport starts_on_boundary


cdef void locate_block(Task *t, index block) noexcept nogil:
    """Which pixels the task's block holds."""
    cdef const Blocking *b = t.b
    cdef const fc_conv *c = &b.conv
    if b.copied:
        t.stripe_at = (t.unit % b.stripes) * b.stripe
        t.stripe_width = min(b.stripe, c.out_size[2] - t.stripe_at)
        t.depth = (t.unit // b.stripes) % c.out_size[0]
        t.image = (t.unit // b.stripes) // c.out_size[0]
        t.first = block_start(b, t.stripe_width, block)
        t.count = block_start(b, t.stripe_width, block + 1) - t.first
        return
    t.stripe_at = 0
    t.stripe_width = c.out_size[2]
    t.first = block * b.pixels
    t.count = min(b.pixels,
                  c.batch * c.out_size[0] * c.out_size[1] * c.out_size[2] - t.first)


cdef inline Pixel pixel_at(const Task *t, index p) noexcept nogil:
    """Output coordinates of a unit's pixel."""
    cdef const fc_conv *c = &t.b.conv
    cdef Pixel pixel
    if t.b.copied:
        pixel.image = t.image
        pixel.depth = t.depth
        pixel.row = p // t.stripe_width
        pixel.column = t.stripe_at + p % t.stripe_width
        return pixel
    pixel.column = p % c.out_size[2]
    p //= c.out_size[2]
    pixel.row = p % c.out_size[1]
    p //= c.out_size[1]
    pixel.depth = p % c.out_size[0]
    pixel.image = p // c.out_size[0]
    return pixel


cdef inline index rest_of_row(const Task *t, const Pixel *pixel, index left) noexcept nogil:
    """Pixels of the unit from this one on to the end of its row, at most `left`."""
    return min(left, t.stripe_at + t.stripe_width - pixel.column)


cdef inline char *address(const fc_view *view, const Pixel *pixel) noexcept nogil:
    return view.data + pixel.image * view.batch + pixel.depth * view.space[0] \
        + pixel.row * view.space[1] + pixel.column * view.space[2]


cdef void gather_strip(const Task *t) noexcept nogil:
    """Copy the input that the block's taps can see into channels-last scratch, zeros outside."""
    cdef const Blocking *b = t.b
    cdef const fc_conv *c = &b.conv
    cdef const fc_view *x = &t.call.x
    cdef fc_gather_args g
    cdef index first_row = (t.first // t.stripe_width) * c.stride[1] - c.pad[1]
    cdef index last_row = ((t.first + t.count - 1) // t.stripe_width) * c.stride[1] - c.pad[1] \
        + (c.kernel[1] - 1) * c.dilation[1]
    cdef index first_column = t.stripe_at * c.stride[2] - c.pad[2]
    cdef index columns = ((t.stripe_width - 1) * c.stride[2] + (c.kernel[2] - 1) * c.dilation[2]) \
        // b.column_step + 1
    # columns of the strip that lie inside the input: [inside, inside + g.pixels)
    cdef index inside = ceil_div(-first_column, b.column_step) if first_column < 0 else 0
    cdef index end = (c.in_size[2] - first_column + b.column_step - 1) // b.column_step \
        if first_column < c.in_size[2] else 0
    cdef index slice, depth, row
    cdef char *dst
    cdef const char *source
    inside = min(inside, columns)
    end = max(inside, min(end, columns))
    g.src_pixel = x.space[2] * b.column_step
    g.src_channel = x.channel
    g.pixels = end - inside
    g.channels = b.group_in
    g.dst_pixel = b.pixel_pitch
    source = x.data + t.image * x.batch + t.group * b.group_in * x.channel \
        + (first_column + inside * b.column_step) * x.space[2]
    for slice in range(c.kernel[0]):
        depth = t.depth * c.stride[0] - c.pad[0] + slice * c.dilation[0]
        dst = t.workspace + slice * b.slice_pitch
        row = first_row
        while row <= last_row:
            if depth < 0 or depth >= c.in_size[0] or row < 0 or row >= c.in_size[1]:
                memset(dst, 0, columns * b.pixel_pitch)
            else:
                memset(dst, 0, inside * b.pixel_pitch)
                g.src = source + depth * x.space[0] + row * x.space[1]
                g.dst = dst + inside * b.pixel_pitch
                b.kernels.finish.gather(&g)
                memset(dst + end * b.pixel_pitch, 0, (columns - end) * b.pixel_pitch)
            dst += b.row_pitch
            row += b.row_step


cdef void repeat_for_taps(const Blocking *b, const char **pointers, index count, index slice_pitch,
                          index row_pitch, index column_pitch) noexcept nogil:
    """From the first tap's pointers the other taps': each is a constant distance away."""
    cdef const fc_conv *c = &b.conv
    cdef index columns = 1 if b.merged else c.kernel[2]
    cdef index slice, row, column, distance
    cdef const char **tap = pointers
    for slice in range(c.kernel[0]):
        for row in range(c.kernel[1]):
            for column in range(columns):
                distance = slice * slice_pitch + row * row_pitch + column * column_pitch
                if distance or tap != pointers:
                    b.kernels.gemm.shift(tap, pointers, distance, count)
                tap += b.pixels


cdef void point_into_strip(const Task *t, const char **pointers) noexcept nogil:
    cdef const Blocking *b = t.b
    cdef const fc_conv *c = &b.conv
    cdef index down = c.stride[1] // b.row_step * b.row_pitch
    cdef index right = c.stride[2] // b.column_step * b.pixel_pitch
    cdef index column = t.first % t.stripe_width, i = 0, run
    cdef const char *row = t.workspace
    while i < t.count:
        run = min(t.stripe_width - column, t.count - i)
        b.kernels.gemm.point(pointers + i, row + column * right, right, run)
        row += down
        column = 0
        i += run
    # slices are gathered by tap, rows and columns as they lie (dilation is 1 tap where stepped)
    repeat_for_taps(b, pointers, t.count, b.slice_pitch, c.dilation[1] * b.row_pitch,
                    c.dilation[2] * b.pixel_pitch)


cdef inline bint is_interior(const fc_conv *c, int axis, index at) noexcept nogil:
    """Whether no tap of this output coordinate falls outside the input.

    Asked for every pixel at an edge, so without a division: one of 64 bits takes up to 90 cycles.
    """
    return c.pad[axis] <= at * c.stride[axis] < room_behind(c, axis)


cdef const char *copy_run(const Task *t, Pixel source, char *dst) noexcept nogil:
    """A kernel row's run that crosses an edge of the input, zeros outside."""
    cdef const fc_conv *c = &t.b.conv
    cdef index first = clamp(-source.column, 0, c.kernel[2])
    cdef index end = clamp(c.in_size[2] - source.column, first, c.kernel[2])
    cdef index pixel = t.b.group_in * t.b.element
    source.column += first
    memset(dst, 0, first * pixel)
    memcpy(dst + first * pixel, address(&t.call.x, &source), (end - first) * pixel)
    memset(dst + end * pixel, 0, (c.kernel[2] - end) * pixel)
    return dst


cdef void point_at_pixel(const Task *t, const Pixel *pixel, const char **pointers,
                         char *copies) noexcept nogil:
    """All taps of one pixel; those outside the input point at the row of zeros.

    Runs that cross its edge are copied to `copies`.
    """
    cdef const Blocking *b = t.b
    cdef const fc_conv *c = &b.conv
    cdef const fc_view *x = &t.call.x
    cdef index columns = 1 if b.merged else c.kernel[2]
    cdef index slice, row, column, tap = 0
    cdef Pixel source
    source.image = pixel.image
    for slice in range(c.kernel[0]):
        source.depth = pixel.depth * c.stride[0] - c.pad[0] + slice * c.dilation[0]
        for row in range(c.kernel[1]):
            source.row = pixel.row * c.stride[1] - c.pad[1] + row * c.dilation[1]
            for column in range(columns):
                source.column = pixel.column * c.stride[2] - c.pad[2] + column * c.dilation[2]
                pointers[tap] = t.workspace + b.zeros_at
                if 0 <= source.depth < c.in_size[0] and 0 <= source.row < c.in_size[1]:
                    if b.merged and not is_interior(c, 2, pixel.column):
                        pointers[tap] = copy_run(t, source, copies)
                    elif b.merged or 0 <= source.column < c.in_size[2]:
                        pointers[tap] = address(x, &source) + t.group * b.group_in * x.channel
                copies += b.copied_run
                tap += b.pixels


cdef index point_at_run(const Task *t, const Pixel *pixel, const char **pointers,
                        index most) noexcept nogil:
    """The taps of interior pixels from this one on in its row; how many pixels that are."""
    cdef const fc_conv *c = &t.b.conv
    cdef const fc_view *x = &t.call.x
    cdef Pixel source
    cdef index run
    if not (is_interior(c, 2, pixel.column) and is_interior(c, 1, pixel.row)
            and is_interior(c, 0, pixel.depth)):
        return 0
    run = min(most, ceil_div(room_behind(c, 2), c.stride[2]) - pixel.column)
    source.image = pixel.image
    source.depth = pixel.depth * c.stride[0] - c.pad[0]
    source.row = pixel.row * c.stride[1] - c.pad[1]
    source.column = pixel.column * c.stride[2] - c.pad[2]
    t.b.kernels.gemm.point(pointers, address(x, &source) + t.group * t.b.group_in * x.channel,
                           c.stride[2] * x.space[2], run)
    repeat_for_taps(t.b, pointers, run, c.dilation[0] * x.space[0], c.dilation[1] * x.space[1],
                    c.dilation[2] * x.space[2])
    return run


cdef void point_into_input(const Task *t, const char **pointers) noexcept nogil:
    """Runs of interior pixels by constant distances, pixels at an edge tap by tap."""
    cdef const Blocking *b = t.b
    cdef index i = 0, end, run
    cdef Pixel pixel
    memset(t.workspace + b.zeros_at, 0, b.depth * b.element)
    while i < t.count:
        pixel = pixel_at(t, t.first + i)
        end = i + rest_of_row(t, &pixel, t.count - i)
        while i < end:
            run = point_at_run(t, &pixel, pointers + i, end - i)
            if run == 0:
                point_at_pixel(t, &pixel, pointers + i,
                               t.workspace + b.copies_at + i * b.taps * b.copied_run)
                run = 1
            pixel.column += run
            i += run


cdef void inside_taps(const fc_conv *c, int axis, index at, index *first, index *end) noexcept nogil:
    """Taps [first, end) of an output coordinate lie inside the input."""
    cdef index start = at * c.stride[axis] - c.pad[axis], step = c.dilation[axis]
    first[0] = min(ceil_div(-start, step), c.kernel[axis]) if start < 0 else 0
    end[0] = clamp(ceil_div(c.in_size[axis] - start, step), 0, c.kernel[axis]) \
        if start < c.in_size[axis] else 0


cdef TapRange tap_range(const Blocking *b, const Pixel *pixel) noexcept nogil:
    """All taps of a row's pixels but those in front and behind whose rows lie outside the input."""
    cdef const fc_conv *c = &b.conv
    cdef index columns = 1 if b.merged else c.kernel[2]
    cdef index first_slice, end_slice, first_row, end_row
    cdef TapRange taps
    inside_taps(c, 0, pixel.depth, &first_slice, &end_slice)
    inside_taps(c, 1, pixel.row, &first_row, &end_row)
    taps.first = (first_slice * c.kernel[1] + first_row) * columns
    taps.end = ((end_slice - 1) * c.kernel[1] + end_row) * columns
    if first_slice >= end_slice or first_row >= end_row:
        taps.first, taps.end = b.taps, 0
    return taps


cdef void find_tap_ranges(const Task *t) noexcept nogil:
    cdef TapRange *ranges = <TapRange *> (t.workspace + t.b.ranges_at)
    cdef TapRange taps
    cdef Pixel pixel
    cdef index i = 0, end
    while i < t.count:
        pixel = pixel_at(t, t.first + i)
        taps = tap_range(t.b, &pixel)
        end = i + rest_of_row(t, &pixel, t.count - i)
        while i < end:
            ranges[i] = taps
            i += 1


cdef TapRange taps_of_tile(const Task *t, index first, index rows) noexcept nogil:
    """From the first to behind the last tap that any pixel of a tile needs."""
    cdef const TapRange *ranges = <const TapRange *> (t.workspace + t.b.ranges_at)
    cdef TapRange taps
    cdef index i
    taps.first, taps.end = t.b.taps, 0
    for i in range(first, first + rows):
        taps.first = min(taps.first, ranges[i].first)
        taps.end = max(taps.end, ranges[i].end)
    return taps


cdef bint pack_panel(const Blocking *b, const char *weight, index group, index panel,
                     char *dst) noexcept nogil:
    """One panel in the order of the register tile; whether all its weights are finite."""
    cdef fc_pack_args args
    args.taps = b.conv.kernel[0] * b.conv.kernel[1] * b.conv.kernel[2]
    args.depth = b.group_in
    args.row = args.taps * args.depth * b.element
    args.weight = weight + (group * b.group_out + panel_start(b, panel)) * args.row
    args.channels = panel_channels(b, panel)
    args.width = panel_width(b, panel)
    args.dst = dst
    return b.kernels.gemm.pack(&args)


cdef void find_weights(Task *t, index panel) noexcept nogil:
    cdef const Blocking *b = t.b
    cdef char *packed
    if t.call.packed != NULL:
        t.weights = t.call.packed + packed_panel_at(b, t.group, panel)
        t.finite = t.call.packed[finite_flag_at(b, t.group, panel)]
        return
    packed = t.workspace + b.panel_at
    t.finite = pack_panel(b, t.call.weight, t.group, panel, packed)
    t.weights = packed


cdef fc_finish_args finish_of(const Task *t, index panel) noexcept nogil:
    """What happens to a panel's sums, as far as it does not depend on the pixels."""
    cdef const Blocking *b = t.b
    cdef index channel = t.group * b.group_out + panel_start(b, panel)
    cdef fc_finish_args f
    f.sum_row = panel_width(b, panel) * b.element
    f.channels = panel_channels(b, panel)
    f.epilogue = epilogue_of(&b.conv, t.call, channel)
    f.sums = t.workspace + b.sums_at
    f.pixels = t.count
    f.row_offset = f.residual_row_offset = channel * b.element
    f.out_rows = <char **> (t.workspace + b.out_rows_at)
    f.streams = b.streams and starts_on_boundary(&t.call.out)
    f.expects_rows = b.expects and not f.streams
    f.residual_rows = NULL
    if t.call.residual.data != NULL:
        f.residual_rows = <const char **> (t.workspace + b.residual_rows_at)
    return f


cdef void look_ahead(const Task *t, fc_gemm_args *g, index panel) noexcept nogil:
    """Bring the next pass's weights near, a little by every tile of this one.

    A pass's weights are used by all tiles from L2; it is waiting for their first that takes time.
    A single tile streams them, and asking for lines besides gets in its way. Behind the task's last
    weights may lie what other threads write: lines of that would travel to and fro.
    """
    cdef const Blocking *b = t.b
    cdef index tiles = ceil_div(t.count, b.kernels.gemm.tile_rows[g.vectors])
    cdef index next = panel + 1 if panel + 1 < t.last_panel else t.first_panel
    g.ahead_lines = 0
    g.ahead = g.b + g.taps * g.depth * g.c_row
    if g.ahead == t.weights + b.taps * b.depth * g.c_row:
        if t.call.packed == NULL or next == panel:
            return
        g.ahead = t.call.packed + packed_panel_at(b, t.group, next)
    if tiles > 1:
        g.ahead_lines = ceil_div(min(FC_AHEAD_STEPS, g.depth) * g.c_row, tiles * FC_CACHE_LINE)


cdef void multiply_shortened(const Task *t, const fc_gemm_args *g, index tap) noexcept nogil:
    """A tile's part of a pass from `tap` on, without the kernel rows that lie in the padding."""
    cdef fc_gemm_args tile = g[0]
    cdef TapRange taps = taps_of_tile(t, g.first, g.rows)
    cdef index begin = clamp(taps.first, tap, tap + g.taps)
    tile.taps = max(0, min(taps.end, tap + g.taps) - begin)
    if tile.taps == 0 and g.accumulate and g.finish == NULL:
        return
    tile.a += (begin - tap) * g.a_step
    tile.b += (begin - tap) * g.depth * g.c_row
    tile.next = 0
    t.b.kernels.gemm.tile(&tile)


cdef index whole_pixels(const Task *t, index first) noexcept nogil:
    """How many pixels from this one on need every tap."""
    cdef const TapRange *ranges = <const TapRange *> (t.workspace + t.b.ranges_at)
    cdef index at = first
    while at < t.count and ranges[at].first == 0 and ranges[at].end == t.b.taps:
        at += 1
    return at - first


cdef void multiply_block(const Task *t, fc_gemm_args *g, index tap, bint shorten) noexcept nogil:
    """One pass of a panel over the tiles of a block."""
    cdef index rows = t.b.kernels.gemm.tile_rows[g.vectors], pixels
    g.first = 0
    g.a = <const char **> (t.workspace + t.b.pointers_at) + tap * t.b.pixels
    g.c = t.workspace + t.b.sums_at
    while g.first < t.count:
        pixels = whole_pixels(t, g.first) if shorten else t.count
        if g.first + pixels < t.count:
            pixels -= pixels % rows
        if pixels:
            t.b.kernels.gemm.tiles(g, pixels)
        else:
            pixels = min(rows, t.count - g.first)
            g.rows = <int> pixels
            multiply_shortened(t, g, tap)
        g.ahead += ceil_div(pixels, rows) * fc_gemm_ahead_bytes(g)
        g.a += pixels
        g.c += pixels * g.c_row
        g.first += pixels


cdef void multiply(const Task *t, index panel) noexcept nogil:
    """All passes of one panel over the block: sums[pixel][channel]."""
    cdef const Blocking *b = t.b
    cdef fc_gemm_args g
    cdef fc_finish_args f = finish_of(t, panel)
    cdef index width = panel_width(b, panel), tap = 0, k
    # a weight that is not finite makes NaN of the padding's zeros: then they count
    cdef bint shorten = b.skips and t.finite
    g.vectors = <int> (width // b.kernels.gemm.lanes)
    g.c_row = width * b.element
    g.a_step = b.pixels
    g.accumulate = False
    g.finish = NULL
    g.b = t.weights
    if b.taps == 0:
        memset(t.workspace + b.sums_at, 0, t.count * g.c_row)
    while tap < b.taps:
        g.taps = min(b.taps_per_pass, b.taps - tap)
        k = 0
        while k < b.depth:
            g.depth = min(b.depth_per_pass, b.depth - k)
            g.offset = k * b.element
            if b.fused and tap + g.taps == b.taps and k + g.depth == b.depth:
                g.finish = &f
            look_ahead(t, &g, panel)
            multiply_block(t, &g, tap, shorten)
            g.b += g.taps * g.depth * g.c_row
            g.accumulate = True
            k += b.depth_per_pass
        tap += g.taps


cdef index run_length(const Task *t, const Pixel *pixel, index left) noexcept nogil:
    """Pixels from this one on that lie at one stride in the result and the residual."""
    cdef const fc_conv *c = &t.b.conv
    cdef const fc_call *call = t.call
    cdef index run = rest_of_row(t, pixel, left)
    if (t.b.stripes == 1 or not t.b.copied) and rows_touch(&call.out, c.out_size[2]) \
            and rows_touch(&call.residual, c.out_size[2]):
        run += (c.out_size[1] - 1 - pixel.row) * c.out_size[2]
    return min(run, left)


cdef void finish_planes(const Task *t, index panel, bint ahead) noexcept nogil:
    """By runs of pixels, each channel's through one strided store: finish, or ask for its lines."""
    cdef const Blocking *b = t.b
    cdef const fc_call *call = t.call
    cdef fc_finish_args f = finish_of(t, panel)
    cdef index i = 0, run, first_channel = f.row_offset // b.element
    cdef Pixel pixel
    f.out_channel = call.out.channel
    f.out_pixel = call.out.space[2]
    f.residual = NULL
    f.residual_channel = call.residual.channel
    f.residual_pixel = call.residual.space[2]
    while i < t.count:
        pixel = pixel_at(t, t.first + i)
        run = run_length(t, &pixel, t.count - i)
        f.sums = t.workspace + b.sums_at + i * f.sum_row
        f.pixels = run
        f.out = address(&call.out, &pixel) + first_channel * call.out.channel
        if call.residual.data != NULL:
            f.residual = address(&call.residual, &pixel) + first_channel * call.residual.channel
        if ahead:
            b.kernels.finish.expect(&f)
        else:
            b.kernels.finish.planes(&f)
        i += run


cdef void finish(const Task *t, index panel) noexcept nogil:
    cdef fc_finish_args f
    if t.b.rows_out:
        f = finish_of(t, panel)
        t.b.kernels.finish.rows(&f)
    else:
        finish_planes(t, panel, False)


cdef void point_at_result(const Task *t) noexcept nogil:
    cdef const fc_view *out = &t.call.out
    cdef const fc_view *residual = &t.call.residual
    cdef const char **out_rows = <const char **> (t.workspace + t.b.out_rows_at)
    cdef const char **residual_rows = <const char **> (t.workspace + t.b.residual_rows_at)
    cdef Pixel pixel
    cdef index i = 0, run
    while i < t.count:
        pixel = pixel_at(t, t.first + i)
        run = run_length(t, &pixel, t.count - i)
        t.b.kernels.gemm.point(out_rows + i, address(out, &pixel), out.space[2], run)
        if residual.data != NULL:
            t.b.kernels.gemm.point(residual_rows + i, address(residual, &pixel),
                                   residual.space[2], run)
        i += run
