"""fastconv demo: convolve real photographs and digits, and show pictures, errors and times.

Needs no network and no arguments. Writes one picture sheet and one HTML page that any browser
opens; scikit-image brings the photographs, scikit-learn the handwritten digits.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import fastconv
from fastconv._files import write_file
from fastconv.cli import _experiments, _page
from fastconv.cli._common import (
    Column,
    make_folder,
    print_table,
    progress,
    require,
)
from fastconv.cli._measure import THOROUGH, Blas, blas_threads

EFFORT = THOROUGH._replace(rounds=3)  # pauses are most of the demo's time
TOLERANCE = 1e-5  # what precision "high" promises, relative to max|y|
SHEET, PAGE = "fastconv-demo.png", "index.html"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the option of `fastconv demo`."""
    parser.add_argument(
        "--out",
        type=Path,
        default=Path("fastconv-demo"),
        metavar="DIR",
        help="folder for the sheet and the page (default: fastconv-demo/)",
    )


def run(arguments: argparse.Namespace) -> int:
    """Do all experiments, print their numbers, write sheet and page; 1 if a result is wrong."""
    start = time.perf_counter()
    require("fastconv demo", "demo", "skimage.data", "sklearn.datasets", "matplotlib.figure")
    make_folder("--out", arguments.out)
    with blas_threads(fastconv.get_num_threads()) as blas:
        experiments = [
            experiment(EFFORT)
            for experiment in progress(
                _experiments.EXPERIMENTS, lambda experiment: experiment.__name__.replace("_", " ")
            )
        ]
    machine = _machine(blas)
    _print_numbers(machine, experiments)
    _write_pictures(arguments.out, machine, experiments)
    print(f"done in {time.perf_counter() - start:.0f} s")
    wrong = _wrong(experiments)
    for line in wrong:
        print(f"WRONG: {line}")
    return 1 if wrong else 0


def _machine(blas: Blas) -> str:
    facts = fastconv.show_config(mode="dicts")
    plural = "" if facts["threads"] == 1 else "s"
    return (
        f"fastconv {facts['version']} on {facts['cpu']}: {facts['isa']}, "
        f'{facts["threads"]} thread{plural}, float32, precision "high"\n{blas}'
    )


def _print_numbers(machine: str, experiments: list[_experiments.Experiment]) -> None:
    columns = [
        Column("experiment", right=False),
        Column("work", right=False),
        Column("algorithm", right=False),
        Column("ms"),
        Column("NumPy ms"),
        Column("faster", headline=True),
        Column("max error"),
    ]
    rows = []
    for experiment in experiments:
        outcome = experiment.outcome
        heading = (experiment.title, outcome.work)
        for result in outcome.able:
            star = " *" if result.name == outcome.chosen else ""
            rows.append(
                (
                    *heading,
                    result.name + star,
                    f"{result.seconds * 1e3:.3f}",
                    f"{result.numpy_seconds * 1e3:.3f}",
                    f"{result.faster:.1f}x",
                    result.error_text,
                )
            )
            heading = ("", "")
    print(f"{machine}\n")
    print_table(columns, rows)
    print(f"\n* {_page.CHOSEN}\n{_page.METHOD}\n")


def _write_pictures(folder: Path, machine: str, experiments: list[_experiments.Experiment]) -> None:
    from fastconv import plot

    title = "Convolutions on NumPy arrays"
    groups = [(f"{one.title}: {one.claim}", one.pictures) for one in experiments]
    rows = [groups[:2], *([group] for group in groups[2:])]
    sheet = plot.save(plot.picture_sheet(title, machine, rows))
    page = _page.render(title, machine, experiments).encode()
    for name, content in ((SHEET, sheet), (PAGE, page)):
        write_file(folder / name, content)
        print(f"wrote {(folder / name).resolve()} ({len(content) / 1e6:.1f} MB)")


def _wrong(experiments: list[_experiments.Experiment]) -> list[str]:
    return [
        f"{experiment.title}, {result.name}: max error {result.error:.1e} of max|y|, "
        f"more than {TOLERANCE:g}"
        for experiment in experiments
        for result in experiment.outcome.able
        if not result.error <= TOLERANCE
    ]
