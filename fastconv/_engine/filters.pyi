from typing import Any

import numpy as np

OPS: dict[str, int]
TYPES: dict[np.dtype[Any], int]
MODES: dict[str, int]

Line = tuple[int, str, int, int, str, float, np.ndarray | None]

def lines(
    x: np.ndarray, out: np.ndarray, down: Line | None, along: Line | None, single: bool,
    whole: bool = ...,
) -> bool: ...
