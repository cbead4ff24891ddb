"""A plan: what an executor does for inputs of one signature, ready to be done.

    arrays of one signature --recorder--> Plan
    Plan.run(arrays)        results, no Python per native node

Every buffer has a first and a last reader, and a place in one arena, which buffers share that are
not alive together. Steps that the engine does not do, or not alone, are called, on arrays over the
arena.

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
from fastconv._engine.program import Program, address_of, array_at, bounds

from .ops._entry import copy_into

if TYPE_CHECKING:
    from .executor import Executor, Step

__all__ = ["LINE", "Buffer", "Called", "Native", "Place", "Plan"]

# Buffers begin on cache lines.
LINE = 64


class Place(NamedTuple):
    """An array in a buffer."""

    buffer: int
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]
    dtype: np.dtype[Any]


class Buffer:
    """Memory that arrays lie in.

    Attributes
    ----------
    kind : {"input", "arena", "held", "result"}
        Fed; the arena's; an array that a called step returned; an array that the caller gets.
    low, high : int
        Where it lay while recording.
    first, last : int
        The steps that made it and that read it last.
    views : int
        Values that still are in it while recording.
    """

    def __init__(self, kind: str, low: int, high: int, at: int) -> None:
        self.kind, self.low, self.high = kind, low, high
        self.first = self.last = at
        self.views = 0


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


def _arrange(buffers: list[Buffer]) -> tuple[list[int], int]:
    """Offsets of the arena's buffers, 0 for others, and its size.

    In the order in which they are made, each takes the smallest free piece that holds it.
    """
    offsets, end = [0] * len(buffers), 0
    free: list[tuple[int, int]] = []  # offset, size; by offset
    dying: dict[int, list[int]] = {}
    step = -1
    for index, buffer in enumerate(buffers):  # made in order
        if buffer.kind != "arena":
            continue
        while step < buffer.first:  # what was read last before this step is free now
            for gone in dying.pop(step, ()):
                free.append((offsets[gone], _size(buffers[gone])))
            step += 1
        free = _joined(free)
        size = _size(buffer)
        fits = [piece for piece in free if piece[1] >= size]
        if fits:
            piece = min(fits, key=lambda piece: piece[1])
            free.remove(piece)
            offsets[index] = piece[0]
            if piece[1] > size:
                free.append((piece[0] + size, piece[1] - size))
        else:
            if free and free[-1][0] + free[-1][1] == end:  # the last piece grows
                end = free.pop()[0]
            offsets[index], end = end, end + size
        dying.setdefault(buffer.last, []).append(index)
    return offsets, end


def _size(buffer: Buffer) -> int:
    return -(-(buffer.high - buffer.low) // LINE) * LINE


def _joined(pieces: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """Free pieces by offset, neighbours as one."""
    joined: list[tuple[int, int]] = []
    for offset, size in sorted(pieces):
        if joined and sum(joined[-1]) == offset:
            joined[-1] = (joined[-1][0], joined[-1][1] + size)
        else:
            joined.append((offset, size))
    return joined


class Plan:
    """What the recorder found; any number of threads may run it."""

    def __init__(self, executor: Executor, buffers: list[Buffer], operations: list[Any],
                 steps_of: list[int], schedule: list[Native | Called], results: list[Any],
                 constants: list[Any]) -> None:
        self._executor, self._schedule, self._results = executor, schedule, results
        self._constants = constants  # operations point into them
        self._program, self._steps_of = Program(operations), steps_of
        offsets, self.arena_bytes = _arrange(buffers)
        self._offsets = np.array(offsets, np.uintp)
        self._in_arena = np.array([buffer.kind == "arena" for buffer in buffers], np.uintp)
        self._delivered = [index for index, buffer in enumerate(buffers)
                           if buffer.kind == "result"]

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
            pointers[index] = bounds(array)[0]
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
