"""The intermediate representation: values, the nodes that make them, and the graph of both.

Operators have ONNX's names and meaning, at the opset that the node says; what fastconv adds to
them (an activation in a convolution's store, say) is an attribute that ONNX does not have. Arrays
keep their logical axes (N, C, H, W) throughout: channels last is an order of memory, not of axes,
and is settled when the graph is planned.

    Value   "conv1_out"  float32 (1, 64, "H", None)     made by one node, read by any number
    Node    Conv(x, weight, bias) -> conv1_out          attributes: strides=(2, 2), ...
    Graph   inputs -> nodes in order -> outputs
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import numpy as np

__all__ = ["Graph", "GraphError", "Node", "Value"]

Shape = tuple["int | str | None", ...]


class GraphError(ValueError):
    """A graph that cannot be run, or that failed at a node; the text names the node."""


class Value:
    """An array that flows through a graph, known by identity.

    Attributes
    ----------
    name : str
    dtype : numpy.dtype or None
        None where it is not known before the graph runs.
    shape : tuple of int, str or None; or None
        Sizes; a string is a size that is the same wherever it has that name, None any size.
    constant : ndarray or None
        The value itself, where it never changes.
    """

    __slots__ = ("name", "dtype", "shape", "constant")

    def __init__(
        self,
        name: str,
        dtype: np.dtype[Any] | None = None,
        shape: Shape | None = None,
        constant: Any = None,
    ) -> None:
        if isinstance(constant, np.ndarray):
            dtype, shape = constant.dtype, constant.shape
        self.name, self.dtype, self.shape, self.constant = name, dtype, shape, constant

    @property
    def is_constant(self) -> bool:
        """Whether the value is known before the graph runs."""
        return self.constant is not None

    def __repr__(self) -> str:
        sizes = "?" if self.shape is None else "x".join("?" if s is None else str(s)
                                                        for s in self.shape)
        return f"{self.name}:{self.dtype or '?'}[{sizes}]"


class Node:
    """One operation.

    Attributes
    ----------
    op : str
        The operator, "Conv".
    inputs : list of Value or None
        None stands for an optional input that is not there.
    outputs : list of Value or None
    attributes : dict of str
        Numbers, strings, tuples of them, arrays; subgraphs are `Graph`.
    name : str
        For people; the first output's where the file gives none.
    domain : str
        "" for ONNX's own operators.
    version : int
        The opset by which the operator is to be read.
    fallback : callable, optional
        ``fallback(*inputs) -> tuple of outputs`` by other means than fastconv's.
    """

    __slots__ = ("op", "inputs", "outputs", "attributes", "name", "domain", "version", "fallback")

    def __init__(
        self,
        op: str,
        inputs: Iterable[Value | None],
        outputs: Iterable[Value | None],
        attributes: Mapping[str, Any] | None = None,
        *,
        name: str = "",
        domain: str = "",
        version: int = 21,
        fallback: Callable[..., tuple[Any, ...]] | None = None,
    ) -> None:
        self.op, self.domain, self.version, self.fallback = op, domain, version, fallback
        self.inputs, self.outputs = list(inputs), list(outputs)
        self.attributes = dict(attributes or {})
        self.name = name or next((v.name for v in self.outputs if v is not None), op)

    @property
    def output(self) -> Value:
        """The first output."""
        value = self.outputs[0]
        assert value is not None
        return value

    def input(self, index: int) -> Value | None:
        """The input at `index`, None where it is missing."""
        return self.inputs[index] if index < len(self.inputs) else None

    def constant(self, index: int) -> Any:
        """The constant at input `index`, None where that is missing or computed."""
        value = self.input(index)
        return None if value is None else value.constant

    def subgraphs(self) -> list[Graph]:
        """The graphs among the attributes: branches and bodies."""
        return [value for value in self.attributes.values() if isinstance(value, Graph)]

    def __repr__(self) -> str:
        return f"{self.op}({self.inputs} -> {self.outputs})"


class Graph:
    """Nodes in an order in which they can run.

    Attributes
    ----------
    name : str
    inputs, outputs : list of Value
    nodes : list of Node
    """

    def __init__(
        self, inputs: Iterable[Value], outputs: Iterable[Value], nodes: Iterable[Node],
        name: str = "",
    ) -> None:
        self.inputs, self.outputs, self.nodes = list(inputs), list(outputs), list(nodes)
        self.name = name

    def consumers(self) -> dict[Value, list[Node]]:
        """The nodes that read each value, once for each time they read it."""
        readers: dict[Value, list[Node]] = {}
        for node in self.nodes:
            for value in node.inputs:
                if value is not None:
                    readers.setdefault(value, []).append(node)
        return readers

    def producers(self) -> dict[Value, Node]:
        """The node that makes each value; inputs and constants have none."""
        return {value: node for node in self.nodes for value in node.outputs if value is not None}

    def values(self) -> Iterator[Value]:
        """All values, each once: inputs first, then as nodes read and make them."""
        seen: dict[Value, None] = dict.fromkeys(self.inputs)
        for node in self.nodes:
            seen.update(dict.fromkeys(v for v in (*node.inputs, *node.outputs) if v is not None))
        seen.update(dict.fromkeys(self.outputs))
        return iter(seen)

    def replace(self, old: Value, new: Value) -> None:
        """Let every reader of `old`, the graph's outputs included, read `new`."""
        for node in self.nodes:
            node.inputs = [new if value is old else value for value in node.inputs]
        self.outputs = [new if value is old else value for value in self.outputs]

    def check(self) -> None:
        """Raise GraphError unless every value is made before it is read, and made once."""
        made = set(self.inputs)
        for node in self.nodes:
            for value in node.inputs:
                if value is not None and value not in made and not value.is_constant:
                    raise GraphError(
                        f"{node.op} {node.name!r}: reads {value.name!r}, which nothing before it "
                        "makes"
                    )
            for value in node.outputs:
                if value in made:
                    raise GraphError(f"{node.op} {node.name!r}: {value.name!r} is made twice")
                if value is not None:
                    made.add(value)
        for value in self.outputs:
            if value not in made and not value.is_constant:
                raise GraphError(f"the output {value.name!r} is made by no node")

    def __repr__(self) -> str:
        lines = "\n".join(f"  {node!r}" for node in self.nodes)
        return f"Graph({self.inputs} -> {self.outputs}\n{lines}\n)"
