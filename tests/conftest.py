"""Fixtures shared by all tests: the oracle's bounds, arrays in every memory order, fresh processes.

`check_conv` runs one convolution and holds it to the error bounds that the package promises;
`memory` lays an array out in memory in every way NumPy allows; `fresh_python` runs a script in a
new interpreter, for what is decided once at import. Tests marked `every_isa` run again, in a fresh
process, at each weaker instruction-set level of the machine (tests/_engine/test_levels.py).
"""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import fastconv
from fastconv import reference
from fastconv._engine import dispatch

try:
    import hypothesis
except ImportError:
    pass
else:
    # Repeatable by default; `--hypothesis-profile explore` looks at new examples each time.
    quiet = {"deadline": None, "database": None, "print_blob": False}
    hypothesis.settings.register_profile("repeat", derandomize=True, max_examples=100, **quiet)
    hypothesis.settings.register_profile("explore", max_examples=2000, **quiet)
    hypothesis.settings.load_profile("repeat")

PACKAGE_FOLDER = Path(fastconv.__file__).resolve().parent.parent


def pytest_configure(config):
    config.addinivalue_line("markers", "every_isa: runs again at each weaker ISA level")


@pytest.fixture
def rng():
    """A generator of random numbers, the same ones for every test."""
    return np.random.default_rng(20240229)


# ---------------------------------------------------------------- the oracle

# |y - exact| / conv(|x|, |w|): elementwise for direct and im2col, of the maxima for Winograd.
ELEMENTWISE = {np.dtype(np.float32): 2e-6, np.dtype(np.float64): 1e-14}
OF_MAXIMUM = {np.dtype(np.float32): 1e-5, np.dtype(np.float64): 1e-13}
# Products that the oracle adds up in long double; beyond, float64 must do for float64.
CHEAP = 100_000


def oracle(y, op, x, weight, bias=None, residual=None, **options):
    """What `y` should be, and the same sums over magnitudes, which error bounds are relative to.

    Returns
    -------
    exact, size : ndarray
        Of float64 for a float32 y, of long double for float64 where that is cheap.
    """
    products = y.size * (weight.size // len(weight))
    wide = np.float64 if y.dtype == np.float32 or products > CHEAP else np.longdouble
    arrays = [None if a is None else np.asarray(a) for a in (x, weight, bias, residual)]
    contents = [None if a is None else (a.dtype.str, a.shape, a.tobytes()) for a in arrays]
    case = op, repr(options), wide, *contents
    if case not in _recent:
        run = getattr(reference, op)
        arrays = [None if a is None else a.astype(wide) for a in arrays]
        exact = run(*arrays[:3], residual=arrays[3], **options)
        arrays = [None if a is None else abs(a) for a in arrays]
        _recent[case] = exact, run(*arrays[:3], residual=arrays[3], **options)
        if len(_recent) > RECENT:
            del _recent[next(iter(_recent))]
    return _recent[case]


# Of a few cases the sums are remembered: next to each other stand the tests of one case that differ
# in the algorithm or in the order in memory.
RECENT = 8
_recent = {}


def assert_close(y, exact, size, fast):
    """Hold a result to the promised bound; `fast` says that Winograd may have made it."""
    assert y.shape == exact.shape
    bound = OF_MAXIMUM[y.dtype] * size.max(initial=0) if fast else ELEMENTWISE[y.dtype] * size
    error = abs(y - exact)
    allowed = bound + np.finfo(y.dtype).tiny
    if not (error <= allowed).all():
        worst = np.unravel_index(np.argmax(np.nan_to_num(error / allowed, nan=np.inf)), y.shape)
        raise AssertionError(
            f"{np.count_nonzero(~(error <= allowed))} of {y.size} elements are off; at {worst} got "
            f"{y[worst]}, exact {exact[worst]}, error {np.max(error / allowed):.3g} times the bound"
        )


@pytest.fixture(scope="session")
def check_conv():
    """Run an operation of the convolution family and hold the result to the promised bounds.

    ``check_conv("conv2d", x, weight, bias, residual=..., algorithm=..., stride=2, ...)`` returns
    the result. The operands may have any memory order and dtype; no activation, because the bounds
    are about sums.
    """

    def check(op, x, weight, bias=None, *, residual=None, out=None, engine=(), **options):
        y = getattr(fastconv, op)(
            x, weight, bias, residual=residual, out=out, **dict(engine), **options
        )
        assert y.dtype == np.result_type(x.dtype, weight.dtype, np.float32)
        exact, size = oracle(y, op, x, weight, bias, residual, **options)
        if out is not None:
            assert y is out
        algorithm = dict(engine).get("algorithm", "auto")
        # at the level amx im2col may take tiles, with the tolerance of "high"
        sure = algorithm == "direct" or dict(engine).get("precision") == "highest"
        sure = sure or (algorithm == "im2col" and not dispatch.has_tiles())
        assert_close(y, exact, size, fast=not sure)
        return y

    return check


# ---------------------------------------------------------------- arrays


def _cropped(array):
    """In the middle of a larger array of NaN: whoever reads or writes beside it is found out."""
    whole = np.full([n + 3 for n in array.shape], np.nan, array.dtype)
    part = whole[tuple(slice(1, n + 1) for n in array.shape)]
    part[...] = array
    return part


def _sliced(array):
    whole = np.full([2 * n + 1 for n in array.shape], np.nan, array.dtype)
    part = whole[tuple(slice(1, None, 2) for _ in array.shape)]
    part[...] = array
    return part


def _unaligned(array):
    memory = np.zeros(array.nbytes + 1, np.uint8)
    part = memory[1:].view(array.dtype).reshape(array.shape)
    part[...] = array
    return part


def _read_only(array):
    array = array.copy()
    array.flags.writeable = False
    return array


def _axis_moved(source, target):
    """Memory in which an axis lies elsewhere: channels last seen as channels first, and back."""

    def move(array):
        if array.ndim < 2:
            return array.copy()
        return np.moveaxis(np.moveaxis(array, source, target).copy(), target, source)

    return move


class Memory:
    """Ways to lay out an array's elements; each takes an array and returns an equal one."""

    WRITABLE = {
        "C": np.ndarray.copy,
        "Fortran": lambda array: array.copy(order="F"),
        "channels last": _axis_moved(1, -1),
        "channels first": _axis_moved(-1, 1),
        "reversed": lambda array: np.flip(np.flip(array).copy()),
        "cropped": _cropped,
        "sliced": _sliced,
        "unaligned": _unaligned,
    }
    ALL = {
        **WRITABLE,
        "read-only": _read_only,
        "byte-swapped": lambda array: array.astype(array.dtype.newbyteorder()),
    }

    def lay(self, array, order):
        """Return an array equal to `array` in the memory order named `order`."""
        laid = self.ALL[order](array)
        assert laid.shape == array.shape
        return laid


@pytest.fixture(scope="session")
def memory():
    return Memory()


# ---------------------------------------------------------------- the process


@pytest.fixture
def threads():
    """`fastconv.set_num_threads`, undone afterwards."""
    before = fastconv.get_num_threads()
    yield fastconv.set_num_threads
    fastconv.set_num_threads(before)


@pytest.fixture(scope="session")
def fresh_python():
    """Run ``python *arguments`` with this fastconv; keyword arguments are environment variables.

    A variable that is None is taken out of the environment. Returns the completed process, with
    text in stdout and stderr.
    """

    def run(*arguments, timeout=120, **variables):
        path = os.pathsep.join(filter(None, (str(PACKAGE_FOLDER), os.environ.get("PYTHONPATH"))))
        environment = {**os.environ, "PYTHONPATH": path, **variables}
        environment = {name: value for name, value in environment.items() if value is not None}
        return subprocess.run(
            [sys.executable, *arguments], env=environment, capture_output=True, text=True,
            timeout=timeout, check=False,
        )

    return run
