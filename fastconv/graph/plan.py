"""A plan: what an executor did for inputs of one signature, ready to be done again.

    arrays of one signature --record--> results, and a Plan
                            --Plan.run--> the same on other numbers, no Python per native node

While the steps run one by one, a tape writes down what the engine does, and each array is found in
the memory it lies in: a reshaped array is a place in the buffer it was made from. What depends on
shapes alone is known for good. Afterwards every buffer has a first and a last reader, and gets a
place in one arena, which buffers share that are not alive together. Steps that the engine did not
do, or not alone, are called as before, on arrays over the arena.

    step        Shape, Slice, Concat    static      never again
                Reshape, Transpose      view        nothing to do
                Conv, Add, Resize       native      a run of recorded operations
                If, Where               called      Python

Plans are for graphs whose shapes follow from their inputs' shapes. Where a called step turns out to
give another shape, `run` says so, and the executor does without the plan.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from fastconv._engine import elementwise
from fastconv._engine.program import Program, Recorded, Tape, address_of, array_at

from .ops._entry import copy_into

if TYPE_CHECKING:
    from .executor import Executor, Step

__all__ = ["Plan", "record"]

# Buffers begin on cache lines.
_LINE = 64
# Their outputs follow from shapes, whatever the numbers.
_OF_SHAPES = ("Shape", "Size")
_RANDOM = frozenset({"RandomNormal", "RandomUniform", "RandomNormalLike", "RandomUniformLike",
                     "Multinomial", "Bernoulli", "Dropout"})


class Unplannable(Exception):
    """Something that a plan does not describe: a sequence, an empty array."""


class _Place(NamedTuple):
    """An array in a buffer."""

    buffer: int
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]
    dtype: np.dtype[Any]


class _Buffer:
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


class _Called(NamedTuple):
    """A step that Python runs.

    Attributes
    ----------
    step : Step
    inputs : list of _Place or array
        An array is static.
    outputs : list of _Place or None
    """

    step: Step
    inputs: list[Any]
    outputs: list[_Place | None]


class _Native(NamedTuple):
    """Recorded operations from `first` up to `end`."""

    first: int
    end: int


def record(executor: Executor, inputs: Sequence[np.ndarray]) -> tuple[list[Any], Plan | None]:
    """Run an executor's steps; return its results and, where one can be made, a plan.

    Errors are those of the run itself.
    """
    recorder = _Recorder(executor, inputs)
    results = recorder.run()
    return results, recorder.plan()


def _bounds(array: np.ndarray) -> tuple[int, int]:
    """The addresses between which an array's elements lie."""
    low = high = address_of(array)
    for size, stride in zip(array.shape, array.strides, strict=True):
        reach = (size - 1) * stride
        if reach < 0:
            low += reach
        else:
            high += reach
    return low, high + array.itemsize


class _Recorder:
    """The state of a recording; see `record`."""

    def __init__(self, executor: Executor, inputs: Sequence[np.ndarray]) -> None:
        self.executor = executor
        self.slots = executor.filled(inputs)
        self.buffers: list[_Buffer] = []
        self.live: list[int] = []
        self.places: dict[int, _Place] = {}  # by slot; slots that are in neither dict are static
        self.operations: list[tuple[Recorded, list[tuple[int, int, int]]]] = []
        self.schedule: list[_Native | _Called] = []
        self.failed = False
        self.at = -1
        for slot, array in zip(executor.inputs, inputs, strict=True):
            self.buffers.append(_Buffer("input", *_bounds(array), -1))
            self.live.append(len(self.buffers) - 1)
            self._settle(slot, self._find(array))

    # --- running --------------------------------------------------------------------------------

    def run(self) -> list[Any]:
        """Run all steps, watching them."""
        for at, step in enumerate(self.executor.steps):
            self.at = at
            before = [self.slots[slot] for slot in step.inputs]
            with Tape() as tape:
                self.executor.run_step(step, self.slots, free=False)
            if not self.failed:
                try:
                    self._watch(step, before, tape)
                except Unplannable:
                    self.failed = True
            self._free(step)
        return [self.slots[slot] for slot in self.executor.outputs]

    def _free(self, step: Step) -> None:
        for slot in step.free:
            self.slots[slot] = None
            place = self.places.pop(slot, None)
            if place is not None:
                buffer = self.buffers[place.buffer]
                buffer.views -= 1
                if not buffer.views:
                    self.live.remove(place.buffer)

    # --- what a step was ------------------------------------------------------------------------

    def _watch(self, step: Step, inputs: list[Any], tape: Tape) -> None:
        reads = [index for index, slot in enumerate(step.inputs) if slot in self.places]
        results = [self.slots[slot] if slot else None for slot in step.outputs]
        node = step.operation.node
        if (not reads or node.op in _OF_SHAPES) and node.op not in _RANDOM:
            return  # static
        outputs = self._place_outputs(step, results, tape)
        fresh = {place.buffer for place in outputs
                 if place is not None and self.buffers[place.buffer].first == self.at}
        operations = None
        if step.operation.is_recorded(reads) and not tape.failed:
            operations = self._resolve(tape, inputs, fresh)
        if operations is None:
            self._call(step, inputs, outputs, fresh)
        else:
            self._do(operations)

    def _place_outputs(self, step: Step, results: list[Any], tape: Tape) -> list[_Place | None]:
        for array in tape.arrays:  # what a kernel made on its way, the outputs among them
            self._add("arena", _bounds(array))
        outputs: list[_Place | None] = []
        for slot, result in zip(step.outputs, results, strict=True):
            if not slot:
                outputs.append(None)
                continue
            if not isinstance(result, np.ndarray) or not result.size or result.dtype == object:
                raise Unplannable
            place = self._find(result)
            if place is None:
                self._add("arena", _bounds(result))
                place = self._find(result)
            self._settle(slot, place)
            outputs.append(place)
        return outputs

    def _add(self, kind: str, bounds: tuple[int, int]) -> None:
        self.buffers.append(_Buffer(kind, *bounds, self.at))
        self.live.append(len(self.buffers) - 1)

    def _settle(self, slot: int, place: _Place | None) -> None:
        assert place is not None
        self.places[slot] = place
        self.buffers[place.buffer].views += 1

    def _find(self, array: np.ndarray) -> _Place | None:
        low, high = _bounds(array)
        for index in reversed(self.live):
            buffer = self.buffers[index]
            if buffer.low <= low and high <= buffer.high:
                return _Place(index, address_of(array) - buffer.low, array.shape, array.strides,
                              array.dtype)
        return None

    def _resolve(
        self, tape: Tape, inputs: list[Any], fresh: set[int]
    ) -> list[tuple[Recorded, list[tuple[int, int, int]]]] | None:
        """The step's operations on buffers; None where they are not all that it did."""
        static = [_bounds(array) for array in inputs if isinstance(array, np.ndarray)]
        written, operations = set(), []
        for recorded in tape.steps:
            fields = []
            for place, address, is_written in recorded.fields:
                index = next((i for i in reversed(self.live)
                              if self.buffers[i].low <= address < self.buffers[i].high), None)
                if index is not None:
                    fields.append((place, index, address - self.buffers[index].low))
                    if is_written:
                        written.add(index)
                elif is_written or not any(low <= address < high for low, high in static):
                    return None
            operations.append((recorded, fields))
        return operations if fresh <= written else None

    def _do(self, operations: list[tuple[Recorded, list[tuple[int, int, int]]]]) -> None:
        for _, fields in operations:
            for _, index, _ in fields:
                self.buffers[index].last = self.at
        first, end = len(self.operations), len(self.operations) + len(operations)
        self.operations += operations
        if self.schedule and isinstance(self.schedule[-1], _Native):
            first = self.schedule.pop().first
        if end > first:
            self.schedule.append(_Native(first, end))
        self._drop_temporaries()

    def _call(self, step: Step, inputs: list[Any], outputs: list[_Place | None],
              fresh: set[int]) -> None:
        given = [self.places.get(slot, array)
                 for slot, array in zip(step.inputs, inputs, strict=True)]
        for place in (*given, *outputs):
            if isinstance(place, _Place):
                self.buffers[place.buffer].last = self.at
        for index in fresh:
            self.buffers[index].kind = "held"
        self.schedule.append(_Called(step, given, outputs))
        self._drop_temporaries()

    def _drop_temporaries(self) -> None:
        """Forget buffers that no value is in: their memory is about to be used again."""
        self.live = [i for i in self.live if self.buffers[i].views or self.buffers[i].first < 0]

    # --- the plan -------------------------------------------------------------------------------

    def plan(self) -> Plan | None:
        """What was recorded, as a plan."""
        if self.failed:
            return None
        results: list[Any] = []
        for slot in self.executor.outputs:
            place = self.places.get(slot)
            results.append(self.slots[slot] if place is None else place)
            if place is not None:
                self._deliver(place)
        constants = [self.slots[slot] for slot in range(len(self.slots))
                     if slot not in self.places and self.slots[slot] is not None]
        return Plan(self.executor, self.buffers, self.operations, self.schedule, results, constants)

    def _deliver(self, place: _Place) -> None:
        """Let a buffer that is an output as it should be, and no more, be the caller's array."""
        buffer = self.buffers[place.buffer]
        buffer.last = self.at + 1
        size = math.prod(place.shape) * place.dtype.itemsize
        plain = place.strides == _plain_strides(place)
        if buffer.kind == "arena" and plain and not place.offset and buffer.high - buffer.low < (
                size + _LINE):
            buffer.kind = "result"


def _plain_strides(place: _Place) -> tuple[int, ...]:
    """The strides of a C-contiguous array."""
    strides, step = [], place.dtype.itemsize
    for size in reversed(place.shape):
        strides.append(step)
        step *= size
    return tuple(reversed(strides))


def _arrange(buffers: list[_Buffer]) -> tuple[list[int], int]:
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


def _size(buffer: _Buffer) -> int:
    return -(-(buffer.high - buffer.low) // _LINE) * _LINE


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
    """What `record` found; any number of threads may run it."""

    def __init__(self, executor: Executor, buffers: list[_Buffer], operations: list[Any],
                 schedule: list[_Native | _Called], results: list[Any],
                 constants: list[Any]) -> None:
        self._executor, self._schedule, self._results = executor, schedule, results
        self._constants = constants  # operations point into them
        self._program = Program(operations)
        offsets, self.arena_bytes = _arrange(buffers)
        self._offsets = np.array(offsets, np.uintp)
        self._in_arena = np.array([buffer.kind == "arena" for buffer in buffers], np.uintp)
        self._delivered = [index for index, buffer in enumerate(buffers)
                           if buffer.kind == "result"]

    def run(self, inputs: Sequence[np.ndarray], arena: np.ndarray) -> list[Any] | None:
        """Run on arrays of the plan's signature.

        Parameters
        ----------
        inputs : sequence of ndarray
        arena : ndarray of uint8
            At least `arena_bytes` and a cache line.

        Returns
        -------
        list of ndarray or None
            None where a called step gave an array that the plan does not know.
        """
        base = -(-address_of(arena) // _LINE) * _LINE
        pointers = self._offsets + self._in_arena * np.uintp(base)
        owners: dict[int, np.ndarray] = dict(enumerate(inputs))
        for index, array in owners.items():
            pointers[index] = _bounds(array)[0]
        outputs = self._new_results(pointers, owners)
        for part in self._schedule:
            if isinstance(part, _Native):
                self._program.run(pointers, *part)
            elif not self._call(part, pointers, owners, arena):
                return None
        return [self._copied(result, pointers, owners, arena) if at not in outputs
                else outputs[at] for at, result in enumerate(self._results)]

    def _new_results(self, pointers: np.ndarray, owners: dict[int, np.ndarray]) -> dict[int, Any]:
        """The arrays that the caller gets, where the last operation fills them itself."""
        outputs: dict[int, Any] = {}
        for at, place in enumerate(self._results):
            if isinstance(place, _Place) and place.buffer in self._delivered:
                if place.buffer not in owners:
                    owners[place.buffer] = np.empty(place.shape, place.dtype)
                    pointers[place.buffer] = address_of(owners[place.buffer])
                    outputs[at] = owners[place.buffer]
        return outputs

    def _copied(self, result: Any, pointers: np.ndarray, owners: dict[int, np.ndarray],
                arena: np.ndarray) -> Any:
        if isinstance(result, _Place):
            copy = elementwise.empty(result.shape, result.dtype)
            copy_into(copy, self._array(result, pointers, owners, arena))
            return copy
        return np.array(result) if isinstance(result, np.ndarray) else result

    def _array(self, place: _Place, pointers: np.ndarray, owners: dict[int, np.ndarray],
               arena: np.ndarray) -> np.ndarray:
        owner = owners.get(place.buffer, arena)
        address = int(pointers[place.buffer]) + place.offset
        return array_at(address, place.shape, place.strides, place.dtype, owner)

    def _call(self, called: _Called, pointers: np.ndarray, owners: dict[int, np.ndarray],
              arena: np.ndarray) -> bool:
        """Run a step in Python; False where its results are not as they were."""
        arrays = [self._array(given, pointers, owners, arena) if isinstance(given, _Place)
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
