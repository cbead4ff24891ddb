"""The instruction-set levels: chosen at import, refused clearly, and tested at every one.

The level is fixed for the life of a process, so whatever the marker `every_isa` names runs once
more for each other level of the machine, in a process of its own.
"""

import os
import re
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from fastconv._engine import dispatch

TESTS = Path(__file__).parents[1]
OTHER_LEVELS = [level for level in dispatch.available_isas() if level != dispatch.isa()]
MISSING_LEVELS = [level for level in dispatch.LEVELS if level not in dispatch.available_isas()]

SHOW = "import fastconv; print(fastconv.show_config('dicts')['isa'])"

# Halves of the marked tests that take about as long.
PARTS = {"first": ("_engine", "grad"), "second": ("functional", "filters")}
RUNS = [(level, part) for level in OTHER_LEVELS for part in PARTS]


@pytest.fixture(scope="module")
def runs(fresh_python):
    """All runs, as many at a time as there are processors: each is on one thread, since these are
    small calls, and threads do not depend on the level."""

    def run(level, part):
        return fresh_python(
            "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", "-m", "every_isa",
            *(str(TESTS / folder) for folder in PARTS[part]),
            FASTCONV_ISA=level, OMP_NUM_THREADS="1", timeout=1200,
        )  # fmt: skip

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        yield {key: pool.submit(run, *key) for key in RUNS}


@pytest.mark.parametrize("level, part", RUNS)
def test_the_rest_of_the_levels(level, part, runs):
    done = runs[level, part].result()
    assert done.returncode == 0, f"FASTCONV_ISA={level}\n" + done.stdout[-6000:] + done.stderr
    assert int(re.search(r"(\d+) passed", done.stdout).group(1)) > 250


@pytest.mark.parametrize("level", dispatch.available_isas())
def test_the_environment_chooses_the_level(level, fresh_python):
    assert fresh_python("-c", SHOW, FASTCONV_ISA=level).stdout == level + "\n"


@pytest.mark.parametrize("nothing", [None, ""])
def test_the_best_level_without_a_choice(nothing, fresh_python):
    best = dispatch.available_isas()[-1]
    assert fresh_python("-c", SHOW, FASTCONV_ISA=nothing).stdout == best + "\n"


def test_nonsense_is_an_error_that_names_the_levels(fresh_python):
    done = fresh_python("-c", SHOW, FASTCONV_ISA="nonsense")
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1] == (
        "ImportError: fastconv: FASTCONV_ISA='nonsense' is not an instruction-set level; "
        "one of baseline, avx2, avx512, amx is"
    )


@pytest.mark.skipif(not MISSING_LEVELS, reason="this processor has every level")
def test_more_than_the_processor_has_is_an_error(fresh_python):
    done = fresh_python("-c", SHOW, FASTCONV_ISA=MISSING_LEVELS[-1])
    assert done.returncode == 1
    last = done.stderr.splitlines()[-1]
    assert last.startswith(
        f"ImportError: fastconv: FASTCONV_ISA={MISSING_LEVELS[-1]} asks for more than this"
    )
    assert last.endswith(", ".join(dispatch.available_isas()))
