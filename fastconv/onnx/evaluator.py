"""Operators by the `onnx` package's reference implementations: what fastconv has no code for.

An `Evaluator` is a node's fallback: a model of this one node, made on first use. Branches and
bodies find the values that they take from outside among its inputs.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

__all__ = ["Evaluator"]


class Evaluator:
    """Runs one node.

    Parameters
    ----------
    onnx : module
    proto : NodeProto
    opsets : dict of str to int
        Versions by domain.
    types : dict of str to TypeProto
        Of the model's values, as far as they are known.
    captured : sequence of str
        Outer values that the node's subgraphs read; they come behind the node's own inputs.
    constants : dict of str to array
        The constants that they read.
    """

    def __init__(
        self, onnx: Any, proto: Any, opsets: Mapping[str, int], types: Mapping[str, Any],
        captured: Sequence[str], constants: Mapping[str, Any],
    ) -> None:
        self._onnx, self._proto, self._opsets, self._types = onnx, proto, opsets, types
        self._names, self._constants = [*proto.input, *captured], constants
        self._session: Any = None

    def prepare(self) -> None:
        """Find the implementation.

        Raises
        ------
        NotImplementedError
            When there is none.
        """
        if self._session is not None:
            return
        make = self._onnx.helper.make_graph
        known = [name for name in dict.fromkeys(self._names) if name in self._types]
        inputs = [self._onnx.ValueInfoProto(name=n, type=self._types[n]) for n in known]
        outputs = [self._onnx.ValueInfoProto(name=n) for n in self._proto.output if n]
        graph = make([self._proto], "node", inputs, outputs)
        from onnx.reference import ReferenceEvaluator

        try:
            self._session = ReferenceEvaluator(graph, opsets=dict(self._opsets))
        except Exception as error:
            reason = str(error).partition("\n")[0]
            raise NotImplementedError(f"no implementation ({reason})") from error

    def __call__(self, *inputs: Any) -> tuple[Any, ...]:
        """Run the node on arrays; None stands for an input that is missing."""
        self.prepare()
        feeds = {**self._constants}
        feeds |= {name: value for name, value in zip(self._names, inputs, strict=True) if name}
        # NumPy warns of infinities and NaN, which are right answers here.
        with np.errstate(all="ignore"), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            results = iter(self._session.run(None, feeds))
        return tuple(next(results) if name else None for name in self._proto.output)
