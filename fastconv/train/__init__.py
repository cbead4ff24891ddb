"""Training: losses, optimisers, schedules, data, and the loop that joins them.

    net = models.lenet5()
    train_set, test_set = data.read_folder("/usr/share/datasets/fashion-mnist")
    batches = data.Batches(train_set, 64, transforms=[data.Normalise.of(train_set.images)])
    history = fit(net, batches, epochs=5, optimiser=SGD(net, 0.05, momentum=0.9))

    data.Batches --x, labels--> net --scores--> loss --gradient--> net.backward --> optimiser.step

What is random in an epoch follows from `fit`'s seed and the epoch's number alone, and everything
else is computed in a fixed order: the same seed gives the same weights, to the last bit.
"""

from fastconv.train import data
from fastconv.train.fit import evaluate, fit
from fastconv.train.history import Epoch, History
from fastconv.train.losses import mean_squared_error, softmax_cross_entropy
from fastconv.train.optimisers import SGD, Adam
from fastconv.train.schedules import cosine, step

__all__ = [
    "Adam",
    "Epoch",
    "History",
    "SGD",
    "cosine",
    "data",
    "evaluate",
    "fit",
    "mean_squared_error",
    "softmax_cross_entropy",
    "step",
]
