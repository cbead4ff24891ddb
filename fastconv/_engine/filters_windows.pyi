import numpy as np

Kernel = tuple[np.ndarray, np.ndarray, np.ndarray]

def windows(
    x: np.ndarray, kernels: list[Kernel], op: str, size: tuple[int, ...], before: tuple[int, ...],
    mode: str, fill: float, single: bool,
) -> bool: ...
