"""The two bases of every layer: `Module` and `ParameterLayer`.

A `Module` is a callable with a `forward`, a mode (training or evaluation) and children.  A child
is simply an attribute that is itself a Module, so nothing has to be registered: `train()`, `eval()`
and `repr()` walk the attributes.

A `ParameterLayer` also owns named arrays (weight, bias, running statistics) of one dtype.  Every
array goes in through an `ArrayAttribute`, which checks its shape, casts it and takes a private
copy; every input goes in through `ParameterLayer.cast`.

    values --ArrayAttribute--> layer._weight (layer.dtype, C order, owned by this layer alone)
    x -----cast--------------> forward(x) --> fastconv.functional --> ndarray
"""

import numpy as np

from fastconv.functional._check import as_array
from fastconv.nn.arguments import Drawn

_DTYPES = (np.dtype(np.float32), np.dtype(np.float64))


class Module:
    """Base of all layers and models: subclass it, set layers as attributes, write `forward`.

    A new module is in training mode, as PyTorch's is; call `eval()` before inference.  Only
    attributes that are Modules themselves count as children: put a list of layers into a
    `Sequential`.

    Examples
    --------
    >>> class Residual(Module):
    ...     def __init__(self, channels):
    ...         self.conv = Conv2d(channels, channels, 3, padding=1)
    ...         self.relu = ReLU()
    ...     def forward(self, x):
    ...         return self.relu(x + self.conv(x))
    """

    _training = True

    @property
    def training(self):
        """bool: True in training mode; changed by `train()` and `eval()`."""
        return self._training

    def train(self, mode=True):
        """Put this module and all its children into training mode (or, `mode=False`, out of it).

        Returns
        -------
        Module
            The module itself, so that calls can be chained.
        """
        self._training = bool(mode)
        for _, child in self.named_children():
            child.train(mode)
        return self

    def eval(self):
        """Put this module and all its children into evaluation mode; the same as `train(False)`."""
        return self.train(False)

    def named_children(self):
        """Return the direct children as a list of (attribute name, Module), in order of setting."""
        return [(name, value) for name, value in vars(self).items() if isinstance(value, Module)]

    def forward(self, x):
        """Compute the result for `x`; every layer writes its own."""
        raise NotImplementedError(f"{type(self).__name__}: forward is not defined")

    def __call__(self, *inputs, **options):
        """Run `forward`."""
        return self.forward(*inputs, **options)

    def extra_repr(self):
        """Return what stands between the brackets of `repr`: the layer's own settings."""
        return ""

    def __repr__(self):
        name, children = type(self).__name__, self.named_children()
        if not children:
            return f"{name}({self.extra_repr()})"
        lines = [self.extra_repr()] if self.extra_repr() else []
        lines += [f"({child_name}): {child!r}" for child_name, child in children]
        body = "\n".join(lines).replace("\n", "\n  ")
        return f"{name}(\n  {body}\n)"


class ArrayAttribute:
    """A named array of a `ParameterLayer`: `layer.weight = values` checks, casts and copies.

    The layer's `array_shapes` says which shape is right.  An `optional` array may also be None.
    Initial values that are still to be `Drawn` become an array at the first look.
    """

    def __init__(self, optional=False):
        self.optional = optional

    def __set_name__(self, owner, name):
        self.name = name
        self.slot = "_" + name

    def __get__(self, layer, owner=None):
        if layer is None:
            return self
        values = vars(layer)[self.slot]
        if isinstance(values, Drawn):
            # Two threads may both draw: they get the same numbers, and either array serves.
            values = values.draw()
            setattr(layer, self.slot, values)
        return values

    def __set__(self, layer, values):
        setattr(layer, self.slot, self._own(layer, values))

    def _own(self, layer, values):
        """Return a checked private copy of `values` in the layer's dtype."""
        if values is None and self.optional:
            return None
        if isinstance(values, Drawn):
            return values
        op, shape = type(layer).__name__, layer.array_shapes[self.name]
        values = as_array(op, self.name, values)
        if values.shape != shape:
            raise ValueError(f"{op}: {self.name} must have shape {shape}, got {values.shape}")
        return np.array(values, dtype=layer.dtype, order="C")


class ParameterLayer(Module):
    """Base of the layers that own arrays.

    Parameters
    ----------
    dtype : float32 or float64
        The type of the layer's arrays, to which it also casts its input.
    array_shapes : dict of str to tuple of int
        The shape of each `ArrayAttribute` of the class, by name.

    Raises
    ------
    TypeError
        If `dtype` is neither float32 nor float64.
    """

    def __init__(self, dtype, array_shapes):
        self.dtype = _check_dtype(type(self).__name__, dtype)
        self.array_shapes = array_shapes

    def cast(self, x):
        """Return `x` as an array of the layer's dtype, without a copy where it already is one."""
        return as_array(type(self).__name__, "x", x).astype(self.dtype, copy=False)

    def __setstate__(self, state):
        # Copies, because copy.copy and unpickling hand over arrays that something else may hold.
        vars(self).update(state)
        for name in self.array_shapes:
            setattr(self, name, state["_" + name])


def _check_dtype(op, dtype):
    """Return `dtype` as a native float32 or float64 dtype."""
    # NumPy reads None as float64, which nobody asked for.
    if dtype is not None:
        try:
            checked = np.dtype(dtype)
        except TypeError:
            checked = np.dtype(object)
        if checked in _DTYPES:
            return checked
    raise TypeError(f"{op}: dtype must be float32 or float64, got {dtype!r}")
