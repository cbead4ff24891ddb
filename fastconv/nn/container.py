"""Containers: `Sequential`, a chain of layers; `Residual` and `Concat`, where the way forks.

    Sequential  x --> layer --> layer --> y

    Residual    x --+--> body -------+--(+)--> activation --> y
                    +--> shortcut ---+

    Concat      x --+--> branch ---+--> channels, one branch after the other
                    +--> branch ---+

The layers of a Sequential, and a Concat's branches, are attributes named "0", "1", ... (or as the
dictionary names them), so that `train()`, `eval()` and `repr()` find them as any other child.
"""

from collections.abc import Mapping

import numpy as np

from fastconv.functional._check import as_array
from fastconv.nn.module import Module


class _Layers(Module):
    """A module with any number of children, in order."""

    def __init__(self, *layers):
        if len(layers) == 1 and isinstance(layers[0], Mapping):
            named = layers[0].items()
        else:
            named = ((str(index), layer) for index, layer in enumerate(layers))
        for name, layer in named:
            self._append_named(name, layer)

    def append(self, layer):
        """Add a layer at the end, named by its position; return the container."""
        self._append_named(str(len(self)), layer)
        return self

    def _append_named(self, name, layer):
        op = type(self).__name__
        if not isinstance(name, str):
            raise TypeError(f"{op}: names of layers must be strings, got {name!r}")
        if not name or "." in name or hasattr(self, name):
            raise ValueError(
                f"{op}: {name!r} cannot name a layer: it is empty, has a dot or is taken"
            )
        _check_layer(op, f"layer {name!r}", layer)
        setattr(self, name, layer)

    def __len__(self):
        return len(self.named_children())

    def __iter__(self):
        return iter([layer for _, layer in self.named_children()])

    def __getitem__(self, index):
        """Return one layer, or for a slice a container of the same layers in the same mode."""
        if not isinstance(index, slice):
            return [layer for _, layer in self.named_children()][index]
        part = Sequential(dict(self.named_children()[index]))
        part._training = self.training
        return part


class Sequential(_Layers):
    """A chain of layers: each takes the result of the one before.

    Parameters
    ----------
    *layers : Module, or one dict of str to Module
        The layers in order; a dict also names them.

    Raises
    ------
    TypeError
        If a layer is not a Module, or its name not a string.
    ValueError
        If a name is empty, contains a dot or is taken by Sequential itself.

    Examples
    --------
    >>> net = Sequential(Conv2d(1, 6, 5), ReLU(), MaxPool2d(2))
    >>> net[0].weight.shape, len(net), len(net[1:])
    ((6, 1, 5, 5), 3, 2)
    """

    def forward(self, x):
        """Return the result of the last layer; `x` itself if there is none."""
        for layer in self:
            x = layer(x)
        return x

    def backward(self, grad):
        """Go back through the layers, last first; return the gradient of x."""
        for layer in reversed(list(self)):
            grad = layer.backward(grad)
        return grad

    def backward_parameters(self, grad):
        """Go back through the layers, the first of which needs no gradient of x."""
        layers = list(self)
        for layer in reversed(layers[1:]):
            grad = layer.backward(grad)
        for layer in layers[:1]:
            layer.backward_parameters(grad)


class Concat(_Layers):
    """Branches beside each other, their results joined along the channels.

    Parameters
    ----------
    *branches : Module, or one dict of str to Module
        Each takes the input; a dict also names them.
    axis : int
        Where the results are joined: 1, the channels of "NCHW"; -1 for channels last.

    Raises
    ------
    TypeError, ValueError
        As `Sequential`.

    Examples
    --------
    >>> module = Concat(Conv2d(64, 16, 1), Conv2d(64, 48, 3, padding=1))
    >>> module(np.zeros((1, 64, 28, 28))).shape
    (1, 64, 28, 28)
    """

    def __init__(self, *branches, axis=1):
        super().__init__(*branches)
        self.axis = axis

    def forward(self, x):
        """Return the results of all branches, joined."""
        results = [np.asarray(branch(x)) for branch in self]
        self.remember([result.shape[self.axis] for result in results])
        return np.concatenate(results, self.axis)

    def backward(self, grad):
        """Return the gradient of x, the sum over branches of theirs."""
        return sum(branch.backward(part) for branch, part in self._parts(grad))

    def backward_parameters(self, grad):
        """Go back through all branches."""
        for branch, part in self._parts(grad):
            branch.backward_parameters(part)

    def _parts(self, grad):
        """Return each branch with its channels of the gradient."""
        (widths,) = self.recall()
        grad = as_array("Concat", "grad", grad)
        parts = np.split(grad, np.cumsum(widths)[:-1], self.axis)
        return zip(self, parts, strict=True)

    def extra_repr(self):
        """Return the axis where it is not the default."""
        return "" if self.axis == 1 else f"axis={self.axis}"


class Residual(Module):
    """activation(body(x) + shortcut(x)), the block of residual networks.

    Parameters
    ----------
    body : Module
    shortcut : Module, optional
        The input itself by default; a 1x1 convolution where the body changes size or channels.
    activation : Module, optional
        None by default.

    Notes
    -----
    He, Zhang, Ren and Sun, "Deep residual learning for image recognition", 2015.
    """

    def __init__(self, body, shortcut=None, activation=None):
        self.body = _check_layer("Residual", "body", body)
        self.shortcut, self.activation = shortcut, activation
        for name in ("shortcut", "activation"):
            if getattr(self, name) is not None:
                _check_layer("Residual", name, getattr(self, name))

    def forward(self, x):
        """Return activation(body(x) + shortcut(x))."""
        y = self.body(x) + (x if self.shortcut is None else self.shortcut(x))
        return y if self.activation is None else self.activation(y)

    def backward(self, grad):
        """Return the gradient of x, the sum of both ways."""
        grad = self._before_activation(grad)
        past = grad if self.shortcut is None else self.shortcut.backward(grad)
        return self.body.backward(grad) + past

    def backward_parameters(self, grad):
        """Go back both ways."""
        grad = self._before_activation(grad)
        for way in (self.shortcut, self.body):
            if way is not None:
                way.backward_parameters(grad)

    def _before_activation(self, grad):
        return grad if self.activation is None else self.activation.backward(grad)


def _check_layer(op, name, layer):
    """Return `layer` if it is a Module."""
    if not isinstance(layer, Module):
        raise TypeError(f"{op}: {name} must be a fastconv.nn.Module, got {type(layer).__name__}")
    return layer
