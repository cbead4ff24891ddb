"""Memory: bounded scratch, nothing kept for ever, results on boundaries, no leaked references."""

import gc
import sys
import tracemalloc

import numpy as np
import pytest

import fastconv

MIB = 1 << 20
# The promise's example: 5x5, 64 channels of 1024x1024 to 64.
X, WEIGHT = (1, 64, 1024, 1024), (64, 64, 5, 5)


@pytest.mark.every_isa
@pytest.mark.parametrize("layout", ["NCHW", "NHWC"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("algorithm", ["auto", "direct", "im2col"])
def test_scratch_for_large_windows(algorithm, dtype, layout):
    shape = X if layout == "NCHW" else (1, 1024, 1024, 64)
    options = {"padding": 2, "layout": layout, "algorithm": algorithm, "dtype": dtype}
    plan = fastconv.explain_conv2d(shape, WEIGHT, **options)
    assert plan.workspace_bytes <= 8 * MIB
    weight_bytes = np.prod(WEIGHT) * np.dtype(dtype).itemsize
    assert weight_bytes <= plan.packed_bytes <= 1.5 * weight_bytes


@pytest.mark.parametrize(
    ("x_shape", "weight_shape", "options"),
    [
        ((1, 3, 4096, 4096), (64, 3, 11, 11), {"stride": 4}),
        ((1, 512, 512, 512), (512, 512, 3, 3), {"padding": 1}),
        ((1, 512, 512, 512), (512, 512, 3, 3), {"padding": 1, "algorithm": "winograd"}),
        ((1, 64, 512, 512), (64, 64, 3, 3), {"dilation": 200, "algorithm": "winograd"}),
        ((1, 512, 512, 512), (512, 1, 3, 3), {"groups": 512}),
        ((1, 1, 16384, 16384), (1, 1, 31, 31), {}),
        ((1, 2048, 64, 64), (2048, 2048, 1, 1), {}),
        ((64, 256, 14, 14), (256, 256, 3, 3), {"padding": 1}),
        ((1, 64, 8, 65536), (64, 64, 3, 3), {"padding": 1}),
    ],
    ids=str,
)
@pytest.mark.parametrize("channels_last", [False, True])
def test_scratch_of_large_layers(x_shape, weight_shape, options, channels_last):
    if channels_last:
        x_shape = x_shape[0], *x_shape[2:], x_shape[1]
    layout = "NHWC" if channels_last else "NCHW"
    plan = fastconv.explain_conv2d(x_shape, weight_shape, layout=layout, **options)
    assert plan.workspace_bytes <= 8 * MIB


PEAK = """
import resource, sys
import numpy as np
import fastconv

threads = 2
fastconv.set_num_threads(threads)
x_shape, out_shape = eval(sys.argv[1]), eval(sys.argv[2])
weight = np.ones((64, 64, 5, 5), np.float32)
small = np.ones((1, 64, 32, 32), np.float32)
fastconv.conv2d(small, weight, padding=2, algorithm="im2col")    # threads are started now
x, out = np.ones(x_shape, np.float32), np.ones(out_shape, np.float32)
options = dict(padding=2, layout=sys.argv[3])
packed = fastconv.explain_conv2d(x_shape, weight.shape, **options).packed_bytes
# The largest arrays came last: the highest water mark so far is what is in use now.
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
fastconv.conv2d(x, weight, out=out, **options)
after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
unit = 1 if sys.platform == "darwin" else 1024
print((after - before) * unit, packed, threads)
"""


@pytest.mark.parametrize(
    ("x_shape", "layout"), [(X, "NCHW"), ((1, 256, 1024, 64), "NHWC")], ids=["NCHW", "NHWC"]
)
def test_measured_scratch(x_shape, layout, fresh_python):
    """What the process really grows by: scratch of each thread, and the packed weights."""
    pytest.importorskip("resource", reason="needs getrusage, which this system lacks")
    done = fresh_python("-c", PEAK, str(x_shape), str(x_shape), layout, timeout=300)
    assert done.returncode == 0, done.stderr
    grown, packed, threads = map(int, done.stdout.split())
    # Beside them 1 MiB for the interpreter's own objects and the threads' stacks.
    assert grown <= threads * 8 * MIB + packed + MIB


KEPT = """
import resource
import numpy as np
import fastconv

def used():
    pages = int(open("/proc/self/statm").read().split()[1])
    return pages * resource.getpagesize()

def convolve(sizes):
    x = np.ones((1, 32, 5, 40), np.float32)
    for size in sizes:
        for algorithm in ("direct", "im2col", "winograd"):
            fastconv.conv2d(x, np.ones((size, 32, 3, 3), np.float32), algorithm=algorithm)

convolve(range(3, 63))
first = used()
convolve(range(63, 303))
print(used() - first)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc/self/statm")
def test_what_is_kept_between_calls_is_bounded(fresh_python):
    """Hundreds of signatures, weights of growing size: plans and workspaces make room again."""
    done = fresh_python("-c", KEPT)
    assert done.returncode == 0, done.stderr
    # Eight workspaces stay, of a few MiB each, and the plans of the last 512 signatures.
    assert int(done.stdout) < 48 * MIB


@pytest.mark.parametrize("algorithm", ["direct", "im2col", "winograd"])
def test_no_reference_is_kept(algorithm, rng):
    x, weight = rng.standard_normal((1, 18, 9, 9)), rng.standard_normal((18, 18, 3, 3))
    bias, residual = np.ones(18), rng.standard_normal((1, 18, 9, 9))
    out = np.empty_like(residual)
    arrays = [x, weight, bias, residual, out]
    options = {"padding": 1, "algorithm": algorithm}
    before = [sys.getrefcount(array) for array in arrays]
    for _ in range(10):
        fastconv.conv2d(x, weight, bias, residual=residual, out=out, **options)
        fastconv.conv2d(x, weight, bias, residual=out, out=out, **options)
        with pytest.raises(ValueError, match="bias must have shape"):
            fastconv.conv2d(x, weight, bias[:3], residual=residual, out=out, **options)
    gc.collect()
    assert [sys.getrefcount(array) for array in arrays] == before


RESULTS = """
import resource
import numpy as np
import fastconv

def used():
    pages = int(open("/proc/self/statm").read().split()[1])
    return pages * resource.getpagesize()

def faults():
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt

def chain(x):
    for _ in range(5):
        x = fastconv.relu(x)

x = np.ones((64, 6, 28, 28), np.float32)
chain(x)
first = faults()
for _ in range(50):
    chain(x)
again = faults() - first
before, wide = used(), np.ones(2 << 20, np.float32)
results = [fastconv.relu(wide) for _ in range(40)]
held = used() - before
del results
print(again, held, used() - before)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc/self/statm")
def test_memory_of_results_serves_again_and_is_bounded(fresh_python):
    """A chain of results of 1.2 MB, and 40 of 8 MiB at once."""
    done = fresh_python("-c", RESULTS)
    assert done.returncode == 0, done.stderr
    faults, held, left = map(int, done.stdout.split())
    assert faults < 250  # of 250 results with 294 pages each
    assert held > 320 * MIB  # or nothing is seen of what comes back
    assert left < 80 * MIB


def test_a_view_holds_its_result(rng):
    """Memory comes back when the last view is gone, not before."""
    x = rng.standard_normal((1, 64, 64, 64)).astype(np.float32)
    view = fastconv.relu(x)[:, 1::2]
    for value in range(20):
        fastconv.relu(np.full_like(x, value))
    np.testing.assert_array_equal(view, np.maximum(x, 0)[:, 1::2])


def test_tracemalloc_sees_results():
    x = np.ones((64, 6, 28, 28), np.float32)
    fastconv.relu(x)
    tracemalloc.start()
    y = fastconv.relu(x)
    with_result = tracemalloc.get_traced_memory()[0]
    del y
    without = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    # Memory that an earlier result of up to twice the size left may serve.
    assert x.nbytes <= with_result - without < 2.1 * x.nbytes


def test_results_do_not_share_memory(rng):
    x, weight = rng.standard_normal((1, 4, 9, 9)), rng.standard_normal((4, 4, 3, 3))
    results = [fastconv.conv2d(x, weight) for _ in range(20)]
    for index, y in enumerate(results):
        y[...] = index
    assert all((y == index).all() for index, y in enumerate(results))
    assert all(y.ctypes.data % 64 == 0 for y in results)
