from typing import Any

import numpy as np

from .planned_gradient import PlannedGradient

class OverlapGradient(PlannedGradient):
    def __init__(
        self, geometry: Any, dy: np.ndarray, dtype: np.dtype[Any], flush_denormals: bool
    ) -> None: ...
    def run(self, weight: np.ndarray, dy: np.ndarray) -> np.ndarray: ...
