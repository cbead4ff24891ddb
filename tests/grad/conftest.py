"""What the tests of gradients share: how close is close, and differences to compare with."""

import numpy as np
import pytest

# Largest error, relative to the largest magnitude of the gradient.
TOLERANCE = {np.dtype(np.float32): 1e-5, np.dtype(np.float64): 1e-9}
THREAD_COUNTS = (1, 2, 3, 7)


@pytest.fixture(scope="session")
def close():
    """Hold a result to a wanted array: type, shape, infinities and NaN, and every element."""

    def check(mine, wanted, dtype=None):
        assert isinstance(mine, np.ndarray) and mine.flags.c_contiguous
        assert mine.shape == wanted.shape and mine.dtype == (dtype or mine.dtype)
        finite = np.isfinite(wanted)
        np.testing.assert_array_equal(mine[~finite], wanted[~finite].astype(mine.dtype))
        size = np.abs(wanted[finite]).max(initial=0)
        error = np.abs(mine[finite].astype(wanted.dtype) - wanted[finite]).max(initial=0)
        assert error <= TOLERANCE[mine.dtype] * size, (error, size)

    return check


@pytest.fixture(scope="session")
def differences():
    """Gradient of sum(f(x) * grad_output) by central differences, in float64."""

    def gradient(f, x, grad_output, step=1e-6):
        result = np.empty(x.size)
        for place in range(x.size):
            moved = np.zeros(x.size)
            moved[place] = step
            moved = moved.reshape(x.shape)
            result[place] = ((f(x + moved) - f(x - moved)) * grad_output).sum() / (2 * step)
        return result.reshape(x.shape)

    return gradient


@pytest.fixture
def same_for_any_threads(threads):
    """Run a function with several numbers of threads; every array must have the same bits."""

    def check(run):
        seen = set()
        for count in THREAD_COUNTS:
            threads(count)
            result = run()
            parts = result if isinstance(result, tuple) else (result,)
            seen.add(b"".join(part.tobytes() for part in parts))
        assert len(seen) == 1

    return check
