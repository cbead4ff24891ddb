"""What a network would do to an array of some shape: sizes, parameters and work of each layer.

The network runs, but on arrays of zeros that take no memory, and each layer only works out the
shape of its result, so VGG-19 is summarised in milliseconds and its weights are never drawn. The
zeros also carry how much of the picture a value depends on, through sums and concatenations too:

    Traced zeros --layer's rule--> shape, receptive field, multiply-adds --> Traced zeros
                                           '--> one `Row` of the `Summary`
"""

import math
from typing import NamedTuple

import numpy as np

from fastconv import nn
from fastconv.models._calls import intercept
from fastconv.models._tracing import Field, Step, find_rule, traced


class Row(NamedTuple):
    """One call of one layer.

    `output` is the shape of the result, `kernel` the window (rows, columns) and `field` the
    receptive field, in pixels of the network's input, all () where there is none. `multiply_adds`
    counts those of convolutions and `Linear`, padding included, `memory` the bytes of the result
    and `unused` the rows and columns at the end of the input that no window reaches.
    """

    name: str
    kind: str
    output: tuple[int, ...]
    kernel: tuple[int, ...]
    field: tuple[int, ...]
    parameters: int
    multiply_adds: int
    memory: int
    unused: tuple[int, ...]


class Summary(NamedTuple):
    """The rows of a network, in order of calls, and what they add up to."""

    rows: tuple[Row, ...]

    @property
    def parameters(self):
        """int: numbers that training would change."""
        return sum(row.parameters for row in self.rows)

    @property
    def multiply_adds(self):
        """int: multiply-adds of one run."""
        return sum(row.multiply_adds for row in self.rows)

    @property
    def memory(self):
        """int: bytes of all results together, as training keeps them."""
        return sum(row.memory for row in self.rows)


def summarise(net, input_shape, dtype=np.float32):
    """Work out what a network does to an array of some shape, without doing it.

    Parameters
    ----------
    net : Module
        Summarised in the mode it is in. Layers that `fastconv.nn` does not have really run, on
        zeros.
    input_shape : tuple of int
        Shape of the network's input, such as (1, 3, 224, 224).
    dtype : float32 or float64
        Type of all results.

    Returns
    -------
    Summary
    """
    rows, counted = [], set()

    def trace(name, layer, forward, *inputs):
        rule = find_rule(layer)
        if rule is None and (layer.named_children() or isinstance(layer, nn.Sequential)):
            return forward(*inputs)
        (x,) = inputs
        step = rule(layer, x.shape) if rule else Step(forward(np.zeros(x.shape, x.dtype)).shape)
        field = x.field.through(step) if x.field else None
        new = layer not in counted
        counted.add(layer)
        rows.append(
            Row(
                name,
                type(layer).__name__,
                step.shape,
                step.kernel,
                tuple(math.ceil(size) for size in field.size) if field else (),
                count_parameters(layer) if new else 0,
                step.multiply_adds,
                math.prod(step.shape) * x.dtype.itemsize,
                step.unused,
            )
        )
        return traced(step.shape, x.dtype, field)

    with intercept(net, trace):
        pixel = (1,) * (len(input_shape) - 2)
        net(traced(tuple(input_shape), np.dtype(dtype), Field(pixel, pixel)))
    return Summary(tuple(rows))


def count_parameters(layer):
    """Return how many numbers of a layer training would change, its children's not included."""
    shapes = getattr(layer, "array_shapes", {})
    return sum(
        math.prod(shape)
        for name, shape in shapes.items()
        if not name.startswith("running_") and vars(layer)["_" + name] is not None
    )
