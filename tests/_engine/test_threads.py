"""Threads: their number, Ctrl-C, forks, and calls from several Python threads at once."""

import os
import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

import fastconv
from fastconv._engine import threads as engine_threads

SHOW = "import fastconv; print(fastconv.get_num_threads())"
needs_openmp = pytest.mark.skipif(
    not engine_threads.has_openmp(), reason="this build has no OpenMP: one thread"
)


# ---------------------------------------------------------------- their number


@needs_openmp
def test_set_num_threads(threads):
    for count in (1, 3, np.int64(2)):
        threads(count)
        assert fastconv.get_num_threads() == count


@pytest.mark.parametrize(
    ("n", "exception", "message"),
    [
        (0, ValueError, "must be between 1 and 4096, got 0"),
        (-1, ValueError, "must be .* got -1"),
        (5000, ValueError, "must be .* got 5000"),
        (10**30, ValueError, "must be between 1 and 4096"),
        (2.0, TypeError, "must be an int, got 2.0"),
        (True, TypeError, "must be an int, got True"),
        ("2", TypeError, "must be an int, got '2'"),
        (None, TypeError, "must be an int, got None"),
    ],
)
def test_wrong_numbers_of_threads(n, exception, message):
    before = fastconv.get_num_threads()
    with pytest.raises(exception, match=f"^set_num_threads: n {message}"):
        fastconv.set_num_threads(n)
    assert fastconv.get_num_threads() == before


@needs_openmp
def test_default_number(fresh_python):
    """At most OMP_NUM_THREADS, never more than the processors this process may run on."""

    def shown(wanted):
        return int(fresh_python("-c", SHOW, OMP_NUM_THREADS=wanted).stdout)

    usual = shown(None)
    assert 1 <= usual <= os.cpu_count()
    assert shown("1") == 1
    assert shown("1,4") == 1
    for other in ("4096", "0", "-3", "", "many"):
        assert shown(other) == usual


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="needs sched_setaffinity")
def test_default_number_respects_affinity(fresh_python):
    program = "import os; os.sched_setaffinity(0, [min(os.sched_getaffinity(0))]); " + SHOW
    assert fresh_python("-c", program, OMP_NUM_THREADS=None).stdout == "1\n"


# ---------------------------------------------------------------- limits set from outside

LIMITED = """
import os, sys
import numpy as np
import fastconv
from fastconv import filters
from threadpoolctl import threadpool_limits

def count():
    return len(os.listdir("/proc/self/task"))

fastconv.set_num_threads(int(sys.argv[1]))
x, weight = np.ones((1, 64, 64, 64), np.float32), np.ones((64, 64, 3, 3), np.float32)

def run():
    fastconv.conv2d(x, weight, padding=1)
    fastconv.max_pool2d(np.ones((16, 64, 64, 64), np.float32), 2)
    filters.gaussian_filter(np.ones((1000, 1000), np.float32), 3)
    filters.correlate(np.ones((1000, 1000), np.float32), weight[0, 0])

before = count()
for limit in ({"limits": 1}, {"limits": {"openmp": 1}}, {"limits": 1, "user_api": "openmp"}):
    with threadpool_limits(**limit):
        run()
        assert fastconv.get_num_threads() == int(sys.argv[1])  # what was set is not forgotten
limited = count() - before
run()
print(limited, count() - before)
"""


@needs_openmp
@pytest.mark.skipif(sys.platform != "linux", reason="counts threads in /proc")
@pytest.mark.parametrize("count", [2, 5])
def test_threadpoolctl_limits_our_threads(count, fresh_python):
    """One thread starts no other; what was set with set_num_threads holds again afterwards."""
    if len(os.sched_getaffinity(0)) < 2:
        pytest.skip("one processor is OpenMP's own number here: a limit of one lowers nothing")
    pytest.importorskip("threadpoolctl", reason="needs threadpoolctl: pip install threadpoolctl")
    done = fresh_python("-c", LIMITED, str(count), OMP_NUM_THREADS=None)
    assert (done.stdout, done.stderr) == (f"0 {count - 1}\n", "")


# ---------------------------------------------------------------- Ctrl-C

LONG_CALL = """
import os, signal, sys, threading, time
import numpy as np
import fastconv

signal.signal(signal.SIGINT, signal.default_int_handler)  # a job in the background has it ignored
algorithm, count = sys.argv[1], int(sys.argv[2])
x, weight = np.ones((1, 64, 256, 256), np.float32), np.ones((64, 64, 63, 63), np.float32)
if algorithm == "winograd":
    x = np.broadcast_to(np.float32(1), (1, 1024, 256, 256))
    weight = np.broadcast_to(np.float32(1), (1024, 1024, 3, 3))
fastconv.set_num_threads(count)
sent = []

def interrupt():
    time.sleep(0.5)
    sent.append(time.monotonic())
    os.kill(os.getpid(), signal.SIGINT)

threading.Thread(target=interrupt).start()
try:
    fastconv.conv2d(x, weight, padding=1, algorithm=algorithm)
except KeyboardInterrupt:
    took = time.monotonic() - sent[0]
else:
    raise SystemExit("the call was over too soon")
assert took < 1.5, f"the interrupt took {took:.1f} s"
# and the engine goes on working
x, weight = np.ones((1, 32, 64, 64), np.float32), np.ones((32, 32, 3, 3), np.float32)
assert np.allclose(fastconv.conv2d(x, weight, algorithm=algorithm), 288, rtol=1e-5)
print("interrupted")
"""


@pytest.mark.parametrize("count", [1, 2])
@pytest.mark.parametrize("algorithm", ["direct", "im2col", "winograd"])
def test_ctrl_c_ends_a_long_call(algorithm, count, fresh_python):
    done = fresh_python("-c", LONG_CALL, algorithm, str(count))
    assert (done.stdout, done.stderr) == ("interrupted\n", "")


# ---------------------------------------------------------------- forks

FORK = """
import multiprocessing, os, warnings
import numpy as np
import fastconv

warnings.simplefilter("ignore", DeprecationWarning)  # forking with threads alive is the point
fastconv.set_num_threads(2)
rng = np.random.default_rng(0)
x = rng.standard_normal((1, 64, 64, 64)).astype(np.float32)
weight = rng.standard_normal((64, 64, 3, 3)).astype(np.float32)
wanted = fastconv.conv2d(x, weight)     # starts the threads

def same(_=None):
    return np.array_equal(fastconv.conv2d(x, weight), wanted)

child = os.fork()
if not child:
    os._exit(0 if same() else 1)
_, status = os.waitpid(child, 0)
assert status == 0, status
with multiprocessing.get_context("fork").Pool(2) as pool:
    assert all(pool.map(same, range(4)))
assert same()
print("forked")
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_forked_child_convolves(fresh_python):
    done = fresh_python("-c", FORK, timeout=60)
    assert (done.stdout, done.stderr) == ("forked\n", "")


# ---------------------------------------------------------------- several Python threads


def test_calls_from_several_threads_at_once(threads, rng):
    """Different calls side by side, each the same as alone; also while the cache is filled."""
    threads(2)
    cases = []
    for size in range(20, 60):
        x = rng.standard_normal((1, 24, size, size + 3)).astype("float32")
        weight = rng.standard_normal((20, 24, 3, 3)).astype("float32")
        cases.append((x, weight, fastconv.conv2d(x, weight, padding=1, precision="high")))

    def same(case):
        x, weight, wanted = case
        # Spelt differently, the call has a signature of its own: it is planned in this thread.
        return np.array_equal(fastconv.conv2d(x, weight, padding=(1, 1)), wanted)

    with ThreadPoolExecutor(4) as pool:
        assert all(pool.map(same, cases * 3))


@pytest.mark.parametrize("algorithm", ["direct", "im2col", "winograd"])
def test_threads_share_a_prepared_convolution(algorithm, threads, rng):
    """Its weights are packed on first use, by whoever comes first."""
    threads(2)
    x = rng.standard_normal((3, 48, 30, 31)).astype("float32")
    weight = rng.standard_normal((40, 48, 3, 3)).astype("float32")
    wanted = fastconv.conv2d(x, weight, algorithm=algorithm)
    for _ in range(5):
        op = fastconv.prepare_conv(weight, algorithm=algorithm)
        with ThreadPoolExecutor(4) as pool:
            for y in pool.map(op, [x] * 8):
                np.testing.assert_array_equal(y, wanted)


def test_the_gil_is_released(threads):
    """Another Python thread goes on while one convolves."""
    threads(1)
    x, weight = np.ones((1, 64, 128, 128), "float32"), np.ones((64, 64, 15, 15), "float32")
    before = sys.getswitchinterval()
    with ThreadPoolExecutor(1) as pool:
        call = pool.submit(fastconv.conv2d, x, weight)
        steps = 0
        while not call.done():
            steps += 1
    assert sys.getswitchinterval() == before
    assert steps > 1000
