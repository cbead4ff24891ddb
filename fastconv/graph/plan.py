"""A plan: what an executor does for inputs of one signature, ready to be done.

    arrays of one signature --recorder--> Plan
    Plan.run(arrays)        results, no Python per native node

Every buffer has a place in one arena, which buffers share that are not alive together. Steps that
the engine does not do, or not alone, are called, on arrays over the arena.

    step        Shape, Slice, Concat    static      never again
                Reshape, Transpose      view        nothing to do
                Conv, Add, Resize       native      a run of recorded operations
                If, Where               called      Python

Plans are for graphs whose shapes follow from their inputs' shapes. Where a called step turns out to
give another shape, `run` says so, and the executor does without the plan.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from fastconv._engine import elementwise
from fastconv._engine.ledger import Ledger
from fastconv._engine.program import Program, Recorded, address_of, array_at, lowest_address

from .ops._entry import copy_into

if TYPE_CHECKING:
    from .executor import Executor, Step

__all__ = ["Called", "Native", "Place", "Plan"]

# The arena begins on a cache line, as its buffers do.
LINE = 64


class Place(NamedTuple):
    """An array in a buffer."""

    buffer: int
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]
    dtype: np.dtype[Any]


class Called(NamedTuple):
    """A step that Python runs.

    Attributes
    ----------
    step : Step
    number : int
        Of the executor's step that this is, or is a part of.
    inputs : list of Place or array
        An array is static.
    outputs : list of Place or None
    """

    step: Step
    number: int
    inputs: list[Any]
    outputs: list[Place | None]


class Native(NamedTuple):
    """Recorded operations from `first` up to `end`."""

    first: int
    end: int


class Plan:
    """What the recorder found; any number of threads may run it."""

    def __init__(self, executor: Executor, ledger: Ledger, operations: list[Recorded],
                 steps_of: list[int], schedule: list[Native | Called], results: list[Any],
                 constants: list[Any]) -> None:
        self._executor, self._schedule, self._results = executor, schedule, results
        self._constants = constants  # operations point into them
        self._program, self._steps_of = Program(operations), steps_of
        self._offsets, self._in_arena, self._delivered, self.arena_bytes = ledger.arrange()

    def run(self, inputs: Sequence[np.ndarray], arena: np.ndarray,
            watch: Callable[[int, float], Any] | None = None) -> list[Any] | None:
        """Run on arrays of the plan's signature.

        Parameters
        ----------
        inputs : sequence of ndarray
        arena : ndarray of uint8
            At least `arena_bytes` and a cache line.
        watch : callable, optional
            Gets the seconds of each called step and each operation, with its step's number.

        Returns
        -------
        list of ndarray or None
            None where a called step gave an array that the plan does not know.
        """
        base = -(-address_of(arena) // LINE) * LINE
        pointers = self._offsets + self._in_arena * np.uintp(base)
        owners: dict[int, np.ndarray] = dict(enumerate(inputs))
        for index, array in owners.items():
            pointers[index] = lowest_address(array)
        outputs = self._new_results(pointers, owners)
        for part in self._schedule:
            if isinstance(part, Native):
                self._run_native(part, pointers, watch)
                continue
            start = time.perf_counter()
            if not self._call(part, pointers, owners, arena):
                return None
            if watch is not None:
                watch(part.number, time.perf_counter() - start)
        return [self._copied(result, pointers, owners, arena) if at not in outputs
                else outputs[at] for at, result in enumerate(self._results)]

    def _run_native(self, part: Native, pointers: np.ndarray, watch: Any) -> None:
        if watch is None:
            self._program.run(pointers, *part)
            return
        for at in range(part.first, part.end):
            start = time.perf_counter()
            self._program.run(pointers, at, at + 1)
            watch(self._steps_of[at], time.perf_counter() - start)

    def _new_results(self, pointers: np.ndarray, owners: dict[int, np.ndarray]) -> dict[int, Any]:
        """The arrays that the caller gets, where the last operation fills them itself."""
        outputs: dict[int, Any] = {}
        for at, place in enumerate(self._results):
            if isinstance(place, Place) and place.buffer in self._delivered:
                if place.buffer not in owners:
                    owners[place.buffer] = elementwise.empty(place.shape, place.dtype)
                    pointers[place.buffer] = address_of(owners[place.buffer])
                    outputs[at] = owners[place.buffer]
        return outputs

    def _copied(self, result: Any, pointers: np.ndarray, owners: dict[int, np.ndarray],
                arena: np.ndarray) -> Any:
        if isinstance(result, Place):
            copy = elementwise.empty(result.shape, result.dtype)
            copy_into(copy, self._array(result, pointers, owners, arena))
            return copy
        return np.array(result) if isinstance(result, np.ndarray) else result

    def _array(self, place: Place, pointers: np.ndarray, owners: dict[int, np.ndarray],
               arena: np.ndarray) -> np.ndarray:
        owner = owners.get(place.buffer, arena)
        address = int(pointers[place.buffer]) + place.offset
        return array_at(address, place.shape, place.strides, place.dtype, owner)

    def _call(self, called: Called, pointers: np.ndarray, owners: dict[int, np.ndarray],
              arena: np.ndarray) -> bool:
        """Run a step in Python; False where its results are not as they were."""
        arrays = [self._array(given, pointers, owners, arena) if isinstance(given, Place)
                  else given for given in called.inputs]
        results = self._executor.results_of(called.step, arrays)
        for place, result in zip(called.outputs, results, strict=False):
            if place is None:
                continue
            if (not isinstance(result, np.ndarray) or result.shape != place.shape
                    or result.strides != place.strides or result.dtype != place.dtype):
                return False
            start = address_of(result) - place.offset
            if place.buffer not in owners and not self._in_arena[place.buffer]:
                owners[place.buffer], pointers[place.buffer] = result, start
            elif int(pointers[place.buffer]) != start:
                return False
        return True
