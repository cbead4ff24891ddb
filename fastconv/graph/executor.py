"""Running a graph: a list of steps, each one operator with its kernel made beforehand.

    Graph --passes--> Graph --lower--> steps
    arrays -> slots -> step, step, ... -> slots -> outputs, C-contiguous

A step reads numbered slots and writes others; a slot is emptied after its last reader, so memory
is held as long as a value lives. An executor keeps nothing of a run: any number of threads may
share one.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from .ir import Graph, GraphError, Node, Value
from .ops import TABLE

__all__ = ["Executor", "Operation", "Profiled", "is_native"]


class Operation:
    """One node, ready to run: by its kernel where that takes the inputs, else by its fallback.

    Parameters
    ----------
    node : Node

    Raises
    ------
    GraphError
        When there is neither kernel nor fallback.
    """

    def __init__(self, node: Node) -> None:
        self.node = node
        self.entry = None if node.domain else TABLE.get(node.op)
        self.kernel = None if self.entry is None else self.entry.lower(node)
        if self.kernel is None:
            self._require_fallback()

    def _require_fallback(self) -> Callable[..., Any]:
        fallback = self.node.fallback
        if fallback is None:
            raise GraphError(f"{describe(self.node)}: fastconv has no such operator")
        prepare = getattr(fallback, "prepare", None)
        if prepare is not None:
            try:
                prepare()
            except NotImplementedError as error:
                raise GraphError(f"{describe(self.node)}: {error}") from error
        return fallback

    def __call__(self, inputs: Sequence[Any]) -> tuple[Any, ...]:
        """Return the outputs for these inputs, None standing for a missing one."""
        if self.kernel is not None and self._takes(inputs):
            result = self.kernel(*inputs)
            if result is not NotImplemented:
                return result if isinstance(result, tuple) else (_as_array(result),)
        return self._require_fallback()(*inputs)

    def _takes(self, inputs: Sequence[Any]) -> bool:
        assert self.entry is not None
        if self.entry.dtypes is None:
            return True
        return getattr(inputs[0], "dtype", None) in self.entry.dtypes


def _as_array(result: Any) -> Any:
    """A result as an array, which NumPy's functions do not return where it has no axes."""
    return np.asarray(result) if isinstance(result, np.generic) else result


def describe(node: Node) -> str:
    """A node for errors: operator and name."""
    operator = f"{node.domain}.{node.op}" if node.domain else node.op
    return f"{operator} {node.name!r}"


def is_native(node: Node) -> bool:
    """Whether fastconv's own code will run a node, which alone takes what passes add to it."""
    return Operation(node).kernel is not None


class Profiled(NamedTuple):
    """One step of a run that was watched.

    Attributes
    ----------
    operation : Operation
    seconds : float
    inputs, outputs : tuple
        The arrays, None for a missing one.
    """

    operation: Operation
    seconds: float
    inputs: tuple[Any, ...]
    outputs: tuple[Any, ...]


class _Step(NamedTuple):
    operation: Operation
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    free: tuple[int, ...]


# The slot of inputs that are not there, and of outputs that nobody reads.
_NOTHING = 0


class Executor:
    """A graph that runs.

    Parameters
    ----------
    graph : Graph
        Checked; nodes in order.
    """

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        slots: dict[Value, int] = {}
        self._initial: list[Any] = [None]

        def slot(value: Value | None) -> int:
            if value is None:
                return _NOTHING
            if value not in slots:
                slots[value] = len(self._initial)
                self._initial.append(value.constant)
            return slots[value]

        self._inputs = [slot(value) for value in graph.inputs]
        steps = [
            (Operation(node), tuple(map(slot, node.inputs)), tuple(map(slot, node.outputs)))
            for node in graph.nodes
        ]
        self._outputs = [slot(value) for value in graph.outputs]
        self._steps = self._with_lifetimes(steps)

    def _with_lifetimes(self, steps: list[Any]) -> list[_Step]:
        """Add to each step the slots that nobody reads after it."""
        kept = {index for index, value in enumerate(self._initial) if value is not None}
        kept |= {_NOTHING, *self._outputs}
        last = {slot: at for at, (_, reads, writes) in enumerate(steps)
                for slot in (*reads, *writes)}
        dead: list[list[int]] = [[] for _ in steps]
        for slot, at in last.items():
            if slot not in kept:
                dead[at].append(slot)
        return [_Step(*step, tuple(free)) for step, free in zip(steps, dead, strict=True)]

    def run(self, inputs: Sequence[Any]) -> list[Any]:
        """Run the graph.

        Parameters
        ----------
        inputs : sequence
            In the order of ``graph.inputs``, of fitting dtypes and shapes.

        Returns
        -------
        list
            In the order of ``graph.outputs``.

        Raises
        ------
        GraphError
            When a node fails; the text names it.
        """
        slots = self._filled(inputs)
        # NumPy warns of infinities and NaN, which are right answers here.
        with np.errstate(all="ignore"):
            for step in self._steps:
                self._run_step(step, slots)
        return [slots[slot] for slot in self._outputs]

    def profile(self, inputs: Sequence[Any], look: Callable[[Profiled], Any]) -> list[Any]:
        """Run the graph as `run` does; return what `look` makes of each step, which is timed."""
        slots, seen = self._filled(inputs), []
        with np.errstate(all="ignore"):
            for step in self._steps:
                given = tuple(slots[slot] for slot in step.inputs)
                start = time.perf_counter()
                results = self._run_step(step, slots)
                took = time.perf_counter() - start
                seen.append(look(Profiled(step.operation, took, given, tuple(results))))
        return seen

    def _filled(self, inputs: Sequence[Any]) -> list[Any]:
        """The slots before the first step."""
        slots = list(self._initial)
        for slot, value in zip(self._inputs, inputs, strict=True):
            slots[slot] = value
        return slots

    def _run_step(self, step: _Step, slots: list[Any]) -> Sequence[Any]:
        try:
            results = step.operation([slots[slot] for slot in step.inputs])
        except (GraphError, MemoryError):
            raise
        except Exception as error:
            inputs = ", ".join(_seen(slots[slot]) for slot in step.inputs)
            raise GraphError(
                f"{describe(step.operation.node)}: {error} (inputs: {inputs})"
            ) from error
        for slot, result in zip(step.outputs, results, strict=False):
            slots[slot] = result
        slots[_NOTHING] = None
        for slot in step.free:
            slots[slot] = None
        return results


def _seen(value: Any) -> str:
    """An input for errors: type and shape."""
    if isinstance(value, np.ndarray):
        return f"{value.dtype}{list(value.shape)}"
    return type(value).__name__
