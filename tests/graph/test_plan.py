"""Plans give what the steps give, on any numbers, and know when they do not hold."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

import fastconv
from fastconv.graph.executor import Executor, Operation
from fastconv.graph.ir import Graph, GraphError, Node, Value
from fastconv.graph.recorder import record

SHAPE = (1, 8, 6, 5)


def value(name="v", shape=None, dtype=np.float32):
    return Value(name, np.dtype(dtype), shape)


def sizes(*numbers):
    return Value("sizes", constant=np.array(numbers))


def stepwise(executor, inputs):
    """What the steps give one by one."""
    slots = executor.filled(inputs)
    for step in executor.steps:
        executor.run_step(step, slots)
    return [slots[slot] for slot in executor.outputs]


def check(graph, feeds):
    """Run each feed thrice, in turn, and hold it against the steps; return the executor."""
    executor = Executor(graph)
    wanted = [stepwise(executor, feed) for feed in feeds]
    for _ in range(3):
        for feed, exact in zip(feeds, wanted, strict=True):
            for result, right in zip(executor.run(feed), exact, strict=True):
                assert result.dtype == right.dtype
                np.testing.assert_array_equal(result, right)
    return executor


def random(rng, *shape):
    return rng.standard_normal(shape).astype(np.float32)


def conv(rng, x, y, *more):
    weight, bias = Value("w", constant=random(rng, 8, 8, 3, 3)), Value("b", constant=random(rng, 8))
    return Node("Conv", [x, weight, bias, *more], [y], {"pads": (1, 1, 1, 1)})


def network(rng):
    """A residual block behind which channels are joined, moved and cut apart."""
    x, a, b, c, d, e, f, g, h, i = (value(name, SHAPE) for name in "xabcdefghi")
    nodes = [
        conv(rng, x, a), Node("Relu", [a], [b]), conv(rng, b, c, x),
        Node("MaxPool", [c], [d], {"kernel_shape": (3, 3), "pads": (1, 1, 1, 1)}),
        Node("Concat", [d, b], [e], {"axis": 1}),
        Node("GlobalAveragePool", [e], [f]), Node("Mul", [e, f], [g]),
        Node("Split", [g], [h, i], {"axis": 1}),
    ]
    return Graph([x], [h, i, f], nodes)


@pytest.mark.parametrize(("precision", "kept"), [("highest", True), ("high", False)])
def test_denormals_are_kept_where_highest(precision, kept):
    """They cost a hundred cycles each: beside numbers of any size they are zeros elsewhere."""
    x, half, y = (value(name, (40,)) for name in ("x", "half", "y"))
    nodes = [Node("Mul", [x, Value("w", constant=np.float32([0.5]))], [half]),
             Node("Sigmoid", [half], [y])]
    tiny = np.finfo(np.float32).tiny
    numbers = np.float32([tiny, 4 * tiny, -180, -2, 300]).repeat(8)
    with fastconv.precision(precision):
        executor = Executor(Graph([x], [half, y], nodes))
        for _ in range(3):
            results = executor.run([numbers])
            assert [array[:8].any() for array in results] == [kept, True]
            assert results[1][16:24].any() == kept
    np.testing.assert_array_equal(results[0][8:], numbers[8:] / 2)
    np.testing.assert_array_equal(results[1][24:], fastconv.sigmoid(numbers[24:] / 2))


def test_networks_run_without_python(rng, monkeypatch):
    executor = check(network(rng), [[random(rng, *SHAPE)] for _ in range(3)])
    monkeypatch.setattr(Operation, "__call__", lambda self, *_: pytest.fail(self.node.op))
    executor.run([random(rng, *SHAPE)])


def test_each_signature_has_its_plan(rng):
    last = random(rng, 1, 6, 5, 8).transpose(0, 3, 1, 2)
    check(network(rng), [[random(rng, *SHAPE)], [random(rng, 2, 8, 9, 4)], [last]])


def test_signatures_are_many(rng):
    check(network(rng), [[random(rng, 1, 8, 5, width)] for width in range(3, 30)])


def test_precision_is_part_of_the_signature(rng):
    executor, x = Executor(network(rng)), random(rng, *SHAPE)
    executor.run([x])
    with fastconv.precision("highest"):
        wanted = stepwise(executor, [x])
        for _ in range(2):
            np.testing.assert_array_equal(executor.run([x])[0], wanted[0])


def test_results_are_the_callers_own(rng):
    executor = Executor(network(rng))
    feeds = [[random(rng, *SHAPE)] for _ in range(4)]
    results = [executor.run(feed) for feed in feeds]
    for feed, result in zip(feeds, results, strict=True):
        np.testing.assert_array_equal(result[0], stepwise(executor, feed)[0])


def test_threads_share_a_plan(rng):
    executor = Executor(network(rng))
    feeds = [[random(rng, *SHAPE)] for _ in range(8)]
    wanted = [stepwise(executor, feed)[0] for feed in feeds]
    with ThreadPoolExecutor(4) as pool:
        results = list(pool.map(executor.run, feeds * 20))
    for result, exact in zip(results, wanted * 20, strict=True):
        np.testing.assert_array_equal(result[0], exact)


def test_the_arena_is_shared_by_what_is_not_alive_together(rng):
    values = [value(str(at), SHAPE) for at in range(12)]
    nodes = [conv(rng, x, y) for x, y in zip(values, values[1:], strict=False)]
    executor = check(Graph(values[:1], values[-1:], nodes), [[random(rng, *SHAPE)]])
    (plan,) = executor._plans.values()
    assert plan.arena_bytes == 2 * np.prod(SHAPE) * 4


def test_steps_in_python_are_called(rng):
    x, a, b, c, y = (value(name, SHAPE) for name in "xabcy")
    nodes = [conv(rng, x, a), Node("Greater", [a, x], [b]), Node("Where", [b, a, x], [c]),
             conv(rng, c, y)]
    check(Graph([x], [y, c], nodes), [[random(rng, *SHAPE)] for _ in range(3)])


def test_plans_of_native_steps_are_made_before_anything_runs(rng):
    """NaN all over, so that a step that had run would show."""
    executor, x = Executor(network(rng)), random(rng, *SHAPE)
    wanted = stepwise(executor, [x])
    results, plan = record(executor, [np.full_like(x, np.nan)])
    assert results is None
    for result, exact in zip(executor._run_plan(plan, [x]), wanted, strict=True):
        np.testing.assert_array_equal(result, exact)


def test_steps_in_python_find_all_numbers_made(rng):
    """What waits is run before them, though the arrays that it reads are gone by then."""
    x, a, b, c, d, e, y = (value(name, SHAPE) for name in "xabcdey")
    nodes = [Node("Greater", [x, x], [a]), Node("Where", [a, x, x], [b]), Node("Relu", [b], [c]),
             Node("Softmax", [c], [d], {"axis": 1}, version=13), conv(rng, d, e),
             Node("Where", [a, x, e], [y])]
    executor, feed = Executor(Graph([x], [y], nodes)), [random(rng, *SHAPE)]
    results, plan = record(executor, feed)
    np.testing.assert_array_equal(results[0], stepwise(executor, feed)[0])
    np.testing.assert_array_equal(executor._run_plan(plan, feed)[0], results[0])


def branch(rng, op):
    """A graph that reads x from around it: twice `op`, and its second input as it is."""
    x, other, a, b = (value(name, SHAPE) for name in "xoab")
    shift = Value("shift", constant=random(rng, *SHAPE))
    return Graph([x, other], [b, other], [Node(op, [x, shift], [a]), Node(op, [a, x], [b])])


def test_numbers_that_choose_a_branch_belong_to_the_signature(rng, monkeypatch):
    """Each way has its plan, in which nothing is called."""
    x, a, y, z = (value(name, SHAPE) for name in "xayz")
    rate, other, same = value("r", (), np.int64), sizes(8000), value("c", (1,), bool)
    nodes = [Node("Equal", [rate, other], [same]), conv(rng, x, a),
             Node("If", [same, a, x], [y, z],
                  {"then_branch": branch(rng, "Mul"), "else_branch": branch(rng, "Sub")})]
    feeds = [[random(rng, *SHAPE), np.array(rate)] for rate in (8000, 16000, 8000)]
    check_native(monkeypatch, Graph([x, rate], [y, z], nodes), feeds)


def test_conditions_that_are_computed_are_asked_in_each_run(rng):
    x, n, m, y, z = value("x", SHAPE), value("n", ()), value("m", (), bool), value("y"), value("z")
    zero = Value("zero", constant=np.array(0, np.float32))
    nodes = [Node("Greater", [n, zero], [m]),
             Node("If", [m, x, x], [y, z],
                  {"then_branch": branch(rng, "Mul"), "else_branch": branch(rng, "Sub")})]
    feeds = [[random(rng, *SHAPE), np.array(n, np.float32)] for n in (1, -1, 1)]
    check(Graph([x, n], [y, z], nodes), feeds)


def test_views_and_shapes_cost_nothing(rng, monkeypatch):
    x, t, s, r, a, y = (value(name) for name in "xtsray")
    nodes = [
        Node("Transpose", [x], [t], {"perm": (0, 2, 3, 1)}), Node("Shape", [t], [s]),
        Node("Slice", [t, sizes(1), sizes(4), sizes(1)], [a]),
        Node("Reshape", [a, sizes(3, -1)], [r]),
        Node("Relu", [r], [y]),
    ]
    executor = check(Graph([x], [y, s, a], nodes), [[random(rng, *SHAPE)] for _ in range(2)])
    monkeypatch.setattr(Operation, "__call__", lambda self, *_: pytest.fail(self.node.op))
    executor.run([random(rng, *SHAPE)])


@pytest.mark.parametrize("op", ["Reshape", "Slice"])
def test_shapes_that_follow_from_numbers(rng, op):
    x, n, a, y = value("x"), value("n", dtype=np.int64), value("a"), value("y")
    inputs = [x, n] if op == "Reshape" else [x, sizes(0), n]
    nodes = [Node(op, inputs, [a]), Node("Relu", [a], [y])]
    feeds = [[random(rng, 4, 6), np.array(shape)] for shape in ((3, 8), (8, 3), (3, 8))]
    if op == "Slice":
        feeds = [[feed[0], feed[1][:1]] for feed in feeds]
    check(Graph([x, n], [y], nodes), feeds)


def test_numbers_that_kernels_read_are_no_part_of_a_plan(rng):
    x, pads, y = value("x"), value("pads", dtype=np.int64), value("y")
    feeds = [[random(rng, 4, 6), np.array(pad)] for pad in ((0, 1, 0, 0), (0, 0, 0, 1))]
    check(Graph([x, pads], [y], [Node("Pad", [x, pads], [y])]), feeds)


def test_inputs_that_are_results(rng):
    x, y = value("x"), value("y")
    nodes = [Node("Transpose", [x], [y], {"perm": (1, 0)})]
    check(Graph([x], [x, y], nodes), [[random(rng, 3, 4)] for _ in range(2)])


def test_one_array_is_several_results(rng):
    x, a, y = value("x"), value("a"), value("y")
    nodes = [Node("Relu", [x], [a]), Node("Reshape", [a, sizes(-1)], [y])]
    check(Graph([x], [a, y, a], nodes), [[random(rng, 3, 4)] for _ in range(2)])


def test_empty_arrays_and_lists_run_without_plans(rng):
    x, a, y = value("x"), value("a"), value("y")
    nodes = [Node("Slice", [x, sizes(4), sizes(9)], [a]), Node("Concat", [a, x], [y], {"axis": 0})]
    check(Graph([x], [y], nodes), [[random(rng, 4, 3)]])


def check_native(monkeypatch, graph, feeds):
    """As `check`, and then no step is called."""
    executor = check(graph, feeds)
    with monkeypatch.context() as patch:
        patch.setattr(Operation, "__call__", lambda self, *_: pytest.fail(self.node.op))
        executor.run(feeds[-1])


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("shape", [(1, 8, 6, 5), (2, 3, 40, 70), (2, 300, 7), (1, 1, 3, 4)])
def test_normalisations_by_computed_tables(shape, dtype, rng, monkeypatch):
    """The tables come from other inputs; arrays channels last, too."""
    x, y = value("x", shape, dtype), value("y", shape, dtype)
    a, b, scale, shift = (value(name, (shape[1],), dtype) for name in ("a", "b", "s", "t"))
    nodes = [Node("Mul", [a, b], [scale]), Node("Add", [a, b], [shift]),
             Node("InstanceNormalization", [x, scale, shift], [y], {"epsilon": 1e-3})]
    feeds = [[rng.standard_normal(v.shape).astype(dtype) for v in (x, a, b)] for _ in range(2)]
    last = np.ascontiguousarray(np.moveaxis(feeds[1][0], 1, -1))
    feeds.append([np.moveaxis(last, -1, 1), *feeds[1][1:]])
    check_native(monkeypatch, Graph([x, a, b], [y], nodes), feeds)
    (result,) = Executor(Graph([x, a, b], [y], nodes)).run(feeds[0])
    wide, p, q = (array.astype(np.float64) for array in feeds[0])
    axes, tables = tuple(range(2, x_axes := len(shape))), (slice(None), *(None,) * (x_axes - 2))
    mean, variance = wide.mean(axes, keepdims=True), wide.var(axes, keepdims=True)
    wanted = (wide - mean) / np.sqrt(variance + 1e-3) * (p * q)[tables] + (p + q)[tables]
    np.testing.assert_allclose(result, wanted, rtol=0, atol=40 * np.finfo(dtype).eps)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("tables", [(), ("scale",), ("scale", "bias")])
@pytest.mark.parametrize("shape", [(7,), (3, 1), (2, 5, 120), (1, 40, 33)])
def test_normalisations_of_rows(shape, tables, dtype, rng, monkeypatch):
    x, y = value("x", shape, dtype), value("y", shape, dtype)
    numbers = [rng.standard_normal(shape[-1:]).astype(dtype) for _ in tables]
    constants = [Value(name, constant=n) for name, n in zip(tables, numbers, strict=True)]
    node = Node("LayerNormalization", [x, *constants], [y], {"epsilon": 1e-3})
    feeds = [[rng.standard_normal(shape).astype(dtype) + 3] for _ in range(2)]
    check_native(monkeypatch, Graph([x], [y], [node]), feeds)
    wide = feeds[0][0].astype(np.float64)
    mean, variance = wide.mean(-1, keepdims=True), wide.var(-1, keepdims=True)
    scale, bias = (*numbers, *(1, 0)[len(numbers):])
    wanted = (wide - mean) / np.sqrt(variance + 1e-3) * scale + bias
    (result,) = Executor(Graph([x], [y], [node])).run(feeds[0])
    np.testing.assert_allclose(result, wanted, rtol=0, atol=100 * np.finfo(dtype).eps)


def test_normalisations_of_rows_by_computed_tables(rng):
    x, scale, y = value("x", (3, 5)), value("s", (5,)), value("y", (3, 5))
    node = Node("LayerNormalization", [x, scale], [y])
    check(Graph([x, scale], [y], [node]),
          [[random(rng, 3, 5), random(rng, 5)] for _ in range(3)])


def test_normalisations_need_a_number_for_each_channel(rng):
    x, y = value("x", SHAPE), value("y", SHAPE)
    scale = Value("s", constant=np.ones(3, np.float32))
    node = Node("InstanceNormalization", [x, scale, None], [y])
    with pytest.raises(GraphError, match="scale must have 8 numbers, one a channel, got 3"):
        Executor(Graph([x], [y], [node])).run([random(rng, *SHAPE)])


@pytest.mark.parametrize("keep", [0, 1])
@pytest.mark.parametrize("op", ["ReduceSum", "ReduceMean"])
@pytest.mark.parametrize(("shape", "axes"), [
    ((26, 32), [0]), ((26, 32), [-1]), ((2, 300, 90), [0, 2]), ((1, 1, 7), [2]),
    ((5, 1, 7), [0, 1]),
])
def test_sums_that_leave_one_axis(shape, axes, op, keep, rng, monkeypatch):
    x, y = value("x", shape), value("y")
    node = Node(op, [x, Value("axes", constant=np.array(axes))], [y], {"keepdims": keep},
                version=18)
    feeds = [[random(rng, *shape)] for _ in range(2)]
    graph = Graph([x], [y], [node])
    left = [n for axis, n in enumerate(shape) if axis not in axes and axis - len(shape) not in axes]
    if max(left) > 1:
        check_native(monkeypatch, graph, feeds)
    (result,) = Executor(graph).run(feeds[0])
    function = np.sum if op == "ReduceSum" else np.mean
    wanted = function(feeds[0][0].astype(np.float64), tuple(axes), keepdims=bool(keep))
    assert result.shape == wanted.shape
    np.testing.assert_array_equal(result, wanted.astype(np.float32))
