"""Optimisers: from gradients to new weights, with the updates of torch.optim.

An optimiser knows the parameters of one network. `step` goes over those that have a gradient and
changes their arrays in place; what it remembers of each (momentum, moments) are arrays of the same
shape, which `state_dict` hands to a checkpoint.

    layer.weight, layer.gradients["weight"], remembered --update--> layer.weight, remembered
"""

import math
from numbers import Real

import numpy as np

from fastconv.nn import Module

__all__ = ["SGD", "Adam", "Optimiser"]


class Optimiser:
    """What the optimisers share; a subclass writes `update(array, gradient, remembered)`.

    Parameters
    ----------
    model : Module
        Whose parameters to change.
    lr : float
        Learning rate, not negative. Also an attribute, which a schedule may set at any time.
    weight_decay : float
        Times the weights, this is added to the gradients.
    """

    def __init__(self, model, lr, weight_decay):
        op = type(self).__name__
        if not isinstance(model, Module):
            raise TypeError(f"{op}: model must be a fastconv.nn.Module, got {type(model).__name__}")
        self.model = model
        self.lr = check_number(op, "lr", lr)
        self.weight_decay = check_number(op, "weight_decay", weight_decay)
        self._remembered = {}

    def step(self):
        """Change all parameters that have a gradient; the others stay as they are."""
        for path, layer in self.model.named_modules():
            for name, gradient in getattr(layer, "gradients", {}).items():
                array = getattr(layer, name)
                remembered = self._remembered.setdefault(f"{path}.{name}", {})
                if array.flags.writeable:
                    self._step(array, gradient, remembered)
                else:  # the layer is in evaluation mode, and has packed its weights
                    changed = array.copy()
                    self._step(changed, gradient, remembered)
                    setattr(layer, name, changed)

    def _step(self, array, gradient, remembered):
        if self.weight_decay:
            gradient = gradient + self.weight_decay * array
        self.update(array, gradient, remembered)

    def update(self, array, gradient, remembered):
        """Change `array` in place; `remembered` is this parameter's own dictionary of arrays."""
        raise NotImplementedError(f"{type(self).__name__}: update is not defined")

    def zero_grad(self):
        """Drop the gradients of the network."""
        self.model.zero_grad()

    def state_dict(self):
        """Return copies of all that is remembered, as a dict of str to ndarray."""
        return {
            f"{path}:{what}": np.array(value)
            for path, remembered in self._remembered.items()
            for what, value in remembered.items()
        }

    def load_state_dict(self, arrays):
        """Take over what `state_dict` returned, instead of all that is remembered."""
        self._remembered = {}
        for key, value in arrays.items():
            path, _, what = key.rpartition(":")
            self._remembered.setdefault(path, {})[what] = np.array(value)


class SGD(Optimiser):
    """Stochastic gradient descent, with the meaning of torch.optim.SGD.

    Parameters
    ----------
    model, lr, weight_decay
        As for `Optimiser`.
    momentum : float
        How much of the last step's direction is kept.
    nesterov : bool
        Look ahead by one step of the momentum (Nesterov, 1983; Sutskever et al., "On the
        importance of initialization and momentum in deep learning", 2013).
    """

    def __init__(self, model, lr, momentum=0.0, nesterov=False, weight_decay=0.0):
        super().__init__(model, lr, weight_decay)
        self.momentum = check_number("SGD", "momentum", momentum)
        self.nesterov = bool(nesterov)
        if nesterov and not momentum:
            raise ValueError("SGD: nesterov needs a momentum above 0, got momentum=0")

    def update(self, array, gradient, remembered):
        """Take a step against the gradient, or against the running sum of gradients."""
        if self.momentum:
            direction = remembered.get("momentum")
            if direction is None:
                direction = remembered["momentum"] = gradient.copy()
            else:
                direction *= self.momentum
                direction += gradient
            gradient = gradient + self.momentum * direction if self.nesterov else direction
        array -= self.lr * gradient


class Adam(Optimiser):
    """Adam: steps of a size that adapts to each weight, with the meaning of torch.optim.Adam.

    Parameters
    ----------
    model, lr, weight_decay
        As for `Optimiser`.
    betas : tuple of 2 floats
        How much of the running means of gradients and of their squares is kept, each below 1.
    eps : float
        Added to the root of the mean square.

    Notes
    -----
    Kingma and Ba, "Adam: a method for stochastic optimization", 2014.
    """

    def __init__(self, model, lr=1e-3, betas=(0.9, 0.999), eps=1e-8, weight_decay=0.0):
        super().__init__(model, lr, weight_decay)
        self.betas = tuple(check_number("Adam", "betas", beta, below=1) for beta in betas)
        self.eps = check_number("Adam", "eps", eps)

    def update(self, array, gradient, remembered):
        """Take a step of lr times the mean gradient over the root of the mean square."""
        if not remembered:
            remembered["mean"] = np.zeros_like(array)
            remembered["square"] = np.zeros_like(array)
            remembered["steps"] = np.zeros((), np.int64)
        remembered["steps"] += 1
        mean, square, steps = remembered["mean"], remembered["square"], int(remembered["steps"])
        first, second = self.betas
        mean += (1 - first) * (gradient - mean)
        square *= second
        square += (1 - second) * gradient * gradient
        root = np.sqrt(square)
        root /= math.sqrt(1 - second**steps)
        root += self.eps
        array -= self.lr / (1 - first**steps) * mean / root


def check_number(op, name, value, below=math.inf):
    """Return `value`, a finite number from 0 to less than `below`, as a float."""
    if isinstance(value, bool) or not isinstance(value, Real):
        raise TypeError(f"{op}: {name} must be a number, got {value!r}")
    if not 0 <= value < below:
        wanted = "at least 0" if below == math.inf else f"at least 0 and below {below:g}"
        raise ValueError(f"{op}: {name} must be {wanted}, got {value!r}")
    return float(value)
