"""The one way to run in parallel: OpenMP threads that draw tasks.

Each thread has a share of neighbouring tasks, the same in every run, so that what it reads and
writes is still in its cache from the call before; who is done early draws from the others' shares.

`run` decides by the work whether waking threads pays, is serial in a forked child (libgomp's
pool does not survive a fork), sets and restores the denormal mode in each thread, and leaves the
parallel region every 100 ms to let Python handle signals, so Ctrl-C works in long calls. A limit
that someone sets on OpenMP for the calling thread, as threadpoolctl does, holds for us too.
"""

import os
import time

from cython.parallel cimport prange

cdef extern from "Python.h":
    # cpython.exc declares it `except -1`, which a noexcept caller would print and forget.
    int PyErr_CheckSignals() noexcept

cdef extern from *:
    """
    #include <stddef.h>
    #include <time.h>
    #if !defined(_WIN32)
    #include <pthread.h>
    #endif
    #if defined(__x86_64__)
    #include <xmmintrin.h>
    #define FC_FLUSH 0x8040u /* flush-to-zero and denormals-are-zero */
    static unsigned fc_denormals_flush(void) {
        unsigned saved = _mm_getcsr();
        _mm_setcsr(saved | FC_FLUSH);
        return saved;
    }
    static void fc_denormals_restore(unsigned saved) { _mm_setcsr(saved); }
    #else
    static unsigned fc_denormals_flush(void) { return 0; }
    static void fc_denormals_restore(unsigned saved) { (void)saved; }
    #endif

    #if defined(_OPENMP)
    #include <omp.h>
    #define FC_OPENMP 1
    #else
    #define FC_OPENMP 0
    static int omp_get_max_threads(void) { return 1; }
    static int omp_get_num_procs(void) { return 1; }
    #endif

    static int fc_forked = 0;
    #if !defined(_WIN32)
    static void fc_in_child(void) { fc_forked = 1; }
    static void fc_watch_fork(void) { pthread_atfork(NULL, NULL, fc_in_child); }
    #else
    static void fc_watch_fork(void) {}
    #endif

    static double fc_now(void) {
        struct timespec t;
        clock_gettime(CLOCK_MONOTONIC, &t);
        return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
    }

    /* A thread's own tasks, one after the other; a cache line each, since others look in too. */
    typedef struct { ptrdiff_t next, end; } __attribute__((aligned(64))) fc_share;

    /* The state that the threads of one run share. */
    enum { FC_SHARES = 64 };
    typedef struct {
        fc_share share[FC_SHARES];
        int shares, code, pause;
        double deadline;
    } fc_run_state;

    static void fc_deal(fc_run_state *s, ptrdiff_t tasks, int count) {
        s->shares = count < FC_SHARES ? count : FC_SHARES;
        for (int i = 0; i < s->shares; i++) {
            s->share[i].next = tasks * i / s->shares;
            s->share[i].end = tasks * (i + 1) / s->shares;
        }
    }

    /* The next task of a thread's own share, then of the others'; -1 when none is left. */
    static ptrdiff_t fc_draw(fc_run_state *s, int thread) {
        for (int i = 0; i < s->shares; i++) {
            fc_share *share = &s->share[(thread + i) % s->shares];
            if (__atomic_load_n(&share->next, __ATOMIC_RELAXED) >= share->end) continue;
            ptrdiff_t task = __atomic_fetch_add(&share->next, 1, __ATOMIC_RELAXED);
            if (task < share->end) return task;
        }
        return -1;
    }

    static int fc_finished(const fc_run_state *s) {
        for (int i = 0; i < s->shares; i++)
            if (s->share[i].next < s->share[i].end) return 0;
        return 1;
    }
    static int fc_stopped(fc_run_state *s) { return __atomic_load_n(&s->pause, __ATOMIC_RELAXED); }
    static void fc_stop(fc_run_state *s, int code) {
        int none = 0;
        if (code) __atomic_compare_exchange_n(&s->code, &none, code, 0, __ATOMIC_RELAXED, __ATOMIC_RELAXED);
        __atomic_store_n(&s->pause, 1, __ATOMIC_RELAXED);
    }
    """
    ctypedef struct fc_run_state:
        int code
        int pause
        double deadline
    int FC_OPENMP
    int omp_get_max_threads() nogil
    int omp_get_num_procs() nogil
    int fc_forked
    unsigned fc_denormals_flush() nogil
    void fc_denormals_restore(unsigned) nogil
    void fc_watch_fork() nogil
    double fc_now() nogil
    void fc_deal(fc_run_state *, ptrdiff_t, int) nogil
    ptrdiff_t fc_draw(fc_run_state *, int) nogil
    int fc_finished(const fc_run_state *) nogil
    int fc_stopped(fc_run_state *) nogil
    void fc_stop(fc_run_state *, int) nogil

cdef double SIGNAL_CHECK_SECONDS = 0.1
# Below this much work one thread is faster than waking another (about 10 microseconds of it).
cdef double WORK_PER_THREAD = 1e6


cdef int worker(fc_task task, void *context, int thread, bint flush,
                fc_run_state *state) noexcept nogil:
    """One thread's share: draw tasks until none is left or someone asks to stop."""
    cdef Py_ssize_t index
    cdef int code
    cdef unsigned saved = 0
    if flush:
        saved = fc_denormals_flush()
    while not fc_stopped(state):
        index = fc_draw(state, thread)
        if index < 0:
            break
        code = task(context, index, thread)
        if code != FC_OK:
            fc_stop(state, code)
        elif thread == 0 and fc_now() > state.deadline:
            fc_stop(state, FC_OK)
    if flush:
        fc_denormals_restore(saved)
    return 0


cdef int signals_raised() noexcept nogil:
    cdef int raised
    with gil:
        raised = PyErr_CheckSignals()
    return raised


cdef int run_with(fc_task task, void *context, Py_ssize_t tasks, int count, bint flush) noexcept nogil:
    cdef fc_run_state state
    cdef int thread
    fc_deal(&state, tasks, count)
    state.code = FC_OK
    while True:
        state.pause = 0
        state.deadline = fc_now() + SIGNAL_CHECK_SECONDS
        if count == 1:
            worker(task, context, 0, flush, &state)
        else:
            for thread in prange(count, num_threads=count, schedule="static", chunksize=1):
                worker(task, context, thread, flush, &state)
        if state.code != FC_OK or fc_finished(&state):
            return state.code
        if signals_raised():
            return FC_INTERRUPTED


cdef int run(fc_task task, void *context, Py_ssize_t tasks, double work, bint flush_denormals,
             int most) noexcept nogil:
    cdef Py_ssize_t count = maximum()
    cdef Py_ssize_t worth = 1 + <Py_ssize_t> (work / WORK_PER_THREAD)
    if count > most:
        count = most
    if count > tasks:
        count = tasks
    if count > worth:
        count = worth
    if count < 1:
        count = 1
    return run_with(task, context, tasks, <int> count, flush_denormals)


cdef int parallel_exactly(fc_task task, void *context, Py_ssize_t tasks, int count) noexcept nogil:
    return run_with(task, context, tasks, 1 if fc_forked else count, False)


cdef int thread_count = 1
# What OpenMP allows a thread that has not been limited.
cdef int openmp_usual = 1


cdef int maximum() noexcept nogil:
    cdef int allowed = omp_get_max_threads()
    if fc_forked:
        return 1
    # Only a lowered limit counts: more threads than OpenMP's usual ones may have been asked of us.
    return min(thread_count, allowed) if allowed < openmp_usual else thread_count


def cgroup_cpus():
    """CPUs that the control group's quota allows, or None without a quota."""
    try:
        with open("/sys/fs/cgroup/cpu.max") as file:
            quota, period = file.read().split()[:2]
    except (OSError, ValueError):
        try:
            with open("/sys/fs/cgroup/cpu/cpu.cfs_quota_us") as file:
                quota = file.read().strip()
            with open("/sys/fs/cgroup/cpu/cpu.cfs_period_us") as file:
                period = file.read().strip()
        except OSError:
            return None
    if quota in ("max", "-1") or not quota.isdigit() or not int(period):
        return None
    return max(1, -(-int(quota) // int(period)))


def wanted_threads():
    """OMP_NUM_THREADS, or None where it is not set to a number."""
    wanted = os.environ.get("OMP_NUM_THREADS", "").split(",")[0].strip()
    return int(wanted) if wanted.isdigit() and int(wanted) > 0 else None


def default_num_threads():
    """Smallest of OMP_NUM_THREADS, the CPUs this process may run on, and its cgroup quota."""
    if not FC_OPENMP:
        return 1
    affinity = getattr(os, "sched_getaffinity", None)
    limits = [len(affinity(0)) if affinity else os.cpu_count() or 1]
    quota = cgroup_cpus()
    if quota:
        limits.append(quota)
    if wanted_threads():
        limits.append(wanted_threads())
    return min(limits)


def get_num_threads():
    """Threads that one call may use.

    Returns
    -------
    int
        The number given to `set_num_threads`, or the default: the smallest of OMP_NUM_THREADS,
        the CPUs this process may run on, and its cgroup quota. Results do not depend on it.
        Calls under a lower limit of OpenMP's (`threadpoolctl.threadpool_limits`) keep to that, and
        a forked child runs on one thread.
    """
    return thread_count


def usable_threads():
    """Threads that a call from this thread would use: limits and forks counted."""
    return maximum()


def set_num_threads(n):
    """Set how many threads one call may use.

    Parameters
    ----------
    n : int
        At least 1. More than the machine's CPUs is allowed, and slower. Without OpenMP only 1
        has an effect.
    """
    global thread_count
    if isinstance(n, bool) or not hasattr(n, "__index__"):
        raise TypeError(f"set_num_threads: n must be an int, got {n!r}")
    count = n.__index__()
    if not 1 <= count <= 4096:
        raise ValueError(f"set_num_threads: n must be between 1 and 4096, got {count}")
    thread_count = count if FC_OPENMP else 1


cdef int no_task(void *context, Py_ssize_t task, int thread) noexcept nogil:
    return FC_OK


def measure_wake_up(int threads, double idle, int tries):
    """Return the seconds that threads take to begin and to end after a pause, without any work.

    Parameters
    ----------
    threads : int
        The calling one included.
    idle : float
        Seconds to sleep before each try.
    tries : int
        The fastest one counts.
    """
    cdef double best = float("inf"), start
    for _ in range(tries):
        time.sleep(idle)
        start = fc_now()
        with nogil:
            parallel_exactly(no_task, NULL, threads, threads)
        best = min(best, fc_now() - start)
    return best


def has_openmp():
    """Whether the engine was built with OpenMP."""
    return bool(FC_OPENMP)


fc_watch_fork()
thread_count = default_num_threads()
openmp_usual = wanted_threads() or omp_get_num_procs()
