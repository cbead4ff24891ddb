"""The gradient of a convolution with respect to its weights: a product whose sums run over pixels.

    dw[k][c][tap] = sum over pixels of dy[k][pixel] * x[c][pixel of the tap]

For each row (c, tap) of the product, the pixels of one output line see one run of a line of x, the
tap deciding where it begins. So the register tile of implicit GEMM does the work: x is found
through a pointer a row and line, dy is packed pixel by pixel into panels of output channels, and
chains of at most 512 multiply-adds run over the pixels of a few lines:

    x  --gather--> strip --pointers [line][row]--> tile --> sums [row][channel] --> dw
    dy --gather--> panel [pixel][channel] ---------/

Lines of x are read where they lie when every tap falls inside and pixels lie side by side; else
they are copied, zero padded, a strided line as its phases. Blocks of lines are dealt to `parts`,
each with sums of its own, which are added in order: their number depends on the shape alone, so
no bit depends on the threads.

Few channels of dy would leave most lanes of a panel empty. Then lines of dy are read where they
lie as well, lanes hold pixels, and each sum is a vector until the very end:

    strip --pointers [line][row]------> dots --> sums [row][channel][lane] --> dw
    dy    --pointers [line][channel]--/

With a single tap rows and columns may change roles, and an x whose channels lie side by side be
turned into lines once for all tasks (weight_gradient_roles.pyx). Then, too, sums may be made in the
result itself (`direct`).
"""

cimport numpy as cnp

from . cimport threads
from .arithmetic cimport ceil_div, gcd, index, round_up
from .arrays cimport exact_integers
from .dispatch cimport kernels
from .kernels cimport fc_gather_args
from .memory cimport empty_array
from .op cimport fc_conv, fc_view
from .planned_gradient cimport PlannedGradient, add_elements, fc_gradient_call
from .weight_gradient_block cimport MOST_ROWS, Operands, Reduction, Task, gather_panel
from .weight_gradient_block cimport gather_strip, locate, measure_taps, multiply, multiply_lines
from .weight_gradient_block cimport panel_width, point_at_gradient, point_at_lines
from .weight_gradient_roles cimport TURNED, plan_roles

cnp.import_array()

# A sum is built from chains of at most this many multiply-adds; one longer chain loses a digit.
# It is also a block's pixels: a panel of dy stays in the cache while all rows pass over it.
cdef index CHAIN = 512
# By lines each lane has a chain of its own, and the block is read, not packed.
cdef index LINES_CHAIN = 2048
cdef index STRIP_BYTES = 384 << 10
# Partial sums: so many tasks by pixels alone, if they take no more memory than this.
cdef index PARTS = 16
cdef index PART_BYTES = 4 << 20
cdef index PART_PIXELS = 1024
cdef double TASK_OPERATIONS = 4e6
cdef index TASKS_PER_THREAD = 4
cdef index LEAST_CHANNELS = 16
cdef index TURNED_PIXELS = 256      # of a task
cdef index TURNED_TOGETHER = 16


# ---------------------------------------------------------------- planning

cdef void plan_blocks(Reduction *b) noexcept:
    """Blocks of whole lines, or of a stripe of one, that make one chain."""
    cdef const fc_conv *c = &b.conv
    cdef index lines = c.out_size[1]
    b.units = c.batch * c.out_size[0]
    b.stripes = ceil_div(c.out_size[2], b.chain)
    b.stripe = ceil_div(c.out_size[2], b.stripes)
    b.stripes = ceil_div(c.out_size[2], b.stripe)
    b.block_lines = b.chain // b.stripe
    b.block_units = 1
    if b.block_lines >= lines:
        b.block_units = min(b.units, b.block_lines // lines)
    b.block_lines = ceil_div(lines, ceil_div(lines, b.block_lines))
    b.unit_blocks = ceil_div(lines, b.block_lines)
    b.blocks = ceil_div(b.units, b.block_units) * b.unit_blocks * b.stripes


cdef void plan_strip(Reduction *b) noexcept:
    """Lines of the strip, their phases, and the channels that it may hold."""
    cdef const fc_conv *c = &b.conv
    b.row_step = c.stride[1] if c.kernel[1] == 1 else 1
    b.phases = min(c.kernel[2], c.stride[2] // gcd(c.stride[2], c.dilation[2]))
    b.phase_pitch = (b.stripe + (c.kernel[2] - 1) * c.dilation[2] // c.stride[2]) * b.element
    b.channel_pitch = b.phases * b.phase_pitch
    b.strip_lines = ((b.block_lines - 1) * c.stride[1] + (c.kernel[1] - 1) * c.dilation[1]) \
        // b.row_step + 1
    b.channels_per_task = STRIP_BYTES // (
        b.channel_pitch * b.strip_lines * c.kernel[0] * b.block_units)
    if b.in_place:
        b.channel_pitch = b.x.channel
        b.channels_per_task = b.group_in
    b.channels_per_task = max(1, min(b.group_in, b.channels_per_task))


cdef double reduction_operations(const Reduction *b) noexcept nogil:
    return 2.0 * b.units * b.conv.out_size[1] * b.conv.out_size[2] * b.conv.out_channels * b.rows


cdef void plan_tasks(Reduction *b) noexcept:
    """Parts by the shape alone, for they set bits; panels and channels also by the threads."""
    cdef const fc_conv *c = &b.conv
    cdef double wanted = max(1.0, reduction_operations(b) / TASK_OPERATIONS)
    cdef index pixels = b.units * c.out_size[1] * c.out_size[2], enough, most
    b.part_bytes = c.groups * b.rows * b.element * (
        panel_width(b, 0) if b.by_lines else round_up(b.group_out, b.kernels.gemm.lanes))
    most = min(pixels // PART_PIXELS, PART_BYTES // b.part_bytes)
    most = min(most, ceil_div(PARTS, c.groups * b.panels))
    b.parts = max(1, min(min(<index> wanted, b.blocks), most))
    enough = <index> min(wanted, <double> (TASKS_PER_THREAD * threads.maximum()))
    b.channel_tasks = ceil_div(b.group_in, b.channels_per_task)
    b.panel_tasks = min(b.panels, ceil_div(enough, b.parts * c.groups * b.channel_tasks))
    b.panels_per_task = ceil_div(b.panels, b.panel_tasks)
    b.panel_tasks = ceil_div(b.panels, b.panels_per_task)
    b.channel_tasks = max(b.channel_tasks, min(
        ceil_div(b.group_in, LEAST_CHANNELS),
        ceil_div(enough, b.parts * c.groups * b.panel_tasks)))
    b.channels_per_task = ceil_div(b.group_in, b.channel_tasks)
    b.channel_tasks = ceil_div(b.group_in, b.channels_per_task)


cdef void plan_workspace(Reduction *b) noexcept:
    """Offsets of a thread's scratch: strip, lines, taps, pointer table, panel of dy."""
    cdef index lines = b.block_units * b.block_lines
    b.row_pitch = b.channels_per_task * b.channel_pitch
    b.slice_pitch = b.strip_lines * b.row_pitch
    b.unit_pitch = b.conv.kernel[0] * b.slice_pitch
    b.lines_at = 0 if b.in_place else round_up(b.block_units * b.unit_pitch, 64)
    b.taps_at = b.lines_at + round_up(lines * sizeof(void *), 64)
    b.table_at = b.taps_at + round_up(b.taps * sizeof(index), 64)
    b.panel_at = b.table_at + round_up(lines * MOST_ROWS * sizeof(void *), 64)
    b.workspace = b.panel_at + lines * (1 + MOST_ROWS) * sizeof(void *)
    if not b.by_lines:
        b.workspace = b.panel_at + lines * b.stripe * b.panel * b.element
    b.workspace = round_up(b.workspace, 4096) + 64


cdef void plan_reduction(Reduction *b, const fc_conv *conv, fc_view *x, fc_view *dy) noexcept:
    b.conv = conv[0]
    b.kernels = kernels(conv.type)
    b.element = 8 if conv.type else 4
    plan_roles(b, x, dy)
    b.group_in = b.conv.in_channels // conv.groups
    b.group_out = b.conv.out_channels // conv.groups
    b.taps = conv.kernel[0] * conv.kernel[1] * conv.kernel[2]
    b.rows = b.group_in * b.taps
    b.chain = LINES_CHAIN if b.by_lines else CHAIN
    b.panel = b.kernels.gemm.tile_rows[0] * b.kernels.gemm.lanes
    b.panels = ceil_div(b.group_out, b.panel)
    plan_blocks(b)
    plan_strip(b)
    plan_tasks(b)
    b.direct = b.transposed and b.parts == 1 and not b.by_lines \
        and b.group_out % b.kernels.gemm.lanes == 0
    b.turned_at = 0 if b.direct else round_up(b.parts * b.part_bytes, 64)
    plan_workspace(b)


# ---------------------------------------------------------------- tasks

cdef int turn_task(void *context, index task, int thread) noexcept nogil:
    """Some pixels of all channels of x, as lines of the copy."""
    cdef const Operands *o = <const Operands *> context
    cdef const Reduction *b = o.b
    cdef const fc_view *x = &o.call.source
    cdef index first = task * TURNED_PIXELS
    cdef fc_gather_args g
    cdef index end = min(first + TURNED_PIXELS, b.conv.out_size[2])
    g.src_pixel = x.channel
    g.src_channel = x.space[2]
    g.pixels = b.conv.in_channels
    g.dst_pixel = b.turned_pitch
    while first < end:      # a few pixels at a time, so that each one's channels stream by
        g.src = x.data + first * x.space[2]
        g.channels = min(TURNED_TOGETHER, end - first)
        g.dst = o.x.data + first * b.element
        b.kernels.finish.gather(&g)
        first += g.channels
    return threads.FC_OK


cdef int reduce_task(void *context, index task, int thread) noexcept nogil:
    """The sums of one part over some panels and some channels of a group."""
    cdef const Operands *o = <const Operands *> context
    cdef const Reduction *b = o.b
    cdef index part, number, panel, first
    cdef Task t
    t.b = b
    t.o = o
    t.workspace = o.call.workspace + thread * b.workspace
    t.channel = task % b.channel_tasks * b.channels_per_task
    t.channels = min(b.channels_per_task, b.group_in - t.channel)
    task //= b.channel_tasks
    t.first_panel = task % b.panel_tasks * b.panels_per_task
    t.last_panel = min(b.panels, t.first_panel + b.panels_per_task)
    task //= b.panel_tasks
    part = task % b.parts
    t.group = task // b.parts
    t.sums = o.call.shared + part * b.part_bytes + t.group * (b.part_bytes // b.conv.groups)
    if b.direct:
        t.sums = o.call.result.data
    measure_taps(&t)
    first = b.blocks * part // b.parts
    for number in range(first, b.blocks * (part + 1) // b.parts):
        t.block = locate(b, number)
        if not b.in_place:
            gather_strip(&t)
        point_at_lines(&t)
        if b.by_lines:
            point_at_gradient(&t)
            multiply_lines(&t, number == first)
            continue
        for panel in range(t.first_panel, t.last_panel):
            gather_panel(&t, panel)
            multiply(&t, panel, number == first)
    return threads.FC_OK


ctypedef fused real:
    float
    double


cdef inline void add_lanes(real *dw, const real *sums, index lanes, index rows, index row_step,
                           index channels, index channel_step) noexcept nogil:
    """The result's elements, any steps apart, from sums [row][channel][lane]."""
    cdef index row, channel, lane
    cdef real total
    for row in range(rows):
        for channel in range(channels):
            total = 0
            for lane in range(lanes):
                total += sums[lane]
            dw[row * row_step + channel * channel_step] = total
            sums += lanes


cdef void leave(const Reduction *b, const char *total, index panel, char *dw) noexcept nogil:
    """Turn a panel's sums into the result's order; `dw` is that of the panel's first channel."""
    cdef index channels = min(b.panel, b.group_out - panel * b.panel)
    cdef index row_step = b.group_out if b.transposed else 1
    cdef index channel_step = 1 if b.transposed else b.rows
    cdef fc_gather_args g
    if b.by_lines and b.conv.type:
        add_lanes(<double *> dw, <const double *> total, b.kernels.gemm.lanes, b.rows, row_step,
                  channels, channel_step)
        return
    if b.by_lines:
        add_lanes(<float *> dw, <const float *> total, b.kernels.gemm.lanes, b.rows, row_step,
                  channels, channel_step)
        return
    g.src = total
    g.src_pixel = b.element
    g.src_channel = panel_width(b, panel) * b.element
    g.pixels = channels
    g.channels = b.rows
    if b.transposed:
        g.src_pixel, g.src_channel = g.src_channel, g.src_pixel
        g.pixels, g.channels = g.channels, g.pixels
    g.dst = dw
    g.dst_pixel = max(row_step, channel_step) * b.element
    b.kernels.finish.gather(&g)


cdef int combine_task(void *context, index task, int thread) noexcept nogil:
    """Add one panel's parts in order, and turn the total into the weights' own order."""
    cdef const Operands *o = <const Operands *> context
    cdef const Reduction *b = o.b
    cdef index panel = task % b.panels, group = task // b.panels, part
    cdef index count = panel_width(b, panel) * b.rows
    cdef index channel = group * b.group_out + panel * b.panel
    cdef char *total = o.call.shared + group * (b.part_bytes // b.conv.groups) \
        + panel * b.panel * b.rows * b.element
    for part in range(1, b.parts):
        add_elements(b.conv.type, total, total + part * b.part_bytes, count)
    leave(b, total, panel,
          o.call.result.data + channel * (1 if b.transposed else b.rows) * b.element)
    return threads.FC_OK


cdef int reduce(const fc_gradient_call *call) noexcept nogil:
    cdef const Reduction *b = <const Reduction *> call.blocking
    cdef const fc_conv *c = &b.conv
    cdef Operands o
    cdef int code = threads.FC_OK
    o.b = b
    o.call = call
    o.x = b.x
    o.x.data = call.shared + b.turned_at if b.turned_pitch else call.source.data
    if b.turned_pitch:
        code = threads.run(turn_task, &o, ceil_div(c.out_size[2], TURNED_PIXELS),
                           2.0 * TURNED * c.in_channels * c.out_size[2], False, call.threads)
    if code == threads.FC_OK:
        code = threads.run(reduce_task, &o, c.groups * b.parts * b.panel_tasks * b.channel_tasks,
                           reduction_operations(b), c.flush_denormals, call.threads)
    if code == threads.FC_OK and not b.direct:
        code = threads.run(combine_task, &o, c.groups * b.panels, 4.0 * b.parts * b.part_bytes,
                           c.flush_denormals, call.threads)
    return code


# ---------------------------------------------------------------- arrays

cdef class WeightGradient(PlannedGradient):
    """The planned gradient of one signature with respect to the weights.

    Parameters
    ----------
    geometry : ConvGeometry
        Of the convolution whose weights are meant.
    x, dy : ndarray
        Its input and the gradient of its result, with the signature's strides; nothing but these
        is looked at.
    dtype : numpy.dtype
        float32 or float64.
    flush_denormals : bool
    transposed : bool
        Return (C, K) in place of (K, C): only of 1-wide kernels and one group.
    """

    cdef bint empty, swapped

    def __init__(self, geometry, x, dy, dtype, bint flush_denormals, bint transposed=False):
        cdef fc_conv conv = self.begin(geometry, dy, dtype, flush_denormals)
        cdef Reduction *b = <Reduction *> self.blocking(sizeof(Reduction))
        self.pays = True
        self.shape = geometry.kernel_size
        if not geometry.plane:
            self.shape = (geometry.out_channels, geometry.in_channels // geometry.groups,
                          *geometry.kernel_size)
        if transposed:
            self.shape = (geometry.in_channels, geometry.out_channels)
        self.empty = geometry.batch == 0
        self.call.source = self.view(x)
        b.transposed = transposed
        plan_reduction(b, &conv, &self.call.source, &self.call.dy)
        self.swapped = b.swapped
        self.shared_bytes = b.turned_at + b.turned_pitch * b.conv.in_channels
        self.workspace_bytes = b.workspace

    def run(self, cnp.ndarray x, cnp.ndarray dy):
        """Return the gradient; both arrays have the signature's shapes, strides and dtype."""
        cdef cnp.ndarray dw
        if self.empty:
            dw = empty_array(self.shape, self.dtype)
            dw[...] = 0
            return dw
        return self.compute(reduce, dy, x) if self.swapped else self.compute(reduce, x, dy)


def exact(tuple arguments):
    """Whether no bool or float stands in `arguments` where an equal int may be remembered."""
    return exact_integers(arguments)
