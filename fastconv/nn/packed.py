"""Layers that pack their weights once: the base of convolutions and `Linear`.

Packing rearranges the weights for the engine (and, for Winograd, transforms them).  In evaluation
mode a layer does it on its first call and keeps the prepared operation; in training mode the
weights change at every step, so the functional form is called with the current ones.

                 training                          evaluation
    forward(x)   functional(x, weight, bias)       prepared(x), made on the first call
    weight       writable                          read-only
    kept         nothing                           the prepared operation

A forward that is recorded for `backward` also remembers x and, with a fused activation, the result.
Where that result does not tell the activation's gradient, `fused` says what is kept instead.

An in-place change that the packed copy would not see cannot happen unnoticed: in evaluation mode
`weight` and `bias` are read-only, also under names given to them earlier (`w = layer.weight`), and
writing raises ValueError.  Only a *view* taken in training mode (`w = layer.weight[0]`) stays
writable, for NumPy fixes that when a view is made.  To change weights, assign a new array
(`layer.weight = values`, in either mode) or go through `train()`.

A layer in evaluation mode may run in many threads at once: should two of them both find it
unpacked, both pack the same weights and either result serves.  Change a layer (its mode, weights
or settings) only while no other thread runs it.
"""

import numpy as np

from fastconv import grad as gradients
from fastconv.nn import memory
from fastconv.nn.fused import step_apart
from fastconv.nn.module import ArrayAttribute, ParameterLayer


class PackedLayer(ParameterLayer):
    """Base of the layers with a weight and a bias that are packed once in evaluation mode.

    A subclass sets `activation` and writes `run_unpacked(x, activation)`, the functional form;
    `prepare()`, which returns a prepared operation for the same result; and for `backward`
    `input_gradient(x, grad)`, `weight_gradient(x, grad)` and `bias_gradient(grad)`, with `grad`
    that of the result before the activation.  Setting any attribute drops the packed form.
    """

    weight = ArrayAttribute()
    bias = ArrayAttribute(optional=True)

    _packed = None

    def forward(self, x):
        """Return the layer's result for `x`, cast to the layer's dtype first."""
        x = self.cast(x)
        if not memory.is_recording():
            return self._run(x)
        step = step_apart(type(self).__name__, self.activation)
        if step is None:
            y = self._run(x)
            self.remember(x, None if self.activation is None else y)
            return y
        before = self.run_unpacked(x, None)
        self.remember(x, before)
        return step.forward(before)

    def backward(self, grad):
        """Return the gradient of x; add those of weight and bias to `gradients`."""
        return self.input_gradient(*self._backward_parameters(grad))

    def backward_parameters(self, grad):
        """Add the gradients of weight and bias to `gradients`."""
        self._backward_parameters(grad)

    def _backward_parameters(self, grad):
        """Do that; return x and the gradient of the result before the activation."""
        x, seen = self.recall()
        grad = self.cast(grad, "grad")
        step = step_apart(type(self).__name__, self.activation)
        if step is not None:
            grad = step.backward(seen, grad)
        elif self.activation is not None:
            grad = gradients.fused(self.activation, seen, grad)
        self.add_gradient("weight", self.weight_gradient(x, grad))
        if self.bias is not None:
            self.add_gradient("bias", self.bias_gradient(grad))
        return x, grad

    def _run(self, x):
        if self.training:
            return self.run_unpacked(x, self.activation)
        # A local name: another thread's change between test and call must not leave None here.
        packed = self._packed
        if packed is None:
            packed = self._packed = self.prepare()
        return packed(x)

    def __setattr__(self, name, value):
        # Train/eval, new weights and new settings all pass here, so none can leave a stale pack.
        super().__setattr__(name, value)
        if name != "_packed":
            self._packed = None
            self._lock_arrays()

    def _lock_arrays(self):
        """Make the arrays writable in training mode only."""
        for slot in ("_weight", "_bias"):
            array = vars(self).get(slot)
            if isinstance(array, np.ndarray):
                array.flags.writeable = self.training
