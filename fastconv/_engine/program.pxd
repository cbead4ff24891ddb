# Recorded operations that run back to back; program.pyx says how.

from libc.stddef cimport ptrdiff_t
from libc.stdint cimport uintptr_t

# A recorded operation: `frame` is its plain struct, a copy that it may change; `workspace` has its
# bytes for each of `threads` threads.
ctypedef int (*fc_step)(void *frame, char *workspace, int threads) noexcept nogil

cdef class Room:
    cdef object chunk
    cdef list full                       # chunks in which arrays may still lie
    cdef char *start
    cdef Py_ssize_t bytes, used

    cdef take_chunk(self, Py_ssize_t size)

cdef class Tape:
    cdef readonly list steps
    cdef readonly list arrays            # new ones that were asked for
    cdef Room room                       # for arrays of operations that wait
    cdef readonly bint failed
    cdef bint flush_denormals            # in what is written down here
    cdef void *before                    # the tape that listened until this one came

    cdef Recorded record(self, fc_step run, const void *frame, size_t size, tuple keep)

cdef enum:
    MOST_MOVES = 6

cdef struct Moved:
    # A pointer in a frame: an array that may lie elsewhere in the next run.
    size_t place                         # in the frame
    uintptr_t address                    # as it was recorded
    bint written
    int buffer                           # as ledgers number them, -1 for what stays where it is
    ptrdiff_t offset                     # bytes behind the buffer's first

cdef class Recorded:
    cdef fc_step run
    cdef char *frame
    cdef Py_ssize_t size
    cdef object keep                     # what the frame points to and never changes
    cdef Py_ssize_t workspace_bytes      # per thread
    cdef Moved moved[MOST_MOVES]
    cdef int moved_count

    cdef int moves(self, const void *frame, const void *field, bint written) except -1

cdef struct Field:
    size_t place                         # in the frame
    int buffer                           # whose pointer is put there
    ptrdiff_t offset                     # bytes behind it

cdef struct Step:
    fc_step run
    size_t frame                         # place among the frames
    size_t size
    int first_field
    int end_field

cdef class Program:
    cdef list kept
    cdef Step *steps
    cdef Field *fields
    cdef char *frames
    cdef int count
    cdef Py_ssize_t largest_frame
    cdef Py_ssize_t workspace_bytes

    cdef int run_steps(self, const uintptr_t *pointers, int first, int end, char *workspace,
                       char *frame, int most) noexcept nogil

# The tape that listens in this thread, or None.
cdef Tape listening()
cdef int bounds_of(array, uintptr_t *low, uintptr_t *high) except -1
cdef object new_array(tuple shape, object dtype)
cdef Recorded perform(fc_step run, void *frame, size_t size, Py_ssize_t workspace_bytes, tuple keep)
cdef int execute(fc_step run, void *frame, Py_ssize_t workspace_bytes) except -1
