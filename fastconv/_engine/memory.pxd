# Aligned memory: a buffer that Python objects own, and the workspace that calls borrow.

cdef class Buffer:
    cdef char *data
    cdef Py_ssize_t size

cdef Buffer allocate(Py_ssize_t size)
cdef Buffer borrow_workspace(Py_ssize_t size)
cdef void return_workspace(Buffer buffer)
cdef object empty_array(tuple shape, object dtype)
