"""fastconv bench --filters: fastconv.filters against scipy.ndimage, and OpenCV where there is one.

Every call makes a new result, which is how filters are used; contestants take turns and the
fastest call of each counts. Results are compared before anything is timed.
"""

from __future__ import annotations

import argparse
import importlib
import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any, NamedTuple

import numpy as np

import fastconv
from fastconv.cli._common import Column, CommandError, print_table, progress, require
from fastconv.cli._measure import PAUSE, QUICK, Effort, max_error, race

REAL = ("float32",)
BOTH = ("float32", "uint8")
TYPES = ("uint8", "uint16", "int16", "float32", "float64")
SHAPES = {"pictures": (4096, 4096), "stack": (256, 512, 512), "small": (64, 64)}
QUICK_SHAPES = {"pictures": (512, 512), "stack": (32, 128, 128), "small": (64, 64)}
# Idle threads spin for a while; a small picture is filtered without any.
EFFORTS = {
    "pictures": Effort(rounds=3, turn=0.1, pause=PAUSE),
    "stack": Effort(rounds=3, turn=0.5, pause=PAUSE),
    "small": Effort(rounds=6, turn=0.003, pause=0),
}
SIGNAL = ("convolve2d", "correlate2d")  # these stand in scipy.signal


def _kernel(*shape: int) -> np.ndarray:
    """Weights that are no product, of float32's values: every library can use them."""
    return np.random.default_rng(1).standard_normal(shape, np.float32)


class Case(NamedTuple):
    """A filter to time: what it is called, its arguments after the picture, and OpenCV's."""

    label: str
    function: str
    arguments: tuple = ()
    opencv: Callable[[Any, np.ndarray], np.ndarray] | None = None


def _filter2d(kernel: np.ndarray) -> Callable[[Any, np.ndarray], np.ndarray]:
    return lambda cv2, x: cv2.filter2D(x, -1, kernel, borderType=cv2.BORDER_REFLECT)


PICTURES = (
    Case("correlate 3x3", "correlate", (_kernel(3, 3),), _filter2d(_kernel(3, 3))),
    Case("correlate 5x5", "correlate", (_kernel(5, 5),), _filter2d(_kernel(5, 5))),
    Case("correlate 15x15", "correlate", (_kernel(15, 15),), _filter2d(_kernel(15, 15))),
    Case("Gaussian, sigma 3", "gaussian_filter", (3,),
         lambda cv2, x: cv2.GaussianBlur(x, (25, 25), 3, borderType=cv2.BORDER_REFLECT)),
    Case("uniform, 9", "uniform_filter", (9,),
         lambda cv2, x: cv2.blur(x, (9, 9), borderType=cv2.BORDER_REFLECT)),
    Case("maximum, 9", "maximum_filter", (9,),
         lambda cv2, x: cv2.dilate(x, np.ones((9, 9), np.uint8))),
    Case("Sobel", "sobel", (),
         lambda cv2, x: cv2.Sobel(x, -1, 1, 0, borderType=cv2.BORDER_REFLECT)),
)  # fmt: skip
STACK = (Case("Gaussian, sigma 2", "gaussian_filter", (2,)),)
SMALL = (
    Case("correlate 3x3", "correlate", (_kernel(3, 3),)),
    Case("correlate 15x15", "correlate", (_kernel(15, 15),)),
    Case("convolve 3x3", "convolve", (_kernel(3, 3),)),
    Case("correlate1d 5", "correlate1d", (_kernel(5),)),
    Case("convolve1d 5", "convolve1d", (_kernel(5),)),
    Case("gaussian_filter 1", "gaussian_filter", (1,)),
    Case("gaussian_filter1d 1", "gaussian_filter1d", (1,)),
    Case("uniform_filter 3", "uniform_filter", (3,)),
    Case("uniform_filter 9", "uniform_filter", (9,)),
    Case("uniform_filter1d 9", "uniform_filter1d", (9,)),
    Case("sobel", "sobel"),
    Case("prewitt", "prewitt"),
    Case("laplace", "laplace"),
    Case("gaussian_laplace 1", "gaussian_laplace", (1,)),
    Case("gaussian_gradient_magnitude 1", "gaussian_gradient_magnitude", (1,)),
    Case("maximum_filter 3", "maximum_filter", (3,)),
    Case("maximum_filter 9", "maximum_filter", (9,)),
    Case("maximum_filter1d 9", "maximum_filter1d", (9,)),
    Case("minimum_filter 3", "minimum_filter", (3,)),
    Case("minimum_filter1d 9", "minimum_filter1d", (9,)),
    Case("grey_dilation 5", "grey_dilation", (5,)),
    Case("grey_erosion 5", "grey_erosion", (5,)),
    Case("convolve2d 3x3", "convolve2d", (_kernel(3, 3),)),
    Case("correlate2d 5x5", "correlate2d", (_kernel(5, 5),)),
)
KINDS = {"pictures": (PICTURES, BOTH), "stack": (STACK, REAL), "small": (SMALL, TYPES)}


class Duel(NamedTuple):
    """One row: a case on an array of some shape and type."""

    kind: str
    case: Case
    shape: tuple[int, ...]
    dtype: str

    @property
    def name(self) -> str:
        """What --layer looks at and the progress shows."""
        return f"{self.case.label}, {'x'.join(map(str, self.shape))} {self.dtype}"


def run(arguments: argparse.Namespace) -> int:
    """Time the filters, print the table, write what was asked for."""
    from fastconv.cli import bench

    unknown = [kind for kind in arguments.filters if kind not in KINDS]
    if unknown:
        raise CommandError(f"--filters: {unknown[0]!r} is unknown; known: {', '.join(KINDS)}")
    if arguments.plot or arguments.roofline:
        raise CommandError("bench: --plot and --roofline show layers: leave --filters out")
    require("fastconv bench --filters", "test", "scipy")
    bench.check_outputs(arguments)
    shapes = QUICK_SHAPES if arguments.quick else SHAPES
    duels = []
    for kind in arguments.filters or KINDS:
        cases, dtypes = KINDS[kind]
        duels += [Duel(kind, case, shapes[kind], dtype) for case in cases for dtype in dtypes]
    duels = bench.with_text(duels, arguments.layer)
    efforts = dict.fromkeys(KINDS, QUICK) if arguments.quick else EFFORTS
    with _threads(arguments.threads) as (count, cv2):
        rows = [
            _measure(duel, cv2, efforts[duel.kind])
            for duel in progress(duels, lambda duel: duel.name)
        ]
    result = {
        "machine": fastconv.show_config(mode="dicts"), "threads": count,
        "scipy": importlib.import_module("scipy").__version__,
        "opencv": cv2 and cv2.__version__, "filters": rows,
    }  # fmt: skip
    _show(result)
    bench.write_outputs(arguments, result, "bench_chart")
    return 0


@contextmanager
def _threads(wanted: int | None) -> Iterator[tuple[int, Any]]:
    """Give fastconv and OpenCV the same number of threads for a while: (number, cv2 or None)."""
    before = fastconv.get_num_threads()
    count = wanted or before
    try:
        cv2 = importlib.import_module("cv2")
    except ImportError:
        cv2 = None
    theirs = cv2.getNumThreads() if cv2 else 0
    fastconv.set_num_threads(count)
    try:
        if cv2:
            cv2.setNumThreads(count)
        yield count, cv2
    finally:
        fastconv.set_num_threads(before)
        if cv2:
            cv2.setNumThreads(theirs)


def _measure(duel: Duel, cv2: Any, effort: Effort) -> dict[str, Any]:
    """Time one duel; times in milliseconds, ratios theirs over ours, errors of max|theirs|."""
    case = duel.case
    x = (np.random.default_rng(0).random(duel.shape, np.float32) * 255).astype(duel.dtype)
    scipy = "scipy.signal" if case.function in SIGNAL else "scipy.ndimage"
    libraries = {"fastconv": "fastconv.filters", "scipy": scipy}
    contestants = {
        name: partial(getattr(importlib.import_module(module), case.function), x, *case.arguments)
        for name, module in libraries.items()
    }
    if cv2 and case.opencv and duel.dtype == "float32":
        contestants["opencv"] = partial(case.opencv, cv2, x)
    results = {name: call().astype(np.float64) for name, call in contestants.items()}
    error = max_error(results["fastconv"], results["scipy"])
    del results
    best = race(contestants, effort)
    return {
        "kind": duel.kind, "filter": case.label, "shape": duel.shape, "dtype": duel.dtype,
        "ms": {name: seconds * 1e3 for name, seconds in best.items()},
        "faster": {
            name: best[name] / best["fastconv"] for name in best if name != "fastconv"
        },
        "max_error": error,
    }  # fmt: skip


def _show(result: dict[str, Any]) -> None:
    machine, opencv = result["machine"], result["opencv"]
    print(
        f"fastconv {machine['version']} on {machine['cpu']}: {machine['isa']}, "
        f"{result['threads']} threads; SciPy {result['scipy']}, "
        f"{f'OpenCV {opencv}' if opencv else 'no OpenCV'}\n"
    )
    columns = [
        Column("filter", right=False), Column("array", right=False), Column("ms"),
        Column("SciPy ms"), Column("faster", headline=True), Column("OpenCV ms"),
        Column("faster"), Column("max error"),
    ]  # fmt: skip
    print_table(columns, [_cells(row) for row in result["filters"]])
    for kind in KINDS:
        ratios = [row["faster"]["scipy"] for row in result["filters"] if row["kind"] == kind]
        if ratios:
            mean = math.exp(sum(map(math.log, ratios)) / len(ratios))
            print(f"\n{kind}: {mean:.1f} times SciPy's speed (geometric mean of {len(ratios)}), "
                  f"at least {min(ratios):.2f}")  # fmt: skip


def _cells(row: dict[str, Any]) -> list[str]:
    from fastconv.cli.bench import digits

    times, faster = row["ms"], row["faster"]
    return [
        row["filter"],
        f"{'x'.join(map(str, row['shape']))} {row['dtype']}",
        digits(times["fastconv"]),
        digits(times["scipy"]),
        f"{faster['scipy']:.2f}x",
        digits(times.get("opencv")),
        f"{faster['opencv']:.2f}x" if "opencv" in faster else "-",
        f"{row['max_error']:.0e}",
    ]
