"""Gradient of `pad`: what was put around an array is taken off again, and the other way round."""

from reprlib import repr as short_repr

from ..functional import shape
from ..functional._check import as_array
from ..functional.shape import _axes, _widths

__all__ = ["pad"]


def pad(grad_output, pad, mode="constant"):
    """Return the gradient through `pad` in mode "constant": the middle of grad_output.

    Parameters
    ----------
    grad_output : array_like
        Gradient of the padded array.
    pad : sequence of int, or of (before, after) pairs
        As `pad` had it; elements that it took off have gradient 0.
    mode : {"constant"}

    Returns
    -------
    ndarray
        Of the shape that was padded and of grad_output's dtype, C-contiguous.

    Raises
    ------
    TypeError, ValueError
        When an argument is of the wrong kind, or grad_output is smaller than its margins.
    """
    op = "pad"
    grad_output = as_array(op, "grad_output", grad_output)
    if mode != "constant":
        raise ValueError(f'{op}: mode must be "constant", got {short_repr(mode)}')
    widths = _widths(op, "grad_output", grad_output, pad)
    if any(size < max(a, 0) + max(b, 0) for size, (a, b) in _axes(grad_output, widths)):
        raise ValueError(
            f"{op}: grad_output must be at least as large as the margins {short_repr(pad)}, "
            f"got grad_output.shape={grad_output.shape}"
        )
    if not widths:
        return shape.pad(grad_output, ())
    return shape.pad(grad_output, [(-before, -after) for before, after in widths])
