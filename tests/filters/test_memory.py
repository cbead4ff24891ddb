"""What filters need beside the picture and the result."""

import pytest

PEAK = """
import resource, sys
import numpy as np
import fastconv
from fastconv import filters

fastconv.set_num_threads(2)
run, arguments, dtype = getattr(filters, sys.argv[1]), eval(sys.argv[2]), sys.argv[3]
run(np.ones((256, 64, 64), dtype), *arguments)    # code is loaded and threads are started now
x, out = np.ones((256, 512, 512), dtype), np.ones((256, 512, 512), dtype)
# The largest arrays came last: the highest water mark so far is what is in use now.
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
run(x, *arguments, output=out)
after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
unit = 1 if sys.platform == "darwin" else 1024
print((after - before) * unit)
"""
SLAB = 512 * 512


@pytest.mark.parametrize(
    ("name", "arguments", "dtype", "element"),
    [
        ("gaussian_filter", "(2,)", "float32", 4),
        ("uniform_filter", "(9,)", "float32", 4),
        ("gaussian_filter", "(2,)", "float64", 8),
        ("maximum_filter", "(5,)", "uint8", 4),
        ("correlate", "(np.random.rand(3, 3, 3),)", "float32", 4),
    ],
)
def test_a_stack_takes_at_most_a_slab_for_each_thread(
    name, arguments, dtype, element, fresh_python
):
    """A slab in the type that is computed in: uint8's maxima are float32's."""
    pytest.importorskip("resource", reason="needs getrusage, which this system lacks")
    done = fresh_python("-c", PEAK, name, arguments, dtype)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) <= 2 * SLAB * element
