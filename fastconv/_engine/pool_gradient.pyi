from typing import Any

import numpy as np

def max_pool(
    places: np.ndarray, grad: np.ndarray, out: np.ndarray, batch: int, channels: int,
    channels_last: bool,
) -> bool: ...
def mean_pool(
    grad: np.ndarray, out: np.ndarray, geometry: Any, *, fitted: bool = ...,
    count_padding: bool = ..., divisor: int | None = ...,
) -> None: ...
