"""What the gradients share: operands of one shape, and how an error names them."""

from ..functional._check import as_array, compute_dtype


def same_shape(op, name, value, grad_output):
    """Return two operands of one shape as ndarrays, and the dtype to compute in.

    Parameters
    ----------
    op, name : str
        Public name of the function and of `value`, for error texts.
    value, grad_output : array_like
        `value` is the forward operation's input or result.

    Raises
    ------
    TypeError, ValueError
        When one is no array of real numbers, or the shapes differ.
    """
    value = as_array(op, name, value)
    grad_output = as_array(op, "grad_output", grad_output)
    if value.shape != grad_output.shape:
        raise ValueError(
            f"{op}: grad_output must have the shape of {name}, {value.shape}, "
            f"got grad_output.shape={grad_output.shape}"
        )
    return value, grad_output, compute_dtype(op, value, grad_output)
