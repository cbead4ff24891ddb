"""What dispatch tells about the machine: lanes, register tiles, the peak of multiply-adds."""

import numpy as np
import pytest

from fastconv._engine import dispatch

# Bytes of a vector register, and how many registers there are.
REGISTERS = {"baseline": (16, 16), "avx2": (32, 16), "avx512": (64, 32)}


@pytest.mark.every_isa
@pytest.mark.parametrize("dtype", ["float32", "float64", np.dtype(np.float32)])
def test_registers(dtype):
    vector_bytes, registers = REGISTERS[dispatch.vector_isa()]
    lanes = vector_bytes // np.dtype(dtype).itemsize
    assert dispatch.lanes(dtype) == lanes
    for vectors, (rows, columns) in enumerate(dispatch.gemm_tiles(dtype), start=1):
        assert columns == vectors * lanes
        # Accumulators, a row of weights and an input value; too few would wait for each other.
        assert registers * 3 // 8 <= rows * vectors + (vectors == 1) * 2 <= registers - vectors


@pytest.mark.every_isa
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_the_widest_panel_of_some_channels(dtype):
    """No wider than the channels; of three full panels' channels a vector less, where that pays."""
    tiles, lanes = dispatch.gemm_tiles(dtype), dispatch.lanes(dtype)
    names = [f"{rows}x{columns} (pixels x channels)" for rows, columns in tiles]
    for vectors, name in enumerate(names, start=1):
        assert dispatch.gemm_tile(dtype, vectors * lanes) == name
        assert dispatch.gemm_tile(dtype, vectors * lanes - 1) == name
    assert dispatch.gemm_tile(dtype, 8 * len(tiles) * lanes) == names[-1]
    thirds = dispatch.gemm_tile(dtype, 3 * len(tiles) * lanes)
    assert thirds == names[-2 if len(tiles) > 3 else -1]


@pytest.mark.parametrize("dtype", ["float16", "int32", np.complex64, None])
def test_types_without_kernels(dtype):
    with pytest.raises(ValueError, match="has no kernels; float32 and float64 have"):
        dispatch.lanes(dtype)


def test_levels():
    assert dispatch.isa() in dispatch.available_isas()
    vectors = [level for level in dispatch.available_isas() if level != "amx"]
    assert tuple(vectors) == dispatch.LEVELS[: len(vectors)]
    assert dispatch.vector_isa() in vectors
    assert dispatch.vector_isa() == dispatch.isa() or dispatch.isa() == "amx"


@pytest.mark.every_isa
def test_tiles_are_for_float32_at_the_level_amx():
    assert dispatch.has_tiles() == (dispatch.isa() == "amx")
    assert not dispatch.has_tiles("float64")


def test_facts_for_people():
    assert dispatch.compiler().startswith(("GCC ", "Clang "))
    assert dispatch.cpu_name().strip()


@pytest.mark.every_isa
def test_peak():
    """float64 multiplies half as many numbers a second, give or take a noisy machine."""
    single = dispatch.measure_fma_peak(seconds=0.05)
    double = dispatch.measure_fma_peak(seconds=0.05, dtype="float64")
    assert single > 1
    assert 1.2 < single / double < 3.5
    assert dispatch.measure_fma_peak(threads=2, seconds=0.05) > 1
