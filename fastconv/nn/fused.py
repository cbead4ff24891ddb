"""Gradients through the activation that a convolution or a `Linear` computes in the same pass.

Most activations' gradients follow from the result, which is then all that has to be remembered.
The others, while a forward is recorded, run as a step of their own, and what went into it is kept:

    x --conv, relu--> y                remembered: x, y
    x --conv--> z --silu--> y          remembered: x, z
"""

from typing import NamedTuple

from fastconv import grad as gradients
from fastconv.functional import activation as functions
from fastconv.functional._check import parse_activation

_NOT_FROM_RESULT = ("silu", "hardsigmoid", "hardswish")


class Step(NamedTuple):
    """An activation as a step of its own: its name and numbers."""

    name: str
    numbers: tuple = ()

    def forward(self, x):
        """Return the activation of `x`."""
        return getattr(functions, self.name)(x, *self.numbers)

    def backward(self, x, grad):
        """Return the gradient of `x` from that of the activation."""
        return getattr(gradients, self.name)(x, grad, *self.numbers)


def step_apart(op, activation):
    """Return the `Step` that a recorded forward makes of `activation`, None if it stays fused."""
    kind, alpha, _ = parse_activation(op, activation)
    if kind == "leaky_relu" and alpha < 0:
        return Step(kind, (alpha,))
    return Step(kind) if kind in _NOT_FROM_RESULT else None
