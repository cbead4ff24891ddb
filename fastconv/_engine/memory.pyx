"""Memory on 64-byte boundaries: packed weights, workspaces and results.

Workspaces are borrowed for one call and given back, so repeated calls touch no fresh pages;
what is kept between calls is bounded. The GIL guards the shelf: borrow and return with it held.
"""

import numpy as np

cimport numpy as cnp

cnp.import_array()

cdef extern from *:
    """
    #include <stdlib.h>
    static void *fc_aligned_alloc(size_t size) {
        void *p = NULL;
        return posix_memalign(&p, 64, size ? size : 64) ? NULL : p;
    }
    """
    void *fc_aligned_alloc(size_t size) nogil
    void free(void *) nogil

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
    buffer.data = <char *> fc_aligned_alloc(size) if size >= 0 else NULL
    if buffer.data == NULL:
        raise MemoryError(f"fastconv: {size} bytes of workspace are not to be had")
    buffer.size = size
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


cdef object empty_array(tuple shape, object dtype):
    """A new C-contiguous array on a 64-byte boundary."""
    cdef Py_ssize_t size = dtype.itemsize
    for extent in shape:
        size *= extent
    buffer = np.empty(size + 64, dtype=np.uint8)
    cdef Py_ssize_t skip = -(<Py_ssize_t> cnp.PyArray_DATA(<cnp.ndarray> buffer)) & 63
    return np.ndarray(shape, dtype, buffer, skip)
