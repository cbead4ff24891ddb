"""Dropout, which only works in training mode."""

from fastconv.functional import norm
from fastconv.nn.arguments import make_generator
from fastconv.nn.module import Module


class Dropout(Module):
    """Set elements to zero at random in training mode; do nothing in evaluation mode.

    What stays is divided by 1 - p, so that the mean does not change (Srivastava et al.,
    "Dropout: a simple way to prevent neural networks from overfitting", 2014).

    Parameters
    ----------
    p : float
        Probability of an element to become zero, 0..1.
    rng : None, int or numpy.random.Generator
        Source of the choices: fresh entropy, a seed or a generator.
    """

    def __init__(self, p=0.5, *, rng=None):
        if not 0 <= p <= 1:
            raise ValueError(f"Dropout: p must be between 0 and 1, got {p}")
        self.p = p
        self._generator = make_generator("Dropout", rng)

    def forward(self, x):
        """Return x with elements dropped in training mode, x itself otherwise."""
        if not self.training:
            self.remember(None)
            return x
        y, kept = norm.drop(x, self.p, self._generator)
        self.remember(kept)
        return y

    def backward(self, grad):
        """Return the gradient of x: zero where x was dropped."""
        (kept,) = self.recall()
        return grad if kept is None else norm.scale_kept(grad, kept, self.p)

    def reseed(self, rng):
        """Let the coming choices follow from `rng`, a seed or a generator."""
        self._generator = make_generator("Dropout", rng)

    def extra_repr(self):
        """Return the settings as PyTorch prints them."""
        return f"p={self.p}"
