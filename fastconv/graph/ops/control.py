"""Control flow: branches are graphs of their own, compiled when the node is."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ..ir import Node, Value
from ._entry import Kernel, operator

if TYPE_CHECKING:
    from ..executor import Executor


@operator("If")
def branches(node: Node) -> Kernel:
    """If: one of two graphs, which read captured values behind the condition."""
    return Branches(node)


class Branches:
    """The kernel of If."""

    def __init__(self, node: Node) -> None:
        from ..executor import Executor

        self._then, self._other = (
            Executor(node.attributes[name]) for name in ("then_branch", "else_branch"))

    def choose(self, condition: np.ndarray) -> Executor:
        """The executor of the branch that a condition stands for."""
        return self._then if condition.reshape(-1)[0] else self._other

    def __call__(self, condition, *captured):
        return tuple(self.choose(condition).run(captured))


@operator("Loop")
def loop(node: Node) -> Kernel:
    """Loop: a body that runs a number of times or while its condition holds.

    The body reads (iteration, condition, carried, captured) and makes (condition, carried,
    scanned); what is scanned is stacked along a new first axis.
    """
    from ..executor import Executor

    graph = node.attributes["body"]
    body = Executor(graph)
    scans = graph.outputs[1 + node.attributes["carried"]:]
    count = node.attributes["carried"]

    def kernel(most, condition, *values):
        if any(not isinstance(value, np.ndarray) for value in values):
            return NotImplemented  # sequences and optionals
        carried, captured = list(values[:count]), values[count:]
        scanned: list[list[np.ndarray]] = [[] for _ in scans]
        going = condition is None or bool(condition.reshape(-1)[0])
        limit = None if most is None else int(most.reshape(-1)[0])
        iteration = 0
        while going and (limit is None or iteration < limit):
            place = np.array(iteration, np.int64)
            results = body.run([place, np.array(going), *carried, *captured])
            if any(not isinstance(result, np.ndarray) for result in results):
                return NotImplemented
            going = bool(results[0].reshape(-1)[0])
            carried = results[1 : 1 + count]
            for lines, line in zip(scanned, results[1 + count :], strict=True):
                lines.append(line)
            iteration += 1
        return (*carried, *map(_stack, scanned, scans))

    return kernel


def _stack(lines: list[np.ndarray], value: Value) -> np.ndarray:
    """What was scanned as one array; of no iteration, an empty one."""
    if lines:
        return np.stack(lines)
    sizes = (size if isinstance(size, int) else 0 for size in value.shape or ())
    return np.empty((0, *sizes), value.dtype)
