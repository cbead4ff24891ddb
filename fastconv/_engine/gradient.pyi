from typing import Any

import numpy as np

def map(
    x: np.ndarray, grad: np.ndarray, dtype: np.dtype[Any], op: str, *, channel_axis: int = ...,
    tables: tuple[np.ndarray, ...] = ..., alpha: float = ..., beta: float = ...,
) -> np.ndarray: ...
def softmax(
    y: np.ndarray, grad: np.ndarray, dtype: np.dtype[Any], axis: int, logarithm: bool
) -> np.ndarray: ...
def local_response_norm(
    x: np.ndarray, grad: np.ndarray, dtype: np.dtype[Any], axis: int, size: int, alpha: float,
    beta: float, k: float,
) -> np.ndarray: ...
