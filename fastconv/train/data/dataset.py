"""Pictures with their labels."""

from typing import NamedTuple

import numpy as np

__all__ = ["Dataset"]


class Dataset(NamedTuple):
    """Pictures, (N, C, H, W) of any real dtype, and for each its label, (N,) of int."""

    images: np.ndarray
    labels: np.ndarray

    @classmethod
    def checked(cls, source, images, labels):
        """Make a Dataset of arrays from the file `source`, or say what does not fit.

        Parameters
        ----------
        source : str or Path
            For error texts.
        images : ndarray, (N, H, W) or (N, C, H, W)
        labels : ndarray of int, (N,)
        """
        if images.ndim == 3:
            images = images[:, None]
        if images.ndim != 4 or images.dtype.kind not in "uif":
            raise ValueError(
                f"{source}: images must be numbers of shape (N, H, W) or (N, C, H, W), "
                f"got {images.dtype} of shape {images.shape}"
            )
        if labels.shape != images.shape[:1] or labels.dtype.kind not in "ui":
            raise ValueError(
                f"{source}: labels must be {len(images)} integers, one for each image, "
                f"got {labels.dtype} of shape {labels.shape}"
            )
        return cls(images, labels.astype(np.int64))

    @property
    def count(self):
        """int: the number of pictures."""
        return len(self.labels)

    def split(self, held_back, seed=0):
        """Return two Datasets: all but `held_back` pictures, and those.

        Parameters
        ----------
        held_back : int
            At most `count`.
        seed : int
            Which pictures are held back follows from it. Either part keeps their order.
        """
        if not 0 <= held_back <= self.count:
            raise ValueError(
                f"Dataset.split: held_back must be between 0 and {self.count}, got {held_back}"
            )
        order = np.random.default_rng(seed).permutation(self.count)
        cut = self.count - held_back
        return tuple(self.take(np.sort(part)) for part in (order[:cut], order[cut:]))

    def take(self, indices):
        """Return a Dataset of the pictures at `indices`, copied."""
        return Dataset(self.images[indices], self.labels[indices])
