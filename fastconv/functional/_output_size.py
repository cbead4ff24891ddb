"""How many windows fit along one axis: the formula of every course, with advice when it is uneven.

In go the numbers of a single axis, out comes the number of windows, or with ``exact=True`` an error
that says which strides and paddings would leave nothing over. `_geometry.py` does the same sum for
whole operations; this is the form people call by hand while they design a network.
"""

from ._arguments import flag, integer, integers, same_padding

# Strides that fit are listed no further than this: longer ones help nobody.
_LARGEST_STRIDE_LISTED = 64


def conv_output_size(size, kernel_size, stride=1, padding=0, dilation=1, *, exact=False):
    """Return how many windows fit along one axis of a convolution or a pool.

    It is ``(size + 2 * padding - dilation * (kernel_size - 1) - 1) / stride + 1``, rounded down as
    PyTorch does; columns at the end that no window covers are left over.

    Parameters
    ----------
    size : int
        Elements along the axis, at least 1.
    kernel_size, stride, dilation : int
        At least 1.
    padding : int, (before, after), "same" or "valid"
        Elements added at both ends. ``"same"`` adds what makes the result ceil(size / stride).
    exact : bool
        Raise ValueError when columns are left over, and say which strides and paddings leave none.

    Returns
    -------
    int
        At least 1.

    Raises
    ------
    TypeError
        For anything that is not an int (bools and floats are not).
    ValueError
        For values below the least, for a window larger than the padded axis, and with `exact` for
        columns left over.

    Examples
    --------
    >>> conv_output_size(227, 11, stride=4)
    55
    >>> conv_output_size(7, 3, stride=2, exact=True)
    3
    """
    op = "conv_output_size"
    size = integer(op, "size", size, minimum=1)
    kernel_size = integer(op, "kernel_size", kernel_size, minimum=1)
    stride = integer(op, "stride", stride, minimum=1)
    dilation = integer(op, "dilation", dilation, minimum=1)
    extent = dilation * (kernel_size - 1) + 1
    before, after = _padding(op, padding, size, extent, stride)
    span = size + before + after - extent
    left_over = span % stride
    if span >= 0 and not (flag(op, "exact", exact) and left_over):
        return span // stride + 1
    window = f"{_article(extent)} {extent}-wide window"
    if dilation > 1:
        window += f" ({kernel_size} taps, dilation {dilation})"
    target = f"{size} padded to {span + extent}" if before or after else f"{size}"
    if span < 0:
        raise ValueError(
            f"{op}: {window} does not fit {target}; pad by {-span} more or use a narrower one"
        )
    columns = "1 column" if left_over == 1 else f"{left_over} columns"
    raise ValueError(
        f"{op}: {window} at stride {stride} does not fit {target} ({columns} left over); "
        f"{_remedies(span, stride, before, after)}"
    )


def _padding(op, padding, size, extent, stride):
    """Padding of the one axis: as everywhere, but a pair needs no tuple around it."""
    if not isinstance(padding, str):
        return integers(op, "padding", padding, 2, minimum=0)
    if padding == "same":
        return same_padding(size, extent, stride)
    if padding == "valid":
        return 0, 0
    raise ValueError(
        f'{op}: padding must be an int, (before, after), "same" or "valid", got {padding!r}'
    )


def _article(number):
    return "an" if str(number).startswith("8") or number in (11, 18) else "a"


def _remedies(span, stride, before, after):
    """Strides and a padding that leave nothing over, where `stride` does.

    `span` is the distance from the first possible window to the last, so the strides that fit are
    its divisors.
    """
    missing = stride - span % stride
    fitting = [s for s in range(1, min(span, _LARGEST_STRIDE_LISTED) + 1) if span % s == 0]
    strides = ", ".join(map(str, fitting))
    if before == after and missing % 2 and stride % 2:
        missing += stride  # one stride more, and both ends get the same
    if before == after and missing % 2 == 0:
        padding = before + missing // 2
    else:
        padding = (before + missing // 2, after + missing - missing // 2)
    return f"strides that fit: {strides}; or padding={padding}"
