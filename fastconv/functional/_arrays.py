"""Array arguments: what counts as an array of numbers, and which type a result has.

In go the operands as the caller wrote them (arrays of any memory order, lists, scalars); out come
plain `numpy.ndarray` objects, untouched: nothing is copied, cast or made contiguous here, that is
the engine's business. Shapes are compared with what the geometry says, types with what the engine
computes in.
"""

from reprlib import repr as short_repr

import numpy as np

_FLOAT32 = np.dtype(np.float32)
_FLOAT64 = np.dtype(np.float64)

# Bools, signed and unsigned integers, floats (numpy.dtype.kind).
_REAL_KINDS = "biuf"


def imported(value):
    """A view of what offers its memory by DLPack alone; anything else as it is."""
    if hasattr(value, "__dlpack__") and not hasattr(value, "__array__"):
        return np.from_dlpack(value)
    return value


def as_array(op, name, value):
    """Return `value` as an ndarray of bools, integers or floats, without a copy where it is one.

    Parameters
    ----------
    op, name : str
        Public name of the function and of the argument, for error texts.
    value : array_like
        Any shape; any real dtype up to float64, any byte order.

    Raises
    ------
    TypeError
        When `value` is no array of real numbers (None, text, dates, complex, ragged lists, ...)
        or is wider than float64.
    """
    if type(value) is np.ndarray:
        array = value
    else:
        try:
            array = np.asarray(imported(value))
        except (TypeError, ValueError, RuntimeError, BufferError) as error:
            raise TypeError(
                f"{op}: {name} must be an array of real numbers, got {type(value).__name__} "
                f"that NumPy cannot convert ({error})"
            ) from error
    dtype = array.dtype
    if dtype.kind in _REAL_KINDS and dtype.itemsize <= _FLOAT64.itemsize:
        return array
    if dtype.kind == "O":
        came = f"{short_repr(value)} (dtype object)"
    else:
        came = f"dtype {dtype} ({name}.shape={array.shape})"
    hint = ""
    if dtype.kind == "c":
        hint = f"; pass {name}.real and {name}.imag one by one"
    elif dtype.kind == "f":
        hint = f"; pass {name}.astype(numpy.float64)"
    raise TypeError(
        f"{op}: {name} must be an array of real numbers, at most float64, got {came}{hint}"
    )


def compute_dtype(op, *arrays):
    """Return the dtype an operation on `arrays` computes in and returns: float32 or float64.

    It is ``np.result_type(*arrays, np.float32)`` on the dtypes alone, in native byte order: float16
    and integers up to 16 bits give float32, float64 and wider integers float64.

    Raises
    ------
    TypeError
        When the operands together need more than float64.
    """
    dtypes = [array.dtype for array in arrays]
    for dtype in (_FLOAT32, _FLOAT64):  # as most are, and NumPy takes its time
        if dtypes.count(dtype) == len(dtypes):
            return dtype
    try:
        dtype = np.result_type(*dtypes, _FLOAT32)
    except TypeError:
        pass  # dates and records do not go together with floats at all
    else:
        if dtype in (_FLOAT32, _FLOAT64):
            return dtype
    names = ", ".join(map(str, dtypes))
    raise TypeError(f"{op}: operands must have real dtypes, at most float64, got {names}")


def plain_array(array, dtype):
    """Return `array` itself where the engine can read it, else a copy in the compute dtype."""
    if array.dtype == dtype and array.dtype.isnative and array.flags.aligned:
        return np.asarray(array)
    return array.astype(dtype)


def _check_shape(op, name, array, shape, what):
    if array.shape != tuple(shape):
        raise ValueError(
            f"{op}: {name} must have shape {tuple(shape)}, {what}, got {name}.shape={array.shape}"
        )


def check_bias(op, bias, out_channels):
    """Return `bias` as an ndarray of shape ``(out_channels,)``, or None where it is None."""
    return None if bias is None else check_table(op, "bias", bias, out_channels)


def check_table(op, name, table, out_channels):
    """Return `table` as an ndarray of shape ``(out_channels,)``."""
    array = as_array(op, name, table)
    _check_shape(op, name, array, (out_channels,), "one number per output channel")
    return array


def check_residual(op, residual, shape):
    """Return `residual` as an ndarray of the result's `shape`, or None where it is None."""
    if residual is None:
        return None
    array = as_array(op, "residual", residual)
    _check_shape(op, "residual", array, shape, "the result's")
    return array


def check_out(op, out, shape, dtype):
    """Return `out`, the array a result of `shape` and `dtype` is to be written to, or None.

    Any strides are allowed; whether `out` overlaps an operand is not looked at here.

    Raises
    ------
    TypeError
        When `out` is not an ndarray or has another dtype (another byte order is another dtype).
    ValueError
        When `out` has another shape or is read-only.
    """
    if out is None:
        return None
    dtype = np.dtype(dtype)
    if not isinstance(out, np.ndarray):
        raise TypeError(f"{op}: out must be a numpy.ndarray, got {type(out).__name__}")
    if out.dtype != dtype:
        raise TypeError(f"{op}: out must have dtype {dtype}, the result's, got {out.dtype}")
    _check_shape(op, "out", out, shape, "the result's")
    if not out.flags.writeable:
        raise ValueError(f"{op}: out must be writeable, got a read-only array")
    return out
