"""`fastconv train`: learns, writes, resumes, says what is wrong with data and folders."""

import re
import sys

import numpy as np
import pytest

from fastconv import nn
from fastconv.cli import main
from fastconv.cli import train as command
from fastconv.models import lenet5
from fastconv.train import SGD


def need_digits():
    pytest.importorskip("sklearn", reason="needs scikit-learn: pip install fastconv[test]")


def accuracy(text):
    return float(re.search(r"([\d.]+)% of the test pictures are right", text)[1])


@pytest.fixture
def folder(tmp_path):
    """A data set of pictures like digits' in size, but two kinds: bright above or below."""
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 2, 300)
    images = rng.integers(0, 80, (300, 28, 28), np.uint8)
    for image, label in zip(images, labels, strict=True):
        image[14 * label : 14 * label + 14] += 120
    data = tmp_path / "data"
    data.mkdir()
    np.savez(data / "halves.npz", x=images, y=labels)
    return data


def test_help_says_where_the_data_is(capsys):
    assert main(["train", "--help"]) == 0
    text = capsys.readouterr().out
    assert "dataset-fashion-mnist" in text and "/usr/share/datasets/fashion-mnist" in text


def test_learns_the_digits(tmp_path, capsys):
    need_digits()
    out = tmp_path / "new" / "folder"
    assert main(["train", "lenet", "--epochs", "6", "--out", str(out)]) == 0
    text = capsys.readouterr().out
    assert accuracy(text) > 93
    net = lenet5(variant="modern")
    net.load_state_dict(nn.load(out / "lenet.npz"))
    for path in (out / "lenet.npz", out / "lenet-history.png"):
        assert f"wrote {path.resolve()}" in text
    assert {path.name for path in out.iterdir()} == {
        "lenet.npz", "lenet-training.npz", "lenet-history.png"
    }  # fmt: skip


def test_seed_and_resumption(folder, tmp_path):
    def weights(name, *words):
        out = tmp_path / name
        words = ["train", "lenet", "--data", str(folder), "--out", str(out), *words]
        assert main(words) == 0
        return nn.load(out / "lenet.npz")

    def same(a, b):
        return all(np.array_equal(a[name], b[name]) for name in a)

    first = weights("a", "--epochs", "2")
    assert same(first, weights("b", "--epochs", "2"))
    assert not same(first, weights("c", "--epochs", "2", "--seed", "1"))
    assert same(first, weights("a", "--epochs", "2", "--resume"))


def test_validation_leaves_the_test_pictures_alone(folder, tmp_path, capsys, monkeypatch):
    """A fifth of the file is for the test; of the rest, 40 are held back."""
    kinds = []
    batches = command.Batches

    def watched(dataset, *arguments, **options):
        kinds.append(dataset)
        return batches(dataset, *arguments, **options)

    monkeypatch.setattr(command, "Batches", watched)
    words = ["train", "lenet", "--data", str(folder), "--epochs", "1", "--out", str(tmp_path)]
    assert main([*words, "--validate", "40"]) == 0
    text = capsys.readouterr().out
    assert "200 pictures to learn from, 40 for validation; epochs: 1" in text
    assert "% of the validation pictures are right" in text and "test pictures" not in text
    _, unseen = command.read_folder(folder, 0)
    forbidden = {image.tobytes() for image in unseen.images}
    assert [one.count for one in kinds] == [200, 40]
    assert not forbidden & {image.tobytes() for one in kinds for image in one.images}
    assert main([*words, "--validate", "240"]) == 2
    assert "--validate: must be below 240" in capsys.readouterr().err


@pytest.mark.parametrize(
    "words", [["--rate", "0.1"], ["--decay", "0.1"], ["--batch", "50"], ["--shift", "0"]]
)
def test_every_setting_counts(words, folder, tmp_path):
    common = ["train", "lenet", "--data", str(folder), "--epochs", "1", "--out"]
    weights = []
    for name, more in (("a", []), ("b", words)):
        assert main([*common, str(tmp_path / name), *more]) == 0
        weights.append(nn.load(tmp_path / name / "lenet.npz")["fc3.weight"])
    assert not np.array_equal(*weights)


def test_ctrl_c(folder, tmp_path, capsys, monkeypatch):
    calls = []

    def step(optimiser):
        calls.append(optimiser)
        if len(calls) == 12:  # eight batches an epoch
            raise KeyboardInterrupt
        original(optimiser)

    original = SGD.step
    monkeypatch.setattr(SGD, "step", step)
    words = ["train", "lenet", "--data", str(folder), "--epochs", "3", "--out", str(tmp_path)]
    assert main(words) == 130
    assert "% of the test pictures are right" in capsys.readouterr().out
    stopped = nn.load(tmp_path / "lenet.npz")
    saved = nn.load(tmp_path / "lenet-training.npz")
    for name, array in stopped.items():  # those of the whole epoch
        np.testing.assert_array_equal(array, saved[f"model/{name}"])


def test_a_checkpoint_of_another_training(folder, tmp_path, capsys):
    words = ["train", "lenet", "--data", str(folder), "--epochs", "1", "--out", str(tmp_path)]
    assert main(words) == 0
    assert main([*words, "--resume", "--seed", "3"]) == 2
    assert "which has seed 3; found seed 0" in capsys.readouterr().err


def test_wrong_data(tmp_path, capsys):
    assert main(["train", "lenet", "--data", str(tmp_path / "absent")]) == 2
    assert "fastconv: --data: " in capsys.readouterr().err
    np.savez(tmp_path / "wide.npz", x=np.zeros((10, 3, 32, 32), np.uint8), y=np.arange(10))
    assert main(["train", "lenet", "--data", str(tmp_path)]) == 2
    assert "--data: pictures must be 1 x 28 x 28, " in capsys.readouterr().err


@pytest.mark.parametrize(
    "words", [["vgg"], ["lenet", "--epochs", "0"], ["lenet", "--seed", "-1"],
              ["lenet", "--rate", "nan"], []],
)  # fmt: skip
def test_wrong_calls(words, capsys):
    assert main(["train", *words]) == 2
    assert "usage: fastconv train" in capsys.readouterr().err


def test_digits_need_the_library(monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "sklearn.datasets", None)
    assert main(["train", "lenet"]) == 2
    assert 'needs the extra "demo": python -m pip install' in capsys.readouterr().err


def test_digits_fill_the_networks_input():
    need_digits()
    digits = command._digits()
    assert digits.images.shape[1:] == command.INPUT
    assert digits.images.dtype == np.float32
    assert digits.images[:, 0, 2:26, 2:26].max() == 16
    assert digits.images[:, 0, :2].max() == 0
