"""Ground rules of the benches: time every contestant briefly, and check what it computed.

`python -m pytest bench` prints one table for each layer, its contestants in order of their best
time. The whole set takes a few minutes; `--benchmark-disable` runs every case once, for its
check only. All options of pytest-benchmark work; those below are only other defaults.
"""

import pytest

from fastconv.cli._measure import max_error

TOLERANCE = 1e-5  # of max|y|: what precision "high" promises on network layers
DEFAULTS = {
    "benchmark_columns": ["min", "median", "rounds"],
    "benchmark_sort": "min",
    "benchmark_max_time": 0.25,
    "benchmark_min_rounds": 3,
    "benchmark_disable_gc": True,
}


def pytest_configure(config):
    if not config.pluginmanager.hasplugin("benchmark"):
        raise pytest.UsageError("bench needs pytest-benchmark: pip install fastconv[test]")
    given = " ".join(map(str, config.invocation_params.args))
    for name, value in DEFAULTS.items():
        if "--" + name.replace("_", "-") not in given:
            setattr(config.option, name, value)


@pytest.fixture
def contest(benchmark):
    """Return a function that times a contestant within its group and checks its result."""

    def run(group, call, expected, flops=None):
        benchmark.group = group
        error = max_error(benchmark(call), expected)
        assert error <= TOLERANCE
        benchmark.extra_info["max_error"] = error
        if flops:
            benchmark.extra_info["flops"] = flops

    return run
