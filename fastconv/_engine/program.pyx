"""Operations written down while they run, and run again: no Python between them.

    with Tape() as tape:  elementwise.map(x, ...)   ->  tape.steps   one Recorded each
    Program(steps)(pointers)                        ->  the same on other memory
    with Tape(Room()) as tape:  ...                 ->  the same steps, none of which has run yet

A Recorded holds the plain struct that the operation ran with, and which of its pointers are arrays
that lie elsewhere in the next run (x, out, ...); weights and tables stay where they are. A Program
copies each struct, puts the pointers in, and calls the operation, under one release of the GIL.
Everything that is not written down by an operation of the engine is the caller's to find out: it
knows which arrays it has seen.
"""

import numpy as np

cimport numpy as cnp
from libc.stddef cimport ptrdiff_t
from libc.stdint cimport uintptr_t
from libc.stdlib cimport free, malloc
from libc.string cimport memcpy

from . cimport threads
from .arithmetic cimport round_up
from .arrays cimport raise_for
from .memory cimport Buffer, borrow_workspace, empty_array, return_workspace

cnp.import_array()

cdef Py_ssize_t LINE = 64
# Address space that a room takes at once. Memory behind it comes with the first touch.
cdef Py_ssize_t ROOM_BYTES = 64 << 20

cdef extern from *:
    """
    /* A borrowed reference: the tape outlives its `with` block. */
    static _Thread_local void *fc_tape = 0;
    """
    void *fc_tape


cdef class Recorded:
    """One operation as it ran."""

    def __dealloc__(self):
        free(self.frame)

    cdef int moves(self, const void *frame, const void *field, bint written) except -1:
        """Say that a pointer in the frame is an array that may lie elsewhere in the next run."""
        cdef size_t place = <const char *> field - <const char *> frame
        if self.moved_count == MOST_MOVES:
            raise AssertionError(f"more than {MOST_MOVES} arrays of one operation")
        self.moved[self.moved_count] = Moved(place, (<uintptr_t *> field)[0], written, -1, 0)
        self.moved_count += 1
        return 0

    def run_now(self):
        """Run the operation on the arrays that it was written down for."""
        execute(self.run, self.frame, self.workspace_bytes)


cdef class Room:
    """Arrays whose memory nobody has touched yet; none lies where an earlier one did."""

    def __cinit__(self):
        self.full = []

    def empty(self, tuple shape, cnp.dtype dtype):
        """A new C-contiguous array on a 64-byte boundary."""
        cdef Py_ssize_t size = dtype.itemsize
        cdef cnp.npy_intp sizes[64]
        cdef int axis, nd = <int> len(shape)
        for axis in range(nd):
            sizes[axis] = shape[axis]
            size *= sizes[axis]
        if self.chunk is None or self.used + size > self.bytes:
            self.take_chunk(size)
        cdef cnp.ndarray array = cnp.PyArray_New(
            cnp.ndarray, nd, sizes, dtype.num, NULL, self.start + self.used, 0,
            cnp.NPY_ARRAY_CARRAY, None)
        cnp.set_array_base(array, self.chunk)
        self.used += round_up(size, LINE)
        return array

    cdef take_chunk(self, Py_ssize_t size):
        cdef Py_ssize_t start
        if self.chunk is not None:
            self.full.append(self.chunk)
        self.bytes = max(round_up(size, LINE), ROOM_BYTES)
        self.chunk = np.empty(self.bytes + LINE, np.uint8)
        start = <Py_ssize_t> cnp.PyArray_DATA(<cnp.ndarray> self.chunk)
        self.start, self.used = <char *> round_up(start, LINE), 0

    def clear(self):
        """Let go of what no array lies in any more."""
        self.full.clear()


cdef class Tape:
    """What the engine does in this thread while the tape listens.

    Attributes
    ----------
    steps : list of Recorded
    arrays : list of ndarray
        New ones that kernels asked the engine for, and results.
    failed : bool
        Whether something was done that cannot be written down.

    Parameters
    ----------
    room : Room, optional
        Write operations down without running them; new arrays lie in the room. Who wants their
        numbers runs the steps, in order.
    flush_denormals : bool
        Take denormal numbers for zeros where an operation's own arguments do not say.
    """

    def __cinit__(self, Room room=None, bint flush_denormals=False):
        self.steps, self.arrays, self.room = [], [], room
        self.flush_denormals = flush_denormals

    def __enter__(self):
        global fc_tape
        self.before, fc_tape = fc_tape, <void *> self
        return self

    def __exit__(self, *_):
        global fc_tape
        fc_tape = self.before

    def fail(self):
        """Note that something cannot be written down."""
        self.failed = True

    cdef Recorded record(self, fc_step run, const void *frame, size_t size, tuple keep):
        cdef Recorded step = Recorded.__new__(Recorded)
        step.frame = <char *> malloc(size)
        if step.frame == NULL:
            raise MemoryError("fastconv: no memory for a recorded operation")
        memcpy(step.frame, frame, size)
        step.run, step.size, step.keep = run, size, keep
        self.steps.append(step)
        return step


cdef class Unheard:
    """What the engine does in this thread while no tape listens: it runs at once."""

    cdef void *before

    def __enter__(self):
        global fc_tape
        self.before, fc_tape = fc_tape, NULL

    def __exit__(self, *_):
        global fc_tape
        fc_tape = self.before


cdef Tape listening():
    return <Tape> fc_tape if fc_tape != NULL else None


cdef object new_array(tuple shape, object dtype):
    """A new array for what an operation makes, which the tape gets to know."""
    cdef Tape tape = listening()
    if tape is None:
        return empty_array(shape, dtype)
    array = empty_array(shape, dtype) if tape.room is None else tape.room.empty(shape, dtype)
    tape.arrays.append(array)
    return array


cdef Recorded perform(fc_step run, void *frame, size_t size, Py_ssize_t workspace_bytes,
                      tuple keep):
    """Run an operation, unless a tape waits; return what a tape has written down, None without one.

    Parameters
    ----------
    frame : pointer to the operation's plain struct, of `size` bytes
    workspace_bytes : of each thread
    keep : what the struct points to and does not change
    """
    cdef Tape tape = listening()
    cdef Recorded step
    if tape is None or tape.room is None:
        execute(run, frame, workspace_bytes)
    if tape is None:
        return None
    step = tape.record(run, frame, size, keep)
    step.workspace_bytes = workspace_bytes
    return step


cdef int execute(fc_step run, void *frame, Py_ssize_t workspace_bytes) except -1:
    cdef int most = threads.maximum(), code
    cdef Buffer memory = None
    cdef char *workspace = NULL
    if workspace_bytes:
        memory = borrow_workspace(workspace_bytes * most)
        workspace = memory.data
    try:
        with nogil:
            code = run(frame, workspace, most)
        raise_for(code)
    finally:
        if memory is not None:
            return_workspace(memory)
    return 0


def array_at(uintptr_t address, tuple shape, tuple strides, cnp.dtype dtype, owner):
    """An array over memory that `owner` keeps."""
    cdef cnp.npy_intp sizes[64]
    cdef cnp.npy_intp steps[64]
    cdef int axis, nd = <int> len(shape)
    for axis in range(nd):
        sizes[axis], steps[axis] = shape[axis], strides[axis]
    cdef cnp.ndarray array = cnp.PyArray_New(
        cnp.ndarray, nd, sizes, dtype.num, steps, <void *> address, 0, cnp.NPY_ARRAY_WRITEABLE,
        None)
    cnp.PyArray_UpdateFlags(array, cnp.NPY_ARRAY_ALIGNED | cnp.NPY_ARRAY_C_CONTIGUOUS
                            | cnp.NPY_ARRAY_F_CONTIGUOUS)
    cnp.set_array_base(array, owner)
    return array


def address_of(cnp.ndarray array):
    """Where an array's first element lies."""
    return <uintptr_t> cnp.PyArray_DATA(array)


cdef int bounds_of(array, uintptr_t *low, uintptr_t *high) except -1:
    """The addresses between which the elements lie of an array that has any."""
    cdef cnp.ndarray given = array
    cdef ptrdiff_t reach
    cdef int axis
    low[0] = high[0] = <uintptr_t> cnp.PyArray_DATA(given)
    for axis in range(cnp.PyArray_NDIM(given)):
        reach = (cnp.PyArray_DIM(given, axis) - 1) * cnp.PyArray_STRIDE(given, axis)
        if reach < 0:
            low[0] += reach
        else:
            high[0] += reach
    high[0] += cnp.PyArray_ITEMSIZE(given)
    return 0


def lowest_address(cnp.ndarray array):
    """The lowest address of an array's elements, of one that has any."""
    cdef uintptr_t low, high
    bounds_of(array, &low, &high)
    return low


def broadcast(cnp.ndarray array, tuple shape):
    """A view of an array, as NumPy's `broadcast_to`; the shape must be one that it can have."""
    cdef cnp.npy_intp sizes[64]
    cdef cnp.npy_intp steps[64]
    cdef int axis, at, nd = <int> len(shape), missing = nd - cnp.PyArray_NDIM(array)
    for axis in range(nd):
        sizes[axis], at = shape[axis], axis - missing
        steps[axis] = 0 if at < 0 or cnp.PyArray_DIM(array, at) == 1 else \
            cnp.PyArray_STRIDE(array, at)
    view = cnp.PyArray_New(cnp.ndarray, nd, sizes, cnp.PyArray_TYPE(array), steps,
                           cnp.PyArray_DATA(array), 0, 0, None)
    cnp.PyArray_UpdateFlags(view, cnp.NPY_ARRAY_ALIGNED | cnp.NPY_ARRAY_C_CONTIGUOUS
                            | cnp.NPY_ARRAY_F_CONTIGUOUS)
    cnp.set_array_base(view, array)
    return view


cdef class Program:
    """Recorded operations on buffers that are named by numbers.

    Parameters
    ----------
    operations : list of Recorded
        Of which a ledger has found the buffers; pointers to none stay as they are.
    """

    def __cinit__(self, list operations):
        cdef Recorded recorded
        cdef Py_ssize_t size = 0, total = 0
        cdef int at = 0, field = 0
        self.kept = operations
        self.count = <int> len(operations)
        for recorded in operations:
            size += round_up(recorded.size, 64)
            total += recorded.moved_count
            self.largest_frame = max(self.largest_frame, recorded.size)
            self.workspace_bytes = max(self.workspace_bytes, recorded.workspace_bytes)
        self.steps = <Step *> malloc(max(1, self.count) * sizeof(Step))
        self.fields = <Field *> malloc(max(1, total) * sizeof(Field))
        self.frames = <char *> malloc(max(1, size))
        if self.steps == NULL or self.fields == NULL or self.frames == NULL:
            raise MemoryError("fastconv: no memory for a program")
        size = 0
        for recorded in operations:
            memcpy(self.frames + size, recorded.frame, recorded.size)
            self.steps[at] = Step(recorded.run, size, recorded.size, field, field)
            field += fields_of(recorded, self.fields + field)
            self.steps[at].end_field = field
            size += round_up(recorded.size, 64)
            at += 1

    def __dealloc__(self):
        free(self.steps)
        free(self.fields)
        free(self.frames)

    def run(self, cnp.ndarray pointers, int first, int end):
        """Run the operations from `first` up to `end`, on buffers that lie where `pointers` says.

        `pointers` is a contiguous array of uintp. No typed memoryview: the code that Cython writes
        for those takes GCC four times as long as the rest of this file.
        """
        if cnp.PyArray_TYPE(pointers) != cnp.NPY_UINTP \
                or not cnp.PyArray_IS_C_CONTIGUOUS(pointers):
            raise TypeError("pointers is not a contiguous array of uintp")
        cdef int most = threads.maximum(), code
        cdef Py_ssize_t workspace = round_up(self.workspace_bytes * most, 64)
        cdef Buffer memory = borrow_workspace(workspace + self.largest_frame)
        try:
            with nogil:
                code = self.run_steps(<const uintptr_t *> cnp.PyArray_DATA(pointers), first, end,
                                      memory.data, memory.data + workspace, most)
            raise_for(code)
        finally:
            return_workspace(memory)

    cdef int run_steps(self, const uintptr_t *pointers, int first, int end, char *workspace,
                       char *frame, int most) noexcept nogil:
        cdef int at, index, code
        cdef const Step *step
        cdef const Field *field
        for at in range(first, end):
            step = &self.steps[at]
            memcpy(frame, self.frames + step.frame, step.size)
            for index in range(step.first_field, step.end_field):
                field = &self.fields[index]
                (<uintptr_t *> (frame + field.place))[0] = pointers[field.buffer] + field.offset
            code = step.run(frame, workspace, most)
            if code != threads.FC_OK:
                return code
        return threads.FC_OK


cdef int fields_of(Recorded recorded, Field *fields) noexcept:
    """The pointers that a program puts into a frame, and how many they are."""
    cdef int at, count = 0
    cdef const Moved *moved
    for at in range(recorded.moved_count):
        moved = &recorded.moved[at]
        if moved.buffer >= 0:
            fields[count] = Field(moved.place, moved.buffer, moved.offset)
            count += 1
    return count
