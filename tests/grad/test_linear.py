"""Gradients of fully connected layers: their three products, and what they refuse."""

import numpy as np
import pytest

from fastconv import grad
from fastconv.grad import _convolutions

# leading axes, features in, features out
SHAPES = {
    "vector": ((), 70, 33),
    "rows": ((5,), 70, 33),
    "one feature": ((4,), 1, 1),
    "many axes": ((2, 3, 4), 6, 5),
    "no rows": ((0,), 6, 5),
    "many features": ((3,), 2000, 40),
    "many rows": ((1300,), 30, 20),
}
BOUNDS = {"float32": 1e-5, "float64": 1e-13}


@pytest.mark.every_isa
@pytest.mark.parametrize("dtype", BOUNDS)
@pytest.mark.parametrize("name", SHAPES)
def test_as_products(name, dtype, memory, rng):
    rows, features, out = SHAPES[name]
    x, weight, dy = (
        rng.standard_normal(shape).astype(dtype)
        for shape in ((*rows, features), (out, features), (*rows, out))
    )
    x2, dy2 = (a.astype(np.float64).reshape(-1, a.shape[-1]) for a in (x, dy))
    wanted = {
        "input": (dy2 @ weight.astype(np.float64)).reshape(x.shape),
        "weight": dy2.T @ x2,
        "bias": dy2.sum(0),
    }
    for order in ("C", "Fortran", "sliced", "reversed", "byte-swapped", "unaligned"):
        laid = [memory.lay(a, order) for a in (x, weight, dy)]
        ours = {
            "input": grad.linear_input(laid[1], laid[2]),
            "weight": grad.linear_weight(laid[0], laid[2]),
            "bias": grad.linear_bias(laid[2]),
        }
        for operand, value in wanted.items():
            got = ours[operand]
            assert got.shape == value.shape and got.dtype == dtype
            bound = BOUNDS[dtype] * abs(value).max(initial=0)
            assert abs(got - value).max(initial=0) <= bound


def test_threads_change_no_bit(threads, rng):
    x, weight = rng.standard_normal((900, 400)), rng.standard_normal((300, 400))
    dy = rng.standard_normal((900, 300))
    results = []
    for count in (1, 2, 3, 7):
        threads(count)
        _convolutions._planned.clear()  # plans are made for a number of threads
        results.append([
            grad.linear_input(weight, dy), grad.linear_weight(x, dy), grad.linear_bias(dy)
        ])
    for other in results[1:]:
        for ours, theirs in zip(results[0], other, strict=True):
            np.testing.assert_array_equal(ours, theirs)


X, W, DY = np.zeros((5, 3)), np.zeros((4, 3)), np.zeros((5, 4))
ERRORS = [
    (grad.linear_input, (W, X), "linear_input: grad_output must have shape (..., 4)"),
    (grad.linear_input, (W[0], DY), "linear_input: weight must have shape (out_features"),
    (grad.linear_weight, (X, DY[:4]), "linear_weight: grad_output must have the rows of input"),
    (grad.linear_weight, (1.0, DY), "linear_weight: input must have shape (..., features)"),
    (grad.linear_bias, (np.zeros((2, 0)),), "linear_bias: grad_output must have shape"),
]


@pytest.mark.parametrize("function, arguments, text", ERRORS)
def test_errors(function, arguments, text):
    with pytest.raises(ValueError) as caught:
        function(*arguments)
    assert str(caught.value).startswith(text)
