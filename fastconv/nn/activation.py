"""Activation layers: one elementwise function each, softmax included.

Except for `PReLU`, which learns its slopes, a layer here has no arrays and calls the functions of
its name in `fastconv.functional.activation` and `fastconv.grad`.  After a convolution or a
`Linear`, the keyword `activation=` of that layer gives the same numbers in one pass less.
"""

import numpy as np

from fastconv import grad as gradients
from fastconv.functional import activation
from fastconv.functional._check import as_array, integer
from fastconv.nn.module import ArrayAttribute, Module, ParameterLayer


class _Activation(Module):
    """What the activations without arrays share.

    A subclass sets `name`, that of its functions, and `gradient_from`, what its gradient is
    computed from: "x" or, which saves memory if the next layer keeps the result anyway, "y".
    """

    name = ""
    gradient_from = "y"

    def numbers(self):
        """Return the further arguments of the functions."""
        return ()

    def forward(self, x):
        """Return the activation of x."""
        y = getattr(activation, self.name)(x, *self.numbers())
        self.remember(y if self.gradient_from == "y" else x)
        return y

    def backward(self, grad):
        """Return the gradient of x."""
        (seen,) = self.recall()
        return getattr(gradients, self.name)(seen, grad, *self.numbers())


class ReLU(_Activation):
    """max(x, 0)."""

    name = "relu"


class ReLU6(_Activation):
    """min(max(x, 0), 6)."""

    name = "relu6"


class LeakyReLU(_Activation):
    """x where x > 0, else negative_slope * x.

    Parameters
    ----------
    negative_slope : float
    """

    name = "leaky_relu"
    gradient_from = "x"

    def __init__(self, negative_slope=0.01):
        self.negative_slope = negative_slope

    def numbers(self):
        """Return the slope."""
        return (self.negative_slope,)

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
        x = self.cast(x)
        self.remember(x)
        return activation.prelu(x, self.weight, layout=self.layout)

    def backward(self, grad):
        """Return the gradient of x; add that of the slopes to `gradients`."""
        (x,) = self.recall()
        grad = self.cast(grad, "grad")
        dx, dweight = gradients.prelu(x, self.weight, grad, layout=self.layout)
        self.add_gradient("weight", dweight)
        return dx

    def extra_repr(self):
        """Return the settings as PyTorch prints them."""
        return f"num_parameters={self.weight.size}"


class Sigmoid(_Activation):
    """1 / (1 + exp(-x))."""

    name = "sigmoid"


class Tanh(_Activation):
    """Hyperbolic tangent."""

    name = "tanh"


class SiLU(_Activation):
    """x * sigmoid(x)."""

    name = "silu"
    gradient_from = "x"


class Hardsigmoid(_Activation):
    """(x + 3) / 6, clipped to 0..1."""

    name = "hardsigmoid"
    gradient_from = "x"


class Hardswish(_Activation):
    """x * hardsigmoid(x)."""

    name = "hardswish"
    gradient_from = "x"


class Softmax(_Activation):
    """exp(x) / sum(exp(x)) along an axis.

    Parameters
    ----------
    axis : int
        The axis along which the results add up to 1.
    """

    name = "softmax"

    def __init__(self, axis=-1):
        self.axis = axis

    def numbers(self):
        """Return the axis."""
        return (self.axis,)

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

    name = "log_softmax"
