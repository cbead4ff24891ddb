"""What the constructors share: the default layouts, the random generator, the initial weights."""

import math
from functools import partial
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


class Drawn:
    """Random initial values of an array, drawn when somebody first looks at the array.

    Most networks get the weights of a file, or are only counted: VGG-16 would draw half a gigabyte
    in vain.  What is drawn depends on the state of `rng` at construction alone, not on when, in
    which order or how often the arrays are looked at.

    Parameters
    ----------
    rng : numpy.random.Generator
        Gives the 128 bits that the values follow from.
    shape : tuple of int
    dtype : float32 or float64
    fill : function of (Generator, shape, dtype) -> ndarray
    """

    def __init__(self, rng, shape, dtype, fill):
        self.shape, self.dtype, self.fill = shape, dtype, fill
        self._seed = rng.integers(1 << 32, size=4, dtype=np.uint32)

    def draw(self):
        """Return the array, the same at each call."""
        return self.fill(np.random.default_rng(self._seed), self.shape, self.dtype)


def uniform_by_fan_in(rng, shape, fan_in, dtype):
    """Return values `Drawn` from U(-1/sqrt(fan_in), 1/sqrt(fan_in)).

    PyTorch's default for weights and biases of convolutions and `Linear`: the uniform
    initialisation of He et al. ("Delving deep into rectifiers", 2015) with a leaky slope of
    sqrt(5), for which its bound sqrt(6 / ((1 + slope**2) * fan_in)) is 1/sqrt(fan_in).
    """
    return Drawn(rng, shape, dtype, partial(_uniform, bound=1.0 / math.sqrt(fan_in)))


def _uniform(rng, shape, dtype, bound):
    values = rng.random(shape, dtype=dtype)
    # In place: the weights of a large Linear layer are hundreds of megabytes.
    values *= 2 * bound
    values -= bound
    return values
