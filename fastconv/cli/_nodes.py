"""What the nodes of an ONNX network do to shapes: windows, multiply-adds, parameters, bytes.

    Timing (node, shapes that went in and came out) --step_of--> Step --receptive_fields--> Fields

A rule takes a node and the shapes it has read and made, as they were in a run; operators without a
rule leave the receptive field as it is and count no multiply-adds.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

from fastconv.models._tracing import Field, Step, widest

Shape = tuple[int, ...]


def step_of(node: Any, inputs: Sequence[Shape], outputs: Sequence[Shape]) -> Step:
    """How a node looks at its input.

    Parameters
    ----------
    node : graph.ir.Node
    inputs, outputs : sequence of tuple of int
        Shapes; () for an input that is missing.
    """
    if not outputs:
        return Step(())
    rule = None if node.domain else _RULES.get(node.op)
    return rule(node, inputs, outputs[0]) if rule else Step(outputs[0])


def parameters_of(node: Any) -> int:
    """How many numbers of a node's inputs are constant."""
    return sum(value.constant.size for value in node.inputs
               if value is not None and getattr(value.constant, "dtype", None) is not None
               and value.constant.dtype.kind == "f" and value.constant.ndim)


def receptive_fields(inputs: Sequence[Any], timings: Sequence[Any]) -> list[Field | None]:
    """The field of each node's result, None where it is unknown; `inputs` are the graph's."""
    fields: dict[Any, Field | None] = {}
    for value in inputs:
        axes = max(len(value.shape or ()) - 2, 0)
        fields[value] = Field((1,) * axes, (1,) * axes) if axes else None
    found = []
    for timing in timings:
        known = [fields.get(value) for value in timing.node.inputs if value is not None]
        step = step_of(timing.node, timing.inputs, timing.outputs)
        before = widest(known)
        found.append(None if before is None else before.through(step))
        fields.update((value, found[-1]) for value in timing.node.outputs if value is not None)
    return found


def _convolution(node: Any, inputs: Sequence[Shape], result: Shape) -> Step:
    weight = inputs[1]
    step = _windows(node, inputs[0], result, weight[2:])
    return step._replace(multiply_adds=math.prod(result) * math.prod(weight[1:]))


def _transposed_convolution(node: Any, inputs: Sequence[Shape], result: Shape) -> Step:
    kernel = inputs[1][2:]
    stride, dilation = _pairs(node, "strides", kernel), _pairs(node, "dilations", kernel)
    # A result's element sees every stride-th tap only; the step is a fraction of a pixel.
    extent = tuple((d * (k - 1)) // s + 1
                   for k, d, s in zip(kernel, dilation, stride, strict=True))
    work = math.prod(inputs[0]) * math.prod(inputs[1][1:])
    return Step(result, kernel, extent, tuple(1 / s for s in stride), (0,) * len(kernel), work)


def _window_pool(node: Any, inputs: Sequence[Shape], result: Shape) -> Step:
    return _windows(node, inputs[0], result, node.attributes["kernel_shape"])


def _windows(node: Any, x: Shape, result: Shape, kernel: Shape) -> Step:
    """The Step of windows that move over an input, and what they leave over."""
    stride, dilation = _pairs(node, "strides", kernel), _pairs(node, "dilations", kernel)
    before = node.attributes.get("pads", (0,) * 2 * len(kernel))[: len(kernel)]
    extent = tuple(d * (k - 1) + 1 for k, d in zip(kernel, dilation, strict=True))
    automatic = node.attributes.get("auto_pad", "NOTSET") in ("SAME_UPPER", "SAME_LOWER")
    ends = zip(x[2:], before, extent, result[2:], stride, strict=True)
    unused = tuple(0 if automatic else max(0, pad + size - (outs - 1) * step - wide)
                   for size, pad, wide, outs, step in ends)
    return Step(result, tuple(kernel), extent, stride, unused)


def _pairs(node: Any, name: str, kernel: Shape) -> Shape:
    return tuple(node.attributes.get(name, (1,) * len(kernel)))


def _whole(node: Any, inputs: Sequence[Shape], result: Shape) -> Step:
    """Every element depends on all of the map."""
    size = inputs[0][2:]
    return Step(result, size, size, (0,) * len(size), (0,) * len(size))


def _product(node: Any, inputs: Sequence[Shape], result: Shape) -> Step:
    rows = inputs[0]
    inner = rows[0] if node.attributes.get("transA") else rows[-1]
    return Step(result, multiply_adds=math.prod(result) * inner)


_RULES: dict[str, Callable[[Any, Sequence[Shape], Shape], Step]] = {
    "Conv": _convolution,
    "ConvTranspose": _transposed_convolution,
    **dict.fromkeys(("MaxPool", "AveragePool", "LpPool"), _window_pool),
    **dict.fromkeys(("GlobalAveragePool", "GlobalMaxPool", "GlobalLpPool"), _whole),
    **dict.fromkeys(("MatMul", "Gemm"), _product),
}
