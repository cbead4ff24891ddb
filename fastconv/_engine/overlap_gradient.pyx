"""The gradient of a convolution with respect to its input, from many channels to a few.

A transposed convolution with three result channels, as the first layer of a network has, leaves
most lanes of a vector empty, and a stride cuts it into phases besides. Here lanes hold what one
pixel of dy sends to all taps and channels of its window: a product of its channels and the
weights. Windows overlap, and so do the sums, a run of (tap, channel) for each row of taps:

    dy --pixels--> tile x packed weights [k][r][s][c] --> products [pixel][r][s][c]
    products --a run for every r--> lines [line][column][c] --> dx

    runs of neighbouring pixels   s0 s1 s2 s3 s4          they land `stride` columns further on,
    in one line                         s0 s1 s2 s3 s4    and those of r in the line r below

A task is a band of lines of one picture. What it sends to the lines of the next band waits until
all are done, and is added then: the bands depend on the shape alone, so nothing on the threads.
"""

import numpy as np

cimport numpy as cnp
from libc.string cimport memcpy, memset

from . cimport threads
from .arithmetic cimport ceil_div, clamp, index, round_up
from .dispatch cimport kernels
from .kernels cimport fc_gather_args, fc_gemm_args, fc_kernels
from .op cimport fc_conv, fc_view
from .overlap_kernels cimport fc_overlap_args
from .planned_gradient cimport PlannedGradient, add_elements, fc_gradient_call

cnp.import_array()

# As everywhere, a sum over channels is built from chains of at most this many multiply-adds.
cdef index CHAIN = 512
# A thread's products and lines stay in its cache.
cdef index PRODUCT_BYTES = 96 << 10
cdef index LINE_BYTES = 256 << 10
cdef index SCRATCH_BYTES = 768 << 10
# So many bands, if they have this many lines of dy.
cdef index TASKS = 48
cdef index LEAST_LINES = 4
# Fewer channels of dy are no chain worth the name.
cdef index LEAST_CHANNELS = 16
# A longer run is two dozen vectors for each row of taps.
cdef index LONGEST_RUN = 384
cdef enum:
    TILE_PIXELS = 12    # whole tiles of 4, 6 and 12 rows
    MOST_PIXELS = 192


cdef struct Overlap:
    fc_conv conv
    const fc_kernels *kernels
    index element
    index run                   # elements: the taps of a row and their channels
    index columns, panel, panels  # of the products; columns in whole vectors
    index pixels                # of a block of products
    bint copied                 # the channels of dy do not lie side by side
    index pixel_pitch           # of the copy
    index span                  # lines that a window covers
    index shared                # lines that a band sends to the next one
    index lines, bands          # of dy in a band
    index line_bytes, sum_lines
    index products_at, sums_at, pointers_at, workspace
    index seam_bytes            # of one band: its first lines, then those of the next
    index seams_at              # [picture][band], behind the packed weights [panel][k][column]


cdef void plan_bands(Overlap *b) noexcept:
    """Lines of dy that a task takes: in equal numbers, and no band reaches over its neighbour."""
    cdef const fc_conv *c = &b.conv
    cdef index least = max(LEAST_LINES, ceil_div(b.shared, c.stride[1]))
    cdef index most = max(least, (LINE_BYTES // b.line_bytes - b.span) // c.stride[1])
    b.lines = clamp(ceil_div(c.out_size[1], ceil_div(TASKS, c.batch)), least, most)
    b.bands = max(1, c.out_size[1] // b.lines)
    b.lines = ceil_div(c.out_size[1], b.bands)
    b.bands = ceil_div(c.out_size[1], b.lines)
    b.sum_lines = (b.lines - 1) * c.stride[1] + max(b.span, c.stride[1]) + c.stride[1] - 1
    b.seam_bytes = 2 * b.shared * b.line_bytes


cdef void plan_overlap(Overlap *b, const fc_conv *conv, const fc_view *dy) noexcept:
    cdef const fc_conv *c = &b.conv
    cdef index across
    b.conv = conv[0]
    b.kernels = kernels(conv.type)
    b.element = 8 if conv.type else 4
    b.run = c.kernel[2] * c.in_channels
    b.columns = round_up(c.kernel[1] * b.run, b.kernels.gemm.lanes)
    b.panel = b.kernels.gemm.tile_rows[0] * b.kernels.gemm.lanes
    b.panels = ceil_div(b.columns, b.panel)
    b.pixels = clamp(PRODUCT_BYTES // (b.columns * b.element), TILE_PIXELS, MOST_PIXELS)
    b.pixels = ceil_div(c.out_size[2], ceil_div(c.out_size[2], b.pixels))
    b.pixels = min(c.out_size[2], round_up(b.pixels, TILE_PIXELS))
    b.copied = dy.channel != b.element
    b.pixel_pitch = c.out_channels * b.element + 64  # pixels must not share the cache's sets
    across = (c.out_size[2] - 1) * c.stride[2] + max(c.kernel[2], c.stride[2]) + c.stride[2] - 1
    b.line_bytes = round_up(across * c.in_channels * b.element, 64)
    b.span = (c.kernel[1] - 1) * c.dilation[1] + 1
    b.shared = max(0, b.span - c.stride[1])
    plan_bands(b)
    b.products_at = round_up(b.pixels * b.pixel_pitch, 64) if b.copied else 0
    b.sums_at = b.products_at + round_up(b.pixels * b.columns * b.element, 64)
    b.pointers_at = b.sums_at + b.sum_lines * b.line_bytes
    b.workspace = round_up(b.pointers_at + b.pixels * sizeof(void *), 4096) + 64


cdef bint pays(const Overlap *b) noexcept:
    """Whether vectors of taps and channels are fuller than those of channels or of pixels."""
    cdef const fc_conv *c = &b.conv
    cdef index axis
    if c.groups != 1 or c.in_size[0] != 1 or c.kernel[0] != 1 or c.dilation[2] != 1:
        return False
    for axis in range(1, 3):
        if c.pad[axis] < 0 or c.out_size[axis] < 1:
            return False
    if c.in_channels >= b.kernels.gemm.lanes or c.out_channels < LEAST_CHANNELS:
        return False
    if not b.kernels.gemm.lanes <= c.kernel[1] * b.run or b.run > LONGEST_RUN:
        return False
    return (not b.copied or c.stride[2] > 1) and b.workspace <= SCRATCH_BYTES


# ---------------------------------------------------------------- tasks

cdef inline index panel_width(const Overlap *b, index panel) noexcept nogil:
    return min(b.panel, b.columns - panel * b.panel)


cdef void pack_weights(const Overlap *b, const char *weight, char *packed) noexcept nogil:
    """From [k][r][s][c] to panels of columns, zeros behind the last one."""
    cdef index used = b.conv.kernel[1] * b.run, panel, k, width, first, count
    for panel in range(b.panels):
        width = panel_width(b, panel)
        first = panel * b.panel
        count = min(width, used - first)
        for k in range(b.conv.out_channels):
            memcpy(packed, weight + (k * used + first) * b.element, count * b.element)
            memset(packed + count * b.element, 0, (width - count) * b.element)
            packed += width * b.element


cdef void point_at_pixels(const fc_gradient_call *call, const char *dy, index count,
                          char *workspace) noexcept nogil:
    """Where the channels of each pixel lie, side by side: in dy, or in a copy."""
    cdef const Overlap *b = <const Overlap *> call.blocking
    cdef const char **pointers = <const char **> (workspace + b.pointers_at)
    cdef index step = call.dy.space[2], i
    cdef fc_gather_args g
    if b.copied:
        g.src = dy
        g.src_pixel = call.dy.space[2]
        g.src_channel = call.dy.channel
        g.pixels = count
        g.channels = b.conv.out_channels
        g.dst = workspace
        g.dst_pixel = step = b.pixel_pitch
        b.kernels.finish.gather(&g)
        dy = workspace
    for i in range(count):
        pointers[i] = dy + i * step


cdef void multiply(const fc_gradient_call *call, index count, char *workspace) noexcept nogil:
    """What so many pixels send to all taps and channels."""
    cdef const Overlap *b = <const Overlap *> call.blocking
    cdef const char **pointers = <const char **> (workspace + b.pointers_at)
    cdef const char *packed = call.shared
    cdef index panel, first, width
    cdef fc_gemm_args g
    g.taps = 1
    g.a = pointers
    g.a_step = 0
    g.c_row = b.columns * b.element
    g.ahead_lines = 0
    g.finish = NULL
    g.first = 0
    for panel in range(b.panels):
        width = panel_width(b, panel)
        g.vectors = <int> (width // b.kernels.gemm.lanes)
        g.c = workspace + b.products_at + panel * b.panel * b.element
        first = 0
        while first < b.conv.out_channels:
            g.depth = min(CHAIN, b.conv.out_channels - first)
            g.offset = first * b.element
            g.accumulate = first > 0
            g.b = packed
            b.kernels.gemm.tiles(&g, count)
            packed += g.depth * width * b.element
            first += g.depth


cdef void add_line(const fc_gradient_call *call, const char *dy, char *sums,
                   char *workspace) noexcept nogil:
    """What one line of dy sends to the lines from `sums` on."""
    cdef const Overlap *b = <const Overlap *> call.blocking
    cdef const fc_conv *c = &b.conv
    cdef index column = 0, count
    cdef fc_overlap_args a
    a.src = workspace + b.products_at
    a.src_pixel = b.columns * b.element
    a.rows = c.kernel[1]
    a.run = b.run
    a.pixel_step = c.stride[2] * c.in_channels * b.element
    a.row_step = c.dilation[1] * b.line_bytes
    while column < c.out_size[2]:
        count = min(b.pixels, c.out_size[2] - column)
        point_at_pixels(call, dy + column * call.dy.space[2], count, workspace)
        multiply(call, count, workspace)
        a.pixels = count
        a.sums = sums + column * a.pixel_step
        b.kernels.overlap.add(&a)
        column += count


cdef void leave(const fc_gradient_call *call, const char *sums, index image, index line,
                index count) noexcept nogil:
    """Copy lines to dx, as far as they lie in it; `line` counts the padding, too."""
    cdef const Overlap *b = <const Overlap *> call.blocking
    cdef const fc_conv *c = &b.conv
    cdef index row
    cdef fc_gather_args g
    g.src_pixel = b.element
    g.src_channel = c.in_channels * b.element
    g.pixels = c.in_channels
    g.channels = c.in_size[2]
    g.dst_pixel = call.result.channel
    for row in range(max(line - c.pad[1], 0), min(line + count - c.pad[1], c.in_size[1])):
        g.src = sums + (row + c.pad[1] - line) * b.line_bytes + c.pad[2] * g.src_channel
        g.dst = call.result.data + image * call.result.batch + row * call.result.space[1]
        if call.result.space[2] == g.src_channel:
            memcpy(g.dst, g.src, g.channels * g.src_channel)
        else:
            b.kernels.finish.gather(&g)


cdef int band_task(void *context, index task, int thread) noexcept nogil:
    """The lines that no other band adds to; the others wait at the seams."""
    cdef const fc_gradient_call *call = <const fc_gradient_call *> context
    cdef const Overlap *b = <const Overlap *> call.blocking
    cdef const fc_conv *c = &b.conv
    cdef index image = task // b.bands, band = task % b.bands, line
    cdef index first = band * b.lines, count = min(b.lines, c.out_size[1] - first)
    cdef index own = b.sum_lines if band == b.bands - 1 else count * c.stride[1]
    cdef index begin = b.shared if band > 0 else 0
    cdef index shared_bytes = b.shared * b.line_bytes
    cdef char *workspace = call.workspace + thread * b.workspace
    cdef char *sums = workspace + b.sums_at
    cdef char *seam = call.shared + b.seams_at + task * b.seam_bytes
    memset(sums, 0, b.sum_lines * b.line_bytes)
    for line in range(count):
        add_line(call, call.dy.data + image * call.dy.batch + (first + line) * call.dy.space[1],
                 sums + line * c.stride[1] * b.line_bytes, workspace)
    if band > 0:
        memcpy(seam, sums, shared_bytes)
    if band < b.bands - 1:
        memcpy(seam + shared_bytes, sums + own * b.line_bytes, shared_bytes)
    leave(call, sums + begin * b.line_bytes, image, first * c.stride[1] + begin, own - begin)
    return threads.FC_OK


cdef int seam_task(void *context, index task, int thread) noexcept nogil:
    """The lines that a band and the one before it have added to."""
    cdef const fc_gradient_call *call = <const fc_gradient_call *> context
    cdef const Overlap *b = <const Overlap *> call.blocking
    cdef index image = task // b.bands, band = task % b.bands
    cdef index bytes = b.shared * b.line_bytes
    cdef char *seam = call.shared + b.seams_at + task * b.seam_bytes
    if band == 0:
        return threads.FC_OK
    add_elements(b.conv.type, seam, seam - bytes, bytes // b.element)
    leave(call, seam, image, band * b.lines * b.conv.stride[1], b.shared)
    return threads.FC_OK


cdef int spread(const fc_gradient_call *call) noexcept nogil:
    cdef const Overlap *b = <const Overlap *> call.blocking
    cdef const fc_conv *c = &b.conv
    cdef double products = 1.0 * c.batch * c.out_size[1] * c.out_size[2] * c.out_channels
    cdef int code
    pack_weights(b, call.source.data, call.shared)
    code = threads.run(band_task, <void *> call, c.batch * b.bands, 2 * products * b.columns,
                       c.flush_denormals, call.threads)
    if code == threads.FC_OK and b.bands > 1:
        code = threads.run(seam_task, <void *> call, c.batch * b.bands,
                           1.0 * c.batch * b.bands * b.seam_bytes, c.flush_denormals, call.threads)
    return code


# ---------------------------------------------------------------- arrays

cdef class OverlapGradient(PlannedGradient):
    """The planned gradient of one signature with respect to the input; see `InputGradient`."""

    def __init__(self, geometry, dy, dtype, bint flush_denormals):
        self.pays = not geometry.plane and geometry.nd < 3 and geometry.batch > 0 \
            and geometry.in_channels > 0 and min(*geometry.out_size, *geometry.kernel_size) > 0
        if not self.pays:
            return
        cdef fc_conv conv = self.begin(geometry, dy, dtype, flush_denormals)
        cdef Overlap *b = <Overlap *> self.blocking(sizeof(Overlap))
        plan_overlap(b, &conv, &self.call.dy)
        self.pays = pays(b)
        self.give_input(geometry)
        b.seams_at = round_up(conv.out_channels * b.columns * b.element, 64)
        self.shared_bytes = b.seams_at + conv.batch * b.bands * b.seam_bytes
        self.workspace_bytes = b.workspace

    def run(self, cnp.ndarray weight, cnp.ndarray dy):
        """Return the gradient; dy has the signature's strides, both the signature's shapes and
        dtype."""
        return self.compute(spread, np.ascontiguousarray(np.moveaxis(weight, 1, -1)), dy)
