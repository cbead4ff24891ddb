"""Feature maps: what each layer of a network returned in an ordinary run."""

from fastconv.nn.intercept import intercept


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
