"""What the table of operators holds, and what its rooms share.

A room is a module with functions ``lower(node) -> kernel``, each entered in the table under the
operators it serves:

    @operator("Relu", "Sigmoid", dtypes=FLOATS)
    def activation(node): ...
        return kernel

A kernel is called with the node's input arrays, None for a missing one, and returns the output, or
a tuple of outputs. `lower` returns None for a node that is not for it, and a kernel NotImplemented
for inputs that are not; the node's fallback runs then.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Sequence
from typing import Any, NamedTuple

import numpy as np

from fastconv._engine import elementwise
from fastconv._engine.program import broadcast

from ..ir import Node

__all__ = [
    "ANY", "FLOATS", "TABLE", "Entry", "axes_argument", "copy_into", "empty_in_order", "empty_like",
    "in_memory_order", "integers", "inverse", "operator",
]

Kernel = Callable[..., Any]
Lower = Callable[[Node], "Kernel | None"]

FLOATS = frozenset({np.dtype(np.float32), np.dtype(np.float64)})
ANY = None


class Entry(NamedTuple):
    """How an operator is run.

    Attributes
    ----------
    lower : callable
    dtypes : frozenset of numpy.dtype or None
        What the first input may be; None is anything.
    arrays : container of int
        The inputs of which kernels look at shape, strides and dtype alone, and leave the numbers
        to the engine: a plan may then repeat what the engine did. Empty where kernels compute by
        themselves.
    """

    lower: Lower
    dtypes: frozenset[Any] | None
    arrays: Container[int]


TABLE: dict[str, Entry] = {}


def operator(
    *names: str,
    dtypes: frozenset[Any] | None = ANY,
    arrays: Container[int] = (),
) -> Callable[[Lower], Lower]:
    """Enter a function into the table under operators' names; see `Entry`."""

    def enter(lower: Lower) -> Lower:
        entry = Entry(lower, dtypes, arrays)
        for name in names:
            assert name not in TABLE, name
            TABLE[name] = entry
        return lower

    return enter


def integers(array: Any) -> tuple[int, ...]:
    """An array of integers, of any shape, as a tuple of ints."""
    return tuple(int(number) for number in np.ravel(array))


def axes_argument(node: Node, name: str, given: Any) -> tuple[int, ...] | None:
    """Integers that older opsets have as the attribute `name` and newer ones as an input."""
    if given is not None:
        return integers(given)
    attribute = node.attributes.get(name)
    return None if attribute is None else integers(attribute)


def empty_like(x: np.ndarray) -> np.ndarray:
    """A new array of x's shape, dtype and order of memory."""
    return empty_in_order(x.shape, x)


def empty_in_order(shape: Sequence[int], x: np.ndarray) -> np.ndarray:
    """A new array of another shape than x's, of its dtype and order of memory."""
    if x.flags.c_contiguous:
        return elementwise.empty(shape, x.dtype)
    order = in_memory_order(x)
    array = elementwise.empty([shape[axis] for axis in order], x.dtype)
    return array.transpose(inverse(order))


def inverse(order: Sequence[int]) -> list[int]:
    """The permutation that undoes one."""
    back = [0] * len(order)
    for place, axis in enumerate(order):
        back[axis] = place
    return back


def copy_into(out: np.ndarray, x: np.ndarray) -> None:
    """Put x, broadcast to its shape, into `out`; they share no element."""
    if x.dtype == out.dtype and out.dtype in FLOATS and x.flags.aligned:
        elementwise.copy(x if x.shape == out.shape else broadcast(x, out.shape), out)
    else:
        out[...] = x


def in_memory_order(x: np.ndarray) -> tuple[int, ...]:
    """The axes of x, the one with the longest steps in memory first."""
    steps = [-abs(stride) for stride in x.strides]
    return tuple(sorted(range(x.ndim), key=steps.__getitem__))
