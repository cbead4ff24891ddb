"""Each pass does its one thing, and leaves what the graph computes as it was."""

import numpy as np
import pytest

from fastconv.graph import passes
from fastconv.graph.executor import Executor
from fastconv.graph.ir import Graph, GraphError, Node, Value

SHAPE = (1, 3, 6, 5)


@pytest.fixture
def constant(rng):
    return lambda *shape: Value("c", constant=rng.random(shape, np.float32) + np.float32(0.5))


def value(name="v"):
    return Value(name, np.dtype(np.float32), SHAPE)


def check(graph, run, wanted, rng):
    """Run a pass; the operators left must be `wanted`, the results the same."""
    x = rng.standard_normal(SHAPE).astype(np.float32)
    before = Executor(graph).run([x])
    run(graph)
    graph.check()
    assert [node.op for node in graph.nodes] == wanted
    for a, b in zip(Executor(graph).run([x]), before, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-5)


def conv(constant, x, y):
    return Node("Conv", [x, constant(3, 3, 3, 3)], [y], {"pads": (1, 1, 1, 1)})


def test_identities_go(rng):
    x, a, b, y = map(value, "xaby")
    nodes = [Node("Identity", [x], [a]), Node("Dropout", [a], [b]), Node("Relu", [b], [y])]
    check(Graph([x], [y], nodes), passes.remove_identities, ["Relu"], rng)


def test_constants_are_folded(rng, constant):
    x, a, y = map(value, "xay")
    a.shape = None
    nodes = [Node("Add", [constant(5), constant(5)], [a]), Node("Mul", [x, a], [y])]
    check(Graph([x], [y], nodes), passes.fold_constants, ["Mul"], rng)


def test_dead_nodes_go(rng):
    x, a, y = map(value, "xay")
    nodes = [Node("Sigmoid", [x], [a]), Node("Relu", [x], [y])]
    check(Graph([x], [y], nodes), passes.remove_dead, ["Relu"], rng)


def test_batch_norms_go_into_convolutions(rng, constant):
    x, a, y = map(value, "xay")
    norm = Node("BatchNormalization", [a, *(constant(3) for _ in range(4))], [y])
    check(Graph([x], [y], [conv(constant, x, a), norm]), passes.fold_batch_norms, ["Conv"], rng)


def test_a_convolution_that_others_read_keeps_its_weights(rng, constant):
    x, a, y = map(value, "xay")
    norm = Node("BatchNormalization", [a, *(constant(3) for _ in range(4))], [y])
    graph = Graph([x], [y, a], [conv(constant, x, a), norm])
    check(graph, passes.fold_batch_norms, ["Conv", "BatchNormalization"], rng)


def test_activations_and_residuals_go_into_the_store(rng, constant):
    x, a, b, y = map(value, "xaby")
    nodes = [conv(constant, x, a), Node("Add", [a, x], [b]), Node("Relu", [b], [y])]
    graph = Graph([x], [y], nodes)
    check(graph, passes.fuse_residuals, ["Conv", "Relu"], rng)
    check(graph, passes.fuse_activations, ["Conv"], rng)
    assert graph.nodes[0].attributes["activation"] == "relu"


def test_a_residual_made_later_is_waited_for(rng, constant):
    x, a, b, y = map(value, "xaby")
    nodes = [conv(constant, x, a), Node("Sigmoid", [x], [b]), Node("Add", [a, b], [y])]
    check(Graph([x], [y], nodes), passes.fuse_residuals, ["Sigmoid", "Conv"], rng)


def test_unknown_sizes_are_not_added_in_the_store(rng, constant):
    x, a, y = map(value, "xay")
    a.shape = (1, 3, None, None)
    nodes = [conv(constant, x, a), Node("Add", [a, x], [y])]
    check(Graph([x], [y], nodes), passes.fuse_residuals, ["Conv", "Add"], rng)


def test_broken_graphs_are_refused():
    x, y = value("x"), value("y")
    with pytest.raises(GraphError, match="reads 'y', which nothing before it makes"):
        Graph([x], [y], [Node("Relu", [y], [y])]).check()
    with pytest.raises(GraphError, match="'x' is made twice"):
        Graph([x], [x], [Node("Relu", [x], [x])]).check()
    with pytest.raises(GraphError, match="Nonsense 'y': fastconv has no such operator"):
        Executor(Graph([x], [y], [Node("Nonsense", [x], [y])]))
