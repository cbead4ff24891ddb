from typing import Any

import numpy as np

class PoolCall:
    def __init__(
        self, geometry: Any, reduce: str, x_strides: tuple[int, ...],
        out_strides: tuple[int, ...] | None, dtype: np.dtype[Any], *, fitted: bool = ...,
        count_padding: bool = ..., divisor: int | None = ...,
    ) -> None: ...
    def accepts(
        self, x: Any, out: Any, arguments: tuple[Any, ...], flags: tuple[Any, ...]
    ) -> bool: ...
    def run(self, x: np.ndarray, out: np.ndarray | None) -> Any: ...
