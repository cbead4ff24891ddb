"""The training loop.

    for every epoch:   batches --> model --> loss --> model.backward_parameters --> optimiser.step
                       validation --> history --> best weights --> checkpoint

What is random in an epoch (order, transforms, dropout) is drawn from a generator that starts anew
from (seed, epoch). So training that resumes after an epoch needs to remember no generator, and has
the same bits as training that never stopped.
"""

from contextlib import contextmanager
from pathlib import Path

import numpy as np

from fastconv import nn
from fastconv.functional._check import integer
from fastconv.train.checkpoint import Checkpoint
from fastconv.train.history import Epoch, History
from fastconv.train.losses import softmax_cross_entropy
from fastconv.train.progress import Progress

__all__ = ["evaluate", "fit"]


def fit(
    model,
    train,
    *,
    epochs,
    optimiser,
    loss=softmax_cross_entropy,
    schedule=None,
    validation=None,
    seed=0,
    checkpoint=None,
    resume=False,
    progress=True,
):
    """Train a network; at the end, and after Ctrl-C, it has its best weights.

    Parameters
    ----------
    model : Module
        Layers that are in evaluation mode within it stay there (batch normalisations that keep
        their statistics); a model in evaluation mode as a whole is trained all the same.
    train, validation : Batches
        Or anything with `epoch(rng)`, which yields (x, targets), and a length. Without validation
        the last weights are the best.
    epochs : int
        How many in all, those before a resumption included.
    optimiser : Optimiser
    loss : function of (results, targets) to (loss, gradient)
    schedule : function of float to float, optional
        From the time in epochs to the learning rate, which is set before every step.
    seed : int
        All that is random follows from it.
    checkpoint : str or Path, optional
        An .npz file, written after every epoch, whole or not at all.
    resume : bool
        Go on from the checkpoint, if there is one.
    progress : bool
        Whether to show progress on standard error.

    Returns
    -------
    History
        With `interrupted` set after Ctrl-C; without a finished epoch the weights stay as they
        were then.

    Raises
    ------
    ValueError
        When the checkpoint cannot be written where it should, or the one to resume from is damaged
        or of another training.
    """
    epochs = integer("fit", "epochs", epochs, minimum=0)
    seed = integer("fit", "seed", seed, minimum=0)
    _check_checkpoint(checkpoint)
    training = _Training(model, optimiser, loss, schedule, seed)
    if resume and checkpoint is not None and Path(checkpoint).exists():
        training.resume(checkpoint)
    shown = Progress(epochs, progress)
    with _modes_kept(model):
        if not model.training:
            model.train()
        try:
            while (number := len(training.history.epochs)) < epochs:
                figures = training.run_epoch(number, train, shown)
                if validation is not None:
                    figures += evaluate(model, validation, loss)
                training.end_epoch(Epoch(*figures), checkpoint)
                shown.epoch(number, training.history.epochs[-1])
        except KeyboardInterrupt:
            training.history.interrupted = True
        training.keep_best()
    return training.history


def _check_checkpoint(path):
    """Find out before the first epoch, not after it, that a checkpoint cannot be written."""
    if path is None:
        return
    if Path(path).suffix != ".npz":
        raise ValueError(f"fit: checkpoint must end in .npz, got {str(path)!r}")
    if not Path(path).parent.is_dir():
        raise ValueError(f"fit: checkpoint must lie in a folder that exists, got {str(path)!r}")


def evaluate(model, batches, loss=softmax_cross_entropy):
    """Return the mean loss of a network over batches, and the share of right answers.

    Parameters
    ----------
    model : Module
        Runs in evaluation mode, and comes back in the mode it was in.
    batches : Batches
    loss : function of (results, targets) to (loss, gradient)

    Returns
    -------
    loss : float
    accuracy : float or None
        From 0 to 1; None where the targets are not classes.
    """
    mean = _Mean()
    with _modes_kept(model):
        model.eval()
        for x, targets in batches.epoch(0):  # whatever is random in it, the same each time
            results = model(x)
            mean.add(results, targets, loss(results, targets)[0])
    return mean.figures()


class _Training:
    """The things that change during training, and the steps that change them."""

    def __init__(self, model, optimiser, loss, schedule, seed):
        self.model, self.optimiser, self.loss = model, optimiser, loss
        self.schedule, self.seed = schedule, seed
        self.history, self.best = History(), None

    def run_epoch(self, number, train, shown):
        """Go once through the training data; return mean loss and accuracy."""
        data_seed, dropout_seed = np.random.SeedSequence((self.seed, number)).spawn(2)
        self._reseed_dropouts(dropout_seed)
        batches, mean = train.epoch(np.random.default_rng(data_seed)), _Mean()
        for index, (x, targets) in enumerate(shown.batches(number, batches, len(train))):
            if self.schedule is not None:
                self.optimiser.lr = self.schedule(number + index / len(train))
            results = self.model(x)
            value, gradient = self.loss(results, targets)
            mean.add(results, targets, value)
            self.optimiser.zero_grad()
            self.model.backward_parameters(gradient)
            self.optimiser.step()
        return mean.figures()

    def _reseed_dropouts(self, seed):
        rng = np.random.default_rng(seed)
        for layer in self.model.modules():
            if isinstance(layer, nn.Dropout):
                layer.reseed(rng)

    def end_epoch(self, epoch, checkpoint):
        """Add an epoch to the history, keep its weights if they are the best, save all."""
        weights = self.model.state_dict()
        if self.history.add(epoch):
            self.best = weights
        if checkpoint is not None:
            remembered = self.optimiser.state_dict()
            self._checkpoint(weights, remembered).save(checkpoint)

    def _checkpoint(self, weights, remembered):
        method = type(self.optimiser).__name__
        return Checkpoint(weights, self.best, remembered, self.history, self.seed, method)

    def resume(self, path):
        """Take over the state that a checkpoint holds."""
        saved = Checkpoint.load(path)
        method = type(self.optimiser).__name__
        for name, found, wanted in (
            ("seed", saved.seed, self.seed),
            ("optimiser", saved.method, method),
        ):
            if found != wanted:
                raise ValueError(
                    f"fit: {path} must be of the same training, which has {name} {wanted}; "
                    f"found {name} {found}"
                )
        self.model.load_state_dict(saved.model)
        self.optimiser.load_state_dict(saved.optimiser)
        self.history, self.best = saved.history, saved.best

    def keep_best(self):
        """Give the model its best weights, if an epoch was finished."""
        if self.best is not None:
            self.model.load_state_dict(self.best)


class _Mean:
    """Mean loss and share of right answers over batches of different sizes."""

    def __init__(self):
        self.loss, self.right, self.count = 0.0, 0, 0

    def add(self, results, targets, loss):
        """Add a batch with its mean loss."""
        targets = np.asarray(targets)
        self.loss += loss * len(targets)
        self.count += len(targets)
        if self.right is not None and targets.dtype.kind in "ui" and np.ndim(results) == 2:
            self.right += int(np.count_nonzero(results.argmax(1) == targets))
        else:
            self.right = None

    def figures(self):
        """Return (mean loss, accuracy or None)."""
        accuracy = None if self.right is None else self.right / self.count
        return self.loss / self.count, accuracy


@contextmanager
def _modes_kept(model):
    """Put every module back into its mode at the end of the block."""
    modes = [(module, module.training) for module in model.modules()]
    try:
        yield
    finally:
        # Parents come before their children, so that a child has its own last word.
        for module, training in modes:
            module.train(training)
