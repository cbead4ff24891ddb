# Which memory is which while steps are recorded; ledger.pyx says how.

from libc.stdint cimport uintptr_t

cdef struct Entry:
    int kind
    uintptr_t low, high                  # where the buffer lay while recording
    int first, last                      # the steps that made it and that read it last
    int views                            # values that still are in it

cdef class Ledger:
    cdef Entry *entries
    cdef int count, room
    cdef int *live                       # buffers in which addresses are looked up, oldest first
    cdef int live_count
    cdef int *buffer_of                  # of each slot's value, NOWHERE for those of no buffer
    cdef int slots
    cdef public int at                   # the step at hand

    cdef int new_entry(self, int kind, array) except -1
    cdef int at_addresses(self, uintptr_t low, uintptr_t high) noexcept
    cdef void release(self, int buffer) noexcept
    cdef void drop_temporaries(self) noexcept
