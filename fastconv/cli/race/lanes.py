"""The parent's side of the race: one process a contestant, turns, and what came of them.

A lane is a contestant's process. It answers one command at a time and is stopped (SIGSTOP) while
it is not its turn; where the system cannot stop processes, a pause before each turn lets the
threads of the others fall asleep. A process that dies is named with its reason, and started anew
for the next contest.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import Any, NamedTuple

from fastconv.cli.race.contestants import Contestant

CAN_STOP = hasattr(signal, "SIGSTOP")
PAUSE = 0.25  # seconds, where CAN_STOP is false
PATIENCE = 300.0  # seconds without an answer after which a process counts as hung

THREAD_VARIABLES = (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "NUMEXPR_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
)


class Died(Exception):
    """A contestant's process has ended; the message says how."""


class Missing(Exception):
    """A contestant's library is not installed; the message is the import's."""


class Effort(NamedTuple):
    """How much to measure: runs, turns in a run, seconds and calls in a turn, cold tries."""

    runs: int
    turns: int
    seconds: float
    calls: int
    cold_tries: int
    cold_idle: float = 0.01


THOROUGH = Effort(runs=5, turns=3, seconds=0.06, calls=10, cold_tries=10)
# Whole networks take longer, and their fastest calls come more rarely.
NETWORKS = Effort(runs=5, turns=4, seconds=0.2, calls=3, cold_tries=3)
QUICK = Effort(runs=1, turns=2, seconds=0.06, calls=10, cold_tries=5)


class Lane:
    """A contestant and the process it runs in."""

    def __init__(self, name: str, contestant: Contestant, threads: int) -> None:
        self.name, self.contestant = name, contestant
        self.threads = contestant.threads or threads
        self.version: str | None = None
        self.process: Any = None
        self.complaints: Any = None  # what it writes to standard error

    def start(self) -> None:
        """Start the process, unless it runs; raise Missing if its library is not installed."""
        if self.process is not None:
            return
        words = [sys.executable, "-m", "fastconv.cli.race.worker", self.contestant.module]
        count = str(self.threads)
        self.complaints = tempfile.TemporaryFile("w+", errors="replace")
        self.process = subprocess.Popen(
            words,
            env={**os.environ, **dict.fromkeys(THREAD_VARIABLES, count)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self.complaints,
            text=True,
            encoding="utf-8",
        )
        answer = self.ask(do="hello", threads=self.threads)
        if "missing" in answer:
            self.end()
            raise Missing(answer["missing"])
        self.version = answer["version"]

    def ask(self, **command: Any) -> dict[str, Any]:
        """Let the process run for one command; raise Died if it does not answer."""
        process, start = self.process, time.monotonic()
        self._signal("SIGCONT")
        hung = threading.Timer(PATIENCE, process.kill)
        hung.daemon = True
        hung.start()
        try:
            process.stdin.write(json.dumps(command) + "\n")
            process.stdin.flush()
            line = process.stdout.readline()
        except BrokenPipeError:
            line = ""
        finally:
            hung.cancel()
        if not line:
            raise Died(self._last_words(hung=time.monotonic() - start >= PATIENCE))
        self._signal("SIGSTOP")
        return json.loads(line)

    def turn(self, command: str, **how: Any) -> float:
        """Give it a turn; return the seconds of the fastest call."""
        if not CAN_STOP:
            time.sleep(PAUSE)
        return self.ask(do=command, **how)["seconds"]

    def end(self) -> None:
        """End the process, stopped or not."""
        if self.process is None:
            return
        self.process.kill()
        self.process.wait()
        with suppress(BrokenPipeError):  # a command it did not take any more
            self.process.stdin.close()
        self.process.stdout.close()
        self.complaints.close()
        self.process = None

    def _signal(self, name: str) -> None:
        if CAN_STOP:
            self.process.send_signal(getattr(signal, name))

    def _last_words(self, hung: bool) -> str:
        """How the process ended, and the last line that it wrote."""
        code = self.process.wait()
        self.complaints.seek(0)
        lines = [line.strip() for line in self.complaints if line.strip()]
        self.end()
        if hung:
            how = f"gave no answer for {PATIENCE:g} s"
        elif code < 0:
            how = f"was ended by {signal.Signals(-code).name}"
        else:
            how = f"ended with code {code}"
        return ": ".join([f"its process {how}", *lines[-1:]])


@contextmanager
def line_up(
    contestants: Mapping[str, Contestant], threads: int
) -> Iterator[tuple[list[Lane], dict[str, str]]]:
    """Start a lane for every contestant whose library is there; hand them out, end them after.

    The second value names the missing, and says why each is.
    """
    lanes = [Lane(name, contestant, threads) for name, contestant in contestants.items()]
    missing = {}
    try:
        for lane in lanes:
            try:
                lane.start()
            except (Missing, Died) as reason:
                missing[lane.name] = str(reason)
        yield [lane for lane in lanes if lane.name not in missing], missing
    finally:
        for lane in lanes:
            lane.end()


def race(
    lanes: Sequence[Lane], job: dict[str, Any], folder: str, effort: Effort
) -> dict[str, dict[str, Any]]:
    """Race one contest; whoever cannot take part, or dies on the way, is out with its reason.

    Parameters
    ----------
    lanes : sequence of Lane
        Started or not.
    job : dict
        What `prepare` of a contestant takes.
    folder : str
        Holds the operands and the exact result as .npy files.
    effort : Effort
        How much to measure.

    Returns
    -------
    dict of str to dict
        For each name {"refused": why, "sits_out": bool}, where a peer sits out that has no such
        operation, or {"refused": None, "error": max error relative to max|y|, "runs_ms": the
        fastest call of each run, "ms": the fastest of all, "cold_ms": the fastest of the calls
        that came after idle time}.
    """
    results = {}
    for lane in lanes:
        try:
            lane.start()
            own_job = {**job, **lane.contestant.options}
            answer = lane.ask(do="prepare", job=own_job, folder=folder)
        except Died as reason:
            answer = {"refused": str(reason)}
        results[lane.name] = {"refused": None, "sits_out": False, **answer}
    for run in range(effort.runs):
        best: dict[str, list[float]] = {lane.name: [] for lane in lanes}
        for turn in range(effort.turns):
            for lane in _rotated(lanes, run * effort.turns + turn):
                how = {"seconds": effort.seconds, "calls": effort.calls}
                best[lane.name] += _milliseconds(lane, results, "turn", **how)
        for name, times in best.items():
            results[name].setdefault("runs_ms", []).append(min(times, default=None))
    for lane in lanes:
        how = {"tries": effort.cold_tries, "idle": effort.cold_idle}
        results[lane.name]["cold_ms"] = min(
            _milliseconds(lane, results, "cold", **how), default=None
        )
    return {name: _tidy(result) for name, result in results.items()}


def wake_up(lane: Lane, effort: Effort) -> float | None:
    """Milliseconds that waking fastconv's threads takes after idle time, None if it dies."""
    try:
        lane.start()
        return lane.turn("wake", tries=effort.cold_tries, idle=effort.cold_idle) * 1e3
    except Died:
        return None


def _rotated(lanes: Sequence[Lane], by: int) -> list[Lane]:
    """Everyone is first once, so that nobody always follows the same one."""
    by %= len(lanes)
    return [*lanes[by:], *lanes[:by]]


def _milliseconds(lane: Lane, results: dict[str, Any], command: str, **how: Any) -> list[float]:
    """Give the lane a turn; no time at all from one that is out, or dies now."""
    if results[lane.name]["refused"]:
        return []
    try:
        return [lane.turn(command, **how) * 1e3]
    except Died as reason:
        results[lane.name]["refused"] = str(reason)
        return []


def _tidy(result: dict[str, Any]) -> dict[str, Any]:
    """Keep no half measured times of one that died."""
    if result["refused"]:
        return {"refused": result["refused"], "sits_out": result["sits_out"]}
    return {**result, "ms": min(result["runs_ms"])}
