from collections.abc import Callable
from typing import Any

import numpy as np

ACTIVATION_CODES: dict[str, int]

class Packed:
    key: tuple[Any, ...]

class ConvCall:
    packing: tuple[Any, ...]
    choices: list[Any]
    workspace_bytes: int
    packed_bytes: int
    x_shape: tuple[int, ...]
    facts: Any
    def __init__(
        self, geometry: Any, phases: list[Any], x: np.ndarray, out: np.ndarray | None,
        residual: np.ndarray | None, dtype: np.dtype[Any], activation: Any, flush_denormals: bool,
        packed: bool, choose: Callable[..., Any], facts: Any,
    ) -> None: ...
    def result_shape(self, x_shape: tuple[int, ...]) -> tuple[int, ...] | None: ...
    def resized(
        self, x: Any, residual: np.ndarray | None, out: np.ndarray | None,
    ) -> ConvCall | None: ...
    def accepts(
        self, x: Any, weight: Any, bias: Any, residual: Any, out: Any, arguments: tuple[Any, ...],
    ) -> bool: ...
    def pack(self, weight: np.ndarray) -> Packed: ...
    def run(
        self, x: np.ndarray, weight: np.ndarray | None, packed: Packed | None,
        bias: np.ndarray | None, residual: np.ndarray | None, out: np.ndarray | None,
        slopes: np.ndarray | None = None,
    ) -> np.ndarray: ...
