"""The interface of `onnx.backend`, by which ONNX's own tests run fastconv.

    prepare(model) -> Prepared;  Prepared.run(inputs) -> outputs;  run_model does both
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .model import Model, load

__all__ = ["Prepared", "is_compatible", "prepare", "run_model", "supports_device"]


class Prepared:
    """A model ready to run, with ONNX's way of passing inputs."""

    def __init__(self, model: Model) -> None:
        self.model = model

    def run(self, inputs: Any, **_: Any) -> tuple[Any, ...]:
        """Run on inputs in the model's order, a dict of them by name, or a single one."""
        if isinstance(inputs, Mapping):
            feeds = dict(inputs)
        else:
            arrays = inputs if isinstance(inputs, (list, tuple)) else [inputs]
            names = [value.name for value in self.model.inputs]
            if len(arrays) > len(names):
                raise ValueError(
                    f"{self.model.name}: the model takes {len(names)} inputs, got {len(arrays)}"
                )
            feeds = dict(zip(names, arrays, strict=False))
        return tuple(self.model.run(feeds))


def is_compatible(model: Any, device: str = "CPU", **_: Any) -> bool:
    """Whether `prepare` would take a model: any on a CPU."""
    return supports_device(device)


def prepare(model: Any, device: str = "CPU", **_: Any) -> Prepared:
    """Make a ModelProto ready to run on the CPU."""
    if not supports_device(device):
        raise ValueError(f"prepare: fastconv runs on the CPU, not on {device!r}")
    return Prepared(load(model.SerializeToString()))


def run_model(model: Any, inputs: Any, device: str = "CPU", **_: Any) -> tuple[Any, ...]:
    """Run a ModelProto once."""
    return prepare(model, device).run(inputs)


def supports_device(device: str) -> bool:
    """Whether fastconv runs on a device; it runs on "CPU"."""
    return device.partition(":")[0] == "CPU"
