"""What is raced: one convolution or pool, its operands, and what the result should be.

A contest's work says two things: the job, plain words and numbers that travel to the workers as
JSON, and the arrays, which travel as .npy files. The float64 result, "exact", is computed once
here, by NumPy, so that every contestant's error means the same. Work of several results, such as
a step of training (`training`), has an "exact.<name>" for each.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np

import fastconv
from fastconv import shapes
from fastconv.cli._operands import operands, oracle

# NumPy's readable form gives the float64 result up to this much work, BLAS above.
READABLE_FLOPS = 50_000_000
POOLS = "pools"  # what --shapes calls them


class Work(Protocol):
    """What a contest is about."""

    def job(self, layout: str) -> dict[str, Any]:
        """What is to be done, for every contestant: operation, layout and its settings."""

    def arrays(self, layout: str) -> dict[str, np.ndarray]:
        """The operands by name, and `exact`, the float64 result."""

    def facts(self) -> dict[str, Any]:
        """What the JSON file says about it beside its names."""


class Contest(NamedTuple):
    """Something to race: names for people, and the work itself."""

    network: str
    name: str
    text: str
    work: Work

    def job(self, layout: str) -> dict[str, Any]:
        """What is to be done, for every contestant: operation, layout and its settings."""
        return self.work.job(layout)

    def write(self, folder: Path, layout: str) -> None:
        """Write operands and exact results as .npy files."""
        for name, array in self.work.arrays(layout).items():
            np.save(folder / f"{name}.npy", array)

    def facts(self) -> dict[str, Any]:
        """What the JSON file says about it, before any measuring."""
        names = {"network": self.network, "name": self.name, "text": self.text}
        return {**names, **self.work.facts()}


class Forward(NamedTuple):
    """A convolution with its bias."""

    layer: shapes.Layer

    def job(self, layout: str) -> dict[str, Any]:
        """The convolution's settings."""
        return {"op": "conv2d", "layout": layout, **spread(self.layer.call)}

    def arrays(self, layout: str) -> dict[str, np.ndarray]:
        """Random float32 x, weight and bias, and the result in float64."""
        x, weight, bias = operands(self.layer, layout)
        exact = oracle(self.layer, layout, x, weight, bias, READABLE_FLOPS)
        return {"x": x, "weight": weight, "bias": bias, "exact": exact}

    def facts(self) -> dict[str, Any]:
        """The direct form's operations."""
        return {"flops": self.layer.flops}


class Pool(NamedTuple):
    """A pool over pictures; kernel, stride and padding hold for both axes."""

    op: str
    x_shape: tuple[int, int, int, int]
    kernel_size: int
    stride: int
    padding: int

    def job(self, layout: str) -> dict[str, Any]:
        """The pool's settings."""
        settings = {key: getattr(self, key) for key in ("kernel_size", "stride", "padding")}
        return {"op": self.op, "layout": layout, **spread(settings)}

    def arrays(self, layout: str) -> dict[str, np.ndarray]:
        """Random float32 x, and its pool in float64, in the layout asked for."""
        x = np.random.default_rng(0).standard_normal(self.x_shape, dtype=np.float32)
        if layout == "NHWC":
            x = np.ascontiguousarray(np.moveaxis(x, 1, -1))
        pool = getattr(fastconv.reference, self.op)
        settings = (self.kernel_size, self.stride, self.padding)
        return {"x": x, "exact": pool(x.astype(np.float64), *settings, layout=layout)}

    def facts(self) -> dict[str, Any]:
        """Nothing: a pool's speed is the memory's."""
        return {}


# The pools of residual and VGG-like networks on a batch of pictures, and a blur by averages.
_BATCH = (8, 64, 112, 112)
_POOLS = {
    "max_3x3_s2": Pool("max_pool2d", _BATCH, 3, 2, 1),
    "max_2x2_s2": Pool("max_pool2d", _BATCH, 2, 2, 0),
    "avg_3x3_s1": Pool("avg_pool2d", _BATCH, 3, 1, 1),
}


def layer_contests(layers: list[shapes.Layer]) -> list[Contest]:
    """Make a contest of every layer."""
    return [Contest(layer.network, layer.name, str(layer), Forward(layer)) for layer in layers]


def pool_contests() -> list[Contest]:
    """List the pools."""
    contests = []
    for name, pool in _POOLS.items():
        size = "x".join(map(str, pool.x_shape))
        window = f"{pool.kernel_size}x{pool.kernel_size} s{pool.stride} p{pool.padding}"
        contests.append(Contest(POOLS, name, f"{size}, {pool.op[:3]} {window}", pool))
    return contests


def spread(settings: dict[str, Any]) -> dict[str, Any]:
    """Write one number for both axes as two; a job says everything in full."""
    return {
        key: value if key == "groups" else shapes.both_axes(value)
        for key, value in settings.items()
    }
