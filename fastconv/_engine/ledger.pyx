"""Which memory is which while steps are recorded: buffers, and the values that lie in them.

    an array is made     -> a buffer: its addresses, the steps that make it and that read it last
    a value              -> the buffer that holds its addresses: a reshaped array is in the one that
                            it was made from
    an operation         -> its pointers as buffers and offsets
    arrange()            -> a place for each buffer in one arena, shared by what is not alive
                            together

Steps are numbered in the order in which they run, slots as the executor numbers its values.
"""

import numpy as np

cimport numpy as cnp
from libc.stdint cimport uintptr_t
from libc.stdlib cimport free, malloc, realloc
from libc.string cimport memmove

from .arithmetic cimport index, round_up
from .program cimport MOST_MOVES, Moved, Recorded, Tape, bounds_of

cnp.import_array()

# Fed; the arena's; an array that a called step returned; an array that the caller gets.
KINDS = ("input", "arena", "held", "result")

cdef enum:
    INPUT
    ARENA
    HELD
    RESULT

cdef enum:
    NOWHERE = -1
    LINE = 64                            # buffers begin on cache lines


cdef void *grown(void *memory, size_t bytes) except NULL:
    memory = realloc(memory, bytes)
    if memory == NULL:
        raise MemoryError("fastconv: no memory for a plan")
    return memory


cdef class Ledger:
    """The state of a recording.

    Attributes
    ----------
    at : int
        The step at hand; -1 before the first.

    Parameters
    ----------
    slots : int
        How many values there are.
    """

    def __cinit__(self, int slots):
        self.at = -1
        self.add_slots(slots)

    def __dealloc__(self):
        free(self.entries)
        free(self.live)
        free(self.buffer_of)

    def add_slots(self, int more):
        """More values, which lie in no buffer yet."""
        cdef int slot
        self.buffer_of = <int *> grown(self.buffer_of, (self.slots + more) * sizeof(int))
        for slot in range(self.slots, self.slots + more):
            self.buffer_of[slot] = NOWHERE
        self.slots += more

    # --- buffers --------------------------------------------------------------------------------

    cdef int new_entry(self, int kind, array) except -1:
        if self.count == self.room:
            self.room = 2 * self.room + 64
            self.entries = <Entry *> grown(self.entries, self.room * sizeof(Entry))
            self.live = <int *> grown(self.live, self.room * sizeof(int))
        cdef Entry *entry = &self.entries[self.count]
        entry.kind, entry.first, entry.last, entry.views = kind, self.at, self.at, 0
        bounds_of(array, &entry.low, &entry.high)
        self.live[self.live_count] = self.count
        self.live_count += 1
        self.count += 1
        return self.count - 1

    cdef int at_addresses(self, uintptr_t low, uintptr_t high) noexcept:
        """The buffer that holds these addresses."""
        cdef int place
        cdef const Entry *entry
        for place in range(self.live_count - 1, -1, -1):
            entry = &self.entries[self.live[place]]
            if entry.low <= low and high <= entry.high:
                return self.live[place]
        return NOWHERE

    def add_input(self, array):
        """A buffer that is fed; returns its number."""
        return self.new_entry(INPUT, array)

    def known(self):
        """How many buffers there are."""
        return self.count

    def forget_from(self, int known):
        """Forget the buffers that came behind the first `known`, in this step."""
        while self.live_count and self.live[self.live_count - 1] >= known:
            self.live_count -= 1
        self.count = known

    cdef void drop_temporaries(self) noexcept:
        """Look no more into buffers that no value is in: their memory is about to be used again."""
        cdef int place, kept = 0
        for place in range(self.live_count):
            if self.entries[self.live[place]].views or self.entries[self.live[place]].first < 0:
                self.live[kept] = self.live[place]
                kept += 1
        self.live_count = kept

    def read(self, buffers):
        """Note that the step at hand reads or writes buffers."""
        for buffer in buffers:
            self.entries[<int> buffer].last = self.at
        self.drop_temporaries()

    def hold(self, buffers):
        """Buffers that this step has made are arrays that Python returns."""
        for buffer in buffers:
            if self.entries[<int> buffer].first == self.at:
                self.entries[<int> buffer].kind = HELD

    def deliver(self, int buffer, Py_ssize_t size):
        """A buffer is a result; where that is all of it, it may be the caller's array.

        Parameters
        ----------
        buffer : int
        size : int
            Bytes of the result where it is plain and begins with the buffer, else 0.
        """
        cdef Entry *entry = &self.entries[buffer]
        entry.last = self.at
        if entry.kind == ARENA and size and entry.high - entry.low < <uintptr_t> size + LINE:
            entry.kind = RESULT

    # --- values ---------------------------------------------------------------------------------

    def buffer(self, int slot):
        """The buffer that a slot's value lies in, None for one of no buffer."""
        return None if self.buffer_of[slot] == NOWHERE else self.buffer_of[slot]

    def moving(self, tuple slots):
        """Of these slots, the places of those whose values lie in buffers."""
        cdef int place
        return [place for place in range(<int> len(slots))
                if self.buffer_of[<int> slots[place]] != NOWHERE]

    def offset(self, int buffer, array):
        """Where an array begins in its buffer."""
        return <Py_ssize_t> (<uintptr_t> cnp.PyArray_DATA(<cnp.ndarray?> array)
                             - self.entries[buffer].low)

    def settle(self, int slot, int buffer):
        """A slot's value lies in a buffer."""
        self.buffer_of[slot] = buffer
        self.entries[buffer].views += 1

    def forget(self, tuple slots):
        """Slots' values are in their buffers no more."""
        cdef int slot, buffer
        for number in slots:
            slot = number
            buffer, self.buffer_of[slot] = self.buffer_of[slot], NOWHERE
            if buffer != NOWHERE:
                self.release(buffer)

    cdef void release(self, int buffer) noexcept:
        cdef int place = self.live_count - 1
        self.entries[buffer].views -= 1
        if self.entries[buffer].views:
            return
        while place >= 0 and self.live[place] != buffer:
            place -= 1
        if place >= 0:
            memmove(self.live + place, self.live + place + 1,
                    (self.live_count - 1 - place) * sizeof(int))
            self.live_count -= 1

    def settle_outputs(self, list values, tuple slots, list made):
        """Find the buffers of what a step has put into slots.

        Parameters
        ----------
        values : list
            By slot.
        slots : tuple of int
            Slot 0 is nothing.
        made : list of ndarray
            What the step made on its way, the outputs among them.

        Returns
        -------
        list of int or None
            The buffers, -1 for nothing. None where a value is no array, or an empty one.
        """
        cdef uintptr_t low, high
        cdef int buffer
        cdef list buffers = []
        for array in made:
            self.new_entry(ARENA, array)
        for slot in slots:
            buffer = NOWHERE
            if slot:
                array = values[slot]
                if not isinstance(array, cnp.ndarray) or not cnp.PyArray_SIZE(array) \
                        or cnp.PyArray_TYPE(array) == cnp.NPY_OBJECT:
                    return None
                bounds_of(array, &low, &high)
                buffer = self.at_addresses(low, high)
                if buffer == NOWHERE:
                    buffer = self.new_entry(ARENA, array)
                self.settle(slot, buffer)
            buffers.append(buffer)
        return buffers

    # --- operations -----------------------------------------------------------------------------

    def resolve(self, Tape tape, list inputs, list outputs):
        """Name the buffers of a step's operations; False where they are not all that it did.

        Parameters
        ----------
        inputs : list
            What the step was given: constants among them stay where they are.
        outputs : list of int
            The buffers of its outputs, of which it has written those that are new.
        """
        cdef Recorded recorded
        cdef Moved *moved
        cdef set written = set()
        cdef int at, buffer
        if tape.failed:
            return False
        for recorded in tape.steps:
            for at in range(recorded.moved_count):
                moved = &recorded.moved[at]
                buffer = moved.buffer = self.at_addresses(moved.address, moved.address + 1)
                if buffer == NOWHERE:
                    if moved.written or not is_among(inputs, moved.address):
                        return False
                    continue
                moved.offset = moved.address - self.entries[buffer].low
                if moved.written:
                    written.add(buffer)
        for buffer in outputs:
            if buffer != NOWHERE and self.entries[buffer].first == self.at \
                    and buffer not in written:
                return False
        return True

    def take_up(self, list operations):
        """Operations that have been resolved are part of the step at hand."""
        cdef Recorded recorded
        cdef int at
        for recorded in operations:
            for at in range(recorded.moved_count):
                if recorded.moved[at].buffer != NOWHERE:
                    self.entries[recorded.moved[at].buffer].last = self.at
        self.drop_temporaries()

    # --- the arena ------------------------------------------------------------------------------

    def arrange(self):
        """Where buffers lie in the arena; the results of a recording.

        Returns
        -------
        offsets, in_arena : ndarray of uintp
            Of each buffer; 0 for those that are not in the arena, and whether they are.
        results : list of int
            The buffers that become arrays of the caller's.
        bytes : int
            Of the arena.
        """
        cdef cnp.ndarray offsets = np.zeros(self.count, np.uintp)
        cdef cnp.ndarray in_arena = np.zeros(self.count, np.uintp)
        cdef uintptr_t *offset = <uintptr_t *> cnp.PyArray_DATA(offsets)
        cdef uintptr_t *is_in = <uintptr_t *> cnp.PyArray_DATA(in_arena)
        cdef int number
        for number in range(self.count):
            is_in[number] = self.entries[number].kind == ARENA
        bytes = arrange_in(self.entries, self.count, offset)
        results = [number for number in range(self.count) if self.entries[number].kind == RESULT]
        return offsets, in_arena, results, bytes


cdef bint is_among(list arrays, uintptr_t address):
    """Whether an address is in one of the arrays."""
    cdef uintptr_t low, high
    for array in arrays:
        if isinstance(array, cnp.ndarray) and cnp.PyArray_SIZE(array):
            bounds_of(array, &low, &high)
            if low <= address < high:
                return True
    return False


cdef struct Piece:
    index offset, size


cdef struct Pieces:
    # Free memory by offset; no two touch.
    Piece *piece
    int count


cdef void give(Pieces *free_ones, index offset, index size) noexcept:
    """Add a piece, as one with its neighbours."""
    cdef int place = free_ones.count
    cdef Piece *piece = free_ones.piece
    while place and piece[place - 1].offset > offset:
        place -= 1
    if place and piece[place - 1].offset + piece[place - 1].size == offset:
        place -= 1
        piece[place].size += size
    else:
        memmove(piece + place + 1, piece + place, (free_ones.count - place) * sizeof(Piece))
        free_ones.count += 1
        piece[place] = Piece(offset, size)
    if place + 1 < free_ones.count and piece[place].offset + piece[place].size \
            == piece[place + 1].offset:
        piece[place].size += piece[place + 1].size
        take(free_ones, place + 1)


cdef void take(Pieces *free_ones, int place) noexcept:
    free_ones.count -= 1
    memmove(free_ones.piece + place, free_ones.piece + place + 1,
            (free_ones.count - place) * sizeof(Piece))


cdef index claim(Pieces *free_ones, index size, index *end) noexcept:
    """The offset of so many bytes: of the smallest free piece that holds them, else the end."""
    cdef int place, best = -1
    cdef Piece *piece = free_ones.piece
    cdef index offset
    for place in range(free_ones.count):
        if piece[place].size >= size and (best < 0 or piece[place].size < piece[best].size):
            best = place
    if best < 0:
        best = free_ones.count - 1
        if best < 0 or piece[best].offset + piece[best].size != end[0]:
            offset = end[0]
        else:  # the last piece grows
            offset = piece[best].offset
            take(free_ones, best)
        end[0] = offset + size
        return offset
    offset = piece[best].offset
    piece[best].offset += size
    piece[best].size -= size
    if not piece[best].size:
        take(free_ones, best)
    return offset


cdef index arrange_in(const Entry *entries, int count, uintptr_t *offsets) except -1:
    """Fill in the arena's buffers' offsets; return its size.

    In the order in which they are made, each takes the smallest free piece that holds it.
    """
    cdef Pieces free_ones
    cdef int *alive
    cdef int number, earlier, waiting = 0, kept
    cdef index end = 0
    free_ones.count = 0
    free_ones.piece = <Piece *> malloc((count + 1) * (sizeof(Piece) + sizeof(int)))
    if free_ones.piece == NULL:
        raise MemoryError("fastconv: no memory for a plan")
    alive = <int *> (free_ones.piece + count + 1)
    for number in range(count):
        if entries[number].kind != ARENA:
            continue
        kept = 0
        for earlier in range(waiting):
            if entries[alive[earlier]].last < entries[number].first:
                give(&free_ones, offsets[alive[earlier]], bytes_of(&entries[alive[earlier]]))
            else:
                alive[kept] = alive[earlier]
                kept += 1
        offsets[number] = claim(&free_ones, bytes_of(&entries[number]), &end)
        alive[kept] = number
        waiting = kept + 1
    free(free_ones.piece)
    return end


cdef inline index bytes_of(const Entry *entry) noexcept:
    return round_up(entry.high - entry.low, LINE)
