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


# Numbers of several digits, the fastest first: digit i counts up to extent[i].

cdef inline void digits_of(index number, const index *extent, int count, index *digit) noexcept nogil:
    cdef int place
    for place in range(count):
        digit[place] = number % extent[place]
        number //= extent[place]


cdef inline void count_on(const index *extent, int count, index *digit) noexcept nogil:
    """The number behind: its digits for less than the divisions that `digits_of` takes."""
    cdef int place
    for place in range(count):
        digit[place] += 1
        if digit[place] < extent[place]:
            return
        digit[place] = 0
