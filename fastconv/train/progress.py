"""Progress on standard error: a bar where tqdm is installed and somebody watches, else lines."""

import sys
import time

__all__ = ["Progress"]


class Progress:
    """Shows the epochs of a training.

    Parameters
    ----------
    epochs : int
    shown : bool
        False: show nothing.
    """

    def __init__(self, epochs, shown):
        self.epochs, self.shown = epochs, shown

    def batches(self, number, batches, total):
        """Hand out the batches of the epoch `number`, counted from 0."""
        self._start = time.perf_counter()
        bar = self._bar() if self.shown else None
        if bar is None:
            yield from batches
            return
        with bar(total=total, file=sys.stderr, leave=False, desc=self._heading(number)) as shown:
            for batch in batches:
                yield batch
                shown.update()

    def epoch(self, number, epoch):
        """Tell the figures of an `Epoch`."""
        if self.shown:
            seconds = time.perf_counter() - self._start
            print(f"{self._heading(number)}: {describe(epoch)}, {seconds:.1f} s", file=sys.stderr)

    def _heading(self, number):
        return f"epoch {number + 1}/{self.epochs}"

    @staticmethod
    def _bar():
        if not sys.stderr.isatty():
            return None
        try:
            from tqdm import tqdm
        except ImportError:
            return None
        return tqdm


def describe(epoch):
    """Return an `Epoch` in words: "loss 0.412, 85.2 % right; validation ..."."""
    words = _figures(epoch.loss, epoch.accuracy)
    if epoch.validation_loss is not None:
        words += "; validation " + _figures(epoch.validation_loss, epoch.validation_accuracy)
    return words


def _figures(loss, accuracy):
    return f"loss {loss:.4f}" + ("" if accuracy is None else f", {accuracy:.2%} right")
