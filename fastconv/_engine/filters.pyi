from typing import Any, Protocol

import numpy as np

OPS: dict[str, int]
TYPES: dict[np.dtype[Any], int]
MODES: dict[str, int]

class Terms(Protocol):
    in_single: np.ndarray
    in_double: np.ndarray

Line = tuple[int, str, int, int, str, float, Terms | None]

def lines(
    x: np.ndarray, out: np.ndarray, down: Line | None, along: Line | None, single: bool,
    whole: bool = ...,
) -> bool: ...
def positions(n: int, outs: int, size: int, before: int, mode: str) -> np.ndarray: ...
