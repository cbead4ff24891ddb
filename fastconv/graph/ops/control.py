"""Control flow: branches are graphs of their own, compiled when the node is."""

from __future__ import annotations

from ..ir import Node
from ._entry import Kernel, operator


@operator("If")
def branches(node: Node) -> Kernel:
    """If: one of two graphs, which read captured values behind the condition."""
    from ..executor import Executor

    then, other = (Executor(node.attributes[name]) for name in ("then_branch", "else_branch"))

    def kernel(condition, *captured):
        chosen = then if condition.reshape(-1)[0] else other
        return tuple(chosen.run(captured))

    return kernel
