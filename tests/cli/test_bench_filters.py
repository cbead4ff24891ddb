"""`fastconv bench --filters`: true numbers, and what it refuses."""

import json

import numpy as np
import pytest

import fastconv
from fastconv.cli import _filters, main


def run_json(tmp_path, *words):
    path = tmp_path / "result.json"
    code = main(["bench", "--quick", "--json", str(path), "--filters", *words])
    return code, json.loads(path.read_text())


def test_numbers(tmp_path, capsys):
    pytest.importorskip("scipy", reason="needs scipy: pip install fastconv[test]")
    code, result = run_json(tmp_path, "pictures", "small", "--layer", "obel", "--threads", "1")
    assert code == 0
    assert result["threads"] == 1
    rows = result["filters"]
    assert [row["dtype"] for row in rows] == [*_filters.BOTH, *_filters.TYPES]
    for row in rows:
        for name, ratio in row["faster"].items():
            assert ratio == pytest.approx(row["ms"][name] / row["ms"]["fastconv"])
        assert row["max_error"] <= (1e-6 if row["dtype"].startswith("float") else 0)
    printed = capsys.readouterr().out
    assert "Sobel" in printed
    assert "small: " in printed


def test_every_filter_is_timed():
    timed = {case.function for case in _filters.SMALL}
    assert set(fastconv.filters.__all__) - {"correlate_bank"} == timed  # SciPy has none
    assert {case.function for case in _filters.PICTURES} <= timed


def test_a_wrong_result_shows(tmp_path, monkeypatch):
    pytest.importorskip("scipy", reason="needs scipy: pip install fastconv[test]")
    sobel = fastconv.filters.sobel
    monkeypatch.setattr(fastconv.filters, "sobel", lambda x: sobel(x) * np.float32(1.001))
    _, result = run_json(tmp_path, "small", "--layer", "sobel, 64x64 float32")
    assert [row["max_error"] for row in result["filters"]] == [pytest.approx(1e-3, rel=1e-2)]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["paintings"], "--filters: 'paintings' is unknown; known: pictures, stack, small"),
        (["small", "--layer", "conv3_2"], "no layer has 'conv3_2' in its name"),
        (["small", "--plot", "chart.png"], "leave --filters out"),
    ],
)
def test_refused(words, message, capsys):
    pytest.importorskip("scipy", reason="needs scipy: pip install fastconv[test]")
    assert main(["bench", "--filters", *words]) == 2
    assert message in capsys.readouterr().err
