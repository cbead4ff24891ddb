"""Checkpoints: all that training needs to go on as if it had never stopped, in one .npz file.

    model/conv1.weight ...      the weights after the last epoch
    best/conv1.weight ...       those of the best epoch
    optimiser/conv1.weight:...  what the optimiser remembers
    facts                       text, JSON: history, seed, the optimiser's class

What is random follows from seed and epoch (`fit`), so no generator has to be saved.
"""

import json
from typing import NamedTuple

import numpy as np

from fastconv import nn
from fastconv.train.history import History

__all__ = ["Checkpoint"]

_PARTS = ("model", "best", "optimiser")


class Checkpoint(NamedTuple):
    """The state of a training after some epochs."""

    model: dict
    best: dict
    optimiser: dict
    history: History
    seed: int
    method: str

    def save(self, path):
        """Write the file, whole or not at all."""
        arrays = {
            f"{part}/{name}": array
            for part in _PARTS
            for name, array in getattr(self, part).items()
        }
        facts = {
            "history": self.history.as_dict(), "seed": self.seed, "method": self.method
        }
        nn.save({**arrays, "facts": np.array(json.dumps(facts))}, path)

    @classmethod
    def load(cls, path):
        """Read the file; ValueError if it is damaged or no checkpoint."""
        arrays = nn.load(path)
        try:
            facts = json.loads(str(arrays.pop("facts")))
            history = History.from_dict(facts["history"])
            seed, method = facts["seed"], facts["method"]
        except (KeyError, TypeError, ValueError) as error:
            raise ValueError(f"{path}: expected a checkpoint, found no facts of one") from error
        parts = {part: {} for part in _PARTS}
        for key, array in arrays.items():
            part, _, name = key.partition("/")
            parts[part][name] = array
        return cls(**parts, history=history, seed=seed, method=method)
