"""The gradient of a depthwise convolution with respect to its weights, channels side by side.

Every channel has weights of its own, so lanes are channels and each sum is one of a vector for
every tap. Where all taps of a pixel fall inside x, a line of dy goes by once for all of them:

    dw[c][tap] = sum over pixels of dy[pixel][c] * x[pixel of the tap][c]

    line of dy: | edge |      all columns of taps inside       | edge |
                 taps inside  one chain for each tap and line   taps inside

Lines are dealt to `parts`, each with sums [channels][tap][lane] of its own, which are added in
order: their number depends on the shape alone, so no bit depends on the threads.
"""

cimport numpy as cnp
from libc.string cimport memset

from . cimport threads
from .arithmetic cimport ceil_div, clamp, index
from .dispatch cimport kernels
from .dots_kernels cimport fc_taps_args
from .kernels cimport fc_kernels
from .op cimport fc_conv, fc_view
from .planned_gradient cimport PlannedGradient, fc_gradient_call

cnp.import_array()

# As everywhere, a sum is built from chains of at most this many multiply-adds.
cdef index CHAIN = 512
cdef index PARTS = 16
cdef double PART_OPERATIONS = 1e6
cdef index PARTS_BYTES = 4 << 20
cdef enum:
    MOST_TAPS = 128


cdef struct Depthwise:
    fc_conv conv
    const fc_kernels *kernels
    index element
    index taps, vectors         # of a window, and of all channels
    index lines, parts          # of dy, and into how many ranges they are dealt
    index inside, end           # columns whose taps all fall inside x
    index part_bytes            # of sums [vector of channels][tap][lane]


cdef void plan_depthwise(Depthwise *b, const fc_conv *conv) noexcept:
    cdef const fc_conv *c = &b.conv
    cdef index reach, wanted
    b.conv = conv[0]
    b.kernels = kernels(conv.type)
    b.element = 8 if conv.type else 4
    b.taps = c.kernel[1] * c.kernel[2]
    b.vectors = ceil_div(c.out_channels, b.kernels.gemm.lanes)
    b.lines = c.batch * c.out_size[1]
    b.part_bytes = b.vectors * b.taps * b.kernels.gemm.lanes * b.element
    wanted = <index> (operations(b) / PART_OPERATIONS)
    b.parts = clamp(wanted, 1, min(PARTS, min(b.lines, max(1, PARTS_BYTES // b.part_bytes))))
    reach = c.in_size[2] + c.pad[2] - (c.kernel[2] - 1) * c.dilation[2]
    b.inside = clamp(ceil_div(c.pad[2], c.stride[2]), 0, c.out_size[2])
    b.end = clamp(ceil_div(reach, c.stride[2]), b.inside, c.out_size[2])


cdef double operations(const Depthwise *b) noexcept nogil:
    return 2.0 * b.lines * b.conv.out_size[2] * b.taps * b.conv.out_channels


# ---------------------------------------------------------------- tasks

cdef struct Line:
    const Depthwise *b
    const fc_gradient_call *call
    index image, row            # of dy
    index first_row, end_row    # rows of taps that fall inside x
    index vector
    char *sums                  # of the vector's channels


cdef void add_pixels(const Line *t, index column, index count, index first_row, index end_row,
                     index first_tap, index end_tap) noexcept nogil:
    """Products of some pixels of a line with rows of taps, of each row the same ones."""
    cdef const Depthwise *b = t.b
    cdef const fc_conv *c = &b.conv
    cdef const fc_view *x = &t.call.source
    cdef const fc_view *dy = &t.call.dy
    cdef const char *pointers[MOST_TAPS]
    cdef index lanes = b.kernels.gemm.lanes, channel = t.vector * lanes * b.element
    cdef index row, tap, n = 0
    cdef const char *first = x.data + t.image * x.batch + channel \
        + (t.row * c.stride[1] - c.pad[1]) * x.space[1] \
        + (column * c.stride[2] - c.pad[2]) * x.space[2]
    cdef fc_taps_args a
    for row in range(first_row, end_row):
        for tap in range(first_tap, end_tap):
            pointers[n] = first + row * c.dilation[1] * x.space[1] \
                + tap * c.dilation[2] * x.space[2]
            n += 1
    a.taps = n
    a.channels = c.out_channels - t.vector * lanes
    a.a = pointers
    a.a_pixel = c.stride[2] * x.space[2]
    a.b = dy.data + t.image * dy.batch + t.row * dy.space[1] + column * dy.space[2] + channel
    a.b_pixel = dy.space[2]
    a.c = t.sums + (first_row * c.kernel[2] + first_tap) * lanes * b.element
    a.pixels = count
    b.kernels.dots.taps(&a)


cdef void add_edge(const Line *t, index column, index end) noexcept nogil:
    """Pixels of which some taps fall beside x: each row of taps for itself."""
    cdef const fc_conv *c = &t.b.conv
    cdef index at, first, last, row
    for column in range(column, end):
        at = column * c.stride[2] - c.pad[2]
        first = clamp(ceil_div(-at, c.dilation[2]), 0, c.kernel[2])
        last = clamp(ceil_div(c.in_size[2] - at, c.dilation[2]), first, c.kernel[2])
        for row in range(t.first_row, t.end_row):
            if first < last:
                add_pixels(t, column, 1, row, row + 1, first, last)


cdef void add_line(Line *t) noexcept nogil:
    """A line of dy, one vector of channels."""
    cdef const Depthwise *b = t.b
    cdef const fc_conv *c = &b.conv
    cdef index column = b.inside, count
    add_edge(t, 0, b.inside)
    while column < b.end:
        count = min(CHAIN, b.end - column)
        add_pixels(t, column, count, t.first_row, t.end_row, 0, c.kernel[2])
        column += count
    add_edge(t, b.end, c.out_size[2])


cdef int part_task(void *context, index part, int thread) noexcept nogil:
    cdef const fc_gradient_call *call = <const fc_gradient_call *> context
    cdef const Depthwise *b = <const Depthwise *> call.blocking
    cdef const fc_conv *c = &b.conv
    cdef index line, at, vector_bytes = b.part_bytes // b.vectors
    cdef char *sums = call.shared + part * b.part_bytes
    cdef Line t
    t.b = b
    t.call = call
    memset(sums, 0, b.part_bytes)
    for line in range(b.lines * part // b.parts, b.lines * (part + 1) // b.parts):
        t.image = line // c.out_size[1]
        t.row = line % c.out_size[1]
        at = t.row * c.stride[1] - c.pad[1]
        t.first_row = clamp(ceil_div(-at, c.dilation[1]), 0, c.kernel[1])
        t.end_row = clamp(ceil_div(c.in_size[1] - at, c.dilation[1]), t.first_row, c.kernel[1])
        if t.first_row == t.end_row:
            continue
        for t.vector in range(b.vectors):
            t.sums = sums + t.vector * vector_bytes
            add_line(&t)
    return threads.FC_OK


ctypedef fused real:
    float
    double


cdef void combine(const Depthwise *b, const char *parts, real *dw) noexcept nogil:
    """The parts' sums, in order, as contiguous weights (C, taps)."""
    cdef index lanes = b.kernels.gemm.lanes, channel, tap, part
    cdef const real *sums
    cdef real total
    for channel in range(b.conv.out_channels):
        for tap in range(b.taps):
            sums = <const real *> parts + (channel // lanes * b.taps + tap) * lanes \
                + channel % lanes
            total = sums[0]
            for part in range(1, b.parts):
                total += sums[part * (b.part_bytes // b.element)]
            dw[0] = total
            dw += 1


cdef int reduce(const fc_gradient_call *call) noexcept nogil:
    cdef const Depthwise *b = <const Depthwise *> call.blocking
    cdef int code = threads.run(part_task, <void *> call, b.parts, operations(b),
                                b.conv.flush_denormals, call.threads)
    if b.conv.type:
        combine(b, call.shared, <double *> call.result.data)
    else:
        combine(b, call.shared, <float *> call.result.data)
    return code


# ---------------------------------------------------------------- arrays

cdef class DepthwiseGradient(PlannedGradient):
    """The planned gradient of one signature with respect to the weights; see `WeightGradient`.

    It pays for any depthwise convolution with channels side by side.
    """

    def __init__(self, geometry, x, dy, dtype, bint flush_denormals):
        self.pays = not geometry.plane and geometry.nd < 3 and geometry.batch > 0 \
            and geometry.groups == geometry.in_channels == geometry.out_channels > 1 \
            and min(*geometry.out_size, *geometry.kernel_size) > 0
        if not self.pays:
            return
        cdef fc_conv conv = self.begin(geometry, dy, dtype, flush_denormals)
        cdef Depthwise *b = <Depthwise *> self.blocking(sizeof(Depthwise))
        plan_depthwise(b, &conv)
        self.call.source = self.view(x)
        self.shape = (geometry.out_channels, 1, *geometry.kernel_size)
        self.pays = self.call.source.channel == self.call.dy.channel == dtype.itemsize \
            and b.taps <= MOST_TAPS
        self.shared_bytes = b.parts * b.part_bytes

    def run(self, cnp.ndarray x, cnp.ndarray dy):
        """Return the gradient; both arrays have the signature's shapes, strides and dtype."""
        return self.compute(reduce, x, dy)
