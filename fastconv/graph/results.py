"""What a graph hands out: arrays that belong to the caller."""

from __future__ import annotations

from typing import Any

import numpy as np

__all__ = ["own"]


def own(result: Any, inputs: list[Any]) -> Any:
    """A result as the caller may keep and change it: no view of constants or of what was fed."""
    if not isinstance(result, np.ndarray):
        return result
    whole = result.flags.c_contiguous and result.flags.writeable
    if whole and not any(isinstance(x, np.ndarray) and np.may_share_memory(result, x)
                         for x in inputs):
        return result
    return np.array(result, order="C")
