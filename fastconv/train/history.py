"""What happened during training, epoch by epoch."""

import math
from dataclasses import asdict, dataclass, field
from typing import NamedTuple

__all__ = ["Epoch", "History"]


class Epoch(NamedTuple):
    """One epoch's figures; those of the validation are None where there was none."""

    loss: float
    accuracy: float | None
    validation_loss: float | None = None
    validation_accuracy: float | None = None


@dataclass
class History:
    """All epochs so far.

    Attributes
    ----------
    epochs : list of Epoch
    best : int or None
        Index of the epoch whose weights were the best; None before the first.
    interrupted : bool
        Whether Ctrl-C ended the training.
    """

    epochs: list = field(default_factory=list)
    best: int | None = None
    interrupted: bool = False

    def add(self, epoch):
        """Append an `Epoch`; return whether it is the best so far.

        The best has the highest validation accuracy, or where there is none the lowest validation
        loss; of equals the first. Without a validation the last is the best.
        """
        self.epochs.append(epoch)
        if self.best is None or _merit(epoch) > _merit(self.epochs[self.best]):
            self.best = len(self.epochs) - 1
        elif epoch.validation_loss is None:
            self.best = len(self.epochs) - 1
        return self.best == len(self.epochs) - 1

    def as_dict(self):
        """Return the whole as plain lists and numbers."""
        return {**asdict(self), "epochs": [epoch._asdict() for epoch in self.epochs]}

    @classmethod
    def from_dict(cls, values):
        """Return the History that `as_dict` told of."""
        return cls(**{**values, "epochs": [Epoch(**epoch) for epoch in values["epochs"]]})


def _merit(epoch):
    if epoch.validation_accuracy is not None:
        return epoch.validation_accuracy
    loss = epoch.validation_loss
    if loss is None:
        return 0.0
    return -math.inf if math.isnan(loss) else -loss
