"""Batches of a data set, in a new order every epoch."""

import math

import numpy as np

from fastconv.functional._check import integer

__all__ = ["Batches"]


class Batches:
    """A data set, cut into batches.

    Parameters
    ----------
    dataset : Dataset
        Or any pair of arrays of the same length.
    size : int
        Pictures in a batch; the last may be smaller.
    shuffle : bool
        Whether every epoch has an order of its own.
    transforms : sequence of functions of (images, rng) to images
        Applied to each batch, one after the other.

    Examples
    --------
    >>> batches = Batches(train, 64, transforms=[Crop(2), flip, Normalise.of(train.images)])
    >>> for x, labels in batches.epoch(rng=0): ...
    """

    def __init__(self, dataset, size, *, shuffle=True, transforms=()):
        self.images, self.labels = dataset
        self.size = integer("Batches", "size", size, minimum=1)
        if len(self.images) != len(self.labels) or not len(self.labels):
            raise ValueError(
                "Batches: dataset must have as many labels as images, at least one, got "
                f"{len(self.labels)} and {len(self.images)}"
            )
        self.shuffle, self.transforms = bool(shuffle), tuple(transforms)

    def __len__(self):
        return math.ceil(len(self.labels) / self.size)

    def epoch(self, rng=None):
        """Yield (images, labels) for every batch of an epoch.

        Parameters
        ----------
        rng : None, int or numpy.random.Generator
            Order and transforms follow from it.
        """
        rng = np.random.default_rng(rng)
        count = len(self.labels)
        order = rng.permutation(count) if self.shuffle else np.arange(count)
        for start in range(0, count, self.size):
            chosen = order[start : start + self.size]
            images = self.images[chosen]
            for transform in self.transforms:
                images = transform(images, rng)
            yield images, self.labels[chosen]
