# The one way to run in parallel. A task function gets its context, the task's index and the index
# of the thread that runs it (for per-thread workspace); it returns 0, or an error code that stops
# the run. Which thread runs which task is open, so results must not depend on it.

ctypedef int (*fc_task)(void *context, Py_ssize_t task, int thread) noexcept nogil

cdef enum:
    FC_OK = 0
    FC_INTERRUPTED = -1   # a signal handler raised; the exception is set

# What one run may cost before threads are woken: estimated floating-point operations (or their
# equivalent in bytes moved, one byte counting as four). `most` is the number of threads that the
# caller has workspace for: the count of threads may be set anew while a call is under way.
cdef int run(fc_task task, void *context, Py_ssize_t tasks, double work, bint flush_denormals,
             int most) noexcept nogil

# As run, with a number of threads that the caller has decided on.
cdef int parallel_exactly(fc_task task, void *context, Py_ssize_t tasks, int count) noexcept nogil

# Threads that a run of the calling thread may use at most: the length of per-thread workspace arrays.
cdef int maximum() noexcept nogil
