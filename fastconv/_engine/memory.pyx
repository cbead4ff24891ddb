"""Memory on 64-byte boundaries: packed weights, workspaces and results.

Workspaces are borrowed for one call and given back, so repeated calls touch no fresh pages;
what is kept between calls is bounded. The GIL guards the shelf: borrow and return with it held.

Results come back when Python drops the last array that looks at them. All but the smallest and
those above the bound are kept for the next result, since the C library hands such memory back to
the system, and to get it again costs a page fault for every 4096 bytes: in training as much time as
the arithmetic, and for a picture of 64 MiB as much as a 3x3 filter of it.
"""

cimport numpy as cnp
from cpython.object cimport PyObject, PyTypeObject
from cpython.ref cimport Py_INCREF

cnp.import_array()

cdef extern from "numpy/arrayobject.h":
    PyTypeObject PyArray_Type
    object PyArray_NewFromDescr(PyTypeObject *, cnp.dtype, int, cnp.npy_intp *, cnp.npy_intp *,
                                void *, int, PyObject *)

cdef extern from *:
    """
    #include <stdlib.h>
    /* Where a few pages of 2 MiB do for what else is hundreds, address look-ups get cheaper. */
    #ifdef __linux__
    #include <sys/mman.h>
    #endif
    enum { FC_LINE = 64, FC_HUGE_PAGE = 2 << 20 };
    /* In huge pages from so many bytes on; rounds *size up to what was taken. */
    static void *fc_aligned_alloc(size_t *size, size_t huge_from) {
        void *p = NULL;
        const size_t unit = *size > huge_from ? FC_HUGE_PAGE : FC_LINE;
        *size = *size ? (*size + unit - 1) / unit * unit : unit;
        if (posix_memalign(&p, unit, *size)) return NULL;
    #ifdef MADV_HUGEPAGE
        if (unit == FC_HUGE_PAGE) madvise(p, *size, MADV_HUGEPAGE);
    #endif
        return p;
    }
    """
    enum: FC_HUGE_PAGE
    void *fc_aligned_alloc(size_t *size, size_t huge_from) nogil
    void free(void *) nogil

cdef extern from "Python.h":
    int PyTraceMalloc_Track(unsigned int domain, size_t place, size_t size)
    int PyTraceMalloc_Untrack(unsigned int domain, size_t place)

# Huge pages from here on. A result is filled to its end; a workspace, of which a part may never be
# touched, should not take a page of 2 MiB for it, so only a large one gets them.
cdef size_t WORKSPACE_HUGE_FROM = 4 * FC_HUGE_PAGE
cdef size_t RESULT_HUGE_FROM = FC_HUGE_PAGE // 2

# What the shelf keeps at most: enough for every thread's strips and one packed weight array.
cdef Py_ssize_t SHELF_BYTES = 64 << 20
cdef Py_ssize_t SHELF_ITEMS = 8
cdef list shelf = []
cdef Py_ssize_t shelved = 0


cdef class Buffer:
    """Owner of 64-byte aligned memory."""

    def __dealloc__(self):
        free(self.data)


cdef Buffer allocate(Py_ssize_t size):
    """Fresh memory of at least `size` bytes; MemoryError without."""
    cdef Buffer buffer = Buffer.__new__(Buffer)
    cdef size_t taken = size
    buffer.data = <char *> fc_aligned_alloc(&taken, WORKSPACE_HUGE_FROM) if size >= 0 else NULL
    if buffer.data == NULL:
        raise MemoryError(f"fastconv: {size} bytes of workspace are not to be had")
    buffer.size = taken
    return buffer


cdef Buffer borrow_workspace(Py_ssize_t size):
    """The smallest shelved buffer that is large enough, else a fresh one."""
    global shelved
    cdef Py_ssize_t best = -1, index
    cdef Buffer candidate
    for index in range(len(shelf)):
        candidate = <Buffer> shelf[index]
        if candidate.size >= size and (best < 0 or candidate.size < (<Buffer> shelf[best]).size):
            best = index
    if best < 0:
        return allocate(size)
    candidate = <Buffer> shelf.pop(best)
    shelved -= candidate.size
    return candidate


cdef void return_workspace(Buffer buffer):
    global shelved
    if buffer.size > SHELF_BYTES:
        return
    shelf.append(buffer)
    shelved += buffer.size
    while shelved > SHELF_BYTES or len(shelf) > SHELF_ITEMS:
        shelved -= (<Buffer> shelf.pop(0)).size


# Results that are kept: the C library keeps smaller ones.
cdef Py_ssize_t KEPT_LEAST = 64 << 10
# What is kept of them at most: many small ones, or a single one as large as all of it.
cdef Py_ssize_t KEPT_BYTES = 64 << 20
cdef enum:
    KEPT_ITEMS = 16
    # Where tracemalloc counts NumPy's arrays (numpy.lib.tracemalloc_domain), and so these.
    TRACED = 389047


cdef struct Spare:
    char *data
    Py_ssize_t size


# The oldest first. Plain C, so that results may outlive the module when the interpreter ends.
cdef Spare spares[KEPT_ITEMS]
cdef int spare_count = 0
cdef Py_ssize_t spare_bytes = 0


cdef Spare take_spare(int place) noexcept:
    global spare_count, spare_bytes
    cdef Spare taken = spares[place]
    cdef int index
    spare_count -= 1
    spare_bytes -= taken.size
    for index in range(place, spare_count):
        spares[index] = spares[index + 1]
    return taken


cdef void keep_spare(Spare spare) noexcept:
    """Take over memory, and free what has waited longest where it is too much."""
    global spare_count, spare_bytes
    while spare_count and (spare_count == KEPT_ITEMS or spare_bytes + spare.size > KEPT_BYTES):
        free(take_spare(0).data)
    spares[spare_count] = spare
    spare_count += 1
    spare_bytes += spare.size


cdef class Result(Buffer):
    """Owner of memory that is kept for the next result."""

    def __dealloc__(self):
        if self.data != NULL:
            PyTraceMalloc_Untrack(TRACED, <size_t> self.data)
            keep_spare(Spare(self.data, self.size))
            self.data = NULL


cdef Result result_buffer(Py_ssize_t size):
    """The smallest spare memory that is large enough and not half empty, else fresh memory."""
    cdef Result result = Result.__new__(Result)
    cdef Spare spare
    cdef size_t taken = size
    cdef int place, best = -1
    for place in range(spare_count):
        if size <= spares[place].size <= 2 * size:
            if best < 0 or spares[place].size < spares[best].size:
                best = place
    if best >= 0:
        spare = take_spare(best)
    else:
        spare.data = <char *> fc_aligned_alloc(&taken, RESULT_HUGE_FROM)
        if spare.data == NULL:
            raise MemoryError(f"fastconv: {size} bytes of a result are not to be had")
        spare.size = taken
    result.data, result.size = spare.data, spare.size
    PyTraceMalloc_Track(TRACED, <size_t> spare.data, spare.size)
    return result


cdef object empty_array(tuple shape, object dtype):
    """A new C-contiguous array on a 64-byte boundary."""
    cdef cnp.npy_intp extents[cnp.NPY_MAXDIMS]
    cdef cnp.npy_intp size = dtype.itemsize, bytes
    cdef int axis, axes = <int> len(shape)
    cdef char *data
    if axes > cnp.NPY_MAXDIMS:
        raise ValueError(f"fastconv: an array has at most {cnp.NPY_MAXDIMS} axes, got {axes}")
    for axis in range(axes):
        extents[axis] = shape[axis]
        size *= extents[axis]
    if KEPT_LEAST <= size <= KEPT_BYTES:
        owner = result_buffer(size)
        data = (<Result> owner).data
    else:
        bytes = size + 64
        owner = cnp.PyArray_EMPTY(1, &bytes, cnp.NPY_UINT8, 0)
        data = <char *> cnp.PyArray_DATA(owner)
        data += -(<Py_ssize_t> data) & 63
    Py_INCREF(dtype)  # the new array's own
    array = PyArray_NewFromDescr(&PyArray_Type, <cnp.dtype> dtype, axes, extents, NULL, data,
                                 cnp.NPY_ARRAY_CARRAY, NULL)
    cnp.set_array_base(array, owner)
    return array
