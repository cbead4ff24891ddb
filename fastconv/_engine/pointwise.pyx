"""Direct 1x1 convolution of planes: every output channel is a weighted sum of input planes.

A task takes strips of a row, a few vectors of pixels each, and some output channels; while it makes
the channels, its strip of the input stays in the cache and the weights stream by. Rows that follow
each other in memory are one long row (line.pxd):

    x --strip of a row--> tile, channels after channels --> out

Vectors of x are read where they lie and results stored where they belong: nothing is copied or
transposed, except where planes would fall into the same sets of the cache or lie on too many pages:
there a strip is copied, a part at a time. A sum is made of
chains of 512 multiply-adds in the order of the channels, added in order, as in implicit GEMM: both
give the same bits. Of a long strip a chain is made in parts, each of which goes on from the sums
that the one before left. Weights are packed for layers, which read them often; a single call reads
them where they lie.
"""

from . cimport threads
from .arithmetic cimport ceil_div, clamp, index, round_up
from .direct cimport conv_work, pack_tiles, tile_count, tile_start
from .direct_kernels cimport FC_PLANES_CHANNELS, fc_direct_kernels, fc_planes_args
from .epilogue cimport epilogue_of
from .dispatch cimport kernels, machine_is_intel
from .kernels cimport FC_CACHE_LINE
from .op cimport Prepared, fc_call, fc_conv, fc_view, new_blocking

cdef index CHAIN = 512
# Sums of the chains before, of one thread's channels.
cdef index SUMS_BYTES = 128 << 10
# Planes this far apart, or a multiple of it, share the sets of a first-level cache, and many planes
# this far apart lie on more pages than Intel's processors have at hand: a strip of them is copied
# first where at least so many output channels read the copy. Then so many tasks for a thread are
# enough.
cdef index SAME_SETS = 4096
cdef index FAR_APART = 2048
cdef index MANY_PLANES = 64
cdef index WORTH_A_COPY = 40        # in tiles of FC_COPYING_CHANNELS and more, therefore
cdef index COPYING_TASKS = 8
# A strip of more than so many bytes is read in parts on Intel's, whose second-level cache delivers
# less: a first-level cache keeps a part while all output channels take it. The sums that it leaves
# must fit beside it in the second level.
cdef index WHOLE_BYTES = 64 << 10
cdef index PART_BYTES = 16 << 10
cdef index LEFT_BYTES = 512 << 10
# Work is cut into up to this many tasks of at least this many operations.
cdef index TASKS = 64
cdef double TASK_OPERATIONS = 2e6


# ---------------------------------------------------------------- planning

cdef struct Pointwise:
    fc_conv conv
    const fc_direct_kernels *kernels
    index element
    index group_in, group_out
    index tiles, tiles_per_item, tile_blocks    # of a group's output channels
    index vectors, strips            # of a row
    bint copied
    index part                       # input channels that all of an item's tiles take in turn
    index copy_pitch, sum_pitch      # bytes of one channel's strip
    index parts_at, sums_at, workspace
    index items, items_per_task


cdef void plan_items(Pointwise *b) noexcept nogil:
    """Strips as even as whole vectors allow; output channels are cut where threads need more."""
    cdef const fc_conv *c = &b.conv
    cdef index lanes = b.kernels.lanes, widest = b.kernels.planes_vectors
    cdef index wanted = clamp(<index> (conv_work(c, b.element) / TASK_OPERATIONS), 1, TASKS)
    cdef index strips
    if b.copied:
        wanted = min(wanted, COPYING_TASKS * threads.maximum())
    b.vectors = ceil_div(c.out_size[2], lanes)
    b.strips = ceil_div(b.vectors, widest)
    b.sum_pitch = widest * lanes * b.element
    b.tiles_per_item = b.tiles
    if b.group_in > CHAIN:
        b.tiles_per_item = min(b.tiles, SUMS_BYTES // (FC_PLANES_CHANNELS * b.sum_pitch))
    strips = max(1, c.batch * c.groups * c.out_size[0] * c.out_size[1] * b.strips)
    b.tile_blocks = max(ceil_div(b.tiles, b.tiles_per_item), min(b.tiles, ceil_div(wanted, strips)))
    b.tiles_per_item = ceil_div(b.tiles, b.tile_blocks)
    b.tile_blocks = ceil_div(b.tiles, b.tiles_per_item)
    b.items = strips * b.tile_blocks
    b.items_per_task = max(1, b.items // (2 * TASKS))


cdef Prepared plan_pointwise(const fc_conv *conv, const fc_view *x, const fc_view *out,
                             const fc_view *residual, bint packed):
    cdef Prepared op = Prepared.__new__(Prepared)
    cdef Pointwise *b = <Pointwise *> new_blocking(op, sizeof(Pointwise))
    cdef index sums                  # bytes of an item's
    b.conv = conv[0]
    b.kernels = kernels(conv.type).direct
    b.element = 8 if conv.type else 4
    b.group_in = conv.in_channels // conv.groups
    b.group_out = conv.out_channels // conv.groups
    b.tiles = tile_count(b.group_out)
    b.copied = b.group_out >= WORTH_A_COPY and (x.channel % SAME_SETS == 0 or (
        machine_is_intel() and x.channel >= FAR_APART and b.group_in >= MANY_PLANES))
    plan_items(b)
    # a vector more: strips of a power of two bytes would share few sets of the cache
    b.copy_pitch = b.sum_pitch + b.kernels.lanes * b.element
    b.part = min(CHAIN, PART_BYTES // b.sum_pitch)
    sums = b.tiles_per_item * FC_PLANES_CHANNELS * b.sum_pitch
    if not machine_is_intel() or b.tiles_per_item == 1 or sums > LEFT_BYTES \
            or b.group_in * b.sum_pitch <= WHOLE_BYTES:
        b.part = CHAIN
    if b.copied:
        b.parts_at = round_up(min(b.group_in, b.part) * b.copy_pitch, 64)
    b.sums_at = b.parts_at
    if b.part < CHAIN:
        b.sums_at += sums
    b.workspace = b.sums_at
    if b.group_in > CHAIN:
        b.workspace += sums
    b.workspace = round_up(b.workspace, 4096) + 64
    op.pack = pack_pointwise
    op.run = run_pointwise
    op.packed_bytes = conv.out_channels * b.group_in * b.element
    op.workspace_bytes = b.workspace
    op.packing = ("planes", conv.type, conv.groups)
    op.reads_weight = not packed
    return op


cdef int pack_pointwise(const void *blocking, const char *weight, char *packed) noexcept nogil:
    return pack_tiles(&(<const Pointwise *> blocking).conv, weight, packed)


def pointwise_tile(dtype="float32", index group_out=FC_PLANES_CHANNELS):
    """The largest register tile for a number of output channels a group, as `Plan.tile` shows it.

    Parameters
    ----------
    dtype : str or numpy.dtype
        float32 or float64.
    group_out : int
        Output channels of one group.
    """
    cdef const fc_direct_kernels *k = kernels(str(dtype) == "float64").direct
    channels = ceil_div(group_out, tile_count(group_out))
    return f"{channels}x{k.planes_vectors * k.lanes} (channels x pixels)"


# ---------------------------------------------------------------- one item: a strip

cdef struct Strip:
    const Pointwise *b
    const fc_call *call
    char *workspace
    index image, group, slice, row
    index pixel, pixels              # of the row
    index first_tile, last_tile


cdef inline char *address(const Strip *t, const fc_view *view, index channel) noexcept nogil:
    return view.data + t.image * view.batch + channel * view.channel + t.slice * view.space[0] \
        + t.row * view.space[1] + t.pixel * t.b.element


cdef void read_planes(const Strip *t, fc_planes_args *p, const char *x, index tile) noexcept nogil:
    """Where a tile finds the strip: in x's planes, or in the copy that the first tile makes."""
    p.copy = NULL
    p.x, p.x_plane = x, t.call.x.channel
    if t.b.copied and tile == t.first_tile:
        p.copy, p.copy_plane = t.workspace, t.b.copy_pitch
    elif t.b.copied:
        p.x, p.x_plane = t.workspace, t.b.copy_pitch


cdef inline index next_line(const Strip *t, index tile) noexcept nogil:
    """Which line of the next strip a tile brings near: one each, until there are no more."""
    cdef index strip = t.pixels * t.b.element, line = tile * FC_CACHE_LINE
    return strip + line if line < strip and not t.b.copied else 0


cdef void add_planes(const Strip *t, fc_planes_args *p, const char *x,
                     index first) noexcept nogil:
    """Input channels from `first` on, at x, of a chain of every output element of the strip."""
    cdef const Pointwise *b = t.b
    cdef const fc_view *out = &t.call.out
    cdef const fc_view *residual = &t.call.residual
    cdef index tile, start, channel, at
    for tile in range(t.first_tile, t.last_tile):
        start = tile_start(tile, b.group_out)
        channel = t.group * b.group_out + start
        p.channels = <int> (tile_start(tile + 1, b.group_out) - start)
        if t.call.packed != NULL:
            p.w = t.call.packed + (channel * b.group_in + first * p.channels) * b.element
            p.w_plane, p.w_channel = p.channels * b.element, b.element
        else:
            p.w = t.call.weight + (channel * b.group_in + first) * b.element
            p.w_plane, p.w_channel = b.element, b.group_in * b.element
        at = (start - tile_start(t.first_tile, b.group_out)) * b.sum_pitch
        p.part = t.workspace + b.parts_at + at
        read_planes(t, p, x, tile)
        p.next = next_line(t, tile - t.first_tile)
        p.sums = t.workspace + b.sums_at + at
        p.epilogue = epilogue_of(&b.conv, t.call, channel)
        p.out = address(t, out, channel)
        if residual.data != NULL:
            p.residual = address(t, residual, channel)
        b.kernels.pointwise(p)


cdef void add_chain(const Strip *t, fc_planes_args *p, index first) noexcept nogil:
    """The chain from input channel `first` on, part by part."""
    cdef index left = p.planes
    cdef const char *x = address(t, &t.call.x, t.group * t.b.group_in + first)
    p.begun = False
    while True:
        p.planes = min(left, t.b.part)
        p.broken_off = left > p.planes
        add_planes(t, p, x, first)
        left -= p.planes
        if left <= 0:
            return
        first += p.planes
        x += p.planes * t.call.x.channel
        p.begun = True


cdef void run_strip(const Strip *t) noexcept nogil:
    """All chains of one strip, in order."""
    cdef const Pointwise *b = t.b
    cdef index first = 0
    cdef fc_planes_args p
    p.rows = p.stride = p.kernel_rows = p.taps = 1
    p.columns = t.pixels
    p.sum_row = 0
    p.sum_channel = b.sum_pitch
    p.out_row = p.residual_row = 0
    p.out_channel = t.call.out.channel
    p.residual_channel = t.call.residual.channel
    p.out_pixel = p.residual_pixel = b.element
    p.residual = NULL
    p.finish = False
    while not p.finish:
        p.planes = min(CHAIN, b.group_in - first)
        p.load_sums = first > 0
        p.finish = first + p.planes == b.group_in
        add_chain(t, &p, first)
        first += CHAIN


cdef void locate(Strip *t, index item) noexcept nogil:
    """Neighbouring items are the same strip's next channels, then the row's next strip."""
    cdef const Pointwise *b = t.b
    cdef index lanes = b.kernels.lanes, strip
    t.first_tile = item % b.tile_blocks * b.tiles_per_item
    t.last_tile = min(t.first_tile + b.tiles_per_item, b.tiles)
    item //= b.tile_blocks
    strip = item % b.strips
    item //= b.strips
    t.pixel = strip * b.vectors // b.strips * lanes
    t.pixels = min((strip + 1) * b.vectors // b.strips * lanes, b.conv.out_size[2]) - t.pixel
    t.row = item % b.conv.out_size[1]
    item //= b.conv.out_size[1]
    t.slice = item % b.conv.out_size[0]
    item //= b.conv.out_size[0]
    t.group = item % b.conv.groups
    t.image = item // b.conv.groups


cdef struct PointwiseRun:
    const Pointwise *b
    const fc_call *call


cdef int pointwise_task(void *context, index task, int thread) noexcept nogil:
    cdef PointwiseRun *r = <PointwiseRun *> context
    cdef Strip t
    cdef index item
    t.b = r.b
    t.call = r.call
    t.workspace = r.call.workspace + thread * r.b.workspace
    for item in range(task * r.b.items_per_task,
                      min((task + 1) * r.b.items_per_task, r.b.items)):
        locate(&t, item)
        run_strip(&t)
    return threads.FC_OK


cdef int run_pointwise(const void *blocking, const fc_call *call) noexcept nogil:
    cdef PointwiseRun r
    r.b = <const Pointwise *> blocking
    r.call = call
    return threads.run(pointwise_task, &r, ceil_div(r.b.items, r.b.items_per_task),
                       conv_work(&r.b.conv, r.b.element), r.b.conv.flush_denormals,
                       r.call.threads)
