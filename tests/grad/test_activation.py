"""Gradients of activations and soft maxima: against the reference, PyTorch and differences."""

import numpy as np
import pytest

import fastconv
from fastconv import grad
from fastconv.functional import activation
from fastconv.reference import grad as reference

FROM_RESULT = ("relu", "relu6", "sigmoid", "tanh")
FROM_INPUT = ("leaky_relu", "silu", "hardsigmoid", "hardswish")
NAMES = (*FROM_RESULT, *FROM_INPUT)
DTYPES = (np.float32, np.float64)
BENDS = [0.0, -0.0, 3.0, -3.0, 6.0, np.nan, np.inf, -np.inf]


def forward(name):
    return getattr(activation, name)


def operands(name, dtype=np.float32, shape=(3, 5, 7, 11)):
    """What the gradient is computed from, and grad_output."""
    rng = np.random.default_rng(7)
    x = (3 * rng.standard_normal(shape)).astype(dtype)
    g = rng.standard_normal(shape).astype(dtype)
    return (forward(name)(x) if name in FROM_RESULT else x), g


def wide(*arrays):
    return [np.asarray(array, np.float64) for array in arrays]


@pytest.mark.every_isa
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", NAMES)
def test_against_reference(name, dtype, close, memory):
    v, g = operands(name, dtype)
    wanted = getattr(reference, name)(*wide(v, g))
    for order in memory.ALL:
        mine = getattr(grad, name)(memory.lay(v, order), memory.lay(g, order))
        close(mine, wanted, dtype)
    # The two need not lie alike.
    close(getattr(grad, name)(np.asfortranarray(v), g), wanted, dtype)


@pytest.mark.every_isa
@pytest.mark.parametrize("name", NAMES)
def test_memory_does_not_change_a_bit(name, memory):
    v, g = operands(name)
    wanted = getattr(grad, name)(v, g)
    for order in memory.ALL:
        mine = getattr(grad, name)(memory.lay(v, order), memory.lay(g, order))
        assert mine.tobytes() == wanted.tobytes(), order


@pytest.mark.parametrize("name", NAMES)
def test_against_differences(name, differences):
    rng = np.random.default_rng(8)
    x, g = rng.uniform(-5, 8, 60) + 1e-3, rng.standard_normal(60)
    mine = getattr(grad, name)(forward(name)(x) if name in FROM_RESULT else x, g)
    np.testing.assert_allclose(mine, differences(forward(name), x, g), rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", NAMES)
def test_against_torch(name, dtype, close):
    torch = pytest.importorskip("torch", reason="needs torch: pip install fastconv[bench]")
    rng = np.random.default_rng(9)
    x = np.concatenate([3 * rng.standard_normal(300), BENDS]).astype(dtype)
    g = rng.standard_normal(x.shape).astype(dtype)
    tx = torch.from_numpy(x.copy()).requires_grad_()
    f = getattr(torch.nn.functional, name)
    y = f(tx)
    y.backward(torch.from_numpy(g))
    mine = getattr(grad, name)(y.detach().numpy() if name in FROM_RESULT else x, g)
    wanted = tx.grad.numpy()
    if name == "hardsigmoid" and dtype == np.float64:
        # PyTorch's 1 / 6 is a float32 here, too.
        np.testing.assert_allclose(mine, wanted, rtol=1e-7)
    else:
        close(mine, wanted, dtype)


def test_clip():
    y, g = np.float32([-1, -0.5, 0, 0.5, 1, np.nan]), np.arange(1, 7, dtype=np.float32)
    np.testing.assert_array_equal(grad.clip(y, g, -1, 1), [0, 2, 3, 4, 0, 6])
    np.testing.assert_array_equal(grad.clip(y, g, 0, np.inf), [0, 0, 0, 4, 5, 6])


@pytest.mark.every_isa
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("layout", [None, "NCHW", "NHWC"])
def test_prelu(layout, dtype, close, memory):
    rng = np.random.default_rng(10)
    x = rng.standard_normal((3, 20, 9, 20)).astype(dtype)
    g = rng.standard_normal(x.shape).astype(dtype)
    for weight in (rng.standard_normal(20), rng.standard_normal(1), np.array(0.3)):
        wanted = reference.prelu(*wide(x, weight, g), layout=layout)
        for order in memory.ALL:
            mine = grad.prelu(memory.lay(x, order), weight, memory.lay(g, order), layout=layout)
            close(mine[0], wanted[0], dtype)
            close(mine[1], wanted[1], dtype)


def test_prelu_against_torch(close):
    torch = pytest.importorskip("torch", reason="needs torch: pip install fastconv[bench]")
    rng = np.random.default_rng(11)
    x = rng.standard_normal((4, 6, 5)).astype(np.float32)
    x[0, 0, :3] = 0, np.nan, np.inf
    x[1, 1, :2] = np.nan, -np.inf
    g, weight = rng.standard_normal(x.shape).astype(np.float32), np.float32([1, 2, 3, -1, 0, 5])
    tx, tw = (torch.from_numpy(a.copy()).requires_grad_() for a in (x, weight))
    torch.nn.functional.prelu(tx, tw).backward(torch.from_numpy(g))
    dx, dweight = grad.prelu(x, weight, g)
    close(dx, tx.grad.numpy())
    close(dweight, tw.grad.numpy())


def test_a_single_number():
    dx, dweight = grad.prelu(-2.0, [0.5], 3.0)
    assert dx.shape == () and dx == 1.5
    assert dweight.shape == (1,) and dweight[0] == -6
    assert grad.relu(1.0, 2.0) == 2 and grad.softmax(1.0, 2.0) == 0


@pytest.mark.every_isa
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", ["softmax", "log_softmax"])
@pytest.mark.parametrize("shape", [(40,), (3, 50), (5, 7, 6), (2, 33, 9, 5)])
def test_soft_maxima_against_reference(shape, name, dtype, close, memory):
    rng = np.random.default_rng(12)
    x = (4 * rng.standard_normal(shape)).astype(dtype)
    g = rng.standard_normal(shape).astype(dtype)
    for axis in range(-1, len(shape)):
        y = getattr(fastconv, name)(x, axis)
        wanted = getattr(reference, name)(*wide(y, g), axis)
        bits = set()
        for order in memory.ALL:
            mine = getattr(grad, name)(memory.lay(y, order), memory.lay(g, order), axis)
            close(mine, wanted, dtype)
            bits.add(mine.tobytes())
        assert len(bits) == 1


@pytest.mark.parametrize("name", ["softmax", "log_softmax"])
def test_soft_maxima_against_torch_and_differences(name, close, differences):
    torch = pytest.importorskip("torch", reason="needs torch: pip install fastconv[bench]")
    rng = np.random.default_rng(13)
    x, g = rng.standard_normal((2, 4, 6, 3))
    x, g = x.copy(), g.copy()
    tx = torch.from_numpy(x).requires_grad_()
    y = getattr(torch.nn.functional, name)(tx, 1)
    y.backward(torch.from_numpy(g))
    mine = getattr(grad, name)(y.detach().numpy(), g, 1)
    close(mine, tx.grad.numpy())
    wanted = differences(lambda v: getattr(fastconv, name)(v, 1), x, g)
    np.testing.assert_allclose(mine, wanted, rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize("name", ["softmax", "log_softmax"])
def test_soft_maxima_of_nan(name):
    y, g = np.full((2, 5), 0.2, np.float32), np.ones((2, 5), np.float32)
    y[0, 2] = np.nan
    lines = np.isnan(getattr(grad, name)(y, g)).any(axis=1)
    assert list(lines) == [True, False]


@pytest.mark.every_isa
@pytest.mark.parametrize("name", [*NAMES, "softmax", "log_softmax"])
def test_bits_do_not_depend_on_threads(name, same_for_any_threads):
    v, g = operands(name, shape=(3, 70, 50, 30))
    same_for_any_threads(lambda: getattr(grad, name)(v, g))
    same_for_any_threads(lambda: getattr(grad, name)(v.T, g.T))


@pytest.mark.every_isa
def test_bits_of_prelu_do_not_depend_on_threads(same_for_any_threads):
    v, g = operands("prelu", shape=(3, 70, 50, 30))
    weight = np.linspace(-1, 1, 70)
    same_for_any_threads(lambda: grad.prelu(v, weight, g))
    v, g = np.moveaxis(v, 1, -1).copy(), np.moveaxis(g, 1, -1).copy()
    same_for_any_threads(lambda: grad.prelu(v, weight, g, layout="NHWC"))


FUSED = [
    "relu", "relu6", "sigmoid", "tanh", "leaky_relu", ("leaky_relu", 0.2), ("leaky_relu", 0),
    ("clip", -0.5, 1),
]  # fmt: skip


@pytest.mark.parametrize("kind", FUSED, ids=str)
def test_fused_against_differences(kind, differences):
    """What a convolution's result tells: the weight 1 makes the convolution the identity."""
    rng = np.random.default_rng(14)
    x, g = rng.uniform(-3, 8, (1, 1, 6, 7)) + 1e-3, rng.standard_normal((1, 1, 6, 7))

    def f(v):
        return fastconv.conv2d(v, np.ones((1, 1, 1, 1)), activation=kind)

    mine = grad.fused(kind, f(x), g)
    np.testing.assert_allclose(mine, differences(f, x, g), rtol=1e-6, atol=1e-8)


def test_fused_without_activation():
    g = np.arange(6).reshape(2, 3)
    mine = grad.fused(None, np.ones((2, 3), np.float32), g)
    np.testing.assert_array_equal(mine, g)
    assert mine.dtype == np.float64 and grad.fused(None, 1.0, 2.0).shape == ()


@pytest.mark.parametrize("kind", ["silu", "hardswish", "hardsigmoid", ("leaky_relu", -0.1)])
def test_fused_that_the_result_does_not_determine(kind):
    name = kind if isinstance(kind, str) else kind[0]
    with pytest.raises(ValueError, match=f"fused: activation must be .*{name}"):
        grad.fused(kind, [1.0], [1.0])


@pytest.mark.parametrize("shape", [(), (0,), (3, 0, 2), (1,), (1, 1, 1), (2, 1, 3)])
def test_odd_shapes(shape):
    v, g = np.full(shape, 0.5, np.float32), np.ones(shape, np.float32)
    for name in NAMES:
        mine = getattr(grad, name)(v, g)
        assert mine.shape == shape and mine.dtype == np.float32
        np.testing.assert_allclose(mine, getattr(reference, name)(v, g), rtol=1e-5)
    for name in ("softmax", "log_softmax"):
        assert getattr(grad, name)(v, g).shape == shape


def test_types():
    assert grad.relu([1, 0], [2, 3]).dtype == np.float64
    assert grad.relu(np.int8([1, 0]), np.float16([2, 3])).dtype == np.float32
    assert grad.relu(np.float32([1, 0]), np.float64([2, 3])).dtype == np.float64


TWO = np.zeros(2)
BAD = [
    ("relu", (TWO, [1, 2, 3]), ValueError, r"relu: grad_output must have the shape of y, \(2,\)"),
    ("silu", (TWO, [1, 2, 3]), ValueError, r"silu: grad_output must have the shape of x, \(2,\)"),
    ("relu", (TWO * 1j, TWO), TypeError, "relu: y must be an array of real"),
    ("tanh", (TWO, "no"), TypeError, "tanh: grad_output must be an array of real"),
    ("leaky_relu", (TWO, TWO, True), TypeError, "leaky_relu: negative_slope must be a number"),
    ("leaky_relu", (TWO, TWO, np.nan), ValueError, "leaky_relu: negative_slope must be a number"),
    ("clip", (TWO, TWO, 2, 1), ValueError, "clip: activation must be"),
    ("prelu", (np.zeros((2, 3)), TWO, np.zeros((2, 3))), ValueError, "prelu: weight must have"),
    ("softmax", (TWO, TWO, 1), ValueError, "softmax: axis must be between -1 and 0"),
    ("log_softmax", (TWO, TWO, 0.0), TypeError, "log_softmax: axis must be an int"),
    ("fused", ("gelu", TWO, TWO), ValueError, "fused: activation must be None"),
]


@pytest.mark.parametrize("name, arguments, error, text", BAD)
def test_bad_arguments(name, arguments, error, text):
    with pytest.raises(error, match=text):
        getattr(grad, name)(*arguments)


def test_names():
    assert set(grad.__all__) <= set(dir(grad))
    assert all(callable(getattr(grad, name)) for name in grad.__all__)
    with pytest.raises(AttributeError, match="has no attribute 'gelu'"):
        grad.gelu  # noqa: B018
