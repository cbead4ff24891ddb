"""Containers: `Sequential`, a chain of layers.

The layers are attributes named "0", "1", ... (or as the dictionary names them), so that
`train()`, `eval()` and `repr()` find them as they find any other child.
"""

from collections.abc import Mapping

from fastconv.nn.module import Module


class Sequential(Module):
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

    def __init__(self, *layers):
        if len(layers) == 1 and isinstance(layers[0], Mapping):
            named = layers[0].items()
        else:
            named = ((str(index), layer) for index, layer in enumerate(layers))
        for name, layer in named:
            self._append_named(name, layer)

    def append(self, layer):
        """Add a layer at the end, named by its position; return the Sequential."""
        self._append_named(str(len(self)), layer)
        return self

    def _append_named(self, name, layer):
        if not isinstance(name, str):
            raise TypeError(f"Sequential: names of layers must be strings, got {name!r}")
        if not name or "." in name or hasattr(self, name):
            raise ValueError(
                f"Sequential: {name!r} cannot name a layer: it is empty, has a dot or is taken"
            )
        if not isinstance(layer, Module):
            raise TypeError(
                f"Sequential: layer {name!r} must be a fastconv.nn.Module, "
                f"got {type(layer).__name__}"
            )
        setattr(self, name, layer)

    def forward(self, x):
        """Return the result of the last layer; `x` itself if there is none."""
        for layer in self:
            x = layer(x)
        return x

    def __len__(self):
        return len(self.named_children())

    def __iter__(self):
        return iter([layer for _, layer in self.named_children()])

    def __getitem__(self, index):
        """Return one layer, or for a slice a Sequential of the same layers in the same mode."""
        if not isinstance(index, slice):
            return [layer for _, layer in self.named_children()][index]
        part = Sequential(dict(self.named_children()[index]))
        part._training = self.training
        return part
