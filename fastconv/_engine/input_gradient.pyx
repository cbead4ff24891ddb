"""The gradient of a convolution with respect to its input, from few channels of small pictures.

As a transposed convolution, most products of a large window on a small picture meet padding. Here
none above or below it does. The lines of dy follow each other, so many zeros between them as a
window is wider than a pixel; so the pixels that one line of taps, of one row r, sends anywhere are
one flat run, for which the register tile has vectors of pixels and a row for each channel:

    dy --gather--> strip [k][line, zeros, line, zeros, ...] --shifted by s--> panel [s][k][pixel]
    tile: sums [c][pixel] += weight[k][c][r][s] * panel    for every r, r lines further down
    planes [c][line][column], padding included --gather--> dx

    for every r of   a b c      dy   . a b c 0 0     what a row r of taps gives
    one channel      d e f           d e f 0 0       lands r lines below dy's own

A task is one picture of one group: nothing depends on the threads.
"""

cimport numpy as cnp
from libc.string cimport memcpy, memset

from . cimport threads
from .arithmetic cimport ceil_div, index, round_up
from .arrays cimport raise_for
from .dispatch cimport kernels
from .kernels cimport fc_gather_args, fc_gemm_args, fc_kernels
from .memory cimport empty_array
from .op cimport fc_conv
from .planned_gradient cimport PlannedGradient, fc_gradient_call

cnp.import_array()

# As everywhere, a sum is built from chains of at most this many multiply-adds.
cdef index CHAIN = 512
# A thread's strip, panel and planes stay in its cache.
cdef index SCRATCH_BYTES = 512 << 10
# A task of turning a matrix.
cdef index TURNED_ROWS = 64


cdef struct Spread:
    fc_conv conv
    const fc_kernels *kernels
    index element
    index group_in, group_out
    index line              # columns of a line with its zeros, and of the planes
    index lead              # zeros before the first line
    index flat              # pixels of all lines
    index depth             # output channels that one chain takes
    index strip_pitch, plane_pitch
    index panel_at, planes_at, workspace
    index table_at          # weights [r][s][c][k], then pointers to them, [group][r][s][c]
    index weight_bytes


cdef void plan_spread(Spread *b, const fc_conv *conv) noexcept:
    cdef index widest
    b.conv = conv[0]
    b.kernels = kernels(conv.type)
    b.element = 8 if conv.type else 4
    b.group_in = conv.in_channels // conv.groups
    b.group_out = conv.out_channels // conv.groups
    widest = b.kernels.gemm.tile_rows[0] * b.kernels.gemm.lanes
    b.lead = (conv.kernel[2] - 1) * conv.dilation[2]
    b.line = conv.out_size[2] + b.lead
    b.flat = conv.out_size[1] * b.line
    b.depth = min(b.group_out, max(1, CHAIN // conv.kernel[2]))
    b.strip_pitch = (b.lead + b.flat + widest) * b.element
    b.plane_pitch = ((conv.out_size[1] + (conv.kernel[1] - 1) * conv.dilation[1]) * b.line
                     + widest) * b.element
    b.panel_at = round_up(b.group_out * b.strip_pitch, 64)
    b.planes_at = b.panel_at + conv.kernel[2] * b.depth * widest * b.element
    b.workspace = round_up(b.planes_at + b.group_in * b.plane_pitch, 4096) + 64
    b.weight_bytes = conv.kernel[1] * conv.kernel[2] * b.group_in * b.group_out * b.element
    b.table_at = round_up(conv.groups * b.weight_bytes, 64)


cdef bint pays(const Spread *b) noexcept:
    """Whether the flat runs need much fewer products than the lines of a transposed convolution
    would, which vectors along its width and padding on all sides."""
    cdef const fc_conv *c = &b.conv
    cdef index lanes = b.kernels.gemm.lanes, axis
    if b.group_in >= lanes or b.group_out < 2 or c.in_size[0] != 1 or c.kernel[0] != 1:
        return False
    for axis in range(3):
        if c.stride[axis] != 1 or c.pad[axis] < 0 or c.out_size[axis] < 1:
            return False
    return 4 * round_up(b.flat, lanes) <= 3 * c.in_size[1] * round_up(c.in_size[2], lanes) \
        and b.workspace <= SCRATCH_BYTES


# ---------------------------------------------------------------- tasks

cdef void pack_weights(const Spread *b, const char *weight, char *packed) noexcept nogil:
    """From (K, C, R, S) to [group][r][s][c][k], and where each k begins."""
    cdef const fc_conv *c = &b.conv
    cdef index taps = c.kernel[1] * c.kernel[2], group, tap, channel
    cdef const char **table = <const char **> (packed + b.table_at)
    cdef fc_gather_args g
    g.src_channel = b.group_in * taps * b.element
    g.src_pixel = taps * b.element
    g.pixels = b.group_in
    g.channels = b.group_out
    g.dst_pixel = b.group_out * b.element
    g.dst = packed
    for group in range(c.groups):
        for tap in range(taps):
            g.src = weight + (group * b.group_out * b.group_in * taps + tap) * b.element
            b.kernels.finish.gather(&g)
            for channel in range(b.group_in):
                table[0] = g.dst + channel * g.dst_pixel
                table += 1
            g.dst += b.group_in * g.dst_pixel


cdef void gather_strip(const fc_gradient_call *call, const char *dy, char *strip) noexcept nogil:
    """All channels' lines of dy, with zeros before, between and after them."""
    cdef const Spread *b = <const Spread *> call.blocking
    cdef index line
    cdef fc_gather_args g
    memset(strip, 0, b.group_out * b.strip_pitch)
    g.src_pixel = call.dy.channel
    g.src_channel = call.dy.space[2]
    g.pixels = b.group_out
    g.channels = b.conv.out_size[2]
    g.dst_pixel = b.strip_pitch
    for line in range(b.conv.out_size[1]):
        g.src = dy + line * call.dy.space[1]
        g.dst = strip + (b.lead + line * b.line) * b.element
        b.kernels.finish.gather(&g)


cdef void fill_panel(const Spread *b, const char *strip, index first, index channels,
                     index pixel, index width, char *panel) noexcept nogil:
    """What each tap of a line sees of `width` pixels: [s][k][pixel]."""
    cdef index tap, channel, at
    for tap in range(b.conv.kernel[2]):
        at = (b.lead + pixel - tap * b.conv.dilation[2]) * b.element
        for channel in range(first, first + channels):
            memcpy(panel, strip + channel * b.strip_pitch + at, width * b.element)
            panel += width * b.element


cdef void multiply(const Spread *b, const char **table, const char *panel, index first,
                   index channels, index pixel, int vectors, char *planes) noexcept nogil:
    """Add what a panel gives, for each row of taps, to all channels."""
    cdef const fc_conv *c = &b.conv
    cdef index row
    cdef fc_gemm_args g
    g.vectors = vectors
    g.accumulate = 1
    g.taps = c.kernel[2]
    g.depth = channels
    g.a_step = b.group_in
    g.offset = first * b.element
    g.b = panel
    g.c_row = b.plane_pitch
    g.finish = NULL
    g.ahead_lines = 0
    g.first = 0
    for row in range(c.kernel[1]):
        g.a = table + row * c.kernel[2] * b.group_in
        g.c = planes + (row * c.dilation[1] * b.line + pixel) * b.element
        b.kernels.gemm.tiles(&g, b.group_in)


cdef void leave(const fc_gradient_call *call, const char *planes, char *dx) noexcept nogil:
    """Copy what lies inside the padding; dx is contiguous along its columns or its channels."""
    cdef const Spread *b = <const Spread *> call.blocking
    cdef const fc_conv *c = &b.conv
    cdef index row
    cdef fc_gather_args g
    g.src_pixel = b.plane_pitch
    g.pixels = b.group_in
    g.src_channel = b.element
    g.channels = c.in_size[2]
    g.dst_pixel = call.result.channel
    if call.result.space[2] != b.element:
        g.src_pixel, g.src_channel = g.src_channel, g.src_pixel
        g.pixels, g.channels = g.channels, g.pixels
        g.dst_pixel = call.result.space[2]
    for row in range(c.in_size[1]):
        g.src = planes + ((row + c.pad[1]) * b.line + c.pad[2]) * b.element
        g.dst = dx + row * call.result.space[1]
        b.kernels.finish.gather(&g)


cdef int spread_task(void *context, index task, int thread) noexcept nogil:
    """The gradient of one picture's channels of one group."""
    cdef const fc_gradient_call *call = <const fc_gradient_call *> context
    cdef const Spread *b = <const Spread *> call.blocking
    cdef const fc_conv *c = &b.conv
    cdef index group = task % c.groups, image = task // c.groups
    cdef index lanes = b.kernels.gemm.lanes, first, channels, pixel = 0
    cdef int vectors
    cdef char *strip = call.workspace + thread * b.workspace
    cdef char *panel = strip + b.panel_at
    cdef char *planes = strip + b.planes_at
    cdef const char **table = <const char **> (call.shared + b.table_at) \
        + group * c.kernel[1] * c.kernel[2] * b.group_in
    gather_strip(
        call, call.dy.data + image * call.dy.batch + group * b.group_out * call.dy.channel, strip)
    memset(planes, 0, b.group_in * b.plane_pitch)
    while pixel < b.flat:
        vectors = <int> min(<index> b.kernels.gemm.tile_rows[0], ceil_div(b.flat - pixel, lanes))
        first = 0
        while first < b.group_out:
            channels = min(b.depth, b.group_out - first)
            fill_panel(b, strip, first, channels, pixel, vectors * lanes, panel)
            multiply(b, table, panel, first, channels, pixel, vectors, planes)
            first += channels
        pixel += vectors * lanes
    leave(call, planes, call.result.data + image * call.result.batch
          + group * b.group_in * call.result.channel)
    return threads.FC_OK


cdef int spread(const fc_gradient_call *call) noexcept nogil:
    cdef const Spread *b = <const Spread *> call.blocking
    cdef const fc_conv *c = &b.conv
    cdef double products = 1.0 * c.batch * c.in_channels * b.group_out * b.flat
    pack_weights(b, call.source.data, call.shared)
    return threads.run(spread_task, <void *> call, c.batch * c.groups,
                       2 * products * c.kernel[1] * c.kernel[2], c.flush_denormals, call.threads)


# ---------------------------------------------------------------- arrays

cdef class InputGradient(PlannedGradient):
    """The planned gradient of one signature with respect to the input.

    Parameters
    ----------
    geometry : ConvGeometry
        Of the convolution whose input is meant.
    dy : ndarray
        The gradient of its result, with the signature's strides; nothing else is looked at.
    dtype : numpy.dtype
        float32 or float64.
    flush_denormals : bool
    """

    def __init__(self, geometry, dy, dtype, bint flush_denormals):
        self.pays = not geometry.plane and geometry.nd < 3 and geometry.batch > 0 \
            and geometry.in_channels > 0
        if not self.pays:
            return
        cdef fc_conv conv = self.begin(geometry, dy, dtype, flush_denormals)
        cdef Spread *b = <Spread *> self.blocking(sizeof(Spread))
        plan_spread(b, &conv)
        self.pays = pays(b)
        self.give_input(geometry)
        self.shared_bytes = b.table_at \
            + conv.kernel[1] * conv.kernel[2] * conv.in_channels * sizeof(void *)
        self.workspace_bytes = b.workspace

    def run(self, cnp.ndarray weight, cnp.ndarray dy):
        """Return the gradient; weight is contiguous, dy has the signature's strides, both the
        signature's shapes and dtype."""
        return self.compute(spread, weight, dy)


# ---------------------------------------------------------------- a turned matrix

cdef struct Turn:
    const fc_kernels *kernels
    const char *source
    char *out
    index element, rows, columns


cdef int turn_task(void *context, index task, int thread) noexcept nogil:
    """Some rows of the source, columns of the result."""
    cdef Turn *t = <Turn *> context
    cdef index first = task * TURNED_ROWS
    cdef fc_gather_args g
    g.src_pixel = t.element
    g.src_channel = g.src_pixel * t.columns
    g.src = t.source + first * g.src_channel
    g.pixels = t.columns
    g.channels = min(TURNED_ROWS, t.rows - first)
    g.dst = t.out + first * t.element
    g.dst_pixel = t.rows * t.element
    t.kernels.finish.gather(&g)
    return threads.FC_OK


def turned(cnp.ndarray matrix):
    """The transpose of a contiguous matrix of float32 or float64, contiguous itself."""
    cdef Turn t
    cdef cnp.ndarray out
    cdef int code
    t.rows, t.columns = cnp.PyArray_DIM(matrix, 0), cnp.PyArray_DIM(matrix, 1)
    t.element = cnp.PyArray_ITEMSIZE(matrix)
    out = empty_array((t.columns, t.rows), matrix.dtype)
    t.kernels = kernels(t.element == 8)
    t.source = <const char *> cnp.PyArray_DATA(matrix)
    t.out = <char *> cnp.PyArray_DATA(out)
    with nogil:
        code = threads.run(turn_task, &t, ceil_div(t.rows, TURNED_ROWS),
                           16.0 * t.rows * t.columns, False, threads.maximum())
    raise_for(code)
    return out
