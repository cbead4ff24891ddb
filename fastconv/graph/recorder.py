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

from fastconv._engine.ledger import Ledger
from fastconv._engine.program import Recorded, Room, Tape
from fastconv.config import get_precision

from .plan import Called, Native, Place, Plan

if TYPE_CHECKING:
    from .executor import Executor, Step

__all__ = ["record"]

# Their outputs follow from shapes, whatever the numbers.
_OF_SHAPES = ("Shape", "Size")
_RANDOM = frozenset({"RandomNormal", "RandomUniform", "RandomNormalLike", "RandomUniformLike",
                     "Multinomial", "Bernoulli", "Dropout"})


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
        self.ledger = Ledger(len(self.slots))  # values that lie in no buffer are static
        self.operations: list[Recorded] = []
        self.steps_of: list[int] = []  # of each operation: the step that it is a part of
        self.schedule: list[Native | Called] = []
        self.scheduled = 0  # operations that are in the schedule
        self.room = Room()
        self.waiting: list[Recorded] = []
        self.kept: list[Any] = []  # arrays that must stay for those that wait
        self.failed = self.ran = False
        self.number = -1  # of the executor's step that the step at hand is a part of
        for at, (slot, array) in enumerate(zip(executor.inputs, inputs, strict=True)):
            buffer = self.ledger.add_input(array)
            if at not in executor.deciding:
                self.ledger.settle(slot, buffer)

    # --- running --------------------------------------------------------------------------------

    def run(self) -> None:
        """Go through all steps; run those that have to be."""
        for number, step in enumerate(self.executor.steps):
            self.number = number
            self._go_through(step)

    def _go_through(self, step: Step) -> None:
        self.ledger.at += 1
        reads = self.ledger.moving(step.inputs)
        choose = step.operation.choose
        if choose is not None and 0 not in reads and not self.failed:
            self._go_into(choose(self.slots[step.inputs[0]]), step)
        elif not self._postpone(step, reads):
            self._run_now(step, reads)
        for slot in step.free:
            self.slots[slot] = None
        self.ledger.forget(step.free)

    def _go_into(self, branch: Executor, step: Step) -> None:
        """Put a branch's steps in the place of the step that has chosen it."""
        inner = branch.filled([self.slots[slot] for slot in step.inputs[1:]])
        first = len(self.slots) - 1  # its slot 0 is the one that stands for nothing, too
        self.slots += inner[1:]
        self.ledger.add_slots(len(inner) - 1)
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
        buffer = self.ledger.buffer(other)
        if buffer is not None:
            self.ledger.settle(slot, buffer)

    def results(self) -> list[Any]:
        """What the graph gives, as arrays of their own."""
        self._run_waiting()
        return [np.array(result, order="C") if isinstance(result, np.ndarray) else result
                for result in (self.slots[slot] for slot in self.executor.outputs)]

    def _postpone(self, step: Step, reads: list[int]) -> bool:
        """Write a step down and let it wait, where its kernel leaves the numbers to the engine."""
        if self.failed or not reads or not step.operation.is_recorded(reads):
            return False
        slots, ledger = self.slots, self.ledger
        before = [slots[slot] for slot in step.inputs]
        home = 0 if step.home is None else step.home[0]
        whole, known = slots[home], ledger.known()
        try:
            with self._tape(self.room) as tape:
                self.executor.run_step(step, slots, free=False)
            outputs = ledger.settle_outputs(slots, step.outputs, tape.arrays)
            done = outputs is not None and ledger.resolve(tape, before, outputs)
        except Exception:  # comes again where the step is run on numbers
            done = False
        if done:
            self.waiting += tape.steps
            self.kept += before
            self._do(tape.steps)
            return True
        ledger.forget(step.outputs)
        ledger.forget_from(known)
        slots[home] = whole
        return False

    def _run_now(self, step: Step, reads: list[int]) -> None:
        """Run a step, and what it may read the numbers of."""
        static = not reads and step.operation.node.op not in _RANDOM
        static |= step.operation.node.op in _OF_SHAPES
        if not static or self.failed:
            self._run_waiting()
            self.ran = True
        before = [self.slots[slot] for slot in step.inputs]
        with self._tape() as tape:
            self.executor.run_step(step, self.slots, free=False)
        if static or self.failed:
            return
        outputs = self.ledger.settle_outputs(self.slots, step.outputs, tape.arrays)
        if outputs is None:  # something that a plan does not describe: a sequence, an empty array
            self.failed = True
        elif step.operation.is_recorded(reads) and self.ledger.resolve(tape, before, outputs):
            self._do(tape.steps)
        else:
            self._call(step, before, outputs)

    def _tape(self, room: Room | None = None) -> Tape:
        return Tape(room, flush_denormals=get_precision() != "highest")

    def _run_waiting(self) -> None:
        for recorded in self.waiting:
            recorded.run_now()
        self.waiting.clear()
        self.kept.clear()
        self.room.clear()

    # --- what a step was ------------------------------------------------------------------------

    def _do(self, operations: list[Recorded]) -> None:
        self.ledger.take_up(operations)
        self.operations += operations
        self.steps_of += [self.number] * len(operations)

    def _schedule_operations(self) -> None:
        """Put what has come since the last call of Python into the schedule."""
        end = len(self.operations)
        if end > self.scheduled:
            self.schedule.append(Native(self.scheduled, end))
            self.scheduled = end

    def _call(self, step: Step, inputs: list[Any], outputs: list[int]) -> None:
        places: list[Any] = [self._place(slot, array)
                             for slot, array in zip(step.inputs, inputs, strict=True)]
        made = [self._place(slot, self.slots[slot]) for slot in step.outputs]
        self._schedule_operations()
        touched = [place.buffer for place in (*places, *made) if isinstance(place, Place)]
        self.ledger.read(touched)
        self.ledger.hold(buffer for buffer in outputs if buffer >= 0)
        self.schedule.append(Called(step, self.number, places, made))

    def _place(self, slot: int, array: Any) -> Any:
        """An array's place in the buffer that the slot's value lies in, or the array as it is."""
        buffer = self.ledger.buffer(slot)
        if buffer is None:
            return array
        return Place(buffer, self.ledger.offset(buffer, array), array.shape, array.strides,
                     array.dtype)

    # --- the plan -------------------------------------------------------------------------------

    def plan(self) -> Plan | None:
        """What was recorded, as a plan."""
        if self.failed:
            return None
        self._schedule_operations()
        results: list[Any] = []
        self.ledger.at += 1
        for slot in self.executor.outputs:
            results.append(self._place(slot, self.slots[slot]))
            if isinstance(results[-1], Place):
                self._deliver(results[-1])
        constants = [value for slot, value in enumerate(self.slots)
                     if value is not None and self.ledger.buffer(slot) is None]
        return Plan(self.executor, self.ledger, self.operations, self.steps_of, self.schedule,
                    results, constants)

    def _deliver(self, place: Place) -> None:
        """Let a buffer that is an output as it should be, and no more, be the caller's array."""
        plain = place.strides == _plain_strides(place) and not place.offset
        self.ledger.deliver(place.buffer,
                            math.prod(place.shape) * place.dtype.itemsize if plain else 0)


def _moved(step: Step, by: int) -> Step:
    """A step on slots that lie further on; slot 0 stays where it is."""

    def moved(slots: tuple[int, ...]) -> tuple[int, ...]:
        return tuple(slot and slot + by for slot in slots)

    home = None if step.home is None else (step.home[0] + by, step.home[1])
    return step._replace(inputs=moved(step.inputs), outputs=moved(step.outputs),
                         free=moved(step.free), home=home)


def _plain_strides(place: Place) -> tuple[int, ...]:
    """The strides of a C-contiguous array."""
    strides, step = [], place.dtype.itemsize
    for size in reversed(place.shape):
        strides.append(step)
        step *= size
    return tuple(reversed(strides))
