"""When layers remember what `backward` needs, and what they remember.

A forward is recorded if the module that was called is in training mode, or if the call stands in
`with recording():`.  That is decided once, by the outermost call, for everything it runs: a child
in evaluation mode inside a network in training mode (a batch normalisation that keeps to its
running statistics, say) computes as in evaluation mode and still remembers.

    net(x) -> outermost? forget the last time, then record --> forward(x) --> child(x) --> ...
                                                                  |             |
                                                      remember(what backward needs)
    net.backward(grad): layers in reverse order, each takes its newest memory off its pile

A pile, because a layer may stand in a network more than once: backward meets its uses last first.
What was taken is gone, so activations are freed on the way back and a second backward without a
new forward is an error.  Outside of recorded calls nothing is kept.
"""

import threading
from contextlib import contextmanager


class _Calls(threading.local):
    recording = False  # whether forwards of this thread remember
    inside = False  # whether an outermost recorded call is under way


_CALLS = _Calls()


@contextmanager
def recording():
    """Let every forward in the block remember what `backward` needs, whatever the mode.

    Networks in training mode record anyway; this is for gradients of a network in evaluation mode,
    for instance to see which pixels a score depends on.

    Examples
    --------
    >>> with nn.recording():
    ...     scores = net.eval()(photo)
    >>> net.backward(np.eye(10)[[scores.argmax()]]).shape == photo.shape
    True
    """
    before = _CALLS.recording
    _CALLS.recording = True
    try:
        yield
    finally:
        _CALLS.recording = before


def is_recording():
    """Return whether a forward that runs now is to remember."""
    return _CALLS.recording


def run(module, inputs, options):
    """Run `module.forward`; record it, if this is an outermost call and it is to be recorded."""
    calls = _CALLS
    if calls.inside or not (module.training or calls.recording):
        return module.forward(*inputs, **options)
    for part in module.modules():
        part.forget()
    calls.inside = True
    try:
        with recording():
            return module.forward(*inputs, **options)
    finally:
        calls.inside = False
