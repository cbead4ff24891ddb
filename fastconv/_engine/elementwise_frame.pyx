"""What every elementwise operation is while it runs: a walk, and a kernel's arguments.

    begin       the kernels of a type, no workspace
                then the operation's own arguments, and its walk
    carry_out   runs it; where a tape listens, writes it down for programs to run again
"""

from . cimport dispatch, threads
from .arrays cimport raise_for
from .grid cimport walk_blocks
from .memory cimport Buffer, borrow_workspace, return_workspace
from .program cimport listening


cdef void begin(Frame *frame, Py_ssize_t element) noexcept:
    frame.kernels = dispatch.kernels(element == 8).elementwise
    frame.workspace_bytes = 0


cdef int run_frame(void *raw, char *workspace, int most) noexcept nogil:
    cdef Frame *frame = <Frame *> raw
    frame.walk.context = frame    # programs run copies, which lie elsewhere
    frame.workspace = workspace
    return walk_blocks(&frame.walk, frame.work, most)


cdef Recorded carry_out(Frame *frame, tuple keep):
    """Run the operation; the record of it, which its arrays are still to be told, or None.

    `keep` is what the frame points to besides.
    """
    cdef Buffer workspace
    cdef Recorded step
    cdef int code, most = threads.maximum()
    if frame.workspace_bytes:
        workspace = borrow_workspace(most * frame.workspace_bytes)
        try:
            with nogil:
                code = run_frame(frame, workspace.data, most)
        finally:
            return_workspace(workspace)
    else:
        with nogil:
            code = run_frame(frame, NULL, most)
    raise_for(code)
    if listening() is None:
        return None
    step = listening().record(run_frame, frame, sizeof(frame[0]), keep)
    step.workspace_bytes = frame.workspace_bytes
    return step
