# Integer arithmetic of sizes and distances, inlined wherever it is used.

ctypedef Py_ssize_t index


cdef inline index ceil_div(index a, index b) noexcept nogil:
    return (a + b - 1) // b


cdef inline index round_up(index a, index b) noexcept nogil:
    return ceil_div(a, b) * b


cdef inline index clamp(index value, index low, index high) noexcept nogil:
    return max(low, min(value, high))


cdef inline index gcd(index a, index b) noexcept nogil:
    while b:
        a, b = b, a % b
    return a
