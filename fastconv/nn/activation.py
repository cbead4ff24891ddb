"""Activation layers: one elementwise function each, softmax included.

Except for `PReLU`, which learns its slopes, a layer here has no arrays and calls the function of
its name in `fastconv.functional.activation`.  After a convolution or a `Linear`, the keyword
`activation=` of that layer gives the same numbers in one pass less.
"""

import numpy as np

from fastconv.functional import activation
from fastconv.functional._check import as_array, integer
from fastconv.nn.module import ArrayAttribute, Module, ParameterLayer


class ReLU(Module):
    """max(x, 0)."""

    def forward(self, x):
        """Return max(x, 0)."""
        return activation.relu(x)


class ReLU6(Module):
    """min(max(x, 0), 6)."""

    def forward(self, x):
        """Return x clipped to 0..6."""
        return np.minimum(activation.relu(x), 6)


class LeakyReLU(Module):
    """x where x > 0, else negative_slope * x.

    Parameters
    ----------
    negative_slope : float
    """

    def __init__(self, negative_slope=0.01):
        self.negative_slope = negative_slope

    def forward(self, x):
        """Return the leaky rectifier of x."""
        return activation.leaky_relu(x, self.negative_slope)

    def extra_repr(self):
        """Return the settings as PyTorch prints them."""
        return f"negative_slope={self.negative_slope}"


class PReLU(ParameterLayer):
    """x where x > 0, else weight * x, with the meaning of torch.nn.PReLU.

    Parameters
    ----------
    num_parameters : int
        1 (one slope for all channels) or the number of channels.
    init : float
        First value of every slope.
    layout : str, optional
        Names the axes of x; left out, the channels are axis 1.
    dtype : float32 or float64
        Type of the slopes; the input is cast to it.

    Attributes
    ----------
    weight : ndarray, (num_parameters,)
        Assigning checks the shape and takes a copy in the layer's dtype.
    """

    weight = ArrayAttribute()

    def __init__(self, num_parameters=1, init=0.25, *, layout=None, dtype=np.float32):
        shape = (integer("PReLU", "num_parameters", num_parameters, minimum=1),)
        super().__init__(dtype, {"weight": shape})
        self.layout = layout
        self.weight = np.broadcast_to(as_array("PReLU", "init", init), shape)

    def forward(self, x):
        """Return the rectifier of x, cast to the layer's dtype first."""
        return activation.prelu(self.cast(x), self.weight, layout=self.layout)

    def extra_repr(self):
        """Return the settings as PyTorch prints them."""
        return f"num_parameters={self.weight.size}"


class Sigmoid(Module):
    """1 / (1 + exp(-x))."""

    def forward(self, x):
        """Return the logistic function of x."""
        return activation.sigmoid(x)


class Tanh(Module):
    """Hyperbolic tangent."""

    def forward(self, x):
        """Return the hyperbolic tangent of x."""
        return activation.tanh(x)


class SiLU(Module):
    """x * sigmoid(x)."""

    def forward(self, x):
        """Return x * sigmoid(x)."""
        return activation.silu(x)


class Hardsigmoid(Module):
    """(x + 3) / 6, clipped to 0..1."""

    def forward(self, x):
        """Return the piecewise linear sigmoid of x."""
        return activation.hardsigmoid(x)


class Hardswish(Module):
    """x * hardsigmoid(x)."""

    def forward(self, x):
        """Return x * hardsigmoid(x)."""
        return activation.hardswish(x)


class Softmax(Module):
    """exp(x) / sum(exp(x)) along an axis.

    Parameters
    ----------
    axis : int
        The axis along which the results add up to 1.
    """

    def __init__(self, axis=-1):
        self.axis = axis

    def forward(self, x):
        """Return the softmax of x."""
        return activation.softmax(x, self.axis)

    def extra_repr(self):
        """Return the settings."""
        return f"axis={self.axis}"


class LogSoftmax(Softmax):
    """Logarithm of `Softmax`, exact also where the softmax underflows.

    Parameters
    ----------
    axis : int
        The axis along which the exponentials of the results add up to 1.
    """

    def forward(self, x):
        """Return the logarithm of the softmax of x."""
        return activation.log_softmax(x, self.axis)
