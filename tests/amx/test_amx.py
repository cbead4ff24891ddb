"""The level amx: asked for, refused, and its convolutions in a process of their own."""

import re
import runpy
from pathlib import Path

from fastconv._engine import dispatch

SHOW = "import fastconv; print(fastconv.show_config('dicts')['isa'])"


def test_convolutions_at_the_level(amx_python):
    """pytest's fault handler would take the emulator's signal."""
    done = amx_python(
        "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", "-p", "no:faulthandler",
        str(Path(__file__).with_name("at_level.py")),
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr
    assert int(re.search(r"(\d+) passed", done.stdout).group(1)) > 100


def test_nothing_outside_the_arrays_is_touched(amx_python):
    """The script of tests/functional/test_conv_memory.py, its im2col all by tiles."""
    tests = runpy.run_path(str(Path(__file__).parents[1] / "functional" / "test_conv_memory.py"))
    always = "from fastconv import plan\nplan.tile_cost = lambda *_: 0\n"
    done = amx_python("-c", always + tests["GUARDED"])
    assert done.returncode == 0, done.stderr
    assert done.stdout == "untouched\n"


def test_chosen_when_asked_for(amx_python):
    assert amx_python("-c", SHOW).stdout == "amx\n"


def test_chosen_without_a_choice(emulated_python):
    assert emulated_python("-c", SHOW, FASTCONV_ISA=None).stdout == "amx\n"


def test_done_without_where_the_system_refuses(emulated_python):
    done = emulated_python("-c", SHOW, FASTCONV_ISA=None, AMX_EMULATOR="denied")
    assert done.stdout == dispatch.vector_isa() + "\n"


def test_refused_by_the_system(emulated_python):
    done = emulated_python("-c", SHOW, FASTCONV_ISA="amx", AMX_EMULATOR="denied")
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1] == (
        "ImportError: fastconv: FASTCONV_ISA=amx: the operating system refuses tiles to this "
        "process (arch_prctl, ARCH_REQ_XCOMP_PERM)"
    )


def test_not_there(emulated_python):
    done = emulated_python("-c", SHOW, FASTCONV_ISA="amx", AMX_EMULATOR="absent")
    assert done.returncode == 1
    offered = ", ".join(level for level in dispatch.available_isas() if level != "amx")
    assert done.stderr.splitlines()[-1] == (
        "ImportError: fastconv: FASTCONV_ISA=amx asks for more than this processor and its "
        f"operating system offer; they offer {offered}"
    )
    done = emulated_python("-c", SHOW, FASTCONV_ISA=None, AMX_EMULATOR="absent")
    assert done.stdout == dispatch.vector_isa() + "\n"
