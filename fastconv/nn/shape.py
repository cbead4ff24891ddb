"""Layers that only rearrange: `Flatten` and `Identity`."""

import numpy as np

from fastconv.functional import shape
from fastconv.functional._check import as_array
from fastconv.nn.module import Module


class Flatten(Module):
    """Merge the axes from `start_dim` to `end_dim` into one, with the meaning of torch.nn.Flatten.

    Parameters
    ----------
    start_dim, end_dim : int
        First and last axis to merge; by default all but the batch axis.

    Notes
    -----
    The order is that of the logical axes: a network trained on "NCHW" data expects another order
    of features after `Flatten` than one that works on "NHWC".
    """

    def __init__(self, start_dim=1, end_dim=-1):
        self.start_dim = start_dim
        self.end_dim = end_dim

    def forward(self, x):
        """Return `x` with the axes merged."""
        y = shape.flatten(x, self.start_dim, self.end_dim)
        self.remember(np.shape(x), y.shape)
        return y

    def backward(self, grad):
        """Return `grad` with the axes apart again."""
        x_shape, y_shape = self.recall()
        grad = as_array("Flatten", "grad", grad)
        if grad.shape != y_shape:
            raise ValueError(f"Flatten: grad must have shape {y_shape}, got {grad.shape}")
        return grad.reshape(x_shape)

    def extra_repr(self):
        """Return the settings as PyTorch prints them."""
        return f"start_dim={self.start_dim}, end_dim={self.end_dim}"


class Identity(Module):
    """Return the input itself: a placeholder for a layer that was taken out."""

    def forward(self, x):
        """Return `x`."""
        self.remember()
        return x

    def backward(self, grad):
        """Return `grad`."""
        self.recall()
        return grad
