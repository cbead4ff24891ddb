"""Arrays, dtypes and activations: what passes untouched and what every refusal says."""

import math

import numpy as np
import pytest

from fastconv.functional import _check as check

# Arrays and dtypes


def test_as_array_returns_arrays_untouched():
    array = np.zeros((3, 4), dtype=">f4")[::-1, ::2]
    assert check.as_array("conv2d", "x", array) is array


@pytest.mark.parametrize(
    ("value", "dtype"),
    [([[1, 2]], np.int64), (1.5, np.float64), ([True], np.bool_), (np.float16(1), np.float16)],
)
def test_as_array_takes_what_numpy_takes(value, dtype):
    array = check.as_array("conv2d", "x", value)
    assert isinstance(array, np.ndarray)
    assert array.dtype == dtype or (dtype is np.int64 and array.dtype.kind == "i")


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (np.zeros(3, complex), "got dtype complex128 (x.shape=(3,)); pass x.real and x.imag"),
        (np.zeros((1, 2), object), "(dtype object)"),
        (None, "got None (dtype object)"),
        ("abc", "got dtype <U3"),
        (b"abc", "got dtype |S3"),
        (np.zeros(2, "M8[s]"), "got dtype datetime64[s]"),
        (np.zeros(2, "m8[s]"), "got dtype timedelta64[s]"),
        (np.zeros(2, [("a", int)]), "got dtype [('a', '<i8')]"),
        ([[1, 2], [3]], "got list that NumPy cannot convert"),
        ({}, "got {} (dtype object)"),
    ],
)
def test_as_array_errors(value, text):
    with pytest.raises(TypeError) as caught:
        check.as_array("conv2d", "x", value)
    assert str(caught.value).startswith("conv2d: x must be an array of real numbers")
    assert text in str(caught.value)


wide = pytest.mark.skipif(
    np.dtype(np.longdouble).itemsize == 8, reason="long double is float64 on this machine"
)


@wide
def test_wider_than_float64_is_an_error():
    array = np.zeros(2, np.longdouble)
    with pytest.raises(TypeError, match=r"at most float64.*pass x\.astype\(numpy\.float64\)"):
        check.as_array("conv2d", "x", array)
    with pytest.raises(TypeError, match="conv2d: operands must have real dtypes, at most float64"):
        check.compute_dtype("conv2d", array)


@pytest.mark.parametrize(
    ("dtypes", "expected"),
    [
        (["f4", "f4"], "f4"),
        (["f4", "f8"], "f8"),
        ([">f4", ">f4"], "f4"),
        ([">f8", "f4"], "f8"),
        (["f2", "f2"], "f4"),
        (["u1", "i2"], "f4"),
        (["?", "u1"], "f4"),
        (["i4", "f4"], "f8"),
        (["i8", "i8"], "f8"),
        (["u8"], "f8"),
    ],
)
def test_compute_dtype(dtypes, expected):
    dtype = check.compute_dtype("conv2d", *(np.zeros(2, d) for d in dtypes))
    assert dtype == np.dtype(expected)
    assert dtype.isnative


def test_compute_dtype_looks_at_types_not_values():
    assert check.compute_dtype("conv2d", np.zeros(2, "f4"), np.array(1.0)) == np.float64


@pytest.mark.parametrize("dtype", ["c8", "U3", "M8[s]", "V4"])
def test_compute_dtype_errors(dtype):
    with pytest.raises(TypeError, match="conv2d: operands must have real dtypes"):
        check.compute_dtype("conv2d", np.zeros(2, dtype), np.zeros(2, "f4"))


def test_missing_operands_stay_missing():
    assert check.check_bias("conv2d", None, 3) is None
    assert check.check_residual("conv2d", None, (1, 2)) is None
    assert check.check_out("conv2d", None, (1, 2), np.float32) is None


def test_fitting_operands_are_returned():
    out = np.zeros((4, 6), np.float32)[::2, ::3]
    assert check.check_out("conv2d", out, (2, 2), np.float32) is out
    assert check.check_residual("conv2d", out, (2, 2)) is out
    assert check.check_bias("conv2d", [1, 2, 3], 3).tolist() == [1, 2, 3]


READ_ONLY = np.zeros((1, 2), np.float32)
READ_ONLY.flags.writeable = False

OPERAND_ERRORS = [
    (lambda: check.check_bias("f", [1, 2], 3), ValueError, "bias must have shape (3,), one number"),
    (lambda: check.check_bias("f", [1, 2], 3), ValueError, "got bias.shape=(2,)"),
    (lambda: check.check_bias("f", np.zeros((3, 1)), 3), ValueError, "got bias.shape=(3, 1)"),
    (lambda: check.check_bias("f", 1.0, 1), ValueError, "got bias.shape=()"),
    (lambda: check.check_bias("f", True, 1), ValueError, "got bias.shape=()"),
    (lambda: check.check_bias("f", ["a"], 1), TypeError, "bias must be an array of real numbers"),
    (
        lambda: check.check_residual("f", np.zeros((1, 3)), (1, 2)),
        ValueError,
        "residual must have shape (1, 2), the result's, got residual.shape=(1, 3)",
    ),
    (lambda: check.check_residual("f", [1j], (1,)), TypeError, "residual must be an array of real"),
    (
        lambda: check.check_out("f", [1], (1,), "f4"),
        TypeError,
        "out must be a numpy.ndarray, got l",
    ),
    (
        lambda: check.check_out("f", np.zeros((1, 2)), (1, 2), "f4"),
        TypeError,
        "out must have dtype float32, the result's, got float64",
    ),
    (
        lambda: check.check_out("f", np.zeros(2, ">f4"), (2,), "<f4"),
        TypeError,
        "float32, the result",
    ),
    (
        lambda: check.check_out("f", np.zeros((1, 3), "f4"), (1, 2), "f4"),
        ValueError,
        "out must have shape (1, 2), the result's, got out.shape=(1, 3)",
    ),
    (lambda: check.check_out("f", READ_ONLY, (1, 2), "f4"), ValueError, "out must be writeable"),
]


@pytest.mark.parametrize(("call", "error", "text"), OPERAND_ERRORS)
def test_operand_errors(call, error, text):
    with pytest.raises(error) as caught:
        call()
    assert str(caught.value).startswith("f: ")
    assert text in str(caught.value)


# Activations


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (None, ("none", 0, 0)),
        ("relu", ("relu", 0, 0)),
        ("relu6", ("clip", 0, 6)),
        ("leaky_relu", ("leaky_relu", 0.01, 0)),
        (("leaky_relu", 0.2), ("leaky_relu", 0.2, 0)),
        (("clip", -1, np.float32(2)), ("clip", -1, 2)),
        (["clip", 0, math.inf], ("clip", 0, math.inf)),
        ("sigmoid", ("sigmoid", 0, 0)),
        ("tanh", ("tanh", 0, 0)),
        ("silu", ("silu", 0, 0)),
        ("hardsigmoid", ("hardsigmoid", 0, 0)),
        ("hardswish", ("hardswish", 0, 0)),
    ],
)
def test_activations(given, expected):
    activation = check.parse_activation("conv2d", given)
    assert activation == expected
    assert type(activation.alpha) is float and type(activation.beta) is float


@pytest.mark.parametrize(
    ("given", "error", "text"),
    [
        ("gelu", ValueError, 'activation must be None, "relu", "relu6", "leaky_relu"'),
        ("gelu", ValueError, "got 'gelu'"),
        ("clip", ValueError, "(\"clip\", low, high), got 'clip'"),
        ("none", ValueError, "activation must be None"),
        (("relu", 1), ValueError, "got ('relu', 1)"),
        ((), ValueError, "got ()"),
        ((0, 6), ValueError, "got (0, 6)"),
        (3, TypeError, "got 3"),
        (np.array([0.0, 6.0]), TypeError, "activation must be None"),
        (("clip", 0), ValueError, "activation must be (\"clip\", low, high), got ('clip', 0)"),
        (("clip", 6, 0), ValueError, "low must not exceed high"),
        (("clip", 0, "6"), TypeError, "its numbers must be real"),
        (("clip", False, 6), TypeError, "its numbers must be real"),
        (("clip", 0, math.nan), ValueError, "NaN is no bound"),
        (("leaky_relu", math.nan), ValueError, "NaN is no slope"),
        (("leaky_relu", 10**400), ValueError, "too large for a float"),
        (("leaky_relu", 1j), TypeError, "its numbers must be real"),
        (("leaky_relu", 0.1, 0.2), ValueError, 'activation must be ("leaky_relu", slope)'),
    ],
)
def test_activation_errors(given, error, text):
    with pytest.raises(error) as caught:
        check.parse_activation("conv2d", given)
    assert str(caught.value).startswith("conv2d: activation must be ")
    assert text in str(caught.value)
