"""Build fastconv: C kernels compiled once per instruction-set level and type, Cython on top.

Everything static about the package is in pyproject.toml. This file only knows how to turn
fastconv/_engine/kernels/*.c into one object per (family, level, type), and kernels/amx/*.c into one
each, link them all into the `dispatch` extension, and give the `threads` extension OpenMP where the
compiler has it.
"""

import os
import platform
import runpy
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy
from Cython.Build import cythonize
from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext

ENGINE = Path("fastconv/_engine")
KERNELS = ENGINE / "kernels"
IS_X86 = platform.machine().lower() in {"x86_64", "amd64"}
# Tiles need a system that saves them, and is asked for them; this one is.
HAS_AMX = IS_X86 and sys.platform == "linux"

COMMON_FLAGS = [
    "-std=gnu11", "-O3", "-g0", "-ffp-contract=fast", "-fno-math-errno", "-fno-trapping-math",
]
# Python's own flags may hold -fwrapv, which costs the register tiles a register.
KERNEL_FLAGS = COMMON_FLAGS + ["-fno-wrapv", "-Wall", "-Wextra"]
# Drivers that no small convolution or pool goes through: two of GCC's passes take a third of its
# time on Cython's long functions, and a call is some tenths of a microsecond quicker for them.
SELDOM = {
    "channel_sums", "depthwise_gradient", "dispatch", "elementwise", "filters", "filters_running",
    "filters_windows", "gradient", "input_gradient", "overlap_gradient", "planes_product",
    "pool_gradient", "resample", "weight_gradient", "weight_gradient_roles",
}
SELDOM_FLAGS = ["-O2", "-fno-gcse", "-fno-tree-pre"]
LEVEL_FLAGS = {"baseline": []}
if IS_X86:
    LEVEL_FLAGS["avx2"] = ["-mavx2", "-mfma"]
    LEVEL_FLAGS["avx512"] = [
        "-mavx512f", "-mavx512bw", "-mavx512dq", "-mavx512vl", "-mfma",
        "-mprefer-vector-width=512",
    ]
# The families of kernels/amx: beside any level of vectors, and compiled for none of them.
AMX_FLAGS = ["-mamx-tile", "-mamx-bf16"]
ELEMENT_BITS = (32, 64)
# The longest to compile first, so that no processor waits for one of them in the end.
LONGEST_FIRST = ("direct", "winograd", "pool")
# Long formulas that stand in several inlined copies must round alike in each of them: where the
# compiler may choose which product of a sum to fuse, it chooses differently from copy to copy.
FAMILY_FLAGS = {
    "elementwise": ["-ffp-contract=off"],
    "gradient": ["-ffp-contract=off"],
    # In double these equal SciPy's loops, which round every product.
    "filters": ["-ffp-contract=off"],
}
# Few processors have no AVX2 today, and what compiles longest does so in two thirds of the time.
# (At -O1 GCC takes vectors that are filled lane by lane for uninitialized ones.)
QUICK_FLAGS = ["-O1", "-fstrict-aliasing", "-fschedule-insns2", "-Wno-maybe-uninitialized"]
LINKED_WITH_KERNELS = "fastconv._engine.dispatch"
LINKED_WITH_OPENMP = "fastconv._engine.threads"


class BuildEngine(build_ext):
    """build_ext that also compiles the kernels and asks the compiler about OpenMP."""

    def build_extensions(self):
        if self.compiler.compiler_type == "msvc":
            sys.exit(
                "fastconv: MSVC has no vector extensions; build with clang-cl, "
                "or under WSL with GCC"
            )
        self.parallel = self.parallel or os.cpu_count()
        openmp = self.openmp_flags()
        seldom = SELDOM_FLAGS if self.links(SELDOM_FLAGS) else []
        for extension in self.extensions:
            extension.extra_compile_args += COMMON_FLAGS
            if extension.name.rpartition(".")[2] in SELDOM:
                extension.extra_compile_args += seldom
            if extension.name == LINKED_WITH_OPENMP and openmp:
                extension.extra_compile_args += openmp
                extension.extra_link_args += openmp
            if extension.name == LINKED_WITH_KERNELS:
                extension.extra_objects += self.kernel_objects()
                # extra_objects are not looked at for staleness: relink whenever kernels changed
                extension.depends += extension.extra_objects
        super().build_extensions()

    def kernel_objects(self):
        """Compile every kernel source for every level and element type, on all processors."""
        generated = self.generated_headers()
        families = sorted(
            (p for p in KERNELS.glob("*.c") if p.name != "registry.c"),
            key=lambda p: (p.stem not in LONGEST_FIRST, p.stem),
        )
        have = [("FC_HAVE_X86", None)] * IS_X86 + [("FC_HAVE_AMX", None)] * HAS_AMX
        jobs = [(KERNELS / "registry.c", "", have, [])]
        for source in families:
            for level, flags in LEVEL_FLAGS.items():
                for bits in ELEMENT_BITS:
                    macros = [("FC_LEVEL", level), ("FC_DTYPE", str(bits))]
                    flags_here = [*flags, *FAMILY_FLAGS.get(source.stem, [])]
                    if IS_X86 and level == "baseline" and source.stem in LONGEST_FIRST:
                        flags_here += QUICK_FLAGS
                    jobs.append((source, f"{level}-{bits}", macros, flags_here))
        if HAS_AMX:
            macros = [("FC_LEVEL", "amx"), ("FC_DTYPE", "32")]
            jobs += [(source, "amx-32", macros, AMX_FLAGS)
                     for source in sorted(KERNELS.glob("amx/*.c"))]

        def compile_one(job):
            source, folder, macros, flags = job
            return self.compiler.compile(
                [str(source)],
                output_dir=os.path.join(self.build_temp, folder),
                macros=macros,
                include_dirs=[generated],
                extra_postargs=KERNEL_FLAGS + flags,
            )

        with ThreadPoolExecutor(os.cpu_count()) as pool:
            return [path for objects in pool.map(compile_one, jobs) for path in objects]

    def generated_headers(self):
        """Write the headers that Python computes into the build folder; return where they are."""
        folder = Path(self.build_temp, "generated")
        folder.mkdir(parents=True, exist_ok=True)
        for source in sorted(ENGINE.glob("*_matrices.py")):
            header = runpy.run_path(str(source))["c_header"]()
            (folder / f"{source.stem}.h").write_text(header)
        return str(folder)

    def openmp_flags(self):
        """The flag that compiles and links an OpenMP program here, or none with a note."""
        program = "#include <omp.h>\nint main(void) { return omp_get_max_threads() < 1; }\n"
        if self.links(["-fopenmp"], program):
            return ["-fopenmp"]
        print("fastconv: this compiler has no OpenMP; building for one thread")
        return []

    def links(self, flags, program="int main(void) { return 0; }\n"):
        """Whether the compiler makes a program with these flags."""
        with tempfile.TemporaryDirectory() as folder:
            source = Path(folder, "probe.c")
            source.write_text(program)
            try:
                objects = self.compiler.compile(
                    [str(source)], output_dir=folder, extra_postargs=flags
                )
                self.compiler.link_executable(
                    objects, str(Path(folder, "probe")), extra_postargs=flags
                )
            except Exception:
                return False
        return True


def extensions():
    """One extension per .pyx of the engine."""
    return [
        Extension(
            f"fastconv._engine.{source.stem}",
            [str(source)],
            include_dirs=[str(KERNELS), str(ENGINE), numpy.get_include()],
            define_macros=[("NPY_NO_DEPRECATED_API", "NPY_1_7_API_VERSION")],
            extra_compile_args=[],
            extra_link_args=[],
            depends=[str(header) for header in KERNELS.glob("*.h")],
        )
        for source in sorted(ENGINE.glob("*.pyx"))
    ]


# The processes that translate Cython side by side may come by here, too.
if __name__ == "__main__":
    setup(
        ext_modules=cythonize(
            extensions(),
            nthreads=os.cpu_count(),
            compiler_directives={
                "language_level": 3,
                "boundscheck": False,
                "wraparound": False,
                "cdivision": True,
                "initializedcheck": False,
                # What functions written in Python know of themselves is a sixth of the C code.
                "binding": False,
                # Nor can what the engine's classes hold be pickled: it is memory and pointers.
                "auto_pickle": False,
                "embedsignature": True,
            },
        ),
        cmdclass={"build_ext": BuildEngine},
    )
