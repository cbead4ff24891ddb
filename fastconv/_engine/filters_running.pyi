import numpy as np

from .filters import Line

def running(x: np.ndarray, out: np.ndarray, line: Line) -> None: ...
