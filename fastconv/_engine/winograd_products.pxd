# The products between Winograd's transforms, as winograd.pyx calls them.

from .arithmetic cimport index
from .winograd_block cimport Blocking, Task

# Fill the workspace's table of pointers into V, which `multiply` reads.
cdef void point_into_v(const Task *t) noexcept nogil

# Let t.u be a panel's weights: packed ones where there are, else transformed now, for the task.
cdef void find_weights(Task *t, index panel) noexcept nogil

# Transform `depth` input channels of a panel, from `first` on, into the panel's place at dst.
cdef void pack_panel(const Blocking *b, const char *weight, index group, index panel, index first,
                     index depth, char *dst) noexcept nogil

# All points of a panel of output channels: V x U -> M.
cdef void multiply(const Task *t, index panel) noexcept nogil
