"""`fastconv bench --peers`: fair turns, true ratios, and a race that survives its contestants.

Contestants are real processes; the peers are small modules written here, so that nothing but NumPy
is needed. Where a true peer is installed, it must compute what NumPy computes.
"""

import importlib.util
import json
import math
import os
import time
from pathlib import Path

import numpy as np
import pytest

from fastconv import plot, shapes
from fastconv._engine import dispatch
from fastconv.cli import main
from fastconv.cli.race import command, lanes
from fastconv.cli.race.contest import Contest, Pool, layer_contests, pool_contests
from fastconv.cli.race.contestants import FASTCONV, OURS, PEERS, Contestant
from fastconv.cli.race.score import on_threads, score, totals
from fastconv.plot.charts import LONGEST

TINY = lanes.Effort(runs=3, turns=2, seconds=0.002, calls=2, cold_tries=2, cold_idle=0.001)
OPTIONS = {"precision": "high", "algorithm": "auto", "functional": False}
OURSELVES = FASTCONV._replace(options=OPTIONS)

# ------------------------------------------------------------------ contestants made for the tests

REFERENCE = """
from functools import partial
import numpy as np
import fastconv
from fastconv.cli.race.contestants import SitsOut

def version():
    return "1.2.3"

def prepare(job, arrays, threads):
    settings = {key: tuple(v) if isinstance(v, list) else v for key, v in job.items()}
    function = getattr(fastconv.reference, settings.pop("op"))
    return partial(function, **arrays, **settings), np.asarray
"""
PREPARE = "\ndef prepare(job, arrays, threads):\n    "
MODULES = {
    "steady": REFERENCE,
    "absent": "import a_library_that_nobody_has\n" + REFERENCE,
    "fussy": REFERENCE + PREPARE + "raise SitsOut('it has other plans')",
    "clumsy": REFERENCE + PREPARE + "raise IndexError('out of\\nits depth')",
    "wrong": REFERENCE + PREPARE + "return (lambda: np.ones((1, 2))), np.asarray",
    "several": REFERENCE + PREPARE + "return (lambda: {'a': np.ones(1), 'b': np.ones(1)}), dict",
    "crashing": REFERENCE
    + PREPARE
    + "import os, sys; print('oh no', file=sys.stderr, flush=True); os.kill(os.getpid(), 11)",
    "quitting": REFERENCE  # in the middle of the race: the third call is its last
    + "import sys\ncalls = iter('123')\n"
    + PREPARE
    + "y = partial(fastconv.reference.conv2d, **arrays)()\n"
    + "    return (lambda: (next(calls, None) or sys.exit(7), y)[1]), np.asarray",
    "hanging": REFERENCE + PREPARE + "import time; time.sleep(60)",
    "chatty": "print('hello, I was imported')\n" + REFERENCE,
    "spinning": REFERENCE
    + "import threading\ndef spin():\n    while True: pass\n"
    + "threading.Thread(target=spin, daemon=True).start()\n",
}


@pytest.fixture
def contestant(tmp_path, monkeypatch):
    """Contestants by name, their modules where a new process finds them."""
    for name, text in MODULES.items():
        (tmp_path / f"race_{name}.py").write_text(text)
    folders = [str(tmp_path), *filter(None, [os.environ.get("PYTHONPATH")])]
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(folders))
    return lambda name: Contestant(f"race_{name}", ("NCHW", "NHWC"))


@pytest.fixture
def race_tiny(tmp_path, contestant):
    """Race contestants against ourselves on one small layer."""
    (contest,) = layer_contests([shapes.load("lenet")[1]])
    contest.write(tmp_path, "NCHW")

    def race(*names):
        named = {OURS: OURSELVES, **{name: contestant(name) for name in names}}
        with lanes.line_up(named, threads=1) as (ready, missing):
            return lanes.race(ready, contest.job("NCHW"), str(tmp_path), TINY), missing

    return race


# ---------------------------------------------------------------------------------------- a race


def test_times_and_errors(race_tiny):
    times, missing = race_tiny("steady", "chatty")
    assert missing == {} and list(times) == [OURS, "steady", "chatty"]
    for name, result in times.items():
        assert result["refused"] is None
        assert len(result["runs_ms"]) == TINY.runs
        assert result["ms"] == min(result["runs_ms"]) > 0
        assert result["cold_ms"] > 0
        by_tiles = name == OURS and dispatch.has_tiles()
        assert 0 < result["error"] < (1e-5 if by_tiles else 1e-6)


def test_without_stopping(race_tiny, monkeypatch):
    monkeypatch.setattr(lanes, "CAN_STOP", False)
    monkeypatch.setattr(lanes, "PAUSE", 0.001)
    times, _ = race_tiny("steady")
    assert all(result["refused"] is None for result in times.values())


@pytest.mark.parametrize(
    "name, reason",
    [
        ("clumsy", "IndexError: out of"),
        ("wrong", "its result has shape (1, 2), not (1, 16, 10, 10)"),
        ("several", "its results are ['exact.a', 'exact.b'], not ['exact']"),
        ("crashing", "its process was ended by SIGSEGV: oh no"),
        ("quitting", "its process ended with code 7"),
    ],
)
def test_the_race_goes_on_without(name, reason, race_tiny):
    times, _ = race_tiny(name, "steady")
    assert times[name] == {"refused": reason, "sits_out": False}
    assert len(times["steady"]["runs_ms"]) == len(times[OURS]["runs_ms"]) == TINY.runs


def test_who_sits_out_and_who_is_missing(race_tiny):
    times, missing = race_tiny("fussy", "absent")
    assert times["fussy"] == {"refused": "it has other plans", "sits_out": True}
    assert missing == {"absent": "No module named 'a_library_that_nobody_has'"}
    assert "absent" not in times


def test_hung(contestant, tmp_path, monkeypatch):
    (contest,) = layer_contests([shapes.load("lenet")[1]])
    contest.write(tmp_path, "NCHW")
    with lanes.line_up({"hanging": contestant("hanging")}, threads=1) as (ready, _):
        monkeypatch.setattr(lanes, "PATIENCE", 0.3)
        times = lanes.race(ready, contest.job("NCHW"), str(tmp_path), TINY)
    assert times["hanging"]["refused"] == "its process gave no answer for 0.3 s"


def test_a_dead_lane_starts_anew(contestant, tmp_path):
    (contest,) = layer_contests([shapes.load("lenet")[1]])
    contest.write(tmp_path, "NCHW")
    command = {"do": "prepare", "job": contest.job("NCHW"), "folder": str(tmp_path)}
    with lanes.line_up({"crashing": contestant("crashing")}, threads=1) as ((lane,), _):
        for _ in range(2):
            lane.start()
            with pytest.raises(lanes.Died, match="SIGSEGV"):
                lane.ask(**command)


def test_no_process_outlives_the_race(contestant):
    with pytest.raises(KeyboardInterrupt):
        with lanes.line_up({"steady": contestant("steady")}, threads=1) as ((lane,), _):
            process = lane.process
            raise KeyboardInterrupt
    assert process.poll() is not None


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="needs /proc")
def test_no_processor_time_between_turns(contestant):
    """Threads that spin while nothing is to do are stopped, until the next turn."""

    def used(process):  # clock ticks in user and in system mode (proc(5), fields 14 and 15)
        fields = Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()
        return int(fields[11]) + int(fields[12])

    with lanes.line_up({"spinning": contestant("spinning")}, threads=1) as ((lane,), _):
        time.sleep(0.05)
        before = used(lane.process)
        time.sleep(0.3)
        assert used(lane.process) == before
        for _ in range(1000):  # hello is short: ask until a tick has passed
            lane.ask(do="hello", threads=1)
            if used(lane.process) > before:
                break
        else:
            raise AssertionError("it did not run at its turn")


def test_everyone_is_first_once():
    assert [lanes._rotated("abc", by) for by in (0, 1, 5)] == [
        ["a", "b", "c"],
        ["b", "c", "a"],
        ["c", "a", "b"],
    ]


# ----------------------------------------------------------------------------------------- scores


def entry(*runs, error=1e-7):
    return {"refused": None, "error": error, "runs_ms": list(runs), "ms": min(runs)}


OUT = {"refused": "crashed", "sits_out": False}


def test_ratio_is_the_median_over_runs_of_the_best_peer_of_each_run():
    times = {OURS: entry(1, 2, 4), "a": entry(3, 2, 8, error=1e-6), "b": entry(2, 6, 9), "c": OUT}
    result = score(times)
    assert result["ratios"] == [2, 1, 2]
    assert (result["ratio"], result["verdict"], result["best_peer"]) == (2, "won", "a")
    assert result["largest_peer_error"] == 1e-6


@pytest.mark.parametrize("times", [{OURS: entry(1)}, {OURS: entry(1), "a": OUT}])
def test_nobody_to_compare_with(times):
    result = score(times)
    assert result["ratios"] == []
    assert result["ratio"] is result["verdict"] is result["best_peer"] is None


def test_our_own_refusal_has_no_ratio():
    result = score({OURS: OUT, "a": entry(1)})
    assert result["ratio"] is None and result["best_peer"] == "a"


@pytest.mark.parametrize(
    "ratio, verdict", [(1.001, "won"), (1.0, "level"), (0.97, "level"), (0.969, "lost")]
)
def test_verdict(ratio, verdict):
    assert score({OURS: entry(1.0), "a": entry(ratio)})["verdict"] == verdict


def test_totals():
    def layer(name, ratio):
        return {"name": name, **score({OURS: entry(1.0), "a": entry(ratio)})}

    layers = [layer("a", 4.0), layer("b", 0.5), layer("image.blur", 50.0)]
    layers.append({"name": "c", **score({OURS: entry(1.0)})})
    result = totals(layers)
    assert result["geometric_mean"] == pytest.approx(math.sqrt(2))
    assert result == {**result, "counted": 2, "won": 2, "level": 0, "lost": 1}
    assert totals([])["geometric_mean"] is None


def test_several_threads_against_one():
    def layer(name, flops, ms, alone, cold, alone_cold, wake_up):
        ours = {**entry(ms), "alone_ms": alone, "cold_ms": cold, "alone_cold_ms": alone_cold,
                "wake_up_ms": wake_up}
        return {"name": name, "flops": flops, "times": {OURS: ours}}

    layers = [layer("large", 3e8, 1.0, 1.9, 1.1, 2.0, 0.05),
              layer("huge", 1e9, 2.0, 3.9, 2.2, 4.2, 0.05),
              layer("small", 1e8, 0.5, 0.6, 0.8, 0.7, 0.06)]
    layers.append({"name": "refused", "flops": 1, "times": {OURS: OUT}})
    found = on_threads(layers)
    assert found["least"] == {"small": pytest.approx(1.2)}
    assert found["least_large"] == {"large": pytest.approx(1.9)}
    assert found["latest"] == {"small": pytest.approx(0.1)}
    assert (found["layers"], found["beyond"], found["wake_up_ms"]) == (3, 1, 0.05)
    assert on_threads(layers[2:3])["least_large"] is None
    assert on_threads(layers[3:]) is None


# ---------------------------------------------------------------------------------- the command


@pytest.fixture
def peers(contestant, monkeypatch):
    """Let these modules be the peers that the command knows."""
    monkeypatch.setattr(lanes, "QUICK", TINY)

    def choose(*names):
        monkeypatch.setattr(command, "PEERS", {name: contestant(name) for name in names})

    return choose


def run_json(tmp_path, *words):
    path = tmp_path / "result.json"
    code = main(["bench", "--quick", "--json", str(path), *words])
    return code, json.loads(path.read_text())


def test_command(tmp_path, peers, capsys):
    peers("steady", "crashing", "fussy", "absent")
    words = ("--shapes", "lenet", "pools", "--layer", "c3", "--peers", "--threads", "1")
    code, result = run_json(tmp_path, *words)
    assert code == 0
    assert (result["threads"], result["layout"], result["precision"]) == (1, "NCHW", "high")
    assert result["effort"]["runs"] == TINY.runs
    assert result["peers"]["steady"] == {"version": "1.2.3", "missing": None}
    assert result["peers"]["absent"]["version"] is None
    (layer,) = result["layers"]
    assert layer["flops"] == shapes.load("lenet")[1].flops
    assert layer["best_peer"] == "steady"
    assert layer["ratios"] == pytest.approx(
        [
            peer / ours
            for peer, ours in zip(
                layer["times"]["steady"]["runs_ms"], layer["times"][OURS]["runs_ms"], strict=True
            )
        ]
    )
    assert layer["ratio"] == sorted(layer["ratios"])[1]
    assert result["totals"]["geometric_mean"] == pytest.approx(layer["ratio"])
    text = capsys.readouterr().out
    assert "against steady 1.2.3, crashing 1.2.3, fussy 1.2.3" in text
    assert "6x14x14 -> 16, 5x5" in text and f"{layer['ratio']:.2f}" in text
    assert "absent is missing (No module named 'a_library_that_nobody_has')" in text
    assert 'python -m pip install "fastconv[bench]"' in text
    assert "crashing failed: its process was ended by SIGSEGV: oh no: c3" in text
    assert "fussy sits out 1 of 1: it has other plans" in text


def test_command_on_two_threads(tmp_path, peers, capsys):
    peers("steady")
    words = ("--shapes", "lenet", "--layer", "c3", "--peers", "--threads", "2")
    _, result = run_json(tmp_path, *words)
    (layer,) = result["layers"]
    ours = layer["times"][OURS]
    assert set(layer["times"]) == {OURS, "steady"}
    assert min(ours["alone_ms"], ours["alone_cold_ms"], ours["wake_up_ms"]) > 0
    gain = ours["alone_ms"] / ours["ms"]
    assert result["on_threads"]["least"] == {"c3": pytest.approx(gain)}
    text = capsys.readouterr().out
    assert f"2 threads against one: at least {gain:.2f} (c3) times as fast." in text
    assert "Waking them takes" in text


def test_command_without_any_peer(tmp_path, peers, capsys):
    peers("absent")
    code, result = run_json(tmp_path, "--shapes", "lenet", "--layer", "c1", "--peers")
    assert code == 0
    assert result["layers"][0]["ratio"] is None
    assert result["totals"] == {
        "geometric_mean": None,
        "counted": 0,
        "won": 0,
        "level": 0,
        "lost": 0,
    }
    assert "against nobody: no peer is installed" in capsys.readouterr().out


def test_functional_channels_last_highest(tmp_path, peers, capsys):
    peers("steady")
    words = ("--functional", "--layout", "NHWC", "--precision", "highest", "--peers", "steady")
    _, result = run_json(tmp_path, "--shapes", "lenet", "--layer", "c3", *words)
    assert (result["layout"], result["precision"], result["functional"]) == (
        "NHWC",
        "highest",
        True,
    )
    assert result["layers"][0]["times"][OURS]["error"] < 1e-6
    assert "NHWC, float32, precision highest, functions" in capsys.readouterr().out


@pytest.mark.parametrize(
    "words, message",
    [
        (["--peers", "torhc"], f"'torhc' is unknown; known: {', '.join(PEERS)}"),
        (["--peers", "ncnn", "--layout", "NHWC"], "--peers: ncnn does not take NHWC arrays"),
        (["--peers", "--layer", "c9"], "no layer has 'c9' in its name"),
        (["--peers", "--shapes", "vgg16"], "'vgg16'"),
        (["--peers", "--json", "no/such/folder/result.json"], "--json: cannot write into"),
        (["--functional"], "--functional goes with --peers"),
        (["--training"], "--training goes with --peers"),
        (["--shapes", "pools"], "pools are raced against peers: add --peers"),
    ],
)
def test_wrong_calls(words, message, capsys):
    assert main(["bench", *words]) == 2
    assert message in capsys.readouterr().err


def test_chart(tmp_path, peers):
    pytest.importorskip("matplotlib", reason="needs matplotlib: pip install fastconv[test]")
    times = {OURS: entry(1.0), "a": entry(2.0)}, {OURS: entry(1.0), "a": entry(9.0)}
    layers = [{"name": n, "text": n, **score(t)} for n, t in zip("xy", times, strict=True)]
    layers.append({"name": "z", "text": "z", **score({OURS: entry(1.0)})})
    result = {
        "machine": {"cpu": "a processor", "isa": "avx2"},
        "threads": 2,
        "layout": "NCHW",
        "peers": {"a": {"version": "1", "missing": None}, "b": {"version": None, "missing": "b"}},
        "layers": layers,
        "totals": totals(layers),
    }
    figure = plot.race_chart(result)
    (axes,) = figure.axes
    widths = sorted(bar.get_width() for bar in axes.patches)
    assert widths == pytest.approx([1.0, LONGEST - 1])  # from 1 on; the long one is cut
    words = [text.get_text() for text in (*figure.texts, *axes.texts)]
    assert any("4.24x, geometric mean of 2" in word for word in words)
    assert any("9.00x" in word for word in words)
    assert not any("backward" in word for word in words)
    both = plot.race_chart({**result, "training": True})
    assert any("peers: a, forward and backward" in text.get_text() for text in both.texts)
    assert plot.save(figure).startswith(b"\x89PNG")

    peers("steady")
    path = tmp_path / "chart.svg"
    shapes_of_one = ["--shapes", "lenet", "--layer", "c3"]
    assert main(["bench", "--quick", "--peers", *shapes_of_one, "--plot", str(path)]) == 0
    assert path.read_bytes().startswith(b"<?xml")


# ------------------------------------------------------------------------------ true contestants


def tiny_contests(batch):
    """Contests that tell every setting from every other."""
    layers = [
        shapes.Layer("t", "plain", batch, 3, 9, 11, 8, 3, 3, 1, 1, 1, 1, 1),
        shapes.Layer("t", "uneven", batch, 6, 13, 16, 8, 3, 5, (2, 1), (1, 3), (1, 2), 2, 1),
        shapes.Layer("t", "depthwise", batch, 8, 9, 9, 8, 3, 3, 2, 0, 1, 8, 1),
        shapes.Layer("t", "one_channel", batch, 1, 12, 10, 1, 3, 5, 1, (1, 2), 1, 1, 1),
    ]
    pools = [
        Contest("t", name, name, Pool(op, (batch, 4, 9, 11), *sizes))
        for name, op, *sizes in (("max", "max_pool2d", 3, 2, 1), ("avg", "avg_pool2d", 3, 1, 1))
    ]
    return layer_contests(layers) + pools


CONTESTANTS = {OURS: OURSELVES, **PEERS}
NEEDED = {"onnxruntime": "onnx", "openvino": "onnx"}


@pytest.mark.parametrize(
    "name, layout", [(name, layout) for name, one in CONTESTANTS.items() for layout in one.layouts]
)
def test_contestants_compute_the_same(name, layout, tmp_path):
    for library in (name, NEEDED.get(name, name)):
        if importlib.util.find_spec(library) is None:
            pytest.skip(f"needs {library}: pip install fastconv[bench]")
    contests = tiny_contests(batch=1 if name in ("ncnn", "scipy") else 2)
    done = []
    with lanes.line_up({name: CONTESTANTS[name]}, threads=2) as (ready, missing):
        assert missing == {}
        for contest in contests:
            folder = tmp_path / contest.name
            folder.mkdir()
            contest.write(folder, layout)
            job = {**contest.job(layout), **CONTESTANTS[name].options}
            answer = ready[0].ask(do="prepare", job=job, folder=str(folder))
            if "error" in answer:
                assert answer["error"] < 1e-5, contest.name
                done.append(contest.name)
            else:
                assert answer.get("sits_out"), (contest.name, answer)
    everything = [contest.name for contest in contests]
    assert done == (["one_channel"] if name == "scipy" else everything)


@pytest.mark.parametrize("name", [name for name, one in PEERS.items() if one.has_bfloat16])
def test_peers_in_bfloat16(name, tmp_path):
    """Where the processor does not multiply it, in float32."""
    for library in (name, NEEDED.get(name, name)):
        if importlib.util.find_spec(library) is None:
            pytest.skip(f"needs {library}: pip install fastconv[bench]")
    contestant = PEERS[name].at("medium")
    assert contestant.options == {"precision": "medium"}
    contest = tiny_contests(batch=2)[0]
    contest.write(tmp_path, "NCHW")
    with lanes.line_up({name: contestant}, threads=1) as (ready, _):
        job = {**contest.job("NCHW"), **contestant.options}
        answer = ready[0].ask(do="prepare", job=job, folder=str(tmp_path))
        assert answer["error"] < 2e-2


def test_pools_of_the_command():
    names = [contest.name for contest in pool_contests()]
    assert names == ["max_3x3_s2", "max_2x2_s2", "avg_3x3_s1"]
    assert pool_contests()[0].text == "8x64x112x112, max 3x3 s2 p1"


def test_medium_is_raced_in_bfloat16(tmp_path, peers, capsys):
    peers("steady", "absent")
    steady = command.PEERS["steady"]
    command.PEERS.update(steady=steady._replace(has_bfloat16=True), other=steady)
    words = ("--shapes", "lenet", "--layer", "c3", "--peers", "--precision")
    assert run_json(tmp_path, *words, "medium")[1]["bfloat16"] == ["steady"]
    shown = capsys.readouterr().out
    assert "steady 1.2.3 (bfloat16)" in shown and "other 1.2.3" in shown
    assert "other 1.2.3 (bfloat16)" not in shown
    assert run_json(tmp_path, *words, "high")[1]["bfloat16"] == []
    assert "(bfloat16)" not in capsys.readouterr().out


@pytest.mark.parametrize("layout", ["NCHW", "NHWC"])
def test_operands_are_written_once_for_all(layout, tmp_path):
    (contest,) = layer_contests([shapes.load("lenet")[1]])
    contest.write(tmp_path, layout)
    arrays = {path.stem: np.load(path) for path in tmp_path.glob("*.npy")}
    assert set(arrays) == {"x", "weight", "bias", "exact"}
    assert arrays["x"].shape == ((1, 6, 14, 14) if layout == "NCHW" else (1, 14, 14, 6))
    assert arrays["x"].dtype == np.float32 and arrays["exact"].dtype == np.float64
    assert all(array.flags.c_contiguous for array in arrays.values())
    assert contest.job(layout)["stride"] == (1, 1)
    json.dumps(contest.job(layout))
