# The filters' kernels as their driver sees them; kernels/filters.h has the contracts.

cdef extern from "kernels.h" nogil:
    int FC_FILTER_SUM, FC_FILTER_EVEN, FC_FILTER_ODD, FC_FILTER_BOX, FC_FILTER_MAX, FC_FILTER_MIN
    int FC_FILTER_UPPER, FC_FILTER_LOWER, FC_FILTER_OPS
    int FC_BOOL, FC_INT8, FC_UINT8, FC_INT16, FC_UINT16, FC_INT32, FC_UINT32, FC_INT64, FC_UINT64
    int FC_FLOAT32, FC_FLOAT64

    ctypedef struct fc_filter_args:
        const char **line
        const char *weight
        ptrdiff_t terms
        ptrdiff_t length
        double divisor
        char *out
        int streams

    enum: FC_WINDOW_ROWS

    ctypedef struct fc_window_args:
        const char **line
        const char *weight
        ptrdiff_t planes, row_taps, col_taps, length
        char *out[4]
        int streams

    ctypedef struct fc_filters_kernels:
        int (*combine[8])(const fc_filter_args *) noexcept nogil
        int (*window[4])(const fc_window_args *) noexcept nogil
        void (*extend)(char *line, ptrdiff_t before, ptrdiff_t length, ptrdiff_t after,
                       const ptrdiff_t *source, double fill) noexcept nogil
        void (*fill)(char *line, ptrdiff_t count, double value) noexcept nogil
        void (*load[11])(const char *, ptrdiff_t step, ptrdiff_t count, char *line) noexcept nogil
        void (*store[11])(const char *line, ptrdiff_t count, char *, ptrdiff_t step) noexcept nogil
