"""The machine, its instruction-set level, and the kernel table.

The only extension that links the kernel objects: everything else asks `kernels(type)` (0 float32,
1 float64). The level is chosen once, at import: the best that CPUID and the operating system
offer, capped by FASTCONV_ISA.
"""

import os
import platform
import time

from .kernels cimport FC_MAX_VECTORS, fc_gemm_kernels, fc_kernels, fc_kernels_for
from . cimport threads

cdef extern from *:
    """
    #if defined(__x86_64__)
    static int fc_machine_level(void) {
        __builtin_cpu_init();
        if (!(__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"))) return 0;
        if (!(__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
              __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl"))) return 1;
        return 2;
    }
    #else
    static int fc_machine_level(void) { return 0; }
    #endif
    #if defined(__clang__)
    #define FC_COMPILER "Clang " __clang_version__
    #else
    #define FC_COMPILER "GCC " __VERSION__
    #endif
    """
    int fc_machine_level() nogil
    const char *FC_COMPILER

LEVELS = ("baseline", "avx2", "avx512")

cdef int machine_level = fc_machine_level()
cdef int level = machine_level


cdef int requested_level() except -1:
    """The level that FASTCONV_ISA asks for, the machine's best without it."""
    name = os.environ.get("FASTCONV_ISA")
    if not name:
        return machine_level
    if name not in LEVELS:
        raise ImportError(
            f"fastconv: FASTCONV_ISA={name!r} is not an instruction-set level; "
            f"one of {', '.join(LEVELS)} is"
        )
    index = LEVELS.index(name)
    if index > machine_level:
        raise ImportError(
            f"fastconv: FASTCONV_ISA={name} asks for more than this processor has; "
            f"it has {', '.join(LEVELS[:machine_level + 1])}"
        )
    return index


level = requested_level()


cdef const fc_kernels *kernels(int type) noexcept nogil:
    return fc_kernels_for(level, type)


def isa():
    """Name of the instruction-set level in use: "baseline", "avx2" or "avx512"."""
    return LEVELS[level]


def available_isas():
    """Names of the levels that this machine can run, weakest first."""
    return LEVELS[:machine_level + 1]


def compiler():
    """Name and version of the C compiler that built the engine."""
    return FC_COMPILER.decode()


def cpu_name():
    """The processor's name as the operating system gives it."""
    try:
        with open("/proc/cpuinfo") as lines:
            for line in lines:
                if line.startswith("model name"):
                    return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def lanes(dtype="float32"):
    """Elements in one vector register at the level in use."""
    return kernels(type_code(dtype)).gemm.lanes


def gemm_tiles(dtype="float32"):
    """(rows, columns) of the register tiles at the level in use, narrowest panel first."""
    cdef const fc_gemm_kernels *gemm = kernels(type_code(dtype)).gemm
    return [
        (gemm.tile_rows[vectors], vectors * gemm.lanes)
        for vectors in range(1, FC_MAX_VECTORS + 1) if gemm.tile_rows[vectors]
    ]


cdef int type_code(dtype) except -1:
    name = str(dtype)
    if name not in ("float32", "float64"):
        raise ValueError(f"dtype {name} has no kernels; float32 and float64 have")
    return name == "float64"


cdef struct Peak:
    const fc_kernels *kernels
    ptrdiff_t rounds


cdef int peak_task(void *context, Py_ssize_t task, int thread) noexcept nogil:
    cdef Peak *peak = <Peak *> context
    peak.kernels.gemm.peak(peak.rounds)
    return 0


def measure_fma_peak(int threads=1, double seconds=0.1, dtype="float32"):
    """Multiply-add throughput of registers alone, in GFLOP/s, at the level in use.

    Parameters
    ----------
    threads : int
        Threads that multiply at the same time.
    seconds : float
        About how long to measure.
    dtype : str
        "float32" or "float64".
    """
    cdef Peak peak
    cdef double best = 0
    peak.kernels = kernels(type_code(dtype))
    peak.rounds = 200000
    flops = threads * peak.kernels.gemm.peak(1) * peak.rounds
    end = time.perf_counter() + seconds
    while True:
        start = time.perf_counter()
        with nogil:
            threads_run(&peak, threads)
        now = time.perf_counter()
        best = max(best, flops / (now - start) / 1e9)
        if now > end:
            return best


cdef void threads_run(Peak *peak, int count) noexcept nogil:
    threads.parallel_exactly(peak_task, peak, count, count)
