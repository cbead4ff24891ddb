"""Running a graph: a list of steps, each one operator with its kernel made beforehand.

    Graph --passes--> Graph --lower--> steps
    arrays -> slots -> step, step, ... -> slots -> outputs, C-contiguous

A step reads numbered slots and writes others; a slot is emptied after its last reader, so memory
is held as long as a value lives. Inputs of a signature that has come before run by its plan
instead (plan.py). Any number of threads may share an executor.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from fastconv.config import get_precision
from fastconv.functional._cache import BoundedCache

from .decisions import deciding_inputs
from .ir import Graph, GraphError, Node, Value
from .joins import Share, find_shares, place_in
from .ops import TABLE
from .plan import Plan
from .recorder import record

__all__ = ["Executor", "Operation", "Profiled"]


class Operation:
    """One node, ready to run: by its kernel where that takes the inputs, else by its fallback.

    Parameters
    ----------
    node : Node

    Attributes
    ----------
    takes_place : bool
        Whether it can put its first output where `place` says; see joins.py.
    choose : callable or None
        Of an If: from its condition to the branch's executor.

    Raises
    ------
    GraphError
        When there is neither kernel nor fallback.
    """

    def __init__(self, node: Node) -> None:
        self.node = node
        entry = None if node.domain else TABLE.get(node.op)
        self.kernel = None if entry is None else entry.lower(node)
        self.dtypes, self.arrays = (None, ()) if entry is None else entry[1:]
        if self.kernel is None:
            self._require_fallback()
        self.takes_place = getattr(self.kernel, "takes_place", False)
        self.choose = getattr(self.kernel, "choose", None)

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

    def __call__(self, inputs: Sequence[Any], place: Any = None) -> tuple[Any, ...]:
        """Return the outputs for these inputs, None standing for a missing one."""
        if self.kernel is not None and (
                self.dtypes is None or getattr(inputs[0], "dtype", None) in self.dtypes):
            result = self.kernel(*inputs) if place is None else self.kernel(*inputs, place=place)
            if isinstance(result, np.ndarray):
                return (result,)
            if result is not NotImplemented:
                return result if isinstance(result, tuple) else (_as_array(result),)
        return self._require_fallback()(*inputs)

    def is_recorded(self, reads: Sequence[int]) -> bool:
        """Whether a plan may repeat what the engine did, when these inputs alone change."""
        for index in reads:
            if index not in self.arrays:
                return False
        return self.kernel is not None


def _as_array(result: Any) -> Any:
    """A result as an array, which NumPy's functions do not return where it has no axes."""
    return np.asarray(result) if isinstance(result, np.generic) else result


def describe(node: Node) -> str:
    """A node for errors: operator and name."""
    operator = f"{node.domain}.{node.op}" if node.domain else node.op
    return f"{operator} {node.name!r}"


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


class Step(NamedTuple):
    """An operation and the slots that it deals with.

    Attributes
    ----------
    operation : Operation
    inputs, outputs : tuple of int
    free : tuple of int
        Those that nobody reads after it.
    home : (int, Share) or None
        The slot of the concatenation that the first output lies in, and where in it.
    """

    operation: Operation
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    free: tuple[int, ...]
    home: tuple[int, Share] | None


# Signatures of inputs whose plans are kept, and what an arena has beyond a plan's bytes.
_PLANS = 16
_ARENA_ALIGNMENT = 64
# An arena is so large at least: memory behind addresses comes with the first touch, and a larger
# plan that fits finds the pages of the smaller ones' runs.
_ARENA_BYTES = 64 << 20
# Bytes from which on giving up an array is worth the planning, which delays the first answer.
_LARGE_WEIGHT = 1 << 20
# The slot of inputs that are not there, and of outputs that nobody reads.
_NOTHING = 0


class Executor:
    """A graph that runs.

    Parameters
    ----------
    graph : Graph
        Checked; nodes in order.
    sole_owner : bool
        Nobody else reads the graph's constants: the executor may change them, to save memory.
    """

    def __init__(self, graph: Graph, sole_owner: bool = False) -> None:
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

        self.inputs = [slot(value) for value in graph.inputs]
        self._operations = [Operation(node) for node in graph.nodes]
        steps = [
            (operation, tuple(map(slot, operation.node.inputs)),
             tuple(map(slot, operation.node.outputs)))
            for operation in self._operations
        ]
        self.outputs = [slot(value) for value in graph.outputs]
        if sole_owner:
            self._give_up_weights(slots)
        self.steps = self._with_lifetimes(steps, self._find_homes())
        self.deciding = deciding_inputs(graph)
        self._plans = BoundedCache(_PLANS)
        self._arenas: list[np.ndarray] = []

    def _give_up_weights(self, slots: dict[Value, int]) -> None:
        """Keep weights packed only, where an operation can make do with that: half the memory."""
        consumers, inside = self.graph.consumers(), set(_values_inside(self.graph))
        for operation in self._operations:
            node = operation.node
            weight = node.input(1)
            settle = getattr(operation.kernel, "settle", None)
            if settle is None or weight is None or len(consumers[weight]) > 1 or weight in inside:
                continue
            large = weight.constant is not None and weight.constant.nbytes >= _LARGE_WEIGHT
            if large and weight not in self.graph.outputs and settle():
                weight.constant = np.broadcast_to(np.zeros((), weight.dtype), weight.shape)
                self._initial[slots[weight]] = weight.constant

    def _find_homes(self) -> list[tuple[int, Share] | None]:
        """Of each operation: the slot of the array that its output is made in, if there is one."""
        able = {operation.node for operation in self._operations if operation.takes_place}
        shares = find_shares(self.graph, able.__contains__)
        wholes: dict[Value, int] = {}
        homes: list[tuple[int, Share] | None] = []
        for operation in self._operations:
            share = shares.get(operation.node.outputs[0])
            if share is not None and share.whole not in wholes:
                wholes[share.whole] = len(self._initial)
                self._initial.append(None)
            homes.append(None if share is None else (wholes[share.whole], share))
        return homes

    def _with_lifetimes(self, steps: list[Any], homes: list[Any]) -> list[Step]:
        """Add to each step the slots that nobody reads after it, and its home."""
        kept = {index for index, value in enumerate(self._initial) if value is not None}
        kept |= {_NOTHING, *self.outputs}
        last = {slot: at for at, (_, reads, writes) in enumerate(steps)
                for slot in (*reads, *writes)}
        last |= {home[0]: at for at, home in enumerate(homes) if home is not None}
        dead: list[list[int]] = [[] for _ in steps]
        for slot, at in last.items():
            if slot not in kept:
                dead[at].append(slot)
        return [Step(operation, reads, writes, tuple(free), home)
                for (operation, reads, writes), free, home in zip(steps, dead, homes, strict=True)]

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
        # NumPy warns of infinities and NaN, which are right answers here.
        with np.errstate(all="ignore"):
            key = _signature(inputs, self.deciding)
            plan = None if key is None else self._plans.get(key)
            if key is not None and key not in self._plans:
                results, plan = record(self, inputs)
                self._plans.remember(key, plan)
                if results is not None:
                    return results
            if plan is not None:
                results = self._run_plan(plan, inputs)
                if results is not None:
                    return results
                self._plans[key] = None
            slots = self.filled(inputs)
            for step in self.steps:
                self.run_step(step, slots)
        return [slots[slot] for slot in self.outputs]

    def _run_plan(self, plan: Plan, inputs: Sequence[Any], watch: Any = None) -> list[Any] | None:
        """Run a plan in an arena, which is kept for the next run."""
        try:
            arena = self._arenas.pop()
        except IndexError:
            arena = None
        if arena is None or arena.size < plan.arena_bytes + _ARENA_ALIGNMENT:
            arena = np.empty(max(plan.arena_bytes + _ARENA_ALIGNMENT, _ARENA_BYTES), np.uint8)
        try:
            return plan.run(inputs, arena, watch)
        finally:
            if not self._arenas:
                self._arenas.append(arena)

    def profile(self, inputs: Sequence[Any], look: Callable[[Profiled], Any]) -> list[Any]:
        """Run the graph step by step; return what `look` makes of each step, which is timed."""
        slots, seen = self.filled(inputs), []
        with np.errstate(all="ignore"):
            for step in self.steps:
                given = tuple(slots[slot] for slot in step.inputs)
                start = time.perf_counter()
                results = self.run_step(step, slots)
                took = time.perf_counter() - start
                seen.append(look(Profiled(step.operation, took, given, tuple(results))))
        return seen

    def times(self, inputs: Sequence[Any]) -> list[float]:
        """Run the graph as `run` does; return the seconds of each step, 0 where it does nothing.

        What a plan runs without Python between it is timed operation by operation.
        """
        self.run(inputs)
        plan = self._plans.get(_signature(inputs, self.deciding))
        if plan is None:
            return self.profile(inputs, lambda step: step.seconds)
        seconds = [0.0] * len(self.steps)

        def watch(number: int, took: float) -> None:
            seconds[number] += took

        with np.errstate(all="ignore"):
            self._run_plan(plan, inputs, watch)
        return seconds

    def filled(self, inputs: Sequence[Any]) -> list[Any]:
        """The slots before the first step."""
        slots = list(self._initial)
        for slot, value in zip(self.inputs, inputs, strict=True):
            slots[slot] = value
        return slots

    def run_step(self, step: Step, slots: list[Any], free: bool = True) -> Sequence[Any]:
        """Run a step on the slots; with `free` empty those that nobody reads after it.

        Returns what it made.
        """
        place = None if step.home is None else place_in(slots, *step.home)
        results = self.results_of(step, [slots[slot] for slot in step.inputs], place)
        for slot, result in zip(step.outputs, results, strict=False):
            slots[slot] = result
        slots[_NOTHING] = None
        for slot in step.free if free else ():
            slots[slot] = None
        return results

    def results_of(self, step: Step, inputs: list[Any], place: Any = None) -> Sequence[Any]:
        """What a step makes of its inputs, anywhere or in its place; errors name its node."""
        try:
            return step.operation(inputs, place)
        except (GraphError, MemoryError):
            raise
        except Exception as error:
            seen = ", ".join(map(_seen, inputs))
            raise GraphError(
                f"{describe(step.operation.node)}: {error} (inputs: {seen})"
            ) from error


def _values_inside(graph: Graph) -> Iterator[Value]:
    """The values of the graphs inside a graph's nodes, at any depth."""
    for subgraph in (subgraph for node in graph.nodes for subgraph in node.subgraphs()):
        yield from subgraph.values()
        yield from _values_inside(subgraph)


def _signature(inputs: Sequence[Any], deciding: frozenset[int]) -> Any:
    """What a plan holds for: other inputs of these shapes and strides; None where it cannot be.

    Of those that decide which way to go, their numbers.
    """
    parts: list[Any] = [get_precision()]
    for array in inputs:
        if type(array) is not np.ndarray or not array.size or array.dtype.kind not in "biuf":
            return None
        if not array.flags.aligned:
            return None
        parts.append((array.shape, array.strides, array.dtype))
    parts += [inputs[index].item() for index in deciding]
    return tuple(parts)


def _seen(value: Any) -> str:
    """An input for errors: type and shape."""
    if isinstance(value, np.ndarray):
        return f"{value.dtype}{list(value.shape)}"
    return type(value).__name__
