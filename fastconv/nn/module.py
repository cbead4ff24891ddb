"""The two bases of every layer: `Module` and `ParameterLayer`.

A `Module` is a callable with a `forward`, a `backward`, a mode (training or evaluation) and
children.  A child is simply an attribute that is itself a Module, so nothing has to be registered:
`train()`, `eval()`, `repr()` and `state_dict()` walk the attributes.

A `ParameterLayer` also owns named arrays (weight, bias, running statistics) of one dtype.  Every
array goes in through an `ArrayAttribute`, which checks its shape, casts it and takes a private
copy; every input goes in through `ParameterLayer.cast`.

    values --ArrayAttribute--> layer._weight (layer.dtype, C order, owned by this layer alone)
    x -----cast--------------> forward(x) --> fastconv.functional --> ndarray
    dx <---------------------- backward(grad): fastconv.grad, from what forward remembered
                                   +--> layer.gradients["weight"], added up until zero_grad()

When forward remembers is told in `memory`.
"""

import numpy as np

from fastconv.functional._check import as_array
from fastconv.nn import memory, state
from fastconv.nn.arguments import Drawn

# What copies and pickles leave behind: it belongs to one run of one object.
_TRANSIENT = ("_memory", "_gradients", "_packed")
_DTYPES = (np.dtype(np.float32), np.dtype(np.float64))


class Module:
    """Base of all layers and models: subclass it, set layers as attributes, write `forward`.

    To train it, write `backward` too: call the layers' `backward` in reverse order.

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
    ...     def backward(self, grad):
    ...         grad = self.relu.backward(grad)
    ...         return grad + self.conv.backward(grad)
    """

    _training = True

    @property
    def training(self):
        """bool: True in training mode; changed by `train()` and `eval()`."""
        return self._training

    def train(self, mode=True):
        """Put this module and all its children into training mode (or, `mode=False`, out of it).

        What the last forward remembered for `backward` is forgotten.

        Returns
        -------
        Module
            The module itself, so that calls can be chained.
        """
        self._training = bool(mode)
        self.forget()
        for _, child in self.named_children():
            child.train(mode)
        return self

    def eval(self):
        """Put this module and all its children into evaluation mode; the same as `train(False)`."""
        return self.train(False)

    def named_children(self):
        """Return the direct children as a list of (attribute name, Module), in order of setting."""
        return [(name, value) for name, value in vars(self).items() if isinstance(value, Module)]

    def paths(self, prefix=""):
        """Yield (dotted path, Module) for this module (its path is `prefix`) and all below it.

        Parents come before their children; a module with several paths comes with each of them.
        """
        yield prefix, self
        for name, child in self.named_children():
            yield from child.paths(f"{prefix}.{name}" if prefix else name)

    def named_modules(self):
        """Yield (dotted path, Module) for this module (with the path "") and all below it, once."""
        seen = set()
        for path, module in self.paths():
            if id(module) not in seen:
                seen.add(id(module))
                yield path, module

    def modules(self):
        """Yield this module and all below it, each once."""
        return (module for _, module in self.named_modules())

    def named_parameters(self):
        """Yield (dotted path, ndarray) for every array that training changes, each once.

        They are the layers' own arrays, writable in training mode.
        """
        for path, module in self.named_modules():
            if isinstance(module, ParameterLayer):
                for name in module.parameter_names():
                    yield f"{path}.{name}" if path else name, getattr(module, name)

    def parameters(self):
        """Yield every array that training changes."""
        return (array for _, array in self.named_parameters())

    def zero_grad(self):
        """Drop the gradients that `backward` has added up, here and in all modules below."""
        for module in self.modules():
            if isinstance(module, ParameterLayer):
                module.gradients.clear()

    def state_dict(self):
        """Return copies of all arrays by name, as `torch.nn.Module.state_dict` names them.

        Returns
        -------
        dict of str to ndarray
            Weights, biases and running statistics; a name is the path of attributes, joined with
            dots. What is written into them does not reach the layers.
        """
        return state.gather(self)

    def load_state_dict(self, arrays, strict=True):
        """Take over all arrays from a dictionary, all of them or, after an error, none.

        Parameters
        ----------
        arrays : dict of str to array_like
            As `state_dict` returns it, here or in PyTorch: ndarrays or tensors of any real dtype,
            which are cast to the layers'.
        strict : bool
            False: leave what is missing as it is and ignore what has no place.

        Returns
        -------
        StateNames
            The names that were missing, and those that had no place; empty when strict.

        Raises
        ------
        ValueError
            When shapes differ, and if strict when names are missing or have no place: all of them
            are listed.
        TypeError
            When a value is not an array of real numbers.
        """
        return state.scatter(self, arrays, strict)

    def forward(self, x):
        """Compute the result for `x`; every layer writes its own."""
        raise NotImplementedError(f"{type(self).__name__}: forward is not defined")

    def backward(self, grad):
        """Go back through the last recorded forward; every layer writes its own.

        Parameters
        ----------
        grad : array_like
            Gradient of some number with respect to what `forward` returned, and of its shape.

        Returns
        -------
        ndarray
            The gradient with respect to the input. Those of the parameters are added to the
            `gradients` of their layers.

        Raises
        ------
        RuntimeError
            When there was no forward in training mode (or in `nn.recording()`) since the last
            backward.
        """
        raise NotImplementedError(f"{type(self).__name__}: backward is not defined")

    def backward_parameters(self, grad):
        """Go back as `backward`, for the gradients of the parameters alone.

        Training needs no more. The gradient with respect to the input is not returned, and where
        the layer that meets the input can do without, not computed; all others have the same bits.

        Parameters
        ----------
        grad : array_like
            As for `backward`.

        Raises
        ------
        RuntimeError
            As `backward`.
        """
        self.backward(grad)

    def __init_subclass__(cls, **options):
        # Who writes a new `backward` must not be gone past by a base's way around its own.
        super().__init_subclass__(**options)
        if "backward" in vars(cls) and "backward_parameters" not in vars(cls):
            cls.backward_parameters = Module.backward_parameters

    def __call__(self, *inputs, **options):
        """Run `forward`, recorded for `backward` in training mode."""
        return memory.run(self, inputs, options)

    def compile(self):
        """Return a function with the same results in evaluation mode, run by the graph executor.

        Batch normalisations, activations and residual sums go into the convolutions before them,
        and arrays stay channels last between layers. What a layer of your own computes, or a
        `forward` that looks at its numbers, runs as before.

        Returns
        -------
        Compiled
            ``compiled(x)`` takes and returns what ``self(x)`` does. Each new input shape is
            followed through `forward` once; the weights are those of that moment, so compile
            again after changing them. Threads may share it, but not use this module while a shape
            is new.

        Raises
        ------
        ValueError
            In training mode.

        Examples
        --------
        >>> fast = models.resnet(18).eval().compile()
        >>> scores = fast(photos)
        """
        from fastconv.nn.compiled import Compiled

        return Compiled(self)

    def remember(self, *values):
        """Keep what `backward` will need, if this forward is recorded."""
        if memory.is_recording():
            vars(self).setdefault("_memory", []).append(values)

    def recall(self):
        """Return the newest values that were remembered, and drop them."""
        pile = vars(self).get("_memory")
        if not pile:
            raise RuntimeError(
                f"{type(self).__name__}({self.extra_repr()}): backward needs a forward in training "
                "mode (or in nn.recording()) before it, and each forward serves once"
            )
        return pile.pop()

    def forget(self):
        """Drop all that was remembered."""
        vars(self).pop("_memory", None)

    def __getstate__(self):
        return {name: value for name, value in vars(self).items() if name not in _TRANSIENT}

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

    The layer's `array_shapes` says which shape is right.  An `optional` array may also be None; one
    that is not `learned` (running statistics) has no gradient.
    Initial values that are still to be `Drawn` become an array at the first look.
    """

    def __init__(self, optional=False, learned=True):
        self.optional, self.learned = optional, learned

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

    # Names in `state_shapes` that may be missing from a file.
    ignorable_state: tuple[str, ...] = ()

    def __init__(self, dtype, array_shapes):
        self.dtype = _check_dtype(type(self).__name__, dtype)
        self.array_shapes = array_shapes

    def cast(self, x, name="x"):
        """Return `x` as an array of the layer's dtype, without a copy where it already is one."""
        return as_array(type(self).__name__, name, x).astype(self.dtype, copy=False)

    @property
    def gradients(self):
        """dict of str to ndarray: gradients of the parameters by name, added up by `backward`."""
        return vars(self).setdefault("_gradients", {})

    def add_gradient(self, name, gradient):
        """Add an array, which the layer may keep, to the gradient of the parameter `name`."""
        sum_so_far = self.gradients.setdefault(name, gradient)
        if sum_so_far is not gradient:
            sum_so_far += gradient

    def parameter_names(self):
        """Return the names of the arrays that training changes, those that are None left out."""
        return [name for name in self._present() if getattr(type(self), name).learned]

    def state_shapes(self):
        """Return the shape of each array that `state_dict` saves, by name."""
        return {name: self.array_shapes[name] for name in self._present()}

    def _present(self):
        # Looks at the slots: to ask an array that is still to be drawn would draw it.
        return [name for name in self.array_shapes if vars(self)["_" + name] is not None]

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
