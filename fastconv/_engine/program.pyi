from typing import Any

import numpy as np

class Recorded:
    fields: list[tuple[int, int, bool]]

class Tape:
    steps: list[Recorded]
    arrays: list[np.ndarray]
    failed: bool
    def __enter__(self) -> Tape: ...
    def __exit__(self, *_: Any) -> None: ...

class Program:
    def __init__(self, steps: list[tuple[Recorded, list[tuple[int, int, int]]]]) -> None: ...
    def run(self, pointers: np.ndarray, first: int, end: int) -> None: ...

def array_at(
    address: int, shape: tuple[int, ...], strides: tuple[int, ...], dtype: np.dtype[Any], owner: Any
) -> np.ndarray: ...
def address_of(array: np.ndarray) -> int: ...
