from typing import Any

import numpy as np

from .planned_gradient import PlannedGradient

class WeightGradient(PlannedGradient):
    def __init__(
        self, geometry: Any, x: np.ndarray, dy: np.ndarray, dtype: np.dtype[Any],
        flush_denormals: bool, transposed: bool = False,
    ) -> None: ...
    def run(self, x: np.ndarray, dy: np.ndarray) -> np.ndarray: ...

def exact(arguments: tuple[Any, ...]) -> bool: ...
