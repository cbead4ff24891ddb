"""`fastconv bench`: true numbers, honest refusals, no work before the call is known to be good."""

import json
import sys

import numpy as np
import pytest

import fastconv
import fastconv.functional.conv
from fastconv import shapes
from fastconv.cli import bench, main

ALGORITHMS = {"direct", "im2col", "winograd"}


@pytest.fixture
def no_measuring(monkeypatch):
    def fail(*arguments):
        raise AssertionError("measured although the call was wrong")

    monkeypatch.setattr(bench, "measure", fail)


def run_json(tmp_path, *words):
    path = tmp_path / "result.json"
    code = main(["bench", "--quick", "--json", str(path), *words])
    return code, json.loads(path.read_text())


def test_lenet_numbers(tmp_path, capsys):
    code, result = run_json(tmp_path, "--shapes", "lenet")
    assert code == 0
    assert result["threads"] == fastconv.get_num_threads()
    assert result["peak_gflops"] > 0
    assert result["memory_gbs"] > 0
    assert [layer["name"] for layer in result["layers"]] == ["c1", "c3", "c5"]
    for layer, known in zip(result["layers"], shapes.load("lenet"), strict=True):
        assert layer["flops"] == known.flops
        assert [run["precision"] for run in layer["runs"]] == ["high", "highest"]
        for run in layer["runs"]:
            assert run["algorithm"] in ALGORITHMS
            assert run["gflops"] == pytest.approx(known.flops / run["ms"] / 1e6)
            assert run["share_of_peak"] == pytest.approx(run["gflops"] / result["peak_gflops"])
            assert run["faster_than_blas"] == pytest.approx(layer["numpy_blas_ms"] / run["ms"])
            assert 0 < run["max_error"] < 1e-5
    text = capsys.readouterr().out
    assert "all 3 convolutions of lenet" in text
    assert "NumPy " + np.__version__ in text


def test_error_column_shows_a_wrong_engine(tmp_path, monkeypatch):
    prepare = fastconv.functional.conv.prepare_conv

    def prepare_wrong(*arguments, **how):
        layer = prepare(*arguments, **how)
        return lambda x: layer(x) * np.float32(1.001)

    monkeypatch.setattr(fastconv.functional.conv, "prepare_conv", prepare_wrong)
    _, result = run_json(tmp_path, "--shapes", "lenet", "--layer", "c3")
    assert result["layers"][0]["runs"][0]["max_error"] == pytest.approx(1e-3, rel=0.01)


def test_options_reach_the_engine(tmp_path):
    before = fastconv.get_num_threads()
    words = ("--shapes", "googlenet", "--layer", "5a_3x3", "--algorithm", "im2col")
    code, result = run_json(
        tmp_path, *words, "--threads", "1", "--layout", "NHWC", "--precision", "highest"
    )
    assert code == 0
    assert (result["threads"], result["layout"]) == (1, "NHWC")
    assert fastconv.get_num_threads() == before
    for layer in result["layers"]:
        (run,) = layer["runs"]
        assert (run["algorithm"], run["precision"]) == ("im2col", "highest")
        assert run["max_error"] < 1e-5


def test_algorithm_that_cannot(tmp_path, capsys):
    """Refused layers say why; if none is left, the command has failed."""
    words = ("--shapes", "alexnet", "--algorithm", "winograd", "--layer")
    code, result = run_json(tmp_path, *words, "conv1")
    assert code == 1
    assert result["layers"][0]["runs"] == []
    assert "winograd" in result["layers"][0]["refused"]
    text = capsys.readouterr().out
    assert "refused" in text and result["layers"][0]["refused"] in text

    code, result = run_json(tmp_path, *words, "conv")
    assert code == 0
    assert [bool(layer["runs"]) for layer in result["layers"]][::2] == [False, True, True]


def test_slow_form_is_left_out_and_said_so(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(bench, "QUICK_REFERENCE_FLOPS", 100_000)
    _, result = run_json(tmp_path, "--shapes", "lenet")
    timed = [layer["numpy_reference_ms"] is not None for layer in result["layers"]]
    assert timed == [layer.flops <= 100_000 for layer in shapes.load("lenet")]
    assert "-: not timed above 0.0001 GFLOP" in capsys.readouterr().out


def test_unknown_shapes_lists_the_known(no_measuring, capsys):
    assert main(["bench", "--shapes", "lenet", "vgg16"]) == 2
    message = capsys.readouterr().err
    assert "'vgg16'" in message and ", ".join(shapes.names()) in message


@pytest.mark.parametrize(
    "words, message",
    [
        (["--shapes", "lenet", "--layer", "c9"], "there are c1, c3, c5"),
        (["--threads", "0"], "'0' is not a whole number from 1 up"),
        (["--threads", "two"], "'two' is not a whole number from 1 up"),
        (["--algorithm", "fft"], "invalid choice: 'fft'"),
        (["--precision", "exact"], "invalid choice: 'exact'"),
        (["--plot", "chart.gif"], "should end in one of .png, .svg, .pdf"),
        (["--json", "no/such/folder/result.json"], "--json: cannot write into"),
    ],
)
def test_wrong_calls(words, message, no_measuring, capsys):
    assert main(["bench", *words]) == 2
    assert message in capsys.readouterr().err


def test_plot_without_matplotlib(no_measuring, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    assert main(["bench", "--plot", "chart.png"]) == 2
    assert capsys.readouterr().err == (
        'fastconv: fastconv bench --plot needs the extra "demo": '
        'python -m pip install "fastconv[demo]"\n'
    )


def test_plot(tmp_path):
    pytest.importorskip("matplotlib", reason="needs matplotlib: pip install fastconv[test]")
    path = tmp_path / "chart.png"
    words = ["--quick", "--shapes", "lenet", "--layer", "c3", "--plot", str(path)]
    assert main(["bench", *words]) == 0
    assert path.read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize("missing", ["tqdm", "rich", "threadpoolctl"])
def test_runs_on_numpy_alone(missing, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, missing, None)
    assert main(["bench", "--quick", "--shapes", "lenet", "--layer", "c3"]) == 0
    captured = capsys.readouterr()
    assert "[1/1] c3" in captured.err
    assert "6x14x14 -> 16, 5x5" in captured.out
