"""What is published about networks: accuracy, parameters and work, from `published.txt`."""

from importlib import resources
from typing import NamedTuple


class Published(NamedTuple):
    """One line of the table: see there for units and sources."""

    network: str
    title: str
    top1: float
    parameters: float
    multiply_adds: float
    pixels: int
    source: str


def published():
    """Return what is published about networks on ImageNet, as a tuple of `Published`."""
    text = resources.files(__package__).joinpath("published.txt").read_text(encoding="utf-8")
    lines = (line.split() for line in text.splitlines() if line and not line.startswith("#"))
    return tuple(
        Published(name, title, *map(float, numbers), int(pixels), source)
        for name, title, *numbers, pixels, source in lines
    )
