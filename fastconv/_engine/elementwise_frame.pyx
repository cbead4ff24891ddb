"""What every elementwise operation is while it runs: a walk, and a kernel's arguments.

    begin       the kernels of a type, no workspace
                then the operation's own arguments, and its walk
    carry_out   runs it, or writes it down where a tape waits; program.pyx says how
"""

from . cimport dispatch
from .grid cimport walk_blocks
from .program cimport Tape, listening, perform


cdef void begin(Frame *frame, Py_ssize_t element) noexcept:
    cdef Tape tape = listening()
    frame.flush_denormals = tape is not None and tape.flush_denormals
    frame.kernels = dispatch.kernels(element == 8).elementwise
    frame.workspace_bytes = 0


cdef int run_frame(void *raw, char *workspace, int most) noexcept nogil:
    cdef Frame *frame = <Frame *> raw
    frame.walk.context = frame    # programs run copies, which lie elsewhere
    frame.workspace = workspace
    return walk_blocks(&frame.walk, frame.work, frame.flush_denormals, most)


cdef Recorded carry_out(Frame *frame, tuple keep):
    """Run the operation; the record of it, which its arrays are still to be told, or None.

    `keep` is what the frame points to besides.
    """
    return perform(run_frame, frame, sizeof(frame[0]), frame.workspace_bytes, keep)
