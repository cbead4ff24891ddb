import numpy as np

def windows(
    x: np.ndarray, out: np.ndarray, op: str, size: tuple[int, ...], before: tuple[int, ...],
    mode: str, fill: float, place: np.ndarray, weights: np.ndarray, single: bool,
) -> bool: ...
