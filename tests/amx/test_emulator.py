"""The emulator of tiles against NumPy, and that it refuses what a processor would refuse.

It stands in where instructions are illegal: a processor with tiles carries them out itself.
"""

import re
import signal
from pathlib import Path

import pytest

CPUINFO = Path("/proc/cpuinfo")
FLAGS = re.search(r"^flags\b.*", CPUINFO.read_text(), re.M) if CPUINFO.exists() else None

pytestmark = pytest.mark.skipif(
    FLAGS is not None and "amx_tile" in FLAGS[0].split(),
    reason="the processor has tiles: no instruction of theirs comes to the emulator",
)

START = """
import ctypes, sys
import numpy as np

probe = ctypes.CDLL(sys.argv[1])
rng = np.random.default_rng(1)

def config(*shapes, palette=1):
    "64 bytes for tiles of (rows, bytes of a row)."
    made = np.zeros(64, np.uint8)
    made[0] = palette
    for i, (rows, row_bytes) in enumerate(shapes):
        made[16 + 2 * i], made[48 + i] = row_bytes, rows
    return made

def at(array):
    return ctypes.c_void_p(array.ctypes.data)

def halves(values):
    "bfloat16 by cutting off, as bits."
    return (np.asarray(values, np.float32).view(np.uint32) >> 16).astype(np.uint16)

def floats(bits):
    return (bits.astype(np.uint32) << 16).view(np.float32)

def multiply(a, b, c):
    "c + a x b by tiles: a (m, 2k), b (k, 2n) of pairs, bits of bfloat16; c (m, n) float32."
    m, k, n = a.shape[0], b.shape[0], c.shape[1]
    rows = [np.zeros((16, 80), np.uint8) for _ in range(3)]
    for row, part in zip(rows, (a, b, c)):
        part = np.ascontiguousarray(part)
        row[: len(part), : part[0].nbytes] = part.view(np.uint8).reshape(len(part), -1)
    shapes = [(1, 4)] * 3 + [(m, 4 * n), (1, 4), (m, 4 * k), (1, 4), (k, 4 * n)]
    probe.product(at(config(*shapes)), *map(at, rows), ctypes.c_long(80))
    assert not rows[2][m:].any() and not rows[2][:, 4 * n :].any()
    return np.ascontiguousarray(rows[2][:m, : 4 * n]).view(np.float32)

assert probe.permit() == 0
"""

MULTIPLIES = """
for m, k, n in ((16, 16, 16), (1, 1, 1), (5, 16, 3), (16, 7, 16)):
    a, b = rng.standard_normal((m, 2 * k)), rng.standard_normal((k, 2 * n))
    a, b = halves(a), halves(b)
    c = rng.standard_normal((m, n)).astype(np.float32)
    # of each pair the first and second products are summed by themselves
    sums = np.zeros((2, m, n), np.float32)
    for i in range(k):
        for part in (0, 1):
            exact = np.multiply.outer(floats(a[:, 2 * i + part]).astype(float),
                                      floats(b[i, part::2]).astype(float))
            sums[part] = (sums[part] + exact).astype(np.float32)
    np.testing.assert_array_equal(multiply(a, b, c), c + (sums[0] + sums[1]))
"""

EXTREMES = """
def one(first, second, c, third=0.0, fourth=0.0):
    "c + first * second + third * fourth"
    a, b = halves([[first, third]]), halves([[second, fourth]])
    return multiply(a, b, np.float32([[c]]))[0, 0]

tiny, inf = np.finfo(np.float32).tiny, np.inf
assert one(1, 2, 3, 4, 5) == 25
assert one(tiny, 0.5, 0) == 0                     # the result is denormal
assert one(tiny / 2, 2, 0) == 0                   # an operand is
assert one(1, 0, tiny / 2) == 0                   # the sum is
assert one(1, tiny, 0) == tiny
assert one(inf, 1, 5) == inf and one(-inf, 1, 5) == -inf
assert np.isnan(one(inf, 0, 5)) and np.isnan(one(inf, 1, 0, -inf, 1))
assert np.isnan(one(1, 1, np.nan)) and np.isnan(one(np.nan, 1, 1))
assert one(3e38, 3e38, 0) == inf
assert one(1, 2.0**-24, 1) == 1                   # halfway: to even
assert one(1, 2.0**-24, 1 + 2.0**-23) == 1 + 2.0**-22
"""

CONFIGURES = """
shapes = config(*[(i + 1, 4 * i + 4) for i in range(7)], (16, 64))
before, after = np.full(64, 9, np.uint8), np.full(64, 9, np.uint8)
tile = np.full((16, 64), 7, np.uint8)
probe.configuration(at(shapes), at(before), at(after), at(tile))
np.testing.assert_array_equal(before, shapes)
assert not after.any() and not tile.any()
"""

THREADS = """
import os, threading
state = ctypes.CDLL(None)
configured = lambda: ctypes.c_long.in_dll(state, "amx_emulator_configured").value
probe.configure(at(config((16, 64))))
assert configured() == 1
before = np.full(64, 9, np.uint8)
def elsewhere():
    probe.configure(at(config((2, 64), (3, 4))))
    assert configured() == 2
    probe.configure(at(config(palette=0)))
thread = threading.Thread(target=elsewhere)
thread.start()
thread.join()
assert configured() == 1
child = os.fork()
if not child:
    os._exit(configured())                        # tiles are not inherited
assert os.waitpid(child, 0)[1] == 0
"""

FAULTS = {
    "palette 2 is not supported": "probe.configure(at(config(palette=2)))",
    "reserved byte 7 is not zero": "c = config((1, 4)); c[7] = 1; probe.configure(at(c))",
    "start_row is 1": "c = config((1, 4)); c[1] = 1; probe.configure(at(c))",
    "tile 8 does not exist": "probe.configure(at(config(*[(1, 4)] * 9)))",
    "tile 0 has 3 rows of 0 bytes": "probe.configure(at(config((3, 0))))",
    "tile 1 is too large: 17 rows": "probe.configure(at(config((16, 64), (17, 64))))",
    "too large: 16 rows of 68 bytes": "probe.configure(at(config((16, 68))))",
    "tile 0 does not exist": "probe.configure(at(config((1, 4), palette=0)))",
    "tiles are not configured in this thread": "probe.zero_the_last()",
    "tile 7 is not configured": "probe.configure(at(config((1, 4)))); probe.zero_the_last()",
    "0, 1, 1 are not distinct":
        "probe.configure(at(config((1, 4), (1, 4)))); probe.multiply_by_itself()",
    "shapes do not match: 16x16 += 15x16 * 16x16":
        "probe.configure(at(config((16, 64), (15, 64), (16, 64)))); probe.multiply()",
    "shapes do not match: 16x16 += 16x16 * 15x16":
        "probe.configure(at(config((16, 64), (16, 64), (15, 64)))); probe.multiply()",
    "shapes do not match: 16x15 += 16x16 * 16x16":
        "probe.configure(at(config((16, 60), (16, 64), (16, 64)))); probe.multiply()",
    "no whole number of pairs":
        "probe.configure(at(config((16, 62), (16, 64), (16, 62)))); probe.multiply()",
    "none of the tiles'": "probe.illegal()",
    "an illegal instruction that is none of the tiles'": "probe.multiply_bytes()",
}  # fmt: skip


@pytest.mark.parametrize("script", [MULTIPLIES, EXTREMES, CONFIGURES, THREADS],
                         ids=["multiplies", "extremes", "configures", "threads"])
def test_does_what_the_manual_says(script, emulated_python, probe):
    done = emulated_python("-c", START + script, probe)
    assert done.returncode == 0, done.stderr


# Each in a child of its own; on stderr what it says, and the signal that ended it.
EACH = """
import os
for script in sys.argv[2:]:
    child = os.fork()
    if not child:
        exec(script)
        os._exit(0)
    print("ended", os.waitpid(child, 0)[1], flush=True, file=sys.stderr)
"""


@pytest.fixture(scope="module")
def faults(emulated_python, probe):
    """What each of FAULTS writes on stderr, with its signal's number behind."""
    done = emulated_python("-c", START + EACH, probe, *FAULTS.values())
    assert done.returncode == 0, done.stderr
    return dict(zip(FAULTS, done.stderr.split("AMX emulator: ")[1:], strict=True))


@pytest.mark.parametrize("message", FAULTS)
def test_fails_where_a_processor_would(message, faults):
    text, ended = faults[message].splitlines()
    assert message in text
    assert ended == f"ended {int(signal.SIGABRT)}"


def test_tiles_need_permission(emulated_python, probe):
    script = START.replace("assert probe.permit() == 0", "") + "probe.configure(at(config()))"
    done = emulated_python("-c", script, probe)
    assert done.returncode == -6
    assert "tiles used before the system permitted them" in done.stderr


@pytest.mark.parametrize("wish", ["denied", "absent"])
def test_permission_can_be_refused(wish, emulated_python, probe):
    script = START.replace("== 0", "== -1")
    assert emulated_python("-c", script, probe, AMX_EMULATOR=wish).returncode == 0
