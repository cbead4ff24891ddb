"""The fully connected layer, `Linear`: x (..., in_features) -> (..., out_features).

As the convolutions, it packs its weights once in evaluation mode and calls the functional form
with the current ones in training mode.
"""

import numpy as np

from fastconv import grad as gradients
from fastconv.functional import linear
from fastconv.functional._check import flag, integer, parse_activation
from fastconv.nn.arguments import make_generator, uniform_by_fan_in
from fastconv.nn.packed import PackedLayer


class Linear(PackedLayer):
    """Fully connected layer: x @ weight.T + bias, with the meaning of torch.nn.Linear.

    Parameters
    ----------
    in_features, out_features : int
        Size of the last axis of x and of the result.
    bias : bool
        Whether to add a bias.
    activation : str or tuple, optional
        Activation computed in the same pass, as for `Conv2d`.
    dtype : float32 or float64
        Type of the weights; the input is cast to it.
    rng : None, int or numpy.random.Generator
        Source of the initial weights: fresh entropy, a seed or a generator.

    Attributes
    ----------
    weight : ndarray, (out_features, in_features)
        Assigning checks the shape and takes a copy in the layer's dtype.  Read-only in
        evaluation mode, where the weights are packed once.
    bias : ndarray, (out_features,), or None
        Likewise.

    Notes
    -----
    Weight and bias start from U(-b, b) with b = 1/sqrt(in_features), as PyTorch's.
    """

    def __init__(
        self,
        in_features,
        out_features,
        bias=True,
        *,
        activation=None,
        dtype=np.float32,
        rng=None,
    ):
        op = type(self).__name__
        self.in_features = integer(op, "in_features", in_features, minimum=1)
        self.out_features = integer(op, "out_features", out_features, minimum=1)
        parse_activation(op, activation)
        self.activation = activation
        weight_shape, bias_shape = (self.out_features, self.in_features), (self.out_features,)
        super().__init__(dtype, {"weight": weight_shape, "bias": bias_shape})
        rng = make_generator(op, rng)
        self.weight = uniform_by_fan_in(rng, weight_shape, self.in_features, self.dtype)
        self.bias = (
            uniform_by_fan_in(rng, bias_shape, self.in_features, self.dtype)
            if flag(op, "bias", bias)
            else None
        )

    def run_unpacked(self, x, activation):
        """Call the functional form with the current weights."""
        return linear.linear(x, self.weight, self.bias, activation=activation)

    def input_gradient(self, x, grad):
        """Return the gradient of x."""
        return gradients.linear_input(self.weight, grad)

    def weight_gradient(self, x, grad):
        """Return the gradient of the weight."""
        return gradients.linear_weight(x, grad)

    def bias_gradient(self, grad):
        """Return the gradient of the bias."""
        return gradients.linear_bias(grad)

    def prepare(self):
        """Pack the current weights."""
        return linear.prepare_linear(self.weight, self.bias, activation=self.activation)

    def extra_repr(self):
        """Return the settings as PyTorch prints them."""
        shown = f"in_features={self.in_features}, out_features={self.out_features}"
        shown += f", bias={self.bias is not None}"
        if self.activation is not None:
            shown += f", activation={self.activation}"
        if self.dtype != np.float32:
            shown += f", dtype={self.dtype.name}"
        return shown
