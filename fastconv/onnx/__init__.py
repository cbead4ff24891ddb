"""ONNX files: load one, run it.

    "net.onnx" --reader--> Graph --graph.compile--> Executor
    {"x": array} --feeds--> arrays --Executor.run--> list of arrays

The `onnx` package parses and checks files; operators that fastconv has no code of its own for run
by its reference implementations. It comes with the extra "onnx" and is imported on first use.
"""

from __future__ import annotations

from typing import Any

__all__ = ["Model", "ModelError", "backend", "load"]

_HOMES = {"Model": "model", "load": "model", "ModelError": "errors"}


def __getattr__(name: str) -> Any:
    from importlib import import_module

    if name == "backend":
        return import_module(".backend", __name__)
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f".{_HOMES[name]}", __name__), name)


def __dir__() -> list[str]:
    return sorted(__all__)
