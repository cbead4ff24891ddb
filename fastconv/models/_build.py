"""What the networks share: checks of their words, and chains of layers that are no children."""

from functools import reduce

VARIANTS = ("torchvision", "original")


def check_choice(op, name, value, choices):
    """Return `value` if it is one of `choices`, else raise ValueError with all of them."""
    if value not in choices:
        known = ", ".join(map(repr, choices))
        raise ValueError(f"{op}: {name} must be one of {known}, got {value!r}")
    return value


def run_forward(layers, x):
    """Return the result of a chain of layers: each takes what the one before returned."""
    return reduce(lambda value, layer: layer(value), layers, x)


def run_backward(layers, grad):
    """Return the gradient of the chain's input from that of its result."""
    return reduce(lambda value, layer: layer.backward(value), reversed(layers), grad)
