"""Fair timing on a machine that other programs use too, and errors.

Contestants take turns: one turn each, several rounds, and the fastest single call counts, because
whatever else the machine does can only make a call slower. Between two turns comes a pause: the
idle threads of one thread pool spin for a while after their last call and would slow down the
next contestant. NumPy's BLAS gets as many threads as fastconv where threadpoolctl can see to it.
"""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import NamedTuple

import numpy as np


class Effort(NamedTuple):
    """How long to measure: rounds, seconds a turn lasts at least, seconds between turns."""

    rounds: int
    turn: float
    pause: float


# OpenBLAS's idle threads were seen to spin for 0.1 seconds: a 3x3 layer of 256 channels that takes
# 5.0 ms took 12 to 15 ms when it came 0.04 seconds after a matmul, and 5.0 again after 0.1.
PAUSE = 0.15
THOROUGH = Effort(rounds=4, turn=0.03, pause=PAUSE)
QUICK = Effort(rounds=2, turn=0.01, pause=PAUSE)


# What each thread copies to learn the memory's speed: more than the caches hold.
COPIED_BYTES = 64 << 20


def seconds(call: Callable[[], object]) -> float:
    """Time of one call."""
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def race(contestants: Mapping[str, Callable[[], object]], effort: Effort) -> dict[str, float]:
    """Let contestants take turns and return the fastest call of each, in seconds.

    Every contestant should have run once before, so that caches and thread pools exist.
    """
    best = dict.fromkeys(contestants, math.inf)
    for _ in range(effort.rounds):
        for name, call in contestants.items():
            time.sleep(effort.pause)
            best[name] = min(best[name], _turn(call, effort.turn))
    return best


def _turn(call: Callable[[], object], length: float) -> float:
    end = time.perf_counter() + length
    best = seconds(call)
    while time.perf_counter() < end:
        best = min(best, seconds(call))
    return best


def memory_bandwidth(threads: int, best_of: int = 5) -> float:
    """Bytes a second, read and written together, of arrays copied by so many threads at once."""
    arrays = [np.ones((2, COPIED_BYTES), np.uint8) for _ in range(threads)]

    def copy() -> None:
        list(pool.map(lambda pair: np.copyto(*pair), arrays))

    with ThreadPoolExecutor(threads) as pool:
        copy()
        best = min(seconds(copy) for _ in range(best_of))
    return 2 * COPIED_BYTES * threads / best


def max_error(result: np.ndarray, exact: np.ndarray) -> float:
    """Largest error of a result, relative to the largest exact value unless all are 0."""
    return float(np.abs(result - exact).max() / (np.abs(exact).max() or 1))


class Blas(NamedTuple):
    """NumPy's matrix library and its number of threads, as text: a number or "unknown"."""

    name: str
    threads: str

    def __str__(self) -> str:
        plural = "" if self.threads == "1" else "s"
        threads = f"{self.threads} thread{plural}" if self.threads.isdigit() else self.threads
        return f"NumPy {np.__version__} with {self.name}, {threads}"


@contextmanager
def blas_threads(count: int) -> Iterator[Blas]:
    """Give NumPy's BLAS `count` threads for a while, where possible, and say what it has.

    Without threadpoolctl nothing is changed, and what the environment asks for is what is said.
    """
    try:
        from threadpoolctl import threadpool_limits
    except ImportError:
        threadpool_limits = None
    if threadpool_limits is None:
        yield _blas_by_environment()
        return
    with threadpool_limits(limits=count, user_api="blas"):
        yield _blas_by_threadpoolctl() or _blas_by_environment()


def _blas_by_threadpoolctl() -> Blas | None:
    from threadpoolctl import threadpool_info

    pools = [pool for pool in threadpool_info() if pool["user_api"] == "blas"]
    pools.sort(key=lambda pool: "numpy" not in pool["filepath"])  # SciPy brings one of its own
    if not pools:
        return None
    name = " ".join(filter(None, (pools[0]["internal_api"], pools[0]["version"])))
    return Blas(name, str(pools[0]["num_threads"]))


def _blas_by_environment() -> Blas:
    blas = np.show_config(mode="dicts")["Build Dependencies"]["blas"]
    name = " ".join(filter(None, (blas.get("name"), blas.get("version")))) or "an unknown BLAS"
    for variable in ("OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "OMP_NUM_THREADS"):
        if os.environ.get(variable, "").isdigit():
            return Blas(name, os.environ[variable])
    return Blas(name, "unknown number of threads (threadpoolctl would tell and set it)")
