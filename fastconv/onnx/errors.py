"""The one error of this package, and the message where the `onnx` library is missing."""

from __future__ import annotations

from typing import Any

__all__ = ["ModelError", "library"]


class ModelError(ValueError):
    """A file that is no valid model, or a model that failed; the text names file and node."""


def library() -> Any:
    """Import the `onnx` library.

    Raises
    ------
    ModuleNotFoundError
        Where it is not installed: the line that installs it.
    """
    try:
        import onnx
    except ImportError as missing:
        raise ModuleNotFoundError(
            'fastconv.onnx needs the extra "onnx": python -m pip install "fastconv[onnx]"'
        ) from missing
    return onnx
