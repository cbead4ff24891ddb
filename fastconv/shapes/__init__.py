"""The convolutions of known networks, as package data: one text file a network, one line a layer.

In goes a name ("vgg"), out come its layers as tuples of sizes. The benches, the command line and
the tests all draw their work from here, so a layer is typed once. The files explain their own
columns; they hold distinct shapes only, with the number of times each occurs in its network.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from importlib import resources
from typing import Any, NamedTuple

__all__ = ["Layer", "both_axes", "load", "names"]

# One number for both axes, or one for the rows and one for the columns.
Axes = int | tuple[int, int]


class Layer(NamedTuple):
    """One convolution of a network: sizes of x, of the weights, and how the window moves.

    Stride, padding (zeros on every side) and dilation are one number for both axes, or two, rows
    first, where a file says `0x3`. The fields stand in the order of the columns in the files.
    """

    network: str
    name: str
    batch: int
    in_channels: int
    height: int
    width: int
    out_channels: int
    kernel_height: int
    kernel_width: int
    stride: Axes
    padding: Axes
    dilation: Axes
    groups: int
    times: int

    @property
    def x_shape(self) -> tuple[int, int, int, int]:
        """Shape of the input, (N, C, H, W)."""
        return self.batch, self.in_channels, self.height, self.width

    @property
    def weight_shape(self) -> tuple[int, int, int, int]:
        """Shape of the weights, (K, C/groups, R, S)."""
        per_group = self.in_channels // self.groups
        return self.out_channels, per_group, self.kernel_height, self.kernel_width

    @property
    def y_shape(self) -> tuple[int, int, int, int]:
        """Shape of the result, (N, K, P, Q)."""
        rows = self._windows(0, self.height, self.kernel_height)
        columns = self._windows(1, self.width, self.kernel_width)
        return self.batch, self.out_channels, rows, columns

    @property
    def flops(self) -> int:
        """Floating point operations of the direct form: a multiplication and an addition per tap.

        Taps that fall on padding count as well, as is usual where speeds are compared.
        """
        batch, out_channels, rows, columns = self.y_shape
        _, per_group, kernel_height, kernel_width = self.weight_shape
        return 2 * batch * out_channels * rows * columns * per_group * kernel_height * kernel_width

    @property
    def numbers(self) -> int:
        """How many numbers must move at least: x and weights once in, the result once out."""
        return sum(map(math.prod, (self.x_shape, self.weight_shape, self.y_shape)))

    @property
    def call(self) -> dict[str, Axes]:
        """The keyword arguments that every conv2d takes: stride, padding, dilation, groups."""
        return {
            "stride": self.stride,
            "padding": self.padding,
            "dilation": self.dilation,
            "groups": self.groups,
        }

    def __str__(self) -> str:
        """Short form for tables: "96x27x27 -> 256, 5x5 p2 g2"; what is 1 or 0 stays unsaid."""
        batch = f"{self.batch}x" if self.batch > 1 else ""
        window = f"{self.kernel_height}x{self.kernel_width}"
        depthwise = self.groups == self.in_channels == self.out_channels and self.groups > 1
        extras = (
            f"s{_text(self.stride)}" if self.stride != 1 else "",
            f"p{_text(self.padding)}" if self.padding != 0 else "",
            f"d{_text(self.dilation)}" if self.dilation != 1 else "",
            "depthwise" if depthwise else f"g{self.groups}" if self.groups > 1 else "",
        )
        size = f"{batch}{self.in_channels}x{self.height}x{self.width} -> {self.out_channels}"
        return " ".join(filter(None, (f"{size}, {window}", *extras)))

    def _windows(self, axis: int, size: int, kernel: int) -> int:
        stride, padding, dilation = (
            both_axes(value)[axis] for value in (self.stride, self.padding, self.dilation)
        )
        return (size + 2 * padding - dilation * (kernel - 1) - 1) // stride + 1


def both_axes(value: Axes) -> tuple[int, int]:
    """Return (rows, columns) of a number that may stand for both axes."""
    return value if isinstance(value, tuple) else (value, value)


def _text(value: Axes) -> str:
    return "x".join(map(str, value)) if isinstance(value, tuple) else str(value)


def names() -> tuple[str, ...]:
    """Names that `load` knows, in alphabetical order."""
    files = (entry.name for entry in resources.files(__name__).iterdir())
    return tuple(sorted(name[: -len(".txt")] for name in files if name.endswith(".txt")))


def load(name: str) -> tuple[Layer, ...]:
    """Read the layers of one network.

    Parameters
    ----------
    name : str
        One of `names()`.

    Returns
    -------
    tuple of Layer
        The distinct shapes, in the order in which the network first needs them.

    Raises
    ------
    ValueError
        If there is no such network; the message lists those there are.
    """
    known = names()
    if name not in known:
        raise ValueError(f"shapes: there are no layers called {name!r}; known: {', '.join(known)}")
    text = resources.files(__name__).joinpath(f"{name}.txt").read_text(encoding="utf-8")
    return tuple(_parse(name, text))


def _parse(network: str, text: str) -> Iterator[Layer]:
    for line in text.splitlines():
        words = line.split("#", 1)[0].split()
        if words:
            numbers: list[Any] = [_number(word) for word in words[1:]]
            yield Layer(network, words[0], *numbers)


def _number(word: str) -> Axes:
    """Read "3", or "0x3" as (0, 3)."""
    rows, cross, columns = word.partition("x")
    return (int(rows), int(columns)) if cross else int(rows)
