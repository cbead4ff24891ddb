"""Looking over a network's shoulder: every call of its layers passes through a function of ours.

`intercept` puts that function in the place of each module's `forward` for a while. With it, feature
maps are collected from an ordinary run, and a summary is made of a run that computes nothing.
"""

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


def feature_maps(net, x):
    """Run a network and keep what each of its layers returned.

    Parameters
    ----------
    net : Module
        Should be in evaluation mode, or its running statistics move.
    x : array_like
        What the network takes.

    Returns
    -------
    dict of str to ndarray
        By the layer's path of attributes, such as "layer1.0.conv1", in order of calls. Only layers
        without children are named; of one that is called twice, the last result stays.
    """
    maps = {}

    def keep(name, module, forward, *inputs):
        result = forward(*inputs)
        if not module.named_children():
            maps[name] = result
        return result

    with intercept(net, keep):
        net(x)
    return maps
