"""`load` and `Model`: a file that is ready to run."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, NamedTuple

import numpy as np

from fastconv.graph.executor import Executor, Profiled
from fastconv.graph.ir import GraphError, Value
from fastconv.graph.passes import optimise
from fastconv.graph.results import own

from .errors import ModelError
from .feeds import arrange
from .reader import read

__all__ = ["Model", "Timing", "load"]


def load(path_or_bytes: str | os.PathLike[str] | bytes) -> Model:
    """Load an ONNX model.

    Parameters
    ----------
    path_or_bytes : str, PathLike or bytes
        A file, or what one holds. Opsets 6 to the newest that the installed `onnx` knows.

    Returns
    -------
    Model

    Raises
    ------
    ModelError
        When it cannot be read, is no valid model, or has an operator that nobody can run.
    ModuleNotFoundError
        Without the extra "onnx".

    Examples
    --------
    >>> model = fastconv.onnx.load("net.onnx")
    >>> scores, = model.run({"x": picture})
    """
    if isinstance(path_or_bytes, (bytearray, memoryview)):
        path_or_bytes = bytes(path_or_bytes)
    return Model(path_or_bytes)


class Timing(NamedTuple):
    """What a node took.

    Attributes
    ----------
    name, op : str
    activation : str, tuple or None
        What its store does beyond the operator.
    native : bool
        Whether fastconv has code for it; the `onnx` package's reference runs the others.
    seconds : float
    node : graph.ir.Node
    inputs, outputs : tuple of tuple of int
        The shapes of what it has read and made; () for what is missing, or no array.
    bytes : int
        Of all these arrays.
    algorithm : str
        Of convolutions, "" elsewhere.
    """

    name: str
    op: str
    activation: Any
    native: bool
    seconds: float
    node: Any
    inputs: tuple[tuple[int, ...], ...]
    outputs: tuple[tuple[int, ...], ...]
    bytes: int
    algorithm: str


class Model:
    """A network from an ONNX file; made by `load`. Threads may share one.

    Attributes
    ----------
    name : str
        The file's name, "<bytes>" without one.
    inputs, outputs : list of Value
        Each with ``.name .dtype .shape``; a size that is a string or None is free.
    graph : Graph
        What runs, after all passes.
    metadata : dict of str to str
    """

    def __init__(self, source: str | os.PathLike[str] | bytes) -> None:
        self.name = "<bytes>" if isinstance(source, bytes) else os.path.basename(source)
        self._source = source
        self._executors: dict[frozenset[str], Executor] = {}
        graph, self.metadata, self._optional = read(source, self.name)
        if not self._optional and isinstance(source, bytes):
            self._source = b""  # never read again
        self.inputs, self.outputs = list(graph.inputs), list(graph.outputs)
        executor = self._executors[frozenset()] = self._compile(graph)
        self.graph = executor.graph

    def _compile(self, graph: Any) -> Executor:
        with self._named_errors():
            optimise(graph)
            return Executor(graph, sole_owner=True)

    def run(self, feeds: Mapping[str, Any]) -> list[Any]:
        """Run the network.

        Parameters
        ----------
        feeds : mapping of str to array_like
            One array for each input. Inputs with a default in the file may be left out.

        Returns
        -------
        list of ndarray
            In the order of `outputs`, new and C-contiguous.

        Raises
        ------
        ValueError, TypeError
            When `feeds` does not fit the inputs.
        ModelError
            When a node fails; the text names file and node.
        """
        executor, inputs = self._for(feeds)
        arrays = arrange(self.name, inputs, feeds)
        with self._named_errors():
            results = executor.run(arrays)
        return [own(result, arrays) for result in results]

    def profile(self, feeds: Mapping[str, Any], rounds: int = 10) -> list[Timing]:
        """Time each node that runs, as it does in `run`.

        Parameters
        ----------
        feeds : mapping of str to array_like
            As for `run`.
        rounds : int
            Runs behind a first one that does not count; each node's fastest is kept.

        Returns
        -------
        list of Timing
            In the order in which the nodes run.

        Raises
        ------
        ValueError, TypeError, ModelError
            As `run`.
        """
        executor, inputs = self._for(feeds)
        arrays = arrange(self.name, inputs, feeds)
        with self._named_errors():
            first = executor.profile(arrays, _timing)
            runs = [executor.times(arrays) for _ in range(rounds)]
        fastest = map(min, zip(*runs, strict=True))
        return [timing._replace(seconds=s) for timing, s in zip(first, fastest, strict=True)]

    @contextmanager
    def _named_errors(self) -> Iterator[None]:
        """Errors of the graph as errors of this file."""
        try:
            yield
        except GraphError as error:
            raise ModelError(f"{self.name}: {error}") from error

    def _for(self, feeds: Any) -> tuple[Executor, list[Value]]:
        """The executor for these feeds: defaults that are fed are inputs, the others constants."""
        fed = self._optional.intersection(feeds) if isinstance(feeds, Mapping) else frozenset()
        if fed not in self._executors:
            graph, _, _ = read(self._source, self.name, fed)
            self._executors[fed] = self._compile(graph)
        executor = self._executors[fed]
        return executor, executor.graph.inputs

    def __repr__(self) -> str:
        return f"Model({self.name!r}: {self.inputs} -> {self.outputs})"


def _timing(step: Profiled) -> Timing:
    """What a first run says of a step; its time does not count yet."""
    operation, node = step.operation, step.operation.node
    arrays = [x for x in (*step.inputs, *step.outputs) if isinstance(x, np.ndarray)]
    explain = getattr(operation.kernel, "explain", None)
    plan = explain(step.inputs[0]) if explain else None
    return Timing(
        node.name, node.op, node.attributes.get("activation"), operation.kernel is not None,
        step.seconds, node, tuple(map(_shape, step.inputs)), tuple(map(_shape, step.outputs)),
        sum(x.nbytes for x in arrays), f"{plan.algorithm} {plan.form}" if plan else "",
    )


def _shape(x: Any) -> tuple[int, ...]:
    return x.shape if isinstance(x, np.ndarray) else ()
