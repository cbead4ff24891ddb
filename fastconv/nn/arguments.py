"""What the constructors share: the default layouts, the random generator, the initial weights."""

import math
from reprlib import repr as short_repr

import numpy as np

# By number of spatial axes: what `layout=None` stands for.
CHANNELS_FIRST = {1: "NCW", 2: "NCHW", 3: "NCDHW"}


def make_generator(op, rng):
    """Return the NumPy Generator for `rng`: None (fresh entropy), a seed or a Generator."""
    try:
        return np.random.default_rng(rng)
    except (TypeError, ValueError):
        raise TypeError(
            f"{op}: rng must be None, a non-negative integer seed or a numpy.random.Generator, "
            f"got {short_repr(rng)}"
        ) from None


def uniform_by_fan_in(rng, shape, fan_in, dtype):
    """Draw an array of `shape` from U(-1/sqrt(fan_in), 1/sqrt(fan_in)).

    PyTorch's default for weights and biases of convolutions and `Linear`: the uniform
    initialisation of He et al. ("Delving deep into rectifiers", 2015) with a leaky slope of
    sqrt(5), for which its bound sqrt(6 / ((1 + slope**2) * fan_in)) is 1/sqrt(fan_in).
    """
    bound = 1.0 / math.sqrt(fan_in)
    values = rng.random(shape, dtype=dtype)
    # In place: the weights of a large Linear layer are hundreds of megabytes.
    values *= 2 * bound
    values -= bound
    return values
