"""From nodes to what runs them: the one table of operators, filled by the rooms of this folder."""

from . import control, conv, elementwise, norm, resize, shape, window
from ._entry import FLOATS, TABLE, Entry

__all__ = ["FLOATS", "TABLE", "Entry", "control", "conv", "elementwise", "norm", "resize", "shape",
           "window"]
