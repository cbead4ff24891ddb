from .arithmetic cimport index
from .op cimport fc_conv, fc_view

# Pixels that lie at one distance in every array: one long row, for whoever looks at them one by one.

cdef inline bint is_line(const fc_view *view, int axis, index size) noexcept nogil:
    """Whether a step along an axis leads behind so many pixels of a row."""
    return view.space[axis] == size * view.space[2]


cdef inline bint rows_touch(const fc_view *view, index columns) noexcept nogil:
    """Whether rows of so many pixels follow each other without a gap, in an array if there is one."""
    return view.data == NULL or is_line(view, 1, columns)


cdef inline bint is_lone(const fc_conv *c, int axis) noexcept nogil:
    """Whether an output sees, along this axis, the input at its own place alone."""
    return c.kernel[axis] == c.stride[axis] == 1 and c.pad[axis] == 0 \
        and c.in_size[axis] == c.out_size[axis]


cdef inline void join_rows(fc_conv *c, const fc_view *x, const fc_view *out,
                           const fc_view *residual) noexcept nogil:
    """Make one row of the rows, and of the slices, that 1x1 windows and memory allow to be one.

    Rows of 7 or 14 pixels are short for most forms. Strides of joined axes are not looked at again.
    """
    cdef int axis
    cdef index size
    for axis in range(1, -1, -1):
        size = c.in_size[2]
        if not (is_lone(c, axis) and is_lone(c, 2)) or (c.in_size[axis] > 1 and not (
                is_line(x, axis, size) and is_line(out, axis, size)
                and is_line(residual, axis, size))):
            return
        c.in_size[2] *= c.in_size[axis]
        c.out_size[2] = c.in_size[2]
        c.in_size[axis] = c.out_size[axis] = 1
