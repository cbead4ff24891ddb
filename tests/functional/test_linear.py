"""The fully connected layer: any number of leading axes, fused extras, prepared form, errors."""

import numpy as np
import pytest

import fastconv

SHAPES = {
    "vector": ((70,), (33, 70)),
    "rows": ((5, 70), (33, 70)),
    "one feature": ((4, 1), (1, 1)),
    "many axes": ((2, 3, 4, 6), (5, 6)),
    "no rows": ((0, 6), (5, 6)),
    "long": ((3, 2000), (40, 2000)),
    "many rows": ((400, 30), (20, 30)),
}


@pytest.mark.every_isa
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", SHAPES)
def test_linear(name, dtype, check_conv, memory, rng):
    x_shape, weight_shape = SHAPES[name]
    x, weight = (rng.standard_normal(shape).astype(dtype) for shape in (x_shape, weight_shape))
    bias = rng.standard_normal(len(weight)).astype(dtype)
    y = check_conv("linear", x, weight)
    residual = rng.standard_normal(y.shape).astype(dtype)
    check_conv("linear", x, weight, bias, residual=residual)
    for order in memory.WRITABLE:
        x2, weight2, bias2, residual2 = (
            memory.lay(array, order) for array in (x, weight, bias, residual)
        )
        out = memory.lay(np.zeros_like(y), order)
        check_conv("linear", x2, weight2, bias2, residual=residual2, out=out)


def test_prepared_linear_gives_the_same_bits(rng):
    weight, bias = rng.standard_normal((33, 70)), rng.standard_normal(33)
    op = fastconv.prepare_linear(weight, bias, activation="tanh")
    for shape in ((70,), (5, 70), (2, 3, 70)):
        x = rng.standard_normal(shape)
        wanted = fastconv.linear(x, weight, bias, activation="tanh")
        np.testing.assert_array_equal(op(x), wanted, strict=True)
        transposed = np.asfortranarray(x)
        np.testing.assert_array_equal(op(transposed), wanted, strict=True)


def test_out_may_be_the_input(rng):
    x, weight = rng.standard_normal((5, 6)), rng.standard_normal((6, 6))
    wanted = fastconv.linear(x, weight)
    assert fastconv.linear(x, weight, out=x) is x
    np.testing.assert_array_equal(x, wanted)


def test_integers_give_floats():
    y = fastconv.linear(np.array([[1, 2], [3, 4]], np.int16), np.array([[1, 1]], np.int8))
    assert y.dtype == np.float32
    np.testing.assert_array_equal(y, [[3], [7]])


@pytest.mark.parametrize(
    ("arguments", "options", "exception", "message"),
    [
        ((np.ones(3), np.ones((2, 4))), {}, ValueError, r"x must have shape \(\.\.\., 4\).*\(3,\)"),
        ((np.ones(()), np.ones((2, 4))), {}, ValueError, r"x must have shape .* x\.shape=\(\)"),
        ((np.ones(4), np.ones(4)), {}, ValueError, r"weight must have shape \(out_features"),
        ((np.ones(4) * 1j, np.ones((2, 4))), {}, TypeError, "x must be an array of real numbers"),
        ((np.ones(4), np.ones((2, 4)), np.ones(3)), {}, ValueError, r"bias must have shape \(2,\)"),
        ((np.ones(4), np.ones((2, 4))), {"out": np.ones(3)}, ValueError, r"out must have shape"),
        ((np.ones(4), np.ones((2, 4))), {"out": np.ones(2, "f4")}, TypeError, "out must have dty"),
        ((np.ones(4), np.ones((2, 4))), {"residual": np.ones(3)}, ValueError, "residual must have"),
        ((np.ones(4), np.ones((2, 4))), {"activation": "no"}, ValueError, "activation must be"),
        ((np.ones(4), np.ones((2, 4))), {"precision": "no"}, ValueError, "precision must be"),
    ],
)
def test_errors_name_linear(arguments, options, exception, message):
    with pytest.raises(exception, match="^linear: " + message):
        fastconv.linear(*arguments, **options)


def test_prepared_linear_checks_its_input():
    op = fastconv.prepare_linear(np.ones((2, 4)))
    with pytest.raises(ValueError, match=r"^linear: x must have shape \(\.\.\., 4\)"):
        op(np.ones(3))
    with pytest.raises(ValueError, match="^linear: weight must have shape"):
        fastconv.prepare_linear(np.ones(4))


def test_as_pytorch(rng):
    torch = pytest.importorskip("torch", reason="needs torch: pip install fastconv[bench]")
    arrays = [rng.standard_normal(shape) for shape in ((3, 5, 20), (7, 20), (7,))]
    wanted = torch.nn.functional.linear(*map(torch.from_numpy, arrays)).numpy()
    np.testing.assert_allclose(fastconv.linear(*arrays), wanted, rtol=0, atol=1e-12)
