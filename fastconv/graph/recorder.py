"""Making plans: an executor's steps run on arrays of one signature, and a tape listens.

    arrays of one signature --record--> Plan, before anything was computed
                            --record--> results, and a Plan, where some steps are Python's

A step of the engine's own kernels is only written down: new arrays are shapes and addresses, and
memory comes when the plan runs, in its arena. Each array is found in the buffer it lies in: a
reshaped array is a place in the buffer it was made from. What depends on shapes alone is computed,
and known for good. A step that the engine does not do, or not alone, needs numbers: then all that
waits is run, on the arrays that it was written down for, and the step behind it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from fastconv._engine.program import Recorded, Room, Tape, address_of, bounds

from .plan import LINE, Buffer, Called, Native, Place, Plan

if TYPE_CHECKING:
    from .executor import Executor, Step

__all__ = ["record"]

# Their outputs follow from shapes, whatever the numbers.
_OF_SHAPES = ("Shape", "Size")
_RANDOM = frozenset({"RandomNormal", "RandomUniform", "RandomNormalLike", "RandomUniformLike",
                     "Multinomial", "Bernoulli", "Dropout"})

# What a step's tape holds: operations, and of each the fields that name a buffer and an offset.
Operations = list[tuple[Recorded, list[tuple[int, int, int]]]]


class Unplannable(Exception):
    """Something that a plan does not describe: a sequence, an empty array."""


def record(
    executor: Executor, inputs: Sequence[np.ndarray]
) -> tuple[list[Any] | None, Plan | None]:
    """Make a plan.

    Returns
    -------
    results : list or None
        Where steps had to be run for the plan, or there can be none; else None.
    plan : Plan or None

    Raises
    ------
    GraphError
        As the run itself.
    """
    recorder = _Recorder(executor, inputs)
    recorder.run()
    plan = recorder.plan()
    return (None if plan is not None and not recorder.ran else recorder.results()), plan


class _Recorder:
    """The state of a recording; see `record`."""

    def __init__(self, executor: Executor, inputs: Sequence[np.ndarray]) -> None:
        self.executor = executor
        self.slots = executor.filled(inputs)
        self.buffers: list[Buffer] = []
        self.live: list[int] = []
        self.places: dict[int, Place] = {}  # by slot; slots that are in neither dict are static
        self.operations: Operations = []
        self.steps_of: list[int] = []  # of each operation: the step that it is a part of
        self.schedule: list[Native | Called] = []
        self.room = Room()
        self.waiting: list[Recorded] = []
        self.kept: list[Any] = []  # arrays that must stay for those that wait
        self.failed = self.ran = False
        self.at = self.number = -1  # the step at hand, and that of the executor it is a part of
        for at, (slot, array) in enumerate(zip(executor.inputs, inputs, strict=True)):
            self._add("input", bounds(array))
            if at not in executor.deciding:
                self._settle(slot, self._find(array))

    # --- running --------------------------------------------------------------------------------

    def run(self) -> None:
        """Go through all steps; run those that have to be."""
        for number, step in enumerate(self.executor.steps):
            self.number = number
            self._go_through(step)

    def _go_through(self, step: Step) -> None:
        self.at += 1
        reads = [index for index, slot in enumerate(step.inputs) if slot in self.places]
        choose = getattr(step.operation.kernel, "choose", None)
        if choose is not None and 0 not in reads and not self.failed:
            self._go_into(choose(self.slots[step.inputs[0]]), step)
        elif not self._postpone(step, reads):
            self._run_now(step, reads)
        self._free(step)

    def _go_into(self, branch: Executor, step: Step) -> None:
        """Put a branch's steps in the place of the step that has chosen it."""
        inner = branch.filled([self.slots[slot] for slot in step.inputs[1:]])
        first = len(self.slots) - 1  # its slot 0 is the one that stands for nothing, too
        self.slots += inner[1:]
        for slot, given in zip(branch.inputs, step.inputs[1:], strict=True):
            self._share(slot + first, given)
        for part in branch.steps:
            self._go_through(_moved(part, first))
        for slot, made in zip(step.outputs, branch.outputs, strict=True):
            if slot:
                self.slots[slot] = self.slots[made + first]
                self._share(slot, made + first)

    def _share(self, slot: int, other: int) -> None:
        """A slot's value lies where another's does."""
        if other in self.places:
            self._settle(slot, self.places[other])

    def results(self) -> list[Any]:
        """What the graph gives, as arrays of their own."""
        self._run_waiting()
        return [np.array(result, order="C") if isinstance(result, np.ndarray) else result
                for result in (self.slots[slot] for slot in self.executor.outputs)]

    def _postpone(self, step: Step, reads: list[int]) -> bool:
        """Write a step down and let it wait, where its kernel leaves the numbers to the engine."""
        if self.failed or not reads or not step.operation.is_recorded(reads):
            return False
        before = [self.slots[slot] for slot in step.inputs]
        home = 0 if step.home is None else step.home[0]
        whole, known, alive = self.slots[home], len(self.buffers), len(self.live)
        try:
            with Tape(self.room) as tape:
                self.executor.run_step(step, self.slots, free=False)
            outputs = self._place_outputs(step, tape)
            operations = self._resolve(tape, before, self._fresh(outputs))
        except Exception:  # comes again where the step is run on numbers
            operations = None
        if operations is not None:
            self.waiting += [recorded for recorded, _ in operations]
            self.kept.append((before, [self.slots[slot] for slot in step.outputs]))
            self._do(operations)
            return True
        for slot in step.outputs:
            self._forget(slot)
        del self.buffers[known:], self.live[alive:]
        self.slots[home] = whole
        return False

    def _run_now(self, step: Step, reads: list[int]) -> None:
        """Run a step, and what it may read the numbers of."""
        static = not reads and step.operation.node.op not in _RANDOM
        static |= step.operation.node.op in _OF_SHAPES
        if not static or self.failed:
            self._run_waiting()
            self.ran = True
        before = [self.slots[slot] for slot in step.inputs]
        with Tape() as tape:
            self.executor.run_step(step, self.slots, free=False)
        if static or self.failed:
            return
        try:
            outputs = self._place_outputs(step, tape)
        except Unplannable:
            self.failed = True
            return
        fresh, operations = self._fresh(outputs), None
        if step.operation.is_recorded(reads):
            operations = self._resolve(tape, before, fresh)
        if operations is None:
            self._call(step, before, outputs, fresh)
        else:
            self._do(operations)

    def _run_waiting(self) -> None:
        for recorded in self.waiting:
            recorded.run_now()
        self.waiting.clear()
        self.kept.clear()
        self.room.clear()

    def _free(self, step: Step) -> None:
        for slot in step.free:
            self.slots[slot] = None
            self._forget(slot)

    def _forget(self, slot: int) -> None:
        """A slot's value is in its buffer no more."""
        place = self.places.pop(slot, None)
        if place is not None:
            buffer = self.buffers[place.buffer]
            buffer.views -= 1
            if not buffer.views:
                self.live.remove(place.buffer)

    # --- what a step was ------------------------------------------------------------------------

    def _place_outputs(self, step: Step, tape: Tape) -> list[Place | None]:
        for array in tape.arrays:  # what a kernel made on its way, the outputs among them
            self._add("arena", bounds(array))
        outputs: list[Place | None] = []
        for slot in step.outputs:
            result = self.slots[slot]
            if not slot:
                outputs.append(None)
                continue
            if not isinstance(result, np.ndarray) or not result.size or result.dtype == object:
                raise Unplannable
            place = self._find(result)
            if place is None:
                self._add("arena", bounds(result))
                place = self._find(result)
            self._settle(slot, place)
            outputs.append(place)
        return outputs

    def _fresh(self, outputs: list[Place | None]) -> set[int]:
        """The buffers of outputs that this step has made."""
        return {place.buffer for place in outputs
                if place is not None and self.buffers[place.buffer].first == self.at}

    def _add(self, kind: str, within: tuple[int, int]) -> None:
        self.buffers.append(Buffer(kind, *within, self.at))
        self.live.append(len(self.buffers) - 1)

    def _settle(self, slot: int, place: Place | None) -> None:
        assert place is not None
        self.places[slot] = place
        self.buffers[place.buffer].views += 1

    def _find(self, array: np.ndarray) -> Place | None:
        index = self._buffer_at(*bounds(array))
        return None if index is None else Place(
            index, address_of(array) - self.buffers[index].low, array.shape, array.strides,
            array.dtype)

    def _buffer_at(self, low: int, high: int) -> int | None:
        """The buffer that holds these addresses."""
        for index in reversed(self.live):
            buffer = self.buffers[index]
            if buffer.low <= low and high <= buffer.high:
                return index
        return None

    def _resolve(self, tape: Tape, inputs: list[Any], fresh: set[int]) -> Operations | None:
        """The step's operations on buffers; None where they are not all that it did."""
        if tape.failed:
            return None
        written, operations = set(), []
        for recorded in tape.steps:
            fields = []
            for place, address, is_written in recorded.fields:
                index = self._buffer_at(address, address + 1)
                if index is not None:
                    fields.append((place, index, address - self.buffers[index].low))
                    if is_written:
                        written.add(index)
                elif is_written or not _is_among(inputs, address):
                    return None
            operations.append((recorded, fields))
        return operations if fresh <= written else None

    def _do(self, operations: Operations) -> None:
        for _, fields in operations:
            for _, index, _ in fields:
                self.buffers[index].last = self.at
        first, end = len(self.operations), len(self.operations) + len(operations)
        self.operations += operations
        self.steps_of += [self.number] * len(operations)
        if self.schedule and isinstance(self.schedule[-1], Native):
            first = self.schedule.pop().first
        if end > first:
            self.schedule.append(Native(first, end))
        self._drop_temporaries()

    def _call(self, step: Step, inputs: list[Any], outputs: list[Place | None],
              fresh: set[int]) -> None:
        given = [self.places.get(slot, array)
                 for slot, array in zip(step.inputs, inputs, strict=True)]
        for place in (*given, *outputs):
            if isinstance(place, Place):
                self.buffers[place.buffer].last = self.at
        for index in fresh:
            self.buffers[index].kind = "held"
        self.schedule.append(Called(step, self.number, given, outputs))
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
        return Plan(self.executor, self.buffers, self.operations, self.steps_of, self.schedule,
                    results, constants)

    def _deliver(self, place: Place) -> None:
        """Let a buffer that is an output as it should be, and no more, be the caller's array."""
        buffer = self.buffers[place.buffer]
        buffer.last = self.at + 1
        size = math.prod(place.shape) * place.dtype.itemsize
        plain = place.strides == _plain_strides(place)
        if buffer.kind == "arena" and plain and not place.offset and buffer.high - buffer.low < (
                size + LINE):
            buffer.kind = "result"


def _moved(step: Step, by: int) -> Step:
    """A step on slots that lie further on; slot 0 stays where it is."""

    def moved(slots: tuple[int, ...]) -> tuple[int, ...]:
        return tuple(slot and slot + by for slot in slots)

    home = None if step.home is None else (step.home[0] + by, step.home[1])
    return step._replace(inputs=moved(step.inputs), outputs=moved(step.outputs),
                         free=moved(step.free), home=home)


def _is_among(arrays: list[Any], address: int) -> bool:
    """Whether an address is in one of the arrays."""
    within = (bounds(array) for array in arrays if isinstance(array, np.ndarray))
    return any(low <= address < high for low, high in within)


def _plain_strides(place: Place) -> tuple[int, ...]:
    """The strides of a C-contiguous array."""
    strides, step = [], place.dtype.itemsize
    for size in reversed(place.shape):
        strides.append(step)
        step *= size
    return tuple(reversed(strides))
