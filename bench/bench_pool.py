"""Pools of known networks, in both layouts, against NumPy's windows."""

from functools import lru_cache, partial
from typing import NamedTuple

import numpy as np
import pytest

import fastconv
from fastconv import reference


class Pool(NamedTuple):
    """A pool of a network: shape of x (N, C, H, W), function and its arguments after x."""

    name: str
    shape: tuple
    function: str
    arguments: tuple


POOLS = (
    Pool("alexnet.pool1 3x3 s2", (1, 96, 55, 55), "max_pool2d", (3, 2)),
    Pool("vgg.pool1 2x2", (1, 64, 224, 224), "max_pool2d", (2,)),
    Pool("googlenet.3a_pool 3x3 s1", (1, 192, 28, 28), "max_pool2d", (3, 1, 1)),
    Pool("resnet.pool1 3x3 s2", (1, 64, 112, 112), "max_pool2d", (3, 2, 1)),
    Pool("batch of 8, 2x2", (8, 64, 112, 112), "max_pool2d", (2,)),
    Pool("lenet.s2 2x2 mean", (64, 6, 28, 28), "avg_pool2d", (2,)),
    Pool("batch of 8, 3x3 mean s1", (8, 64, 112, 112), "avg_pool2d", (3, 1, 1)),
    Pool("resnet.last, mean of all", (1, 2048, 7, 7), "adaptive_avg_pool2d", (1,)),
)
CASES = [
    pytest.param(pool, name, layout, id=f"{pool.name}-{name}-{layout}")
    for pool in POOLS
    for layout in ("NCHW", "NHWC")
    for name in ("fastconv", "numpy")
]


@lru_cache(maxsize=1)
def problem(pool, layout):
    """Return x and the result in float64."""
    x = np.random.default_rng(0).standard_normal(pool.shape, dtype=np.float32)
    if layout == "NHWC":
        x = np.ascontiguousarray(np.moveaxis(x, 1, -1))
    function = getattr(reference, pool.function)
    return x, function(x.astype(np.float64), *pool.arguments, layout=layout)


@pytest.mark.parametrize("pool, name, layout", CASES)
def test_pool(pool, name, layout, contest):
    x, expected = problem(pool, layout)
    module = {"fastconv": fastconv, "numpy": reference}[name]
    call = partial(getattr(module, pool.function), x, *pool.arguments, layout=layout)
    contest(f"{pool.name} {layout}", call, expected)
