"""The machine, its instruction-set level, and the kernel table.

The only extension that links the kernel objects: everything else asks `kernels(type)` (0 float32,
1 float64). The level is chosen once, at import: the best that CPUID and the operating system offer,
capped by FASTCONV_ISA. The level amx is the best level of vectors, and tiles.
"""

import os
import platform
import time

from . cimport threads
from .arithmetic cimport ceil_div
from .kernels cimport FC_MAX_VECTORS, fc_gemm_kernels, fc_kernels, fc_kernels_for
from .panels cimport panel_count

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
    static int fc_machine_is_intel(void) {
        __builtin_cpu_init();
        return __builtin_cpu_is("intel") != 0;
    }
    #else
    static int fc_machine_level(void) { return 0; }
    static int fc_machine_is_intel(void) { return 0; }
    #endif

    #if defined(__x86_64__) && defined(__linux__)
    #include <sys/syscall.h>
    #include <unistd.h>
    enum { FC_TILE_DATA = 18, FC_GET_SUPPORTED = 0x1021, FC_REQUEST_PERMISSION = 0x1023 };
    /* Linux speaks for the processor, too: it names tiles where CPUID does. Every processor with
     * tiles multiplies bfloat16 so far. */
    static int fc_system_has_tiles(void) {
        unsigned long features = 0;
        return !syscall(SYS_arch_prctl, FC_GET_SUPPORTED, &features) && features >> FC_TILE_DATA & 1;
    }
    /* Once for a process, its threads and the children it forks. */
    static int fc_permit_tiles(void) {
        return !syscall(SYS_arch_prctl, FC_REQUEST_PERMISSION, FC_TILE_DATA);
    }
    #else
    static int fc_system_has_tiles(void) { return 0; }
    static int fc_permit_tiles(void) { return 0; }
    #endif

    #if defined(__clang__)
    #define FC_COMPILER "Clang " __clang_version__
    #else
    #define FC_COMPILER "GCC " __VERSION__
    #endif
    """
    int fc_machine_level() nogil
    int fc_machine_is_intel() nogil
    int fc_system_has_tiles() nogil
    int fc_permit_tiles() nogil
    const char *FC_COMPILER

LEVELS = ("baseline", "avx2", "avx512", "amx")

cdef int machine_level = fc_machine_level()
cdef bint machine_has_tiles = fc_kernels_for(machine_level, True, 0) != NULL \
    and fc_system_has_tiles()
cdef int level = machine_level      # of vectors
cdef bint with_tiles = False


cdef object requested_level():
    """The level that FASTCONV_ISA asks for, the best one without it."""
    name = os.environ.get("FASTCONV_ISA")
    if not name:
        return "amx" if machine_has_tiles and fc_permit_tiles() else LEVELS[machine_level]
    if name not in LEVELS:
        raise ImportError(
            f"fastconv: FASTCONV_ISA={name!r} is not an instruction-set level; "
            f"one of {', '.join(LEVELS)} is"
        )
    if name not in available_isas():
        raise ImportError(
            f"fastconv: FASTCONV_ISA={name} asks for more than this processor and its operating "
            f"system offer; they offer {', '.join(available_isas())}"
        )
    if name == "amx" and not fc_permit_tiles():
        raise ImportError(
            "fastconv: FASTCONV_ISA=amx: the operating system refuses tiles to this process "
            "(arch_prctl, ARCH_REQ_XCOMP_PERM)"
        )
    return name


def available_isas():
    """Names of the levels that this machine can run, weakest first."""
    return LEVELS[:machine_level + 1] + (("amx",) if machine_has_tiles else ())


cdef object chosen = requested_level()
with_tiles = chosen == "amx"
level = machine_level if with_tiles else LEVELS.index(chosen)


cpdef bint machine_is_intel() noexcept nogil:
    """For the few choices in which makers differ."""
    return fc_machine_is_intel()


cdef const fc_kernels *kernels(int type) noexcept nogil:
    return fc_kernels_for(level, with_tiles, type)


def isa():
    """Name of the instruction-set level in use: "baseline", "avx2", "avx512" or "amx"."""
    return "amx" if with_tiles else LEVELS[level]


def vector_isa():
    """Name of the level of vectors in use: that of `isa`, but for "amx" the one below its tiles."""
    return LEVELS[level]


def has_tiles(dtype="float32"):
    """Whether the level in use multiplies matrices of this type by tiles."""
    return kernels(type_code(dtype)).tiles != NULL


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


def gemm_tile(dtype, ptrdiff_t group_out):
    """The register tile of the widest panel of a group's output channels, as `Plan.tile` shows it."""
    cdef const fc_gemm_kernels *gemm = kernels(type_code(dtype)).gemm
    cdef ptrdiff_t vectors = max(1, ceil_div(group_out, gemm.lanes))
    vectors = ceil_div(vectors, panel_count(vectors, gemm.tile_rows))
    return f"{gemm.tile_rows[vectors]}x{vectors * gemm.lanes} (pixels x channels)"


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
