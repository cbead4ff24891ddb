# How a group's output channels, as vectors, are dealt out to panels no wider than a register tile.

from .arithmetic cimport ceil_div, index, round_up


cdef inline index panel_count(index vectors, const int *tile_rows) noexcept nogil:
    """As few as there may be; one more where that makes them even, for two threads to share.

    Of the widest tiles those of a vector less are as fast, so that costs nothing.
    """
    cdef index panels = ceil_div(vectors, tile_rows[0]), even = round_up(panels, 2)
    return even if tile_rows[0] > 3 and 2 * vectors >= 5 * even else panels


cdef inline index first_vector(index vectors, index panels, index panel) noexcept nogil:
    """Where a panel begins; the one past the last: where all end."""
    return vectors * panel // panels
