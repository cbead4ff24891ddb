"""What every command needs of its surroundings: extras, output files, progress, tables.

Nothing here is needed to convolve. tqdm and rich make the terminal pleasant where they are
installed; without them, and where nobody watches (a pipe, a log), the same facts come as plain
lines: progress on standard error, results on standard output.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from importlib import import_module
from pathlib import Path
from typing import NamedTuple, TypeVar

Item = TypeVar("Item")

PICTURE_FORMATS = (".png", ".svg", ".pdf")


class CommandError(Exception):
    """The call cannot be served; the message is for the user and ends the command with code 2."""


def require(what: str, extra: str, *modules: str) -> None:
    """Import modules, or say with which extra they come.

    Raises
    ------
    CommandError
        If one of them is not installed: the one line that installs them all.
    """
    for module in modules:
        try:
            import_module(module)
        except ImportError as missing:
            raise CommandError(
                f'{what} needs the extra "{extra}": python -m pip install "fastconv[{extra}]"'
            ) from missing


def check_writable(option: str, folder: Path) -> None:
    """Raise CommandError unless `folder` exists and files can be made in it."""
    try:
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise CommandError(f"{option}: cannot write into {folder} ({error.strerror})") from error


def check_picture_format(option: str, path: Path) -> None:
    """Raise CommandError unless figures can be written in the format that the name says."""
    if path.suffix not in PICTURE_FORMATS:
        wanted = ", ".join(PICTURE_FORMATS)
        raise CommandError(f"{option}: {path} should end in one of {wanted}")


def make_folder(option: str, folder: Path) -> None:
    """Make `folder` where there is none; raise CommandError unless files can be made in it."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise CommandError(
            f"{option}: cannot make the folder {folder} ({error.strerror})"
        ) from error
    check_writable(option, folder)


def progress(items: Sequence[Item], label: Callable[[Item], str]) -> Iterator[Item]:
    """Hand out the items one by one and show on standard error which one is at work."""
    try:
        from tqdm import tqdm
    except ImportError:
        tqdm = None
    if tqdm is None or not sys.stderr.isatty():
        for number, item in enumerate(items, 1):
            print(f"[{number}/{len(items)}] {label(item)}", file=sys.stderr, flush=True)
            yield item
        return
    style = "{desc:<24.24} |{bar}| {n_fmt}/{total_fmt} [{elapsed}<{remaining}]"
    with tqdm(total=len(items), file=sys.stderr, leave=False, bar_format=style) as bar:
        for item in items:
            bar.set_description_str(label(item))
            yield item
            bar.update()


class Column(NamedTuple):
    """Heading of a table's column; numbers stand right, words left; the headline is bold."""

    title: str
    right: bool = True
    headline: bool = False


def print_table(columns: Sequence[Column], rows: Iterable[Sequence[str]]) -> None:
    """Print a table: by rich in a terminal that is wide enough, else as aligned text."""
    rows = list(rows)
    widths = [max(map(len, cells)) for cells in zip([c.title for c in columns], *rows, strict=True)]
    if sys.stdout.isatty() and _print_rich(columns, rows, sum(widths) + 3 * len(widths)):
        return
    for cells in ([column.title for column in columns], *rows):
        aligned = (
            cell.rjust(width) if column.right else cell.ljust(width)
            for column, cell, width in zip(columns, cells, widths, strict=True)
        )
        print("  ".join(aligned).rstrip())


def _print_rich(columns: Sequence[Column], rows: list[Sequence[str]], width: int) -> bool:
    try:
        from rich import box
        from rich.console import Console
        from rich.table import Table
    except ImportError:
        return False
    console = Console()
    if console.width < width:
        return False
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for column in columns:
        table.add_column(
            column.title,
            justify="right" if column.right else "left",
            style="bold" if column.headline else None,
            no_wrap=True,
        )
    for row in rows:
        table.add_row(*row)
    console.print(table)
    return True
