"""Process-wide settings: arithmetic precision and threads, and what `fastconv info` prints.

Precision uses the words of `torch.set_float32_matmul_precision`: "highest" keeps to direct and
im2col in the arrays' own type and keeps denormals; "high", the default, also allows Winograd and
flushes denormals; "medium" allows bfloat16 products at the instruction-set level "amx", and is
"high" elsewhere. At that level "high" may also add three products of bfloat16 halves for one of
floats (docs/accuracy.md).
"""

import contextlib
import contextvars
import os
import sys

PRECISIONS = ("highest", "high", "medium")


def check_precision(op, precision):
    """Return `precision`, which must be one of PRECISIONS."""
    if precision in PRECISIONS:
        return precision
    raise ValueError(f'{op}: precision must be "highest", "high" or "medium", got {precision!r}')


_default = check_precision("FASTCONV_PRECISION", os.environ.get("FASTCONV_PRECISION") or "high")
_current = contextvars.ContextVar("fastconv_precision", default=None)


def get_precision():
    """Return the precision that calls without `precision=` use: "highest", "high" or "medium"."""
    return _current.get() or _default


def set_precision(precision):
    """Set the process-wide precision; see `fastconv.precision` for one block of code.

    Parameters
    ----------
    precision : {"highest", "high", "medium"}
        The environment variable FASTCONV_PRECISION sets it at import.
    """
    global _default
    _default = check_precision("set_precision", precision)


@contextlib.contextmanager
def precision(value):
    """Use a precision within a ``with`` block, in this thread or task only.

    Parameters
    ----------
    value : {"highest", "high", "medium"}
    """
    token = _current.set(check_precision("precision", value))
    try:
        yield
    finally:
        _current.reset(token)


def show_config(mode="stdout"):
    """Print, or return, what this build runs on.

    Parameters
    ----------
    mode : {"stdout", "dicts"}
        Print a readable list, or return a dict with the keys version, isa, isa_available, threads,
        openmp, compiler, precision, cpu, numpy and python.
    """
    import numpy as np

    from . import __version__
    from ._engine import dispatch, threads

    if mode not in ("stdout", "dicts"):
        raise ValueError(f'show_config: mode must be "stdout" or "dicts", got {mode!r}')
    facts = {
        "version": __version__,
        "isa": dispatch.isa(),
        "isa_available": list(dispatch.available_isas()),
        "threads": threads.get_num_threads(),
        "openmp": threads.has_openmp(),
        "compiler": dispatch.compiler(),
        "precision": get_precision(),
        "cpu": dispatch.cpu_name(),
        "numpy": np.__version__,
        "python": sys.version.split()[0],
    }
    if mode == "dicts":
        return facts
    for name, value in facts.items():
        shown = ", ".join(value) if isinstance(value, list) else value
        print(f"{name:14}{shown}")
    return None
