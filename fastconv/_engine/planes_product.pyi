import numpy as np

def planes_product(
    matrix: np.ndarray, planes: np.ndarray, flush_denormals: bool
) -> np.ndarray: ...
