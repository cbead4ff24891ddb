"""Kernels of the graph's operators against NumPy, on arrays in both orders of memory."""

import numpy as np
import pytest

import fastconv
from fastconv.graph.executor import Operation
from fastconv.graph.ir import Node, Value

FIRST, LAST = (0, 1, 2, 3), (0, 2, 3, 1)


def run(op, arrays, **attributes):
    values = [Value(str(at), array.dtype, array.shape) for at, array in enumerate(arrays)]
    (result,) = Operation(Node(op, values, [Value("y")], attributes))(arrays)
    return result


def ordered(rng, shape, order, dtype=np.float32):
    """Random numbers in an array whose axes lie in memory in this order."""
    sizes = [shape[axis] for axis in order]
    return rng.standard_normal(sizes).astype(dtype).transpose(np.argsort(order))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("orders", [(FIRST, FIRST), (LAST, LAST), (FIRST, LAST)])
@pytest.mark.parametrize("op, function", [
    ("Add", np.add), ("Sub", np.subtract), ("Mul", np.multiply), ("Div", np.divide),
])
@pytest.mark.parametrize("shapes", [
    ((2, 19, 6, 5), (2, 19, 6, 5)), ((2, 19, 6, 5), (2, 19, 1, 1)), ((1, 19, 1, 1), (2, 1, 6, 5)),
    ((2, 3, 1, 5), (1, 3, 40, 1)), ((2, 0, 6, 5), (2, 1, 6, 5)),
])
def test_arithmetic_broadcasts(rng, op, function, orders, shapes, dtype):
    x, y = (ordered(rng, *pair, dtype) for pair in zip(shapes, orders, strict=True))
    np.testing.assert_array_equal(run(op, [x, y]), function(x, y))


def test_arithmetic_of_arrays_of_other_ranks(rng):
    x, y = rng.random((4, 5), np.float32), rng.random((3, 1, 5), np.float32)
    np.testing.assert_array_equal(run("Sub", [x, y]), x - y)
    np.testing.assert_array_equal(run("Sub", [y[0, 0, 0], x]), y[0, 0, 0] - x)


@pytest.mark.parametrize("order", [FIRST, LAST])
@pytest.mark.parametrize("mode, name", [("constant", "constant"), ("edge", "edge"),
                                        ("reflect", "reflect")])
@pytest.mark.parametrize("pads", [(0, 0, 1, 2, 0, 0, 3, 0), (1, 2, 3, 3, 1, 0, 4, 3)])
def test_pad(rng, order, mode, name, pads):
    x = ordered(rng, (3, 7, 5, 4), order)
    pairs = list(zip(pads[:4], pads[4:], strict=True))
    numbers = {"constant_values": np.float32(0.5)} if mode == "constant" else {}
    result = run("Pad", [x, np.array(pads), np.float32([0.5])], mode=mode)
    np.testing.assert_array_equal(result, np.pad(x, pairs, name, **numbers))


@pytest.mark.parametrize("order", [FIRST, LAST])
@pytest.mark.parametrize("axis", [1, -1])
def test_concat(rng, order, axis):
    x = ordered(rng, (2, 7, 5, 4), order)
    parts = [x, x[:, :, ::-1], x]
    np.testing.assert_array_equal(run("Concat", parts, axis=axis), np.concatenate(parts, axis))


@pytest.mark.parametrize("order", [FIRST, LAST])
@pytest.mark.parametrize("scale", [2, 3])
def test_nearest_by_whole_factors(rng, order, scale):
    x = ordered(rng, (2, 7, 5, 4), order)
    scales = np.float32([1, 1, scale, scale])
    result = run("Resize", [x, np.float32([]), scales], mode="nearest", nearest_mode="floor",
                 coordinate_transformation_mode="asymmetric")
    np.testing.assert_array_equal(result, x.repeat(scale, 2).repeat(scale, 3))


@pytest.mark.parametrize("order", [FIRST, LAST])
def test_linear_halves(rng, order):
    x = ordered(rng, (2, 7, 6, 4), order)
    result = run("Resize", [x, np.float32([]), np.float32([1, 1, 0.5, 0.5])], mode="linear")
    means = x.reshape(2, 7, 3, 2, 2, 2).mean((3, 5))
    np.testing.assert_allclose(result, means, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("order", [FIRST, LAST])
def test_gather_along_channels(rng, order):
    x, places = ordered(rng, (2, 7, 5, 4), order), np.array([6, 0, -1, 3])
    values = [Value("x", x.dtype, x.shape), Value("places", constant=places)]
    (result,) = Operation(Node("Gather", values, [Value("y")], {"axis": 1}))([x, places])
    np.testing.assert_array_equal(result, x[:, places])


@pytest.mark.parametrize("order", [FIRST, LAST])
@pytest.mark.parametrize("channels, kernel", [(1, (2, 2)), (9, (2, 3)), (16, (2, 2))])
@pytest.mark.parametrize("activation", [None, "relu"])
def test_transposed_convolutions_to_blocks(rng, order, channels, kernel, activation):
    x = ordered(rng, (2, 5, 4, 3), order)
    weight = rng.standard_normal((5, channels, *kernel)).astype(np.float32)
    bias = rng.standard_normal(channels).astype(np.float32)
    values = [Value("x", x.dtype, x.shape), Value("w", constant=weight), Value("b", constant=bias)]
    attributes = {"strides": kernel} | ({"activation": activation} if activation else {})
    node = Node("ConvTranspose", values, [Value("y")], attributes)
    (result,) = Operation(node)([x, weight, bias])
    wanted = fastconv.conv_transpose2d(x, weight, bias, stride=kernel, activation=activation)
    np.testing.assert_allclose(result, wanted, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("nearest", ["round_prefer_floor", "round_prefer_ceil", "floor"])
@pytest.mark.parametrize("coordinates", ["half_pixel", "asymmetric"])
@pytest.mark.parametrize("size", [2, 3, 4, 6, 7, 10])
def test_nearest_lines_by_sizes(size, coordinates, nearest, rng):
    """Sizes that are a whole multiple are copied, others picked; both are the same lines."""
    x = rng.standard_normal((1, 3, 2, 2)).astype(np.float32)
    places = np.arange(size) * 2 / size
    if coordinates == "half_pixel":
        places = (np.arange(size) + 0.5) * 2 / size - 0.5
    rule = {"round_prefer_floor": lambda p: np.ceil(p - 0.5),
            "round_prefer_ceil": lambda p: np.floor(p + 0.5), "floor": np.floor}[nearest]
    lines = np.clip(rule(places), 0, 1).astype(int)
    none = np.float32([])
    result = run("Resize", [x, none, none, np.array([1, 3, size, size])], mode="nearest",
                 nearest_mode=nearest, coordinate_transformation_mode=coordinates)
    np.testing.assert_array_equal(result, x[:, :, lines][..., lines])
