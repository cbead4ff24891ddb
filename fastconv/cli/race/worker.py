"""The child's side of the race: one contestant, told over a pipe what to prepare and when to run.

    python -m fastconv.cli.race.worker MODULE

The module (see contestants.py) knows one library. Commands come on standard input and answers go
to standard output, one JSON object a line; what the library itself prints goes to standard error.

    {"do": "hello", "threads": 2}                   -> {"version": "2.13.0"} or {"missing": why}
    {"do": "prepare", "job": {..}, "folder": ".."}  -> {"error": 3e-7} or {"refused": why}
    {"do": "turn", "seconds": 0.06, "calls": 10}    -> {"seconds": fastest call, "calls": 31}
    {"do": "cold", "tries": 10, "idle": 0.01}       -> {"seconds": fastest of the first calls}
    {"do": "wake", "tries": 10, "idle": 0.01}       -> {"seconds": what waking its threads takes}

Arrays are read from the folder's .npy files: "exact" is the result wanted, or there are several,
"exact.<name>". The job's "model" is a file or its name in the folder. The error is
max|y - exact| / max|exact|, of several results the largest.
"""

from __future__ import annotations

import gc
import importlib
import json
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from fastconv.cli._measure import max_error
from fastconv.cli.race.contestants import SitsOut

WARM_UP_CALLS = 3


class Worker:
    """Answers the commands; holds the contestant's module and the call it prepared last."""

    def __init__(self, module: str) -> None:
        self.module_name = module
        self.module: Any = None
        self.threads = 1
        self.call: Callable[[], Any] = _nothing_prepared

    def hello(self, threads: int) -> dict[str, Any]:
        """Import the library."""
        self.threads = threads
        try:
            self.module = importlib.import_module(self.module_name)
            return {"version": self.module.version()}
        except ImportError as missing:
            return {"missing": str(missing)}

    def prepare(self, job: dict[str, Any], folder: str) -> dict[str, Any]:
        """Make the operation ready, run it once and look at the result."""
        self.call = _nothing_prepared
        gc.collect()  # what the last job held; between calls nothing is collected
        arrays = {path.stem: np.load(path) for path in Path(folder).glob("*.npy")}
        exact = {name: arrays.pop(name) for name in list(arrays) if name.split(".")[0] == "exact"}
        if "model" in job:
            job["model"] = os.path.join(folder, job["model"])
        try:
            self.call, to_array = self.module.prepare(job, arrays, self.threads)
            results = to_array(self.call())
        except SitsOut as reason:
            return {"refused": str(reason), "sits_out": True}
        except Exception as error:  # whatever a library raises ends its part in this layer only
            return {"refused": f"{type(error).__name__}: {_first_line(error)}"}
        return _compared(results, exact)

    def turn(self, seconds: float, calls: int) -> dict[str, Any]:
        """Run back to back for so long and so often at least; the fastest call counts."""
        call, clock = self.call, time.perf_counter_ns
        for _ in range(WARM_UP_CALLS):
            call()
        best, count = float("inf"), 0
        end = clock() + seconds * 1e9
        while count < calls or clock() < end:
            start = clock()
            call()
            best = min(best, clock() - start)
            count += 1
        return {"seconds": best / 1e9, "calls": count}

    def cold(self, tries: int, idle: float) -> dict[str, Any]:
        """Time the first call after a pause, several times; the fastest counts."""
        call, clock = self.call, time.perf_counter_ns
        best = float("inf")
        for _ in range(tries):
            time.sleep(idle)
            start = clock()
            call()
            best = min(best, clock() - start)
        return {"seconds": best / 1e9}

    def wake(self, tries: int, idle: float) -> dict[str, Any]:
        """Time the waking of fastconv's threads."""
        return {"seconds": self.module.wake_up(self.threads, tries, idle)}


def _compared(results: Any, exact: dict[str, np.ndarray]) -> dict[str, Any]:
    """Answer to `prepare`: the largest error of an array, or of several, by name or in order."""
    if isinstance(results, list):
        results = {f"{place:03}": array for place, array in enumerate(results)}
    named = results if isinstance(results, dict) else {"": results}
    found = {f"exact.{name}".rstrip("."): array for name, array in named.items()}
    if found.keys() != exact.keys():
        return {"refused": f"its results are {sorted(found)}, not {sorted(exact)}"}
    for name, array in found.items():
        if array.shape != exact[name].shape:
            what = name.replace("exact", "result", 1)
            return {"refused": f"its {what} has shape {array.shape}, not {exact[name].shape}"}
    return {"error": max(max_error(array, exact[name]) for name, array in found.items())}


def _nothing_prepared() -> None:
    raise RuntimeError("nothing is prepared")


def _first_line(error: Exception) -> str:
    return next((line.strip() for line in str(error).splitlines() if line.strip()), "")


def main() -> None:
    """Answer commands until the parent closes the pipe."""
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # a library's prints are no answers
    worker = Worker(sys.argv[1])
    gc.disable()
    for line in sys.stdin:
        command = json.loads(line)
        answer = getattr(worker, command.pop("do"))(**command)
        answers.write(json.dumps(answer) + "\n")
        answers.flush()


if __name__ == "__main__":
    main()
