"""Parts of a concatenation are made in their place, and nobody can tell by the numbers."""

import numpy as np
import pytest

from fastconv.graph import executor as module
from fastconv.graph.executor import Executor
from fastconv.graph.ir import Graph, Node, Value

SIZE = {1: (7,), 2: (7, 5), 3: (3, 4, 5)}


def value(name, channels, nd=2, dtype=np.float32, batch=2):
    return Value(name, np.dtype(dtype), (batch, channels, *SIZE[nd]))


def conv(rng, x, y, *more):
    nd = len(x.shape) - 2
    shape = (y.shape[1], x.shape[1], *(3,) * nd)
    weight = Value("w", constant=rng.standard_normal(shape).astype(x.dtype))
    return Node("Conv", [x, weight, None, *more], [y], {"pads": (1,) * 2 * nd})


def pool(op, x, y):
    nd = len(x.shape) - 2
    return Node(op, [x], [y], {"kernel_shape": (3,) * nd, "pads": (1,) * 2 * nd})


def join(parts, y, axis=1):
    return Node("Concat", parts, [y], {"axis": axis})


def dense_block(rng, nd=2, dtype=np.float32):
    """Two nested concatenations of a pool and three convolutions, each read beside them."""
    x, a, b, c, d, f, g = (value(name, n, nd, dtype) for name, n in zip("xabcdfg", (
        6, 6, 5, 3, 11, 1, 15), strict=True))
    y = value("y", 11, nd, dtype)
    nodes = [pool("MaxPool", x, a), conv(rng, x, b), join([a, b], d), Node("Relu", [d], [y]),
             conv(rng, y, c), conv(rng, b, f), join([d, c, f], g)]
    return Graph([x], [g], nodes)


def everything(executor, inputs):
    """All slots after a run, by value."""
    slots = executor.filled(inputs)
    for step in executor.steps:
        executor.run_step(step, slots, free=False)
    made = {}
    for step in executor.steps:
        made |= {v.name: slots[at] for v, at in zip(step.operation.node.outputs, step.outputs,
                                                   strict=True)}
    return made


def fed(rng, graph):
    return [rng.standard_normal(x.shape).astype(x.dtype) for x in graph.inputs]


def check(rng, monkeypatch, graph):
    """Plan and steps give the bits that they give without places."""
    inputs = fed(rng, graph)
    placed = Executor(graph)
    with monkeypatch.context() as patch:
        patch.setattr(module, "find_shares", lambda *_: {})
        exact = Executor(graph).run(inputs)
    for _ in range(3):
        for result, right in zip(placed.run(inputs), exact, strict=True):
            np.testing.assert_array_equal(result, right)


def test_parts_lie_in_the_outermost(rng):
    made = everything(graph := Executor(dense_block(rng)), fed(rng, graph.graph))
    first = 0
    for name in "abcf":
        channels = made[name].shape[1]
        target = made["g"][:, first : first + channels]
        # f reads what already lies there: it is made elsewhere, and copied
        assert np.shares_memory(made[name], target) == (name != "f")
        np.testing.assert_array_equal(made[name], target)
        first += channels
    assert np.shares_memory(made["d"], made["g"])


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("nd", [1, 2, 3])
def test_numbers(nd, dtype, rng, monkeypatch):
    check(rng, monkeypatch, dense_block(rng, nd, dtype))


def test_a_part_of_two_is_copied_into_the_second(rng, monkeypatch):
    x, a, b, c, d = (value(name, n) for name, n in zip("xabcd", (4, 3, 4, 7, 7), strict=True))
    nodes = [conv(rng, x, a), pool("AveragePool", x, b)]
    check(rng, monkeypatch, Graph([x], [c, d, a], [*nodes, join([a, b], c), join([b, a], d)]))


@pytest.mark.parametrize("parts", ["aa", "xa", "ax", "xx"])
def test_parts_that_come_twice_or_are_fed(parts, rng, monkeypatch):
    values = {name: value(name, 4) for name in "xa"}
    y = value("y", 8)
    nodes = [conv(rng, values["x"], values["a"]), join([values[name] for name in parts], y)]
    check(rng, monkeypatch, Graph([values["x"]], [y], nodes))


def test_a_residual_in_the_same_array(rng, monkeypatch):
    x, a, b, c = (value(name, n) for name, n in zip("xabc", (4, 4, 4, 8), strict=True))
    check(rng, monkeypatch, Graph([x], [c], [conv(rng, x, a), conv(rng, x, b, a),
                                             join([a, b], c)]))


def test_other_sizes_than_those_declared(rng):
    graph = dense_block(rng)
    x = rng.standard_normal((1, 6, 9, 4)).astype(np.float32)
    executor = Executor(graph)
    for _ in range(3):
        (result,) = executor.run([x])
        assert result.shape == (1, 15, 9, 4)
    np.testing.assert_array_equal(result, everything(executor, [x])["g"])


def test_free_sizes_and_unknown_channels(rng):
    graph = dense_block(rng)
    for v in graph.values():
        if not v.is_constant:
            v.shape = ("N", v.shape[1], None, None)
    executor = Executor(graph)
    inputs = [rng.standard_normal((1, 6, 7, 5)).astype(np.float32)]
    made = everything(executor, inputs)
    assert np.shares_memory(made["a"], made["g"])
    for v in graph.values():
        if not v.is_constant:
            v.shape = None
    np.testing.assert_array_equal(Executor(graph).run(inputs)[0], made["g"])


def test_rows_are_no_channels(rng, monkeypatch):
    x, a, b = value("x", 4), value("a", 4), value("b", 4)
    y = Value("y", np.dtype(np.float32), (2, 4, 14, 5))
    check(rng, monkeypatch, Graph([x], [y], [conv(rng, x, a), conv(rng, x, b),
                                             join([a, b], y, axis=2)]))


def test_outputs_share_no_memory(rng):
    """One pixel of one picture: its slices are contiguous as they lie."""
    shapes = (1, 4, 1, 1), (1, 3, 1, 1), (1, 7, 1, 1)
    x, a, c = (Value(name, np.dtype(np.float32), shape)
               for name, shape in zip("xac", shapes, strict=True))
    b = Value("b", np.dtype(np.float32), (1, 4, 1, 1))
    nodes = [conv(rng, x, a), pool("MaxPool", x, b), join([a, b], c)]
    executor = Executor(Graph([x], [a, c], nodes))
    inputs = fed(rng, executor.graph)
    for _ in range(2):
        first, second = executor.run(inputs)
        np.testing.assert_array_equal(first, second[:, :3])
        assert not np.shares_memory(first, second)
