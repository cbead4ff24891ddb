"""The training loop: it learns, repeats itself to the bit, resumes, survives Ctrl-C."""

import math

import numpy as np
import pytest

import fastconv
from fastconv import nn
from fastconv.train import (
    SGD,
    Adam,
    Epoch,
    History,
    cosine,
    evaluate,
    fit,
    mean_squared_error,
)
from fastconv.train.data import Batches, Crop, Dataset, Normalise, flip


@pytest.fixture(scope="module")
def dataset():
    """Pictures of a bright bar, upright or lying: two classes that a small network learns."""
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 2, 96)
    images = rng.integers(0, 120, (96, 1, 8, 8), np.uint8)
    for image, label in zip(images[:, 0], labels, strict=True):
        place = rng.integers(1, 7)
        (image if label else image.T)[place] += 130
    return Dataset(images, labels)


def network(rng=0):
    return nn.Sequential(
        nn.Conv2d(1, 4, 3, padding=1, activation="relu", rng=rng),
        nn.BatchNorm2d(4),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Dropout(0.2),
        nn.Linear(64, 2, rng=rng),
    )


def batches(dataset, **options):
    transforms = (Crop(1), flip, Normalise.of(dataset.images))
    return Batches(dataset, 16, transforms=transforms, **options)


def plain(dataset):
    return Batches(dataset, 40, shuffle=False, transforms=(Normalise.of(dataset.images),))


def train(net, dataset, epochs=3, make=Adam, **options):
    optimiser = make(net, 0.01)
    options = {"validation": plain(dataset), "progress": False, "seed": 5, **options}
    return fit(net, batches(dataset), epochs=epochs, optimiser=optimiser, **options)


def assert_same_state(first, second):
    for (name, one), other in zip(
        first.state_dict().items(), second.state_dict().values(), strict=True
    ):
        np.testing.assert_array_equal(one, other, err_msg=name)


def test_learns(dataset):
    net = network()
    history = train(net, dataset, 8)
    assert len(history.epochs) == 8
    assert history.epochs[-1].loss < history.epochs[0].loss / 2
    loss, accuracy = evaluate(net, plain(dataset))
    best = history.epochs[history.best]
    assert (loss, accuracy) == (best.validation_loss, best.validation_accuracy)
    assert accuracy == max(epoch.validation_accuracy for epoch in history.epochs) > 0.95


@pytest.mark.parametrize("count", [1, 3])
def test_the_same_seed_gives_the_same_bits(dataset, threads, count):
    first, second = network(), network()
    one = train(first, dataset)
    threads(count)
    other = train(second, dataset)
    assert one == other
    assert_same_state(first, second)


def test_another_seed_gives_others(dataset):
    one, other = (train(network(), dataset, 1, seed=seed) for seed in (1, 2))
    assert one != other


@pytest.mark.parametrize("make", [Adam, lambda net, lr: SGD(net, lr, momentum=0.9)])
def test_resuming_has_the_bits_of_never_stopping(dataset, tmp_path, make):
    straight, stopped = network(), network()
    schedule = cosine(0.02, 4)
    wanted = train(straight, dataset, 4, make, schedule=schedule)
    path = tmp_path / "training.npz"
    train(stopped, dataset, 2, make, schedule=schedule, checkpoint=path)
    again = network(rng=99)  # all it knows comes from the file
    found = train(again, dataset, 4, make, schedule=schedule, checkpoint=path, resume=True)
    assert found == wanted
    assert_same_state(again, straight)
    assert list(tmp_path.iterdir()) == [path]
    # All epochs are done: nothing more to train, but the best weights are there.
    idle = network(rng=7)
    assert train(idle, dataset, 4, make, checkpoint=path, resume=True) == wanted
    assert_same_state(idle, straight)


def test_without_a_checkpoint_resuming_starts_anew(dataset, tmp_path):
    path = tmp_path / "new.npz"
    history = train(network(), dataset, 1, checkpoint=path, resume=True)
    assert len(history.epochs) == 1 and path.exists()


def test_checkpoints_of_another_training_are_refused(dataset, tmp_path):
    path = tmp_path / "training.npz"
    train(network(), dataset, 1, checkpoint=path)
    with pytest.raises(ValueError, match="which has seed 6; found seed 5"):
        train(network(), dataset, 2, checkpoint=path, resume=True, seed=6)
    with pytest.raises(ValueError, match="which has optimiser SGD; found optimiser Adam"):
        train(network(), dataset, 2, SGD, checkpoint=path, resume=True)
    nn.save(network(), path)
    with pytest.raises(ValueError, match="training.npz: expected a checkpoint, found no facts"):
        train(network(), dataset, 2, checkpoint=path, resume=True)
    path.write_bytes(b"half a fi")
    with pytest.raises(ValueError, match="training.npz must hold arrays by name"):
        train(network(), dataset, 2, checkpoint=path, resume=True)
    with pytest.raises(ValueError, match="fit: checkpoint must end in .npz"):
        train(network(), dataset, 1, checkpoint=tmp_path / "file.pth")
    with pytest.raises(ValueError, match="fit: checkpoint must lie in a folder that exists, got "):
        train(network(), dataset, 1, checkpoint=tmp_path / "absent" / "file.npz")


class Interrupting:
    """Batches that stop the program in the middle of an epoch, as Ctrl-C does."""

    def __init__(self, inner, epoch):
        self.inner, self.left = inner, epoch

    def __len__(self):
        return len(self.inner)

    def epoch(self, rng=None):
        for number, batch in enumerate(self.inner.epoch(rng)):
            if self.left == 0 and number == 2:
                raise KeyboardInterrupt
            yield batch
        self.left -= 1


def test_ctrl_c_keeps_the_best_weights_and_the_checkpoint(dataset, tmp_path):
    path = tmp_path / "training.npz"
    stopped, wanted = network(), network()
    options = {"validation": plain(dataset), "progress": False, "seed": 5}
    history = fit(
        stopped,
        Interrupting(batches(dataset), 2),
        epochs=4,
        optimiser=Adam(stopped, 0.01),
        checkpoint=path,
        **options,
    )
    assert history.interrupted and len(history.epochs) == 2
    assert train(wanted, dataset, 2).epochs == history.epochs
    assert_same_state(stopped, wanted)
    resumed = train(stopped, dataset, 4, checkpoint=path, resume=True)
    straight = network()
    assert train(straight, dataset, 4) == resumed
    assert_same_state(stopped, straight)


def test_ctrl_c_before_the_first_epoch_has_ended(dataset):
    net = network()
    history = fit(
        net,
        Interrupting(batches(dataset), 0),
        epochs=2,
        optimiser=SGD(net, 0.1),
        progress=False,
    )
    assert history.interrupted and history.epochs == [] and history.best is None


def test_modes_come_back(dataset):
    net = network().eval()
    train(net, dataset, 1)
    assert not any(module.training for module in net.modules())
    net.train()
    net[1].eval()
    mean = net[1].running_mean.copy()
    train(net, dataset, 1)
    assert [layer.training for layer in net] == [True, False, True, True, True, True]
    np.testing.assert_array_equal(net[1].running_mean, mean)


def test_without_validation_the_last_weights_stay(dataset):
    net, twin = network(), network()
    train(net, dataset, 2, validation=None)
    history = train(twin, dataset, 2)
    assert history.best is not None
    untouched = train(network(), dataset, 2, validation=None)
    assert untouched.best == 1
    assert [epoch.validation_loss for epoch in untouched.epochs] == [None, None]


def test_an_epoch_that_diverged_is_never_the_best():
    history = History()
    for loss in (math.nan, 3.0, math.nan, 2.0, 2.5):
        history.add(Epoch(1.0, None, loss, None))
    assert history.best == 3


def test_the_schedule_sets_the_rate_before_every_step(dataset):
    times, rates = [], []

    class Watched(SGD):
        def step(self):
            rates.append(self.lr)

    def schedule(time):
        times.append(time)
        return 0.1 + time

    train(network(), dataset, 2, Watched, schedule=schedule)
    assert times == pytest.approx(np.arange(12) / 6)
    assert rates == pytest.approx(0.1 + np.arange(12) / 6)


def test_evaluation_is_the_same_each_time(dataset):
    net = network()
    assert evaluate(net, batches(dataset)) == evaluate(net, batches(dataset))


def test_regression(rng):
    x = rng.normal(size=(64, 3, 1, 1))
    target = x.reshape(64, 3) @ [[1.0], [-2.0], [0.5]]
    net = nn.Sequential(nn.Flatten(), nn.Linear(3, 1, rng=0))
    history = fit(
        net,
        Batches((x, target), 8),
        epochs=20,
        optimiser=SGD(net, 0.1),
        loss=mean_squared_error,
        validation=Batches((x, target), 64, shuffle=False),
        progress=False,
    )
    assert history.epochs[-1].accuracy is None
    assert history.epochs[-1].validation_loss < 1e-6
    np.testing.assert_allclose(net[1].weight, [[1, -2, 0.5]], atol=1e-3)


def test_no_epochs(dataset):
    net, twin = network(), network()
    assert train(net, dataset, 0) == History()
    assert_same_state(net, twin)


def test_progress_is_lines_where_nobody_watches(dataset, capsys):
    train(network(), dataset, 2, progress=True)
    text = capsys.readouterr().err.splitlines()
    assert len(text) == 2
    assert text[0].startswith("epoch 1/2: loss ") and "validation loss" in text[0]
    train(network(), dataset, 1)
    assert capsys.readouterr().err == ""


def test_the_package_names_the_room():
    assert fastconv.train.fit is fit
