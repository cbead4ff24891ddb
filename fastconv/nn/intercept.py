"""Looking over a network's shoulder: every call of its layers passes through a function of ours."""

from contextlib import contextmanager
from functools import partial


@contextmanager
def intercept(net, around):
    """Let `around` handle the calls of `net` and of all modules in it, within a `with` block.

    Parameters
    ----------
    net : Module
        Nobody else may use it meanwhile.
    around : function of (name, module, forward, *inputs)
        Is called instead of the module's `forward`, which it may call, and returns the result.
        `name` is the path of attributes from `net`, "" for `net` itself, and the first one for a
        module with several.
    """
    names = {}
    for name, module in net.named_modules():
        names.setdefault(module, name)
    for module, name in names.items():
        # Not by setattr: that would drop packed weights.
        vars(module)["forward"] = partial(around, name, module, module.forward)
    try:
        yield
    finally:
        for module in names:
            del vars(module)["forward"]
