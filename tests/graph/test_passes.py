"""Each pass does its one thing, and leaves what the graph computes as it was."""

from concurrent.futures import ThreadPoolExecutor

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
    check(Graph([x], [y], [conv(constant, x, a), norm]), passes.fold_scales, ["Conv"], rng)


def test_a_convolution_that_others_read_keeps_its_weights(rng, constant):
    x, a, y = map(value, "xay")
    norm = Node("BatchNormalization", [a, *(constant(3) for _ in range(4))], [y])
    graph = Graph([x], [y, a], [conv(constant, x, a), norm])
    check(graph, passes.fold_scales, ["Conv", "ScaleShift"], rng)


def test_constants_go_into_the_bias(rng, constant):
    x, a, y = map(value, "xay")
    nodes = [conv(constant, x, a), Node("Add", [constant(3, 1, 1), a], [y])]
    check(Graph([x], [y], nodes), passes.fold_scales, ["Conv"], rng)


def test_constants_go_into_the_bias_behind_a_residual(rng, constant):
    x, a, b, y = map(value, "xaby")
    nodes = [conv(constant, x, a), Node("Add", [a, x], [b]), Node("Add", [b, constant(1)], [y])]
    graph = Graph([x], [y], nodes)
    check(graph, passes.fuse_residuals, ["Conv", "Add"], rng)
    check(graph, passes.fold_scales, ["Conv"], rng)


def test_residuals_are_not_scaled_with_the_weights(rng, constant):
    x, a, b, y = map(value, "xaby")
    nodes = [conv(constant, x, a), Node("Add", [a, x], [b]),
             Node("Mul", [b, constant(3, 1, 1)], [y])]
    graph = Graph([x], [y], nodes)
    check(graph, passes.fuse_residuals, ["Conv", "Mul"], rng)
    check(graph, passes.fold_scales, ["Conv", "ScaleShift"], rng)


SCALES = {
    "by a number": lambda x, c, y: Node("Mul", [Value("2", constant=np.float32([2])), x], [y]),
    "of channels": lambda x, c, y: Node("Mul", [x, c(3, 1, 1)], [y]),
    "divided": lambda x, c, y: Node("Div", [x, c(1, 3, 1, 1)], [y]),
    "subtracted": lambda x, c, y: Node("Sub", [x, c(3, 1, 1)], [y]),
    "subtracted from": lambda x, c, y: Node("Sub", [c(3, 1, 1), x], [y]),
}


@pytest.mark.parametrize("spelling", SCALES)
@pytest.mark.parametrize("op, groups", [("Conv", 1), ("ConvTranspose", 1), ("ConvTranspose", 3)])
def test_scales_go_into_weights(rng, constant, spelling, op, groups):
    x, a, y = map(value, "xay")
    attributes = {"pads": (1, 1, 1, 1), "group": groups}
    before = Node(op, [x, constant(3, 3 // groups, 3, 3)], [a], attributes)
    graph = Graph([x], [y], [before, SCALES[spelling](a, constant, y)])
    check(graph, passes.fold_scales, [op], rng)


def test_scales_join(rng, constant):
    x, a, b, c, y = map(value, "xabcy")
    nodes = [Node("Mul", [x, constant(3, 1, 1)], [a]), Node("Add", [a, constant(1)], [b]),
             Node("BatchNormalization", [b, *(constant(3) for _ in range(4))], [c]),
             Node("Relu", [c], [y])]
    graph = Graph([x], [y], nodes)
    check(graph, passes.fold_scales, ["ScaleShift", "Relu"], rng)
    check(graph, passes.fuse_activations, ["ScaleShift"], rng)


def test_multiplications_by_one_go(rng):
    x, a, y = map(value, "xay")
    nodes = [Node("Mul", [x, number(1)], [a]), Node("Relu", [a], [y])]
    check(Graph([x], [y], nodes), passes.fold_scales, ["Relu"], rng)


@pytest.mark.parametrize("shape, sizes", [((1, 1, 1, 1, 1), SHAPE), ((1,), None)])
def test_constants_that_may_add_axes_stay(rng, constant, shape, sizes):
    x, y = value("x"), value("y")
    x.shape = sizes
    check(Graph([x], [y], [Node("Mul", [x, constant(*shape)], [y])]), passes.fold_scales, ["Mul"],
          rng)


def test_constants_that_add_channels_stay(rng, constant):
    x, m, y = map(value, "xmy")
    m.shape = (1, 1, 6, 5)
    nodes = [Node("ReduceMean", [x], [m], {"axes": (1,)}), Node("Mul", [m, constant(3, 1, 1)], [y])]
    check(Graph([x], [y], nodes), passes.fold_scales, ["ReduceMean", "Mul"], rng)


def test_hard_swishes_take_a_scale(rng):
    x, a, b, y = map(value, "xaby")
    nodes = [Node("HardSwish", [x], [a]), Node("Mul", [a, number(0.7)], [b]),
             Node("Add", [b, number(-0.2)], [y])]
    graph = Graph([x], [y], nodes)
    check(graph, passes.fold_scales, ["HardSwish", "ScaleShift"], rng)
    check(graph, passes.scale_activations, ["HardSwish"], rng)


def test_unread_masks_do_not_keep_dropouts(rng):
    x, a, mask, y = map(value, "xamy")
    nodes = [Node("Dropout", [x], [a, mask], version=9), Node("Relu", [a], [y])]
    graph = Graph([x], [y], nodes)
    passes.remove_identities(graph)
    assert [node.op for node in graph.nodes] == ["Relu"]


def test_read_masks_keep_dropouts():
    x, a, mask, y = map(value, "xamy")
    graph = Graph([x], [a, mask], [Node("Dropout", [x], [a, mask], version=9)])
    passes.remove_identities(graph)
    assert [node.op for node in graph.nodes] == ["Dropout"]


def test_rows_go_into_products(rng, constant):
    x, a, b, y = map(value, "xaby")
    nodes = [Node("MatMul", [x, constant(5, 4)], [a]), Node("Add", [constant(4), a], [b]),
             Node("Relu", [b], [y])]
    graph = Graph([x], [y], nodes)
    check(graph, passes.fuse_rows, ["MatMul", "Relu"], rng)
    check(graph, passes.fuse_activations, ["MatMul"], rng)


def test_sums_of_two_are_additions(rng):
    x, a, y = map(value, "xay")
    nodes = [Node("Relu", [x], [a]), Node("Sum", [a, x], [y])]
    check(Graph([x], [y], nodes), passes.recognise_sums, ["Relu", "Add"], rng)


def test_products_with_their_sigmoid_are_recognised(rng):
    x, a, y = map(value, "xay")
    nodes = [Node("Sigmoid", [x], [a]), Node("Mul", [a, x], [y])]
    check(Graph([x], [y], nodes), passes.recognise_silu, ["Silu"], rng)


def standard(x, y, axes):
    """Nodes for (x - mean) / sqrt(variance + eps), and the axes that are left."""
    m, d, q, v, w, s = map(value, "mdqvws")
    keep = {"axes": axes}
    return [Node("ReduceMean", [x], [m], keep), Node("Sub", [x, m], [d]),
            Node("Pow", [d, number(2)], [q]), Node("ReduceMean", [q], [v], keep),
            Node("Add", [v, number(1e-3)], [w]), Node("Sqrt", [w], [s]),
            Node("Div", [d, s], [y])]


@pytest.mark.parametrize("axes, op, table", [
    ((2, 3), "InstanceNormalization", (1, 3, 1, 1)), ((-1,), "LayerNormalization", (5,)),
])
def test_normalisations_are_recognised(rng, constant, axes, op, table):
    x, a, b, y = map(value, "xaby")
    nodes = [*standard(x, a, axes), Node("Mul", [a, constant(*table)], [b]),
             Node("Add", [b, constant(*table)], [y])]
    check(Graph([x], [y], nodes), passes.recognise_normalisations, [op], rng)


def test_normalisations_along_other_axes_stay(rng):
    x, y = value("x"), value("y")
    nodes = standard(x, y, (1, 2))
    check(Graph([x], [y], nodes), passes.recognise_normalisations,
          [node.op for node in nodes], rng)


def test_means_of_another_array_are_no_normalisation(rng):
    x, z, y = map(value, "xzy")
    nodes = [Node("Relu", [x], [z]), *standard(x, y, (2, 3))]
    nodes[1].inputs = [z]
    check(Graph([x], [y], nodes), passes.recognise_normalisations,
          [node.op for node in nodes], rng)


def test_shuffles_are_recognised(rng):
    x, a, b, y = map(value, "xaby")
    a.shape, b.shape = (1, 3, 1, 6, 5), (1, 1, 3, 6, 5)
    sizes = [Value("s", constant=np.array(v.shape)) for v in (a, x)]
    nodes = [Node("Reshape", [x, sizes[0]], [a]),
             Node("Transpose", [a], [b], {"perm": (0, 2, 1, 3, 4)}),
             Node("Reshape", [b, sizes[1]], [y])]
    check(Graph([x], [y], nodes), passes.recognise_shuffles, ["Gather"], rng)


def test_gates_take_what_is_added_behind_them(rng):
    x, m, g, a, y = map(value, "xmgay")
    m.shape = g.shape = (1, 3, 1, 1)
    nodes = [Node("GlobalAveragePool", [x], [m]), Node("HardSigmoid", [m], [g]),
             Node("Mul", [x, g], [a]), Node("Add", [x, a], [y])]
    check(Graph([x], [y], nodes), passes.recognise_gates,
          ["GlobalAveragePool", "HardSigmoid", "Add", "Mul"], rng)

@pytest.mark.parametrize("shape", [(5,), (1, 3, 6, 1)])
def test_constants_for_pixels_stay(rng, constant, shape):
    x, a, y = map(value, "xay")
    nodes = [conv(constant, x, a), Node("Add", [a, constant(*shape)], [y])]
    check(Graph([x], [y], nodes), passes.fold_scales, ["Conv", "Add"], rng)


def number(of):
    return Value(str(of), constant=np.array([of], np.float32))


def hard(x, h):
    """clip(x + 3, 0, 6), and values for what is made of it."""
    a = value("a")
    clip = {"min": 0.0, "max": 6.0}
    return [Node("Add", [x, number(3)], [a]), Node("Clip", [a], [h], clip)]


SPELLINGS = {
    "at the end": lambda x, h, b, y: [Node("Mul", [x, h], [b]), Node("Div", [b, number(6)], [y])],
    "of the clip": lambda x, h, b, y: [Node("Div", [h, number(6)], [b]), Node("Mul", [b, x], [y])],
    "of x": lambda x, h, b, y: [Node("Mul", [number(1 / 6), x], [b]), Node("Mul", [b, h], [y])],
}


@pytest.mark.parametrize("spelling", SPELLINGS)
def test_hard_swishes_are_recognised(rng, spelling):
    x, h, b, y = map(value, "xhby")
    graph = Graph([x], [y], hard(x, h) + SPELLINGS[spelling](x, h, b, y))
    check(graph, passes.recognise_hard_activations, ["HardSwish"], rng)


def test_hard_swishes_of_products_are_recognised(rng):
    x, z, h, b, y = map(value, "xzhby")
    nodes = [Node("Mul", [x, x], [z]), *hard(z, h), *SPELLINGS["at the end"](z, h, b, y)]
    check(Graph([x], [y], nodes), passes.recognise_hard_activations, ["Mul", "HardSwish"], rng)


def test_a_rounded_sixth_is_kept(rng):
    x, h, b, y = map(value, "xhby")
    nodes = [*hard(x, h), Node("Mul", [x, h], [b]), Node("Mul", [b, number(0.16662598)], [y])]
    graph = Graph([x], [y], nodes)
    check(graph, passes.recognise_hard_activations, ["HardSwish", "Mul"], rng)
    assert graph.nodes[1].constant(1) == np.float32(6 * float(np.float32(0.16662598)))


def test_hard_sigmoids_are_recognised(rng):
    x, h, y = map(value, "xhy")
    graph = Graph([x], [y], [*hard(x, h), Node("Div", [h, number(6)], [y])])
    check(graph, passes.recognise_hard_activations, ["HardSigmoid"], rng)


def test_other_products_stay(rng):
    x, h, s, y = map(value, "xhsy")
    nodes = [*hard(x, h), Node("Sigmoid", [x], [s]), Node("Mul", [s, h], [y])]
    check(Graph([x], [y], nodes), passes.recognise_hard_activations,
          ["Add", "Clip", "Sigmoid", "Mul"], rng)


def test_threads_share_an_executor(rng, constant):
    x, a, b, y = map(value, "xaby")
    nodes = [conv(constant, x, a), Node("Relu", [a], [b]), Node("Add", [b, x], [y])]
    executor = Executor(Graph([x], [y], nodes))
    feeds = [rng.standard_normal(SHAPE).astype(np.float32) for _ in range(16)]
    alone = [executor.run([feed])[0] for feed in feeds]
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(lambda feed: executor.run([feed])[0], feeds * 8))
    for result, exact in zip(together, alone * 8, strict=True):
        np.testing.assert_array_equal(result, exact)


def test_activations_and_residuals_go_into_the_store(rng, constant):
    x, a, b, y = map(value, "xaby")
    nodes = [conv(constant, x, a), Node("Add", [a, x], [b]), Node("Relu", [b], [y])]
    graph = Graph([x], [y], nodes)
    check(graph, passes.fuse_residuals, ["Conv", "Relu"], rng)
    check(graph, passes.fuse_activations, ["Conv"], rng)
    assert graph.nodes[0].attributes["activation"] == "relu"


@pytest.mark.parametrize("shape", [(3, 1, 1), (1, 3, 1, 1), (1,), (1, 1, 1), ()])
def test_slopes_go_into_the_store(rng, constant, shape):
    x, a, b, y = map(value, "xaby")
    residual = Node("Add", [a, x], [b])
    nodes = [conv(constant, x, a), residual, Node("PRelu", [b, constant(*shape)], [y])]
    graph = Graph([x], [y], nodes)
    passes.fuse_residuals(graph)
    check(graph, passes.fuse_activations, ["Conv"], rng)


@pytest.mark.parametrize("shape", [SHAPE[2:], SHAPE[3:], (3, *SHAPE[2:]), (1, 1, 1, 1, 1)])
def test_slopes_of_pixels_stay(rng, constant, shape):
    x, a, y = map(value, "xay")
    nodes = [conv(constant, x, a), Node("PRelu", [a, constant(*shape)], [y])]
    check(Graph([x], [y], nodes), passes.fuse_activations, ["Conv", "PRelu"], rng)


@pytest.mark.parametrize("shape", [(9,), (1, 1, 1, 9), (1,)])
def test_slopes_go_into_products(rng, constant, shape):
    x, a, y = map(value, "xay")
    nodes = [Node("MatMul", [x, constant(SHAPE[3], 9)], [a]),
             Node("PRelu", [a, constant(*shape)], [y])]
    check(Graph([x], [y], nodes), passes.fuse_activations, ["MatMul"], rng)


def test_few_channels_take_no_long_activation(rng, constant):
    x, a, y = map(value, "xay")
    nodes = [conv(constant, x, a), Node("Sigmoid", [a], [y])]
    check(Graph([x], [y], nodes), passes.fuse_activations, ["Conv", "Sigmoid"], rng)


def test_a_residual_made_later_is_waited_for(rng, constant):
    x, a, b, y = map(value, "xaby")
    nodes = [conv(constant, x, a), Node("Sigmoid", [x], [b]), Node("Add", [a, b], [y])]
    check(Graph([x], [y], nodes), passes.fuse_residuals, ["Sigmoid", "Conv"], rng)


def test_unknown_sizes_are_looked_at_when_the_store_adds(rng, constant):
    x, a, y = map(value, "xay")
    a.shape = (1, 3, None, None)
    nodes = [conv(constant, x, a), Node("Add", [a, x], [y])]
    check(Graph([x], [y], nodes), passes.fuse_residuals, ["Conv"], rng)


@pytest.mark.parametrize("op, slopes", [("Relu", ()), ("PRelu", (3, 1, 1))])
def test_residuals_that_broadcast_are_added_behind(op, slopes, rng, constant):
    x, m, a, b, y = map(value, "xmaby")
    m.shape = a.shape = (1, 3, None, None)
    nodes = [Node("GlobalAveragePool", [x], [m]), conv(constant, m, a), Node("Add", [a, x], [b]),
             Node(op, [b, constant(*slopes)] if slopes else [b], [y])]
    graph = Graph([x], [y], nodes)
    check(graph, passes.fuse_residuals, ["GlobalAveragePool", "Conv", op], rng)
    check(graph, passes.fuse_activations, ["GlobalAveragePool", "Conv"], rng)


def test_residuals_of_another_size_stay(rng, constant):
    x, m, a, y = map(value, "xmay")
    m.shape = a.shape = (1, 3, 1, 1)
    nodes = [Node("GlobalAveragePool", [x], [m]), conv(constant, m, a), Node("Add", [a, x], [y])]
    check(Graph([x], [y], nodes), passes.fuse_residuals, ["GlobalAveragePool", "Conv", "Add"], rng)


def test_broken_graphs_are_refused():
    x, y = value("x"), value("y")
    with pytest.raises(GraphError, match="reads 'y', which nothing before it makes"):
        Graph([x], [y], [Node("Relu", [y], [y])]).check()
    with pytest.raises(GraphError, match="'x' is made twice"):
        Graph([x], [x], [Node("Relu", [x], [x])]).check()
    with pytest.raises(GraphError, match="Nonsense 'y': fastconv has no such operator"):
        Executor(Graph([x], [y], [Node("Nonsense", [x], [y])]))
