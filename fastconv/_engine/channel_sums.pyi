from typing import Any

import numpy as np

def sums(x: np.ndarray, dtype: np.dtype[Any], axis: int) -> np.ndarray: ...
def mean_and_squares(x: np.ndarray, dtype: np.dtype[Any], axis: int) -> np.ndarray: ...
def gradient_sums(
    x: np.ndarray, grad: np.ndarray, dtype: np.dtype[Any], axis: int, center: np.ndarray, *,
    negative: bool = ...,
) -> np.ndarray: ...
