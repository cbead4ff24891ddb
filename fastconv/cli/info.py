"""fastconv info: print the version, the machine and what the engine makes of it.

The same lines as `fastconv.show_config()`: please put them into every bug report.
"""

from __future__ import annotations

import argparse

import fastconv


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """`fastconv info` takes none."""


def run(arguments: argparse.Namespace) -> int:
    """Print the configuration to standard output."""
    fastconv.show_config()
    return 0
