"""Filters in the workers of the libraries that people spread pictures over."""

import multiprocessing
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor

import numpy as np
import pytest

import fastconv
from fastconv import filters

# Enough work for more than one thread.
PICTURES = [np.random.default_rng(seed).random((300, 400), np.float32) for seed in range(4)]


def edges(picture):
    return filters.maximum_filter(filters.sobel(filters.gaussian_filter(picture, 2)), 9)


def count_threads(_):
    return fastconv.get_num_threads()


@pytest.fixture(scope="module")
def wanted():
    """The results of this process, whose threads have run when workers are forked."""
    return [edges(picture) for picture in PICTURES]


def assert_equal(results, wanted):
    for ours, theirs in zip(results, wanted, strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_threads(wanted):
    with ThreadPoolExecutor(3) as pool:
        assert_equal(pool.map(edges, PICTURES * 3), wanted * 3)


@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")
@pytest.mark.parametrize("method", sorted(
    {"fork", "spawn"} & set(multiprocessing.get_all_start_methods())
))  # fmt: skip
def test_processes(method, wanted):
    context = multiprocessing.get_context(method)
    with ProcessPoolExecutor(2, mp_context=context) as pool:
        assert_equal(pool.map(edges, PICTURES, timeout=60), wanted)
    with context.Pool(2) as pool:
        assert_equal(pool.map_async(edges, PICTURES).get(60), wanted)


@pytest.mark.parametrize("backend", ["loky", "threading", "multiprocessing"])
def test_joblib(backend, wanted):
    joblib = pytest.importorskip("joblib", reason="needs joblib: pip install joblib")
    with joblib.Parallel(2, backend=backend, timeout=60) as parallel:
        assert_equal(parallel(joblib.delayed(edges)(picture) for picture in PICTURES), wanted)


def test_joblibs_limit_of_threads_inside_workers():
    joblib = pytest.importorskip("joblib", reason="needs joblib: pip install joblib")
    with joblib.parallel_config("loky", inner_max_num_threads=1):
        counts = joblib.Parallel(2, timeout=60)(joblib.delayed(count_threads)(i) for i in range(4))
    assert counts == [1] * 4


def test_threadpoolctl_lists_our_threads():
    control = pytest.importorskip(
        "threadpoolctl", reason="needs threadpoolctl: pip install threadpoolctl"
    )
    filters.sobel(PICTURES[0])
    found = [pool for pool in control.threadpool_info() if pool["user_api"] == "openmp"]
    assert found
