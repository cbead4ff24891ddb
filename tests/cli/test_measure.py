"""Timing: turns, minima, and NumPy's number of threads."""

import sys
import time

import numpy as np
import pytest

from fastconv.cli._measure import Blas, Effort, blas_threads, max_error, race, seconds


def test_contestants_take_turns():
    order = []
    calls = {name: lambda name=name: order.append(name) for name in "abc"}
    race(calls, Effort(rounds=3, turn=0, pause=0))
    assert order == list("abcabcabc")


def test_fastest_call_counts():
    delays = iter([0.03, 0.001, 0.02])
    best = race({"a": lambda: time.sleep(next(delays))}, Effort(rounds=3, turn=0, pause=0))
    assert 0.001 <= best["a"] < 0.02


def test_a_turn_repeats_short_calls():
    calls = []
    race({"a": lambda: calls.append(1)}, Effort(rounds=1, turn=0.01, pause=0))
    assert len(calls) > 10


def test_seconds():
    assert seconds(lambda: time.sleep(0.01)) >= 0.01


def test_max_error_is_relative_to_the_largest_value():
    assert max_error(np.array([1.0, -4.0]), np.array([1.5, -5.0])) == pytest.approx(0.2)
    assert np.isnan(max_error(np.array([np.nan]), np.array([1.0])))


def test_blas_threads_are_set():
    pytest.importorskip("threadpoolctl", reason="needs threadpoolctl: pip install fastconv[test]")
    with blas_threads(1) as blas:
        assert blas.threads == "1" or blas.threads.startswith("unknown")  # no pool seen: Accelerate


@pytest.mark.parametrize("value, said", [("3", "3 threads"), ("", "unknown number of threads")])
def test_blas_threads_without_threadpoolctl(value, said, monkeypatch):
    monkeypatch.setitem(sys.modules, "threadpoolctl", None)
    monkeypatch.setenv("OPENBLAS_NUM_THREADS", value)
    monkeypatch.delenv("MKL_NUM_THREADS", raising=False)
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    with blas_threads(2) as blas:
        assert said in str(blas)


def test_one_thread_is_singular():
    assert str(Blas("openblas", "1")).endswith("with openblas, 1 thread")
