"""What happens to a batch of pictures on its way into the network.

A transform is a function of (images, rng) to images; it does not change its argument, and draws
what is random from `rng`.
"""

import numpy as np

__all__ = ["Crop", "Normalise", "flip"]


class Normalise:
    """Map the pictures' values to float32 of a given scale: (images - mean) / deviation.

    Parameters
    ----------
    mean, deviation : float or sequence of float, one for each channel
        In units of the pictures' values.
    """

    def __init__(self, mean, deviation):
        self.mean = np.asarray(mean, np.float32).reshape(-1, 1, 1)
        self.factor = 1 / np.asarray(deviation, np.float32).reshape(-1, 1, 1)

    @classmethod
    def of(cls, images):
        """Return the Normalise that gives each channel of `images` mean 0 and deviation 1."""
        axes = (0, 2, 3)
        deviation = images.std(axes, dtype=np.float64)
        return cls(images.mean(axes, dtype=np.float64), np.where(deviation > 0, deviation, 1))

    def __call__(self, images, rng=None):
        """Return the normalised pictures; `rng` is not used."""
        result = images - self.mean
        result *= self.factor
        return result


def flip(images, rng):
    """Mirror every second picture, by chance, left to right."""
    chosen = rng.random(len(images)) < 0.5
    result = images.copy()
    result[chosen] = images[chosen, ..., ::-1]
    return result


class Crop:
    """Move every picture by chance, up to `margin` pixels each way; zeros come in from outside.

    Parameters
    ----------
    margin : int
    """

    def __init__(self, margin):
        self.margin = margin

    def __call__(self, images, rng):
        """Return the moved pictures."""
        margin, count = self.margin, len(images)
        padded = np.pad(images, ((0, 0), (0, 0), (margin, margin), (margin, margin)))
        windows = np.lib.stride_tricks.sliding_window_view(padded, images.shape[2:], (2, 3))
        down, right = rng.integers(0, 2 * margin + 1, (2, count))
        return windows[np.arange(count), :, down, right]
