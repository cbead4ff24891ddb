"""Layers that pack their weights once: the base of convolutions and `Linear`.

Packing rearranges the weights for the engine (and, for Winograd, transforms them).  In evaluation
mode a layer does it on its first call and keeps the prepared operation; in training mode the
weights change at every step, so the functional form is called with the current ones.

                 training                          evaluation
    forward(x)   functional(x, weight, bias)       prepared(x), made on the first call
    weight       writable                          read-only
    kept         nothing                           the prepared operation

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

from fastconv.nn.module import ArrayAttribute, ParameterLayer


class PackedLayer(ParameterLayer):
    """Base of the layers with a weight and a bias that are packed once in evaluation mode.

    A subclass writes `run_unpacked(x)`, the functional form, and `prepare()`, which returns a
    prepared operation for the same result.  Setting any attribute drops the packed form.
    """

    weight = ArrayAttribute()
    bias = ArrayAttribute(optional=True)

    _packed = None

    def run_unpacked(self, x):
        """Compute the result for `x` with the weights as they are now."""
        raise NotImplementedError(f"{type(self).__name__}: run_unpacked is not defined")

    def prepare(self):
        """Pack the weights as they are now; return a callable that takes x."""
        raise NotImplementedError(f"{type(self).__name__}: prepare is not defined")

    def forward(self, x):
        """Return the layer's result for `x`, cast to the layer's dtype first."""
        x = self.cast(x)
        if self.training:
            return self.run_unpacked(x)
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

    def __getstate__(self):
        state = vars(self).copy()
        state.pop("_packed", None)
        return state
