"""Processes at the level amx: on a machine with tiles as they are, elsewhere under an emulator."""

import platform
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from fastconv._engine import dispatch

HERE = Path(__file__).parent
COMPILER = shutil.which("gcc") or shutil.which("clang")
CAN_EMULATE = (
    sys.platform == "linux" and platform.machine() in ("x86_64", "AMD64") and COMPILER is not None
)


def pytest_collection_modifyitems(items):
    if CAN_EMULATE:
        return
    reason = "needs Linux on x86-64 and a C compiler, to build the emulator of tiles"
    for item in items:
        if HERE in Path(item.path).parents:
            item.add_marker(pytest.mark.skip(reason=reason))


@pytest.fixture(scope="session")
def shared_library(tmp_path_factory):
    """Compile a C file with some flags; returns the library's path."""

    def build(source, *flags):
        target = tmp_path_factory.mktemp("amx") / f"{source.stem}.so"
        subprocess.run(
            [COMPILER, "-std=gnu11", "-Wall", "-Werror", "-shared", "-fPIC", *flags,
             "-o", str(target), str(source), "-lm", "-lpthread"],
            check=True,
        )  # fmt: skip
        return str(target)

    return build


@pytest.fixture(scope="session")
def emulator(shared_library):
    """Path of the library to preload."""
    fused = ["-mavx2", "-mfma"] if "avx2" in dispatch.available_isas() else []
    return shared_library(HERE / "emulator.c", "-O3", *fused)


@pytest.fixture(scope="session")
def probe(shared_library):
    """Path of the library of single tile instructions."""
    return shared_library(HERE / "probe.c", "-O1")


@pytest.fixture(scope="session")
def emulated_python(fresh_python, emulator):
    """As `fresh_python`, under the emulator."""

    def run(*arguments, **variables):
        return fresh_python(*arguments, LD_PRELOAD=emulator, **variables)

    return run


@pytest.fixture(scope="session")
def amx_python(fresh_python, emulated_python):
    """As `fresh_python`, at the level amx."""
    run = fresh_python if "amx" in dispatch.available_isas() else emulated_python

    def at_level(*arguments, **variables):
        return run(*arguments, FASTCONV_ISA="amx", **variables)

    return at_level
