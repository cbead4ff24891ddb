"""`fastconv bench --peers --training`: every gradient is right, whoever computes it."""

import importlib.util
import json

import numpy as np
import pytest

from fastconv import shapes
from fastconv.cli import main
from fastconv.cli.race import command, lanes, training
from fastconv.cli.race.contestants import OURS, TRAINING_FASTCONV, TRAINING_PEERS

TINY = lanes.Effort(runs=2, turns=1, seconds=0.002, calls=2, cold_tries=1, cold_idle=0.001)
OPTIONS = {"precision": "high", "algorithm": "auto", "functional": False}
CONTESTANTS = {OURS: TRAINING_FASTCONV._replace(options=OPTIONS), **TRAINING_PEERS}
LAYERS = [
    shapes.Layer("t", "plain", 2, 3, 9, 11, 8, 3, 3, 1, 1, 1, 1, 1),
    shapes.Layer("t", "uneven", 2, 6, 13, 16, 8, 3, 5, (2, 1), (1, 3), (1, 2), 2, 1),
    shapes.Layer("t", "depthwise", 2, 8, 9, 9, 8, 3, 3, 2, 0, 1, 8, 1),
]


def answers(name, contests, layout, tmp_path):
    """What a contestant's process says to every contest's `prepare`."""
    with lanes.line_up({name: CONTESTANTS[name]}, threads=2) as (ready, missing):
        assert missing == {}
        for contest in contests:
            folder = tmp_path / contest.name
            folder.mkdir(exist_ok=True)
            contest.write(folder, layout)
            job = {**contest.job(layout), **CONTESTANTS[name].options}
            yield contest, ready[0].ask(do="prepare", job=job, folder=str(folder))


@pytest.mark.parametrize("layout", ["NCHW", "NHWC"])
@pytest.mark.parametrize("name", CONTESTANTS)
def test_layers(name, layout, tmp_path):
    if importlib.util.find_spec(name) is None:
        pytest.skip(f"needs {name}: pip install fastconv[bench]")
    for contest, answer in answers(name, training.training_contests(LAYERS), layout, tmp_path):
        assert answer.get("error", 1) < 2e-6, (contest.name, answer)


@pytest.mark.parametrize("name", CONTESTANTS)
def test_steps(name, tmp_path):
    if importlib.util.find_spec(name) is None:
        pytest.skip(f"needs {name}: pip install fastconv[bench]")
    for contest, answer in answers(name, training.step_contests(), "NCHW", tmp_path):
        assert answer.get("error", 1) < 1e-5, (contest.name, answer)


def test_every_gradient_counts(tmp_path):
    """A wrong gradient of a single parameter shows in the error, whichever it is."""
    (contest, right), *_ = answers(OURS, training.training_contests(LAYERS[:1]), "NCHW", tmp_path)
    folder = tmp_path / contest.name
    names = ["exact.y", "exact.x", "exact.weight", "exact.bias"]
    assert sorted(names) == sorted(path.stem for path in folder.glob("exact*"))
    with lanes.line_up({OURS: CONTESTANTS[OURS]}, threads=1) as ((lane,), _):
        for name in names:
            path = folder / f"{name}.npy"
            array = np.load(path)
            np.save(path, 1.001 * array)
            job = {**contest.job("NCHW"), **OPTIONS}
            answer = lane.ask(do="prepare", job=job, folder=str(folder))
            assert answer["error"] > 100 * right["error"], name
            np.save(path, array)


@pytest.mark.parametrize("variant", ["original", "modern"])
def test_the_exact_gradients_of_a_step(variant):
    """Against differences of the loss, in a few places of every parameter."""
    arrays = training.Step(variant).arrays("NCHW")
    x, labels, start = arrays["x"][:3], arrays["labels"][:3], training.start_of(arrays)
    wide = {name: array.astype(np.float64) for name, array in start.items()}
    gradients, _ = training.lenet_gradients(variant, x, labels, wide)
    rng = np.random.default_rng(5)
    assert gradients.keys() == wide.keys() and len(wide) == 10
    for name, array in wide.items():
        place = tuple(rng.integers(0, array.shape))
        losses = []
        for step in (1e-6, -2e-6):
            array[place] += step
            losses.append(training.lenet_gradients(variant, x, labels, wide)[1])
        array[place] += 1e-6
        difference = (losses[0] - losses[1]) / 2e-6
        assert difference == pytest.approx(gradients[name][place], rel=1e-5, abs=1e-8), name


def test_command(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(lanes, "QUICK", TINY)
    monkeypatch.setattr(command, "TRAINING_PEERS", {})
    path = tmp_path / "result.json"
    words = ["--training", "--shapes", "lenet", "steps", "--layer", "c3", "--peers"]
    assert main(["bench", "--quick", "--json", str(path), "--threads", "1", *words]) == 0
    result = json.loads(path.read_text())
    (layer,) = result["layers"]
    assert result["training"] is True
    assert layer["flops"] == 3 * shapes.load("lenet")[1].flops
    assert layer["times"][OURS]["error"] < 1e-6
    assert "precision high, forward and backward" in capsys.readouterr().out


def test_what_the_command_trains(monkeypatch):
    raced = []
    monkeypatch.setattr(command.report, "show", lambda result: None)

    def measure(contests, peers, arguments):
        raced.append([contest.name for contest in contests])
        return {"layers": [{"times": {OURS: {"refused": None}}}]}

    monkeypatch.setattr(command, "measure", measure)
    for layout in ("NCHW", "NHWC"):
        assert main(["bench", "--training", "--peers", "--layout", layout]) == 0
    layers = [layer.name for layer in shapes.load("training")]
    assert raced == [[*layers, "lenet5_original", "lenet5_modern"], layers]


@pytest.mark.parametrize(
    "words, message",
    [
        (["--peers", "ncnn"], "'ncnn' is unknown; known: torch"),
        (["--peers", "--functional"], "--training runs layers: leave --functional out"),
        (["--peers", "--shapes", "steps", "--layout", "NHWC"], "steps take NCHW arrays"),
        (["--peers", "--shapes", "pools"], "'pools'"),
    ],
)
def test_wrong_calls(words, message, capsys):
    assert main(["bench", "--training", *words]) == 2
    assert message in capsys.readouterr().err
