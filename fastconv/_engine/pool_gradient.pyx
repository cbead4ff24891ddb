"""Gradients of pools: which part of the input is a task, and whose gradients meet there.

    max    a task is some channels of one image: every output's gradient goes to one place of its
           channel, and one thread adds them in the order of the outputs
    mean   a task is some rows of the input, for one channel or a block of neighbouring ones: rows
           gather from the outputs whose windows hold them, so no two tasks write to one place

No bit depends on the threads. Arrays arrive contiguous, checked against each other; places do not:
they are looked at while they are used.
"""

import numpy as np

cimport numpy as cnp
from libc.stdint cimport int64_t

from . cimport dispatch, memory, threads
from .arithmetic cimport ceil_div, index, round_up
from .arrays cimport raise_for
from .pool cimport simplify_axis
from .pool_call cimport axis_of
from .pool_gradient_kernels cimport (
    FC_MEAN_HELD, fc_max_gradient_args, fc_mean_gradient_args, fc_mean_line,
    fc_pool_gradient_kernels,
)
from .pool_kernels cimport (
    FC_POOL_COUNT_INSIDE, FC_POOL_COUNT_ONE, FC_POOL_COUNT_PADDED, fc_pool_axis, fc_pool_cells,
    fc_pool_span, fc_pool_window,
)

cnp.import_array()

cdef index TASK_BYTES = 65536
# Channels of one image that a task has at least, where they are neighbours: whole cache lines.
cdef index CHANNEL_BLOCK = 64
# What the held lines of outputs may take where channels are neighbours: half the second-level cache.
cdef index LINE_BYTES = 32768

cdef enum:
    OUTSIDE = 1                   # a task's code for a place that the input does not have


# --- max -----------------------------------------------------------------------------------------

cdef struct MaxCall:
    fc_max_gradient_args args     # of the first task; `channels` of each
    index planes                  # channels altogether, or of an image where they are neighbours
    index element
    bint by_channels
    index blocks                  # tasks of an image
    const fc_pool_gradient_kernels *kernels


cdef int max_task(void *context, Py_ssize_t task, int thread) noexcept nogil:
    cdef const MaxCall *call = <const MaxCall *> context
    cdef fc_max_gradient_args args = call.args
    cdef index first = task % call.blocks * args.channels, image = task // call.blocks, out, at
    args.channels = min(args.channels, call.planes - first)
    if call.by_channels:
        at = image * args.outs * call.planes + first
        out = image * args.places * call.planes + first
    else:
        at = first * args.outs
        out = first * args.places
    args.index += at
    args.grad += at * call.element
    args.out += out * call.element
    if call.by_channels:
        return call.kernels.max_pixels(&args)
    return call.kernels.max_planes(&args)


def max_pool(cnp.ndarray places, cnp.ndarray grad, cnp.ndarray out, Py_ssize_t batch,
             Py_ssize_t channels, bint channels_last):
    """Fill `out`, the gradient of a max pool's input, with `grad` at `places` and 0 elsewhere.

    Parameters
    ----------
    places : ndarray of int64
    grad, out : ndarray of float32 or float64
        All contiguous in one layout.
    batch, channels : int

    Returns
    -------
    bool
        Whether all places lie inside; if not, `out` is of no use.
    """
    cdef MaxCall call
    cdef index images = batch if channels_last else 1, size
    cdef int code
    cdef double work
    if not cnp.PyArray_SIZE(out):
        return True
    call.element = cnp.PyArray_ITEMSIZE(grad)
    call.kernels = dispatch.kernels(call.element == 8).pool_gradient
    call.by_channels = channels_last
    call.planes = channels if channels_last else batch * channels
    call.args.index = <const int64_t *> cnp.PyArray_DATA(places)
    call.args.grad = <const char *> cnp.PyArray_DATA(grad)
    call.args.out = <char *> cnp.PyArray_DATA(out)
    call.args.places = cnp.PyArray_SIZE(out) // (batch * channels)
    call.args.outs = cnp.PyArray_SIZE(grad) // (batch * channels)
    call.args.step = channels if channels_last else 1
    size = call.args.places * call.element + call.args.outs * (call.element + 8)
    call.args.channels = max(1, TASK_BYTES // size)
    if channels_last:
        call.args.channels = max(CHANNEL_BLOCK, call.args.channels)
    call.blocks = ceil_div(call.planes, call.args.channels)
    work = 4.0 * batch * channels * size
    with nogil:
        code = threads.run(max_task, &call, images * call.blocks, work, False, threads.maximum())
    if code == OUTSIDE:
        return False
    raise_for(code)
    return True


# --- mean ----------------------------------------------------------------------------------------

cdef struct MeanAxis:
    fc_pool_axis axis
    fc_pool_span *holders         # by position: the outputs whose windows hold it
    char *share                   # by output, float or double: 1 / cells


cdef struct MeanCall:
    MeanAxis axis[3]
    fc_mean_gradient_args args    # what all tasks share
    index planes                  # images, or images times channels
    index channel_block
    index row_block
    index channel_blocks
    index row_blocks
    index plane_grad              # bytes of a plane, or an image
    index plane_out
    index slice_out               # bytes of a slice of it
    index element
    index line_bytes
    bint by_channels
    const fc_pool_gradient_kernels *kernels


cdef void find_holders(MeanAxis *axis) noexcept nogil:
    """Windows start and end in order, so those that hold one position are neighbours."""
    cdef index position, first = 0, end = 0, outs = axis.axis.outs
    cdef fc_pool_span window
    for position in range(axis.axis.size):
        while first < outs:
            window = fc_pool_window(&axis.axis, first)
            if window.first + window.count > position:
                break
            first += 1
        while end < outs and fc_pool_window(&axis.axis, end).first <= position:
            end += 1
        axis.holders[position].first = first
        axis.holders[position].count = max(0, end - first)


cdef void find_shares(MeanAxis *axis, int counting, double divisor, index element) noexcept nogil:
    cdef index output
    cdef double share
    for output in range(axis.axis.outs):
        share = 1 / (divisor * fc_pool_cells(&axis.axis, output, counting))
        if element == 8:
            (<double *> axis.share)[output] = share
        else:
            (<float *> axis.share)[output] = <float> share


cdef int mean_task(void *context, Py_ssize_t task, int thread) noexcept nogil:
    cdef const MeanCall *call = <const MeanCall *> context
    cdef fc_mean_gradient_args args = call.args
    cdef index channel, depth
    channel = task % call.channel_blocks * call.channel_block
    task //= call.channel_blocks
    args.row = task % call.row_blocks * call.row_block
    task //= call.row_blocks
    depth = task % call.axis[0].axis.size
    task //= call.axis[0].axis.size
    args.rows = min(call.row_block, call.axis[1].axis.size - args.row)
    args.slices = call.axis[0].holders[depth]
    args.grad += task * call.plane_grad + channel * call.element
    args.out += task * call.plane_out + depth * call.slice_out + channel * call.element
    args.line += thread * call.line_bytes
    if call.by_channels:
        args.channels = min(call.channel_block, args.step - channel)
        call.kernels.mean_pixels(&args)
    else:
        call.kernels.mean_planes(&args)
    return threads.FC_OK


def mean_pool(cnp.ndarray grad, cnp.ndarray out, geometry, *, bint fitted=False,
              bint count_padding=False, divisor=None):
    """Fill `out`, the gradient of an average pool's input.

    Parameters
    ----------
    grad, out : ndarray of float32 or float64
        Contiguous in the geometry's layout.
    geometry : PoolGeometry
    fitted, count_padding, divisor
        As `PoolCall` has them.
    """
    cdef MeanCall call
    cdef memory.Buffer workspace
    cdef index outs = 1, size = 1, room = 0, row_bytes, tasks
    cdef index channels = geometry.channels, planes = geometry.batch
    cdef int axis, most = threads.maximum(), counting, code = threads.FC_OK
    cdef double factor = 1, work
    cdef char *place
    if not cnp.PyArray_SIZE(out):
        return
    counting = FC_POOL_COUNT_PADDED if count_padding else FC_POOL_COUNT_INSIDE
    if divisor is not None:
        counting, factor = FC_POOL_COUNT_ONE, divisor
    call.element = cnp.PyArray_ITEMSIZE(grad)
    call.kernels = dispatch.kernels(call.element == 8).pool_gradient
    call.by_channels = geometry.channels_last and channels > 1
    for axis in range(3):
        call.axis[axis].axis = axis_of(geometry, axis, fitted)
        simplify_axis(&call.axis[axis].axis)
        outs *= call.axis[axis].axis.outs
        size *= call.axis[axis].axis.size
        room += call.axis[axis].axis.size * sizeof(fc_pool_span)
        room += round_up(call.axis[axis].axis.outs * call.element, 64)
    if not call.by_channels:
        planes, channels = planes * channels, 1
    plan_blocks(&call, channels)
    room = round_up(room, 64)
    workspace = memory.borrow_workspace(room + most * call.line_bytes)
    place = workspace.data
    for axis in range(3):
        call.axis[axis].share = place
        place += round_up(call.axis[axis].axis.outs * call.element, 64)
    for axis in range(3):
        call.axis[axis].holders = <fc_pool_span *> place
        place += call.axis[axis].axis.size * sizeof(fc_pool_span)
        find_holders(&call.axis[axis])
        find_shares(&call.axis[axis], counting, factor if axis == 0 else 1, call.element)
    call.plane_grad = outs * channels * call.element
    call.plane_out = size * channels * call.element
    call.slice_out = call.plane_out // call.axis[0].axis.size
    call.args = fc_mean_gradient_args(
        grad=<const char *> cnp.PyArray_DATA(grad), out=<char *> cnp.PyArray_DATA(out),
        slices=fc_pool_span(0, 0), height=&call.axis[1].axis, width=&call.axis[2].axis,
        rows_of=call.axis[1].holders, columns_of=call.axis[2].holders,
        depth_share=call.axis[0].share, row_share=call.axis[1].share,
        column_share=call.axis[2].share, row=0, rows=0, channels=1, step=channels,
        line=workspace.data + room,
    )
    tasks = planes * call.axis[0].axis.size * call.row_blocks * call.channel_blocks
    work = 8.0 * planes * (call.plane_grad + call.plane_out)
    try:
        with nogil:
            code = threads.run(mean_task, &call, tasks, work, False, most)
    finally:
        memory.return_workspace(workspace)
    raise_for(code)


cdef void plan_blocks(MeanCall *call, index channels) noexcept nogil:
    """Rows and channels of a task, and the line that it holds."""
    cdef const fc_pool_axis *height = &call.axis[1].axis
    cdef const fc_pool_axis *width = &call.axis[2].axis
    cdef index row_bytes
    call.channel_block = 1
    if call.by_channels:
        call.channel_block = max(
            CHANNEL_BLOCK, LINE_BYTES // (width.outs * call.element) // CHANNEL_BLOCK
            * CHANNEL_BLOCK)
        call.channel_block = min(call.channel_block, channels)
    call.channel_blocks = ceil_div(channels, call.channel_block)
    row_bytes = width.size * call.channel_block * call.element
    call.row_block = max(1, min(height.size, TASK_BYTES // row_bytes))
    call.row_blocks = ceil_div(height.size, call.row_block)
    call.line_bytes = round_up(
        FC_MEAN_HELD * fc_mean_line(width, call.channel_block, call.kernels.lanes) * call.element, 64)
