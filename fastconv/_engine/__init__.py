"""The compiled engine: views, prepared operations, algorithms, threads and the kernel table.

Flow: `functional` checks and normalises arguments, asks `plan` for an algorithm and calls one
prepared operation here; its driver (`im2col`, `direct`, `winograd`, `pool`, ...) cuts the work into
tasks, `threads` runs them with the GIL released, and the tasks call the C kernels that `dispatch`
picked for this processor.
"""

import importlib

try:
    importlib.import_module("fastconv._engine.dispatch")
except ModuleNotFoundError as error:
    if error.name != "fastconv._engine.dispatch":
        raise
    raise ImportError(
        "fastconv is imported from a source folder whose compiled part was never built; run\n"
        "    python -m pip install -e .\n"
        "in that folder (a C compiler is needed), or leave the folder and use an installed wheel"
    ) from error
