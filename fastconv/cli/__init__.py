"""The `fastconv` command: arguments in, one command run, an exit code out.

Each command is a module with a docstring (its help text), `add_arguments(parser)` and
`run(arguments) -> exit code`; the table below is all that joins them. Exit codes: 0 done, 1 the
work failed, 2 the call was wrong or something it needs is missing, 130 stopped with
Ctrl-C, 141 the reader of the output is gone.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence

import fastconv
from fastconv.cli import bench, complexity, demo, faces, info, profile, run, summary, train
from fastconv.cli._common import CommandError

__all__ = ["main"]

COMMANDS = {
    "info": info,
    "bench": bench,
    "demo": demo,
    "summary": summary,
    "complexity": complexity,
    "faces": faces,
    "run": run,
    "profile": profile,
    "train": train,
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command.

    Parameters
    ----------
    arguments : sequence of str, optional
        The words after `fastconv`; those of the process when not given.

    Returns
    -------
    int
        The exit code for the shell.
    """
    try:
        parsed = _parser().parse_args(arguments)
        return parsed.run(parsed)
    except SystemExit as stop:  # argparse has printed help or what is wrong
        return int(stop.code or 0)
    except CommandError as error:
        print(f"fastconv: {error}", file=sys.stderr)
        return 2
    except MemoryError as error:
        print(f"fastconv: not enough memory ({error})", file=sys.stderr)
        return 1
    except BrokenPipeError:  # the reader of our output has left, as `head` does
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141
    except KeyboardInterrupt:
        print("\nfastconv: stopped", file=sys.stderr)
        return 130


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="fastconv", description="Fast convolutions on NumPy arrays, on the CPU."
    )
    parser.add_argument("--version", action="version", version=f"fastconv {fastconv.__version__}")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    for name, module in COMMANDS.items():
        text = (module.__doc__ or name).strip().removeprefix(f"fastconv {name}: ")
        command = commands.add_parser(
            name,
            help=text.splitlines()[0].rstrip("."),
            description=text[0].upper() + text[1:],
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        module.add_arguments(command)
        command.set_defaults(run=module.run)
    return parser
