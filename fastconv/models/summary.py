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
from fastconv.models._tracing import Field, Step, Traced, find_rule, traced, widest
from fastconv.nn.intercept import intercept
from fastconv.nn.module import ParameterLayer


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
    tracer = _Tracer()
    with intercept(net, tracer):
        pixel = (1,) * (len(input_shape) - 2)
        net(traced(tuple(input_shape), np.dtype(dtype), Field(pixel, pixel)))
    for module in net.modules():
        module.forget()  # in training mode containers have remembered a forward that never was
    return Summary(tuple(tracer.rows))


class _Tracer:
    """What takes the place of every module's forward: a row for each layer's call."""

    def __init__(self):
        self.rows, self._fields, self._counted = [], [], set()

    def __call__(self, name, module, forward, *inputs):
        rule = find_rule(module)
        if rule is None and (module.named_children() or isinstance(module, nn.Sequential)):
            return self._through_container(forward, inputs)
        (x,) = inputs
        step = rule(module, x.shape) if rule else Step(forward(np.zeros(x.shape, x.dtype)).shape)
        before = getattr(x, "field", None)
        field = before.through(step) if before else None
        self._fields.append(field)
        self._add_row(name, module, step, field, x.dtype.itemsize)
        return traced(step.shape, x.dtype, field)

    def _through_container(self, forward, inputs):
        """Let a container call its layers; see that its result is `Traced`, if an array at all."""
        first = len(self._fields)
        result = forward(*inputs)
        if not isinstance(result, np.ndarray) or isinstance(result, Traced):
            return result
        return traced(result.shape, result.dtype, widest(self._fields[first:]))

    def _add_row(self, name, layer, step, field, itemsize):
        seen = tuple(math.ceil(size) for size in field.size) if field else ()
        parameters = 0 if layer in self._counted else count_parameters(layer)
        self._counted.add(layer)
        self.rows.append(
            Row(
                name,
                type(layer).__name__,
                step.shape,
                step.kernel,
                seen,
                parameters,
                step.multiply_adds,
                math.prod(step.shape) * itemsize,
                step.unused,
            )
        )


def count_parameters(layer):
    """Return how many numbers of a layer training would change, its children's not included."""
    if not isinstance(layer, ParameterLayer):
        return 0
    return sum(math.prod(layer.array_shapes[name]) for name in layer.parameter_names())
