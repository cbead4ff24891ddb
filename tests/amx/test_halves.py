"""The splitting into bfloat16 halves, compiled for each level of vectors by itself.

At the level amx a process runs it at the machine's best level of vectors only.
"""

import ctypes
import runpy
from pathlib import Path

import numpy as np
import pytest

from fastconv._engine import dispatch

ROOT = Path(__file__).parents[2]
SOURCE = ROOT / "fastconv" / "_engine" / "kernels" / "halves.c"
for package in ("Cython", "setuptools"):  # setup.py, which knows the levels' flags, imports them
    pytest.importorskip(package, reason=f"needs {package}: pip install fastconv[test]")
if not SOURCE.exists():
    pytest.skip("needs the sources of the kernels", allow_module_level=True)
FLAGS = runpy.run_path(str(ROOT / "setup.py"))
LEVELS = [level for level in dispatch.available_isas() if level != "amx"]


def arguments(name, *fields):
    kinds = {"p": ctypes.c_void_p, "n": ctypes.c_ssize_t, "i": ctypes.c_int}
    fields = [(field, kinds[kind]) for kind, field in (f.split(":") for f in fields)]
    return type(name, (ctypes.Structure,), {"_fields_": fields})


Split = arguments("Split", "p:src", "n:src_pixel", "n:src_channel", "n:channels", "n:width",
                  "n:first", "n:pixels", "p:dst", "n:block", "n:low")
Run = arguments("Run", "p:src", "n:count", "p:high", "p:low")
Pack = arguments("Pack", "p:weight", "n:row", "n:depth", "n:taps", "n:channels", "n:across",
                 "i:low", "p:dst")


@pytest.fixture(scope="module", params=LEVELS)
def kernels(request, shared_library):
    """The functions of the table: split, pack, add, run."""
    level = request.param
    library = shared_library(
        SOURCE, *FLAGS["KERNEL_FLAGS"], *FLAGS["LEVEL_FLAGS"][level],
        f"-DFC_LEVEL={level}", "-DFC_DTYPE=32",
    )  # fmt: skip
    table = (ctypes.c_void_p * 4).in_dll(ctypes.CDLL(library), f"fc_halves_f32_{level}")
    return [ctypes.CFUNCTYPE(None, ctypes.c_void_p)(address) for address in table]


def bits_of(values):
    return np.ascontiguousarray(values, np.float32).view(np.uint32)


def floats_of(bits):
    return bits.astype(np.uint32).view(np.float32)


def nearest(values):
    """The nearest bfloat16, of two equally near the larger one; finite floats stay finite."""
    below = bits_of(values) & 0xFFFF0000
    above = below + 0x10000
    with np.errstate(invalid="ignore", over="ignore"):
        to_below = abs(values - floats_of(below).astype(float))
        to_above = abs(floats_of(above).astype(float) - values)
    up = to_above <= to_below
    return np.where(up & np.isfinite(floats_of(above)), floats_of(above), floats_of(below))


def halves_of(values):
    """High and low halves as the kernels promise them, for float32."""
    finite = np.isfinite(values)
    numbers = np.where(finite, values, 0)
    high = nearest(numbers)
    return high, np.where(finite, nearest(numbers - high), values)


def as_floats(halves):
    return floats_of(halves.astype(np.uint32) << 16)


def values_of(rng, shape):
    """Of all sizes, some on the edges of rounding, some not finite."""
    values = rng.standard_normal(shape) * 10.0 ** rng.integers(-30, 38, shape)
    values = np.clip(values, -3.4e38, 3.4e38).astype(np.float32)
    flat = values.reshape(-1)
    edges = [0xFFFFFFFF, 0x7FFFFFFF, 0x3F808000, 0x3F818000, 0x3F808001, 0x3F807FFF, 0x7F7F8000,
             0xFF7FFFF0, 0x7F800000, 0xFF800000, 0x7F800001, 0x7FC00000, 0x00000000, 0x80000000]
    flat[: len(edges)] = floats_of(np.array(edges[: flat.size]))
    return values


PIXELS = [(1, 1, 1, 0), (5, 7, 9, 2), (32, 16, 16, 0), (40, 33, 40, 3), (70, 5, 8, 3), (3, 0, 4, 2)]


@pytest.mark.parametrize("order", ["channels last", "planes", "every other pixel", "neither"])
@pytest.mark.parametrize("low", [True, False])
@pytest.mark.parametrize("size", PIXELS, ids=str)
def test_split(kernels, size, low, order):
    channels, pixels, width, first = size
    rng = np.random.default_rng(7)
    values = values_of(rng, (max(1, pixels), channels))[:pixels]
    room = np.full((pixels + 1, channels + 1, 2), np.nan, np.float32)
    if order == "planes":
        room = np.full((channels + 1, pixels + 1), np.nan, np.float32).T[:, :, None]
    elif order == "every other pixel":
        room = np.full((channels + 1, 2 * pixels + 1), np.nan, np.float32).T[::2, :, None]
    elif order == "channels last":
        room = room[:, :, 0].copy()[:, :, None]
    room[:pixels, :channels, 0] = values
    blocks, room_after = -(-channels // 32), 2
    made = np.full((blocks, 2 if low else 1, width + room_after, 32), 0xABCD, np.uint16)
    kernels[0](ctypes.byref(Split(
        room.ctypes.data, *room.strides[:2], channels, width, first, pixels, made.ctypes.data,
        made.strides[0], made.strides[1] if low else 0,
    )))  # fmt: skip
    assert (made[:, :, width:] == 0xABCD).all()
    padded = np.zeros((width, blocks * 32), np.float32)
    padded[first : first + pixels, :channels] = values
    parts = halves_of(padded) if low else [np.where(np.isfinite(padded), nearest(padded), padded)]
    for copy, part in enumerate(parts):
        got = as_floats(made[:, copy, :width]).reshape(blocks, width, 16, 2)
        got = got.transpose(1, 0, 3, 2).reshape(width, -1)
        np.testing.assert_array_equal(got, part)


@pytest.mark.parametrize("low", [True, False])
@pytest.mark.parametrize("count", [1, 15, 16, 17, 32, 100])
def test_run(kernels, count, low):
    """In their order; whole vectors are written."""
    values = np.full(count + 1, np.nan, np.float32)
    values[:count] = values_of(np.random.default_rng(9), (max(14, count),))[:count]
    made = np.full((2, count + 17), 0xABCD, np.uint16)
    kernels[3](ctypes.byref(Run(
        values.ctypes.data, count, made[0].ctypes.data, made[1].ctypes.data if low else None,
    )))  # fmt: skip
    values = values[:count]
    parts = halves_of(values) if low else [np.where(np.isfinite(values), nearest(values), values)]
    for copy, part in enumerate(parts):
        np.testing.assert_array_equal(as_floats(made[copy, :count]), part)
        assert (made[copy, count + 15 :] == 0xABCD).all()
    assert low or (made[1] == 0xABCD).all()


WEIGHTS = [(1, 1, 1), (32, 32, 9), (17, 33, 4), (16, 70, 1), (20, 5, 25), (3, 40, 121), (5, 3, 256)]


@pytest.mark.parametrize("low", [True, False])
@pytest.mark.parametrize("size", WEIGHTS, ids=str)
def test_pack(kernels, size, low):
    channels, depth, taps = size
    weight = values_of(np.random.default_rng(8), (channels, depth, taps))
    across, copies, blocks = -(-channels // 16), 2 if low else 1, -(-depth // 32)
    made = np.full((blocks, taps, copies, across, 16, 16, 2), 0xABCD, np.uint16)
    beyond = np.append(made.reshape(-1), np.uint16(0xABCD))
    kernels[1](ctypes.byref(Pack(weight.ctypes.data, weight.strides[0], depth, taps, channels,
                                 across, low, beyond.ctypes.data)))
    assert beyond[-1] == 0xABCD
    made = beyond[:-1].reshape(made.shape)
    padded = np.zeros((across * 16, blocks * 32, taps), np.float32)
    padded[:channels, :depth] = weight
    parts = halves_of(padded) if low else [np.where(np.isfinite(padded), nearest(padded), padded)]
    for copy, part in enumerate(parts):
        # [tile, output channel][block, of a pair, pair][tap]
        part = part.reshape(across, 16, blocks, 2, 16, taps).transpose(2, 5, 0, 4, 1, 3)
        np.testing.assert_array_equal(as_floats(made[:, :, copy]), part)
