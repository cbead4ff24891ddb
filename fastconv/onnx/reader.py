"""From a file or bytes to a checked `Graph`.

    path or bytes -> ModelProto without large weights, which stay in the file
                  -> external data from the model's folder only, functions inlined
                  -> a skeleton: the same model, large weights as typed inputs -> checked, inferred
                  -> Graph: names become Values, weights and Constant nodes their constants

The skeleton keeps checking and shape inference, which serialise what they are given, from copying
hundreds of megabytes of weights. Whatever `onnx` raises about a file becomes a `ModelError`.
"""

from __future__ import annotations

import io
import math
import os
import warnings
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np

from fastconv.graph.ir import Graph, Node, Value

from .errors import ModelError, library
from .evaluator import Evaluator
from .weights import Weights, split

__all__ = ["OLDEST_OPSET", "read"]

OLDEST_OPSET = 6

# Initialisers up to so many elements stay in the skeleton: shape inference reads their values.
SMALL = 256
# A sparse weight may claim any size; made dense it may take so many bytes for each of the file's.
SPARSE_GROWTH = 10_000


def read(source: str | os.PathLike[str] | bytes, name: str, fed: frozenset[str] = frozenset()):
    """Read and check a model.

    Parameters
    ----------
    source : path or bytes
    name : str
        What to call the model in errors.
    fed : frozenset of str
        Inputs with a default in the file that will be fed nevertheless.

    Returns
    -------
    graph : Graph
    metadata : dict of str to str
    optional : frozenset of str
        Inputs that have a default in the file.

    Raises
    ------
    ModelError
        When the file is missing, damaged, no valid model, older than opset 6 with operators that
        changed since, or needs some that nobody here can run.
    """
    onnx = library()
    with _errors_of(name), _opened(source, name) as (file, folder):
        proto, weights = _parse(onnx, file, folder, name)
        proto = _inline(onnx, proto)
        opsets = _opsets(onnx, proto, name)
        skeleton = _skeleton(onnx, proto)
        types = _check_and_infer(onnx, skeleton)
        defaults = {t.name for t in proto.graph.initializer}
        optional = frozenset(i.name for i in proto.graph.input) & defaults
        graph = _Reader(onnx, opsets, types, name, weights).graph(proto.graph, {}, fed)
        graph.check()
        metadata = {entry.key: entry.value for entry in proto.metadata_props}
    return graph, metadata, optional


@contextmanager
def _errors_of(name: str) -> Iterator[None]:
    """Turn whatever reading raises into a ModelError with the file's name."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of unknown keys and the like: no fault of the caller
            yield
    except (ModelError, MemoryError):
        raise
    except Exception as error:
        first = str(error).strip() or type(error).__name__
        raise ModelError(f"{name}: {first}") from error


@contextmanager
def _opened(
    source: str | os.PathLike[str] | bytes, name: str
) -> Iterator[tuple[io.BufferedIOBase, str | None]]:
    """The model as an open file, and the folder of its external data."""
    if isinstance(source, bytes):
        yield io.BytesIO(source), None
        return
    try:
        file = open(source, "rb")
    except OSError as error:
        raise ModelError(f"{name}: cannot be read ({error.strerror})") from error
    with file:
        yield file, os.path.dirname(os.path.realpath(source))


def _parse(
    onnx: Any, file: io.BufferedIOBase, folder: str | None, name: str
) -> tuple[Any, Weights]:
    """Parse the file, large weights and external data of initialisers aside."""
    size = file.seek(0, os.SEEK_END)
    content, slices = split(file, size)
    proto = onnx.ModelProto()
    try:
        proto.ParseFromString(content)
    except Exception as error:
        raise ModelError(f"{name}: is no ONNX file, or a truncated one ({size} bytes)") from error
    if not proto.HasField("graph"):
        raise ModelError(f"{name}: holds no graph ({size} bytes)")
    weights = proto.graph.initializer
    places = zip(weights, slices, strict=True) if slices else ()
    found = {tensor.name: place for tensor, place in places if place is not None}
    for tensor in _external(onnx, proto):
        if folder is None:
            raise ModelError(f"{name}: its weights lie in other files; load it by its path")
        onnx.external_data_helper.load_external_data_for_tensor(tensor, folder)
    return proto, Weights(file, folder, found)


def _external(onnx: Any, proto: Any) -> Iterator[Any]:
    """The tensors with external data, without the large weights, which are read one by one."""
    external = onnx.external_data_helper.uses_external_data
    for tensor in proto.graph.initializer:
        if external(tensor) and math.prod(tensor.dims) <= SMALL:
            yield tensor
    nodes = [*proto.graph.node, *(node for function in proto.functions for node in function.node)]
    yield from filter(external, _tensors_inside(nodes))


def _tensors_inside(nodes: Iterable[Any]) -> Iterator[Any]:
    """The tensors among the attributes of nodes and of the nodes in their subgraphs."""
    for attribute in (attribute for node in nodes for attribute in node.attribute):
        yield from (attribute.t, *attribute.tensors)
        for graph in (attribute.g, *attribute.graphs):
            yield from graph.initializer
            yield from _tensors_inside(graph.node)


def _inline(onnx: Any, proto: Any) -> Any:
    """Put the bodies of the model's own functions where they are called."""
    if not proto.functions:
        return proto
    import onnx.inliner

    return onnx.inliner.inline_local_functions(proto)


def _opsets(onnx: Any, proto: Any, name: str) -> dict[str, int]:
    """Versions by domain; an old one counts as the oldest where that changed nothing."""
    opsets = {"" if o.domain == "ai.onnx" else o.domain: o.version for o in proto.opset_import}
    given = opsets.get("", OLDEST_OPSET)
    if given < OLDEST_OPSET:
        if not all(_is_unchanged(onnx, node, given) for node in proto.graph.node):
            raise ModelError(
                f"{name}: opset {given} is too old; {OLDEST_OPSET} and newer can be run "
                "(onnx.version_converter raises it)"
            )
        opsets[""] = OLDEST_OPSET
    return opsets


def _is_unchanged(onnx: Any, node: Any, opset: int) -> bool:
    """Whether an operator means the same in an old opset and in the oldest that can be run."""
    if node.domain not in ("", "ai.onnx"):
        return True
    versions = {onnx.defs.get_schema(node.op_type, version).since_version
                for version in (opset, OLDEST_OPSET)}
    return len(versions) == 1 and not any(attribute.HasField("g") for attribute in node.attribute)


# --- the skeleton ---------------------------------------------------------------------------------


def _skeleton(onnx: Any, proto: Any) -> Any:
    """The model without large weights, which become inputs of known type."""
    skeleton = onnx.ModelProto(
        ir_version=max(proto.ir_version, 4), opset_import=proto.opset_import
    )
    graph, whole = skeleton.graph, proto.graph
    graph.name = whole.name or "graph"
    graph.node.extend(whole.node)
    graph.output.extend(whole.output)
    graph.value_info.extend(whole.value_info)
    graph.sparse_initializer.extend(whole.sparse_initializer)
    graph.input.extend(whole.input)
    declared = {value.name for value in whole.input}
    for tensor in whole.initializer:
        if math.prod(tensor.dims) <= SMALL:
            graph.initializer.append(tensor)
        elif tensor.name not in declared:
            graph.input.append(
                onnx.helper.make_tensor_value_info(tensor.name, tensor.data_type, tensor.dims)
            )
    return skeleton


def _check_and_infer(onnx: Any, skeleton: Any) -> dict[str, Any]:
    """Check the skeleton; return the TypeProto of every value whose type is known, by name."""
    _check(onnx, skeleton)
    try:
        graph = onnx.shape_inference.infer_shapes(skeleton, data_prop=True).graph
    except onnx.shape_inference.InferenceError as error:
        raise ModelError(f"{graph_name(skeleton)}: {error}") from error
    except Exception:  # shapes only help: a model whose shapes cannot be inferred may still run
        graph = skeleton.graph
    types = {}
    for value in (*graph.input, *graph.value_info, *graph.output):
        types[value.name] = value.type
    return types


def _check(onnx: Any, skeleton: Any) -> None:
    """Check the skeleton; unlike `onnx.checker`, do not mind inputs and outputs without a shape."""
    tensors = [value.type.tensor_type for value in (*skeleton.graph.input, *skeleton.graph.output)
               if value.type.HasField("tensor_type")]
    shapeless = [tensor for tensor in tensors if not tensor.HasField("shape")]
    for tensor in shapeless:
        tensor.shape.SetInParent()
    onnx.checker.check_model(skeleton)
    for tensor in shapeless:
        tensor.ClearField("shape")


def graph_name(proto: Any) -> str:
    """The name of a model's graph."""
    return proto.graph.name or "graph"


# --- from protos to the graph ---------------------------------------------------------------------


class _Reader:
    """Makes Graphs of GraphProtos; knows the model's opsets and types."""

    def __init__(
        self, onnx: Any, opsets: dict[str, int], types: dict[str, Any], name: str, weights: Weights
    ) -> None:
        self.onnx, self.opsets, self.types, self.name = onnx, opsets, types, name
        self.weights = weights

    def graph(
        self, proto: Any, outer: Mapping[str, Value], fed: frozenset[str] = frozenset()
    ) -> Graph:
        """Read a graph; values of the graphs around it, by name, are `outer`.

        A branch or a body that reads a computed outer value gets it as one more input, behind its
        own: see `_captures`.
        """
        constants = self._initialisers(proto, fed)
        scope: dict[str, Value] = dict(constants)
        inputs = []
        for declared in proto.input:
            if declared.name not in constants:
                scope[declared.name] = self._value(declared.name, declared.type)
                inputs.append(scope[declared.name])
        captured: dict[str, Value] = {}
        nodes = []
        for node in proto.node:
            read = self._node(node, scope, outer, captured)
            if read is not None:
                nodes.append(read)
        outputs = [self._find(o.name, scope, outer, captured, "outputs") for o in proto.output]
        for declared, value in zip(proto.output, outputs, strict=True):
            if value.dtype is None:
                value.dtype, value.shape = self._dtype_and_shape(declared.type)
        return Graph([*inputs, *captured.values()], outputs, nodes, proto.name)

    def _initialisers(self, proto: Any, fed: frozenset[str]) -> dict[str, Value]:
        constants: dict[str, Value] = {}
        for tensor in proto.initializer:
            if tensor.name in constants:
                raise ModelError(f"{self.name}: the initialiser {tensor.name!r} comes twice")
            if tensor.name not in fed:
                constants[tensor.name] = Value(tensor.name, constant=self._array(tensor))
        for sparse in proto.sparse_initializer:
            constants[sparse.values.name] = Value(
                sparse.values.name, constant=self._dense(sparse, sparse.values.name)
            )
        return constants

    def _array(self, tensor: Any) -> np.ndarray:
        try:
            array = self.weights.read(self.onnx, tensor)
        except Exception as error:
            raise ModelError(
                f"{self.name}: the data of {tensor.name!r} do not fit its shape "
                f"{tuple(tensor.dims)} ({error})"
            ) from error
        array.flags.writeable = False
        return array

    def _dense(self, sparse: Any, name: str) -> np.ndarray:
        values, indices = self._array(sparse.values), self._array(sparse.indices)
        shape = tuple(sparse.dims)
        if math.prod(shape) > SPARSE_GROWTH * max(1, values.size):
            raise ModelError(f"{self.name}: the sparse {name!r} claims {shape} elements")
        dense = np.zeros(shape, values.dtype)
        if indices.ndim == 1:
            dense.reshape(-1)[indices] = values
        else:
            dense[tuple(indices.T)] = values
        return dense

    def _value(self, name: str, type_proto: Any = None) -> Value:
        if type_proto is None:
            type_proto = self.types.get(name)
        return Value(name, *self._dtype_and_shape(type_proto))

    def _dtype_and_shape(self, type_proto: Any) -> tuple[Any, Any]:
        if type_proto is None or not type_proto.HasField("tensor_type"):
            return None, None
        tensor = type_proto.tensor_type
        dtype = None
        if tensor.elem_type:
            dtype = np.dtype(self.onnx.helper.tensor_dtype_to_np_dtype(tensor.elem_type))
        if not tensor.HasField("shape"):
            return dtype, None
        return dtype, tuple(map(_size, tensor.shape.dim))

    def _find(
        self, name: str, scope: Mapping[str, Value], outer: Mapping[str, Value],
        captured: dict[str, Value], reader: str,
    ) -> Value:
        """The value called `name`, which a node or the graph's outputs (`reader`) read."""
        if name in scope:
            return scope[name]
        if name in captured:
            return captured[name]
        if name not in outer:
            raise ModelError(f"{self.name}: {reader} reads {name!r}, which nothing before it makes")
        value = outer[name]
        if value.is_constant:
            return value
        captured[name] = Value(name, value.dtype, value.shape)
        return captured[name]

    def _node(
        self, proto: Any, scope: dict[str, Value], outer: Mapping[str, Value],
        captured: dict[str, Value],
    ) -> Node | None:
        """Read a node; None for a Constant, which becomes its output's value."""
        domain = "" if proto.domain == "ai.onnx" else proto.domain
        label = f"{proto.op_type} {proto.name or next(iter(proto.output), '')!r}"
        if domain not in self.opsets:
            raise ModelError(f"{self.name}: {label}: no opset is given for domain {domain!r}")
        attributes = {a.name: self._attribute(a) for a in proto.attribute if a.type != a.GRAPH}
        if proto.op_type == "Constant" and not domain:
            constant = _constant(attributes)
            if constant is not None:
                scope[proto.output[0]] = Value(proto.output[0], constant=constant)
                return None
        inputs = [
            self._find(name, scope, outer, captured, label) if name else None
            for name in proto.input
        ]
        names = self._captures(proto, attributes, scope, outer, captured)
        if proto.op_type == "Loop" and not domain:
            attributes["carried"] = max(len(proto.input) - 2, 0)
        inputs += [self._find(name, scope, outer, captured, label) for name in names]
        outputs = [self._value(name) if name else None for name in proto.output]
        around = {**outer, **scope}
        constants = {
            name: around[name].constant for name in _read_inside(proto)
            if name in around and around[name].is_constant
        }
        evaluator = Evaluator(self.onnx, proto, self.opsets, self.types, names, constants)
        node = Node(
            proto.op_type, inputs, outputs, attributes, name=proto.name, domain=domain,
            version=self.opsets[domain], fallback=evaluator,
        )
        scope.update({value.name: value for value in outputs if value is not None})
        return node

    def _captures(
        self, proto: Any, attributes: dict[str, Any], scope: Mapping[str, Value],
        outer: Mapping[str, Value], captured: dict[str, Value],
    ) -> list[str]:
        """Read a node's subgraphs; return the names of the computed values they take from outside.

        Every subgraph gets all of them, in this order, behind its own inputs; the node reads them
        behind its own.
        """
        graphs = {a.name: a.g for a in proto.attribute if a.type == a.GRAPH}
        if not graphs:
            return []
        around = {**outer, **captured, **scope}
        read = {name: self.graph(graph, around) for name, graph in graphs.items()}
        own = {name: len(graph.input) for name, graph in graphs.items()}
        names: dict[str, None] = {}
        for name, graph in read.items():
            names.update(dict.fromkeys(value.name for value in graph.inputs[own[name]:]))
        for name, graph in read.items():
            have = {value.name: value for value in graph.inputs[own[name]:]}
            graph.inputs[own[name]:] = [
                have.get(n) or Value(n, around[n].dtype, around[n].shape) for n in names
            ]
        attributes.update(read)
        return list(names)

    def _attribute(self, proto: Any) -> Any:
        kinds = self.onnx.AttributeProto
        value = self.onnx.helper.get_attribute_value(proto)
        if proto.type == kinds.STRING:
            return value.decode("utf-8", "replace")
        if proto.type == kinds.STRINGS:
            return tuple(text.decode("utf-8", "replace") for text in value)
        if proto.type == kinds.TENSOR:
            return self._array(value)
        if proto.type in (kinds.INTS, kinds.FLOATS):
            return tuple(value)
        return value


def _read_inside(node: Any) -> set[str]:
    """The names that the nodes of a node's subgraphs read, at any depth."""
    graphs = [a.g for a in node.attribute if a.type == a.GRAPH]
    names = {o.name for graph in graphs for o in graph.output}
    for graph in graphs:
        for inner in graph.node:
            names |= set(inner.input) | _read_inside(inner)
    return names


def _size(dimension: Any) -> int | str | None:
    if dimension.HasField("dim_value"):
        return dimension.dim_value
    return dimension.dim_param or None


# What a Constant node may hold, and how it becomes an array.
_CONSTANTS = {
    "value": lambda value: value,
    "value_float": lambda value: np.array(value, np.float32),
    "value_floats": lambda value: np.array(value, np.float32),
    "value_int": lambda value: np.array(value, np.int64),
    "value_ints": lambda value: np.array(value, np.int64),
    "value_string": lambda value: np.array(value, object),
    "value_strings": lambda value: np.array(value, object),
}


def _constant(attributes: dict[str, Any]) -> np.ndarray | None:
    """The value of a Constant node; None for forms that are left to its operator."""
    for name, convert in _CONSTANTS.items():
        if name in attributes:
            return convert(attributes[name])
    return None
