import numpy as np

def weigh(
    x: np.ndarray, offsets: np.ndarray, weights: np.ndarray, out: np.ndarray
) -> np.ndarray: ...
