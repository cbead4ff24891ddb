"""`Module.compile`: from layers to the graph that ONNX files become, too.

    compiled(x), new shape --forward with a Symbol--> nodes --passes--> Executor, and the result
    compiled(x), known shape ---------------------------------------> Executor --> the result

A network is followed while it runs: each layer that `export` knows becomes a node, and so do
arithmetic and concatenations in a container's `forward`. What cannot be followed, because it looks
at the numbers, becomes one node that calls the module.
"""

import threading
from collections import OrderedDict
from functools import partial

import numpy as np

from fastconv.graph.executor import Executor
from fastconv.graph.ir import Graph, Node, Value
from fastconv.graph.passes import optimise
from fastconv.graph.results import own
from fastconv.nn.container import Concat, Sequential
from fastconv.nn.export import node_of
from fastconv.nn.intercept import intercept

# Shapes of inputs that are remembered; each has packed weights of its own.
MOST_SHAPES = 4
# Nodes of modules that only they themselves can run.
OWN_DOMAIN = "fastconv.nn"

_UFUNCS = {np.add: "Add", np.subtract: "Sub", np.multiply: "Mul", np.true_divide: "Div"}


class Compiled:
    """A module that the graph executor runs; made by `Module.compile`."""

    def __init__(self, module):
        if any(part.training for part in module.modules()):
            name = type(module).__name__
            raise ValueError(f"{name}.compile: the module is in training mode; call eval() first")
        self._module = module
        self._graphs = OrderedDict()
        self._lock = threading.Lock()

    def __call__(self, *inputs):
        """Return what the module returns for `inputs`."""
        inputs = [np.asarray(x) for x in inputs]
        key = tuple((x.shape, x.dtype) for x in inputs)
        with self._lock:
            known = self._graphs.get(key)
            if known is None:
                result, self._graphs[key] = follow(self._module, inputs)
                if len(self._graphs) > MOST_SHAPES:
                    self._graphs.popitem(last=False)
                return result
            self._graphs.move_to_end(key)
        executor, rebuild = known
        return rebuild([own(result, inputs) for result in executor.run(inputs)])

    def __repr__(self):
        return f"Compiled({self._module!r})"


def follow(module, inputs):
    """Run a module once and write down what it does.

    Returns
    -------
    result
        What the module returns.
    executor : Executor
    rebuild : callable
        Puts a list of arrays into the form of `result`.
    """
    recorder = _Recorder()
    with intercept(module, recorder.around):
        symbols = [recorder.input(x, place) for place, x in enumerate(inputs)]
        returned = module(*symbols)
    results, rebuild = _taken_apart(returned)
    graph = Graph([s.value for s in symbols], [s.value for s in results], recorder.nodes)
    graph.check()
    optimise(graph)
    arrays = [own(symbol.array, inputs) for symbol in results]
    return rebuild(arrays), (Executor(graph), rebuild)


def _taken_apart(returned):
    """The Symbols of a result, and the function that puts arrays in their places."""
    if isinstance(returned, Symbol):
        return [returned], lambda arrays: arrays[0]
    return list(returned), partial(_like, type(returned))


def _like(kind, parts):
    """A tuple or list of this kind, which may have named fields."""
    return kind(*parts) if hasattr(kind, "_fields") else kind(parts)


class CannotFollow(Exception):
    """A `forward` did something with a Symbol that is no node."""


class Symbol(np.lib.mixins.NDArrayOperatorsMixin):
    """An array on its way through a network, and the value that stands for it in the graph."""

    def __init__(self, recorder, array, value):
        self.recorder, self.array, self.value = recorder, array, value

    shape = property(lambda self: self.array.shape)
    dtype = property(lambda self: self.array.dtype)
    ndim = property(lambda self: self.array.ndim)

    def __len__(self):
        return len(self.array)

    def __array__(self, dtype=None, copy=None):
        raise CannotFollow

    def __getattr__(self, name):
        raise CannotFollow(name)

    def __array_ufunc__(self, ufunc, method, *inputs, **options):
        if method != "__call__" or options or ufunc not in _UFUNCS:
            raise CannotFollow
        return self.recorder.add(_UFUNCS[ufunc], ufunc, inputs)

    def __array_function__(self, function, types, arguments, options):
        if function is not np.concatenate or options.keys() - {"axis"}:
            raise CannotFollow
        parts, *rest = arguments
        axis = options.get("axis", rest[0] if rest else 0)
        if not isinstance(axis, int):
            raise CannotFollow
        join = partial(_joined, axis)
        return self.recorder.add("Concat", join, parts, {"axis": axis})


class _Recorder:
    """Collects the nodes of one run."""

    def __init__(self):
        self.nodes = []

    def input(self, array, place):
        """A Symbol for an input of the network."""
        return Symbol(self, array, Value(f"x{place}", array.dtype, array.shape))

    def around(self, name, module, forward, *inputs):
        """What takes the place of every module's forward."""
        if not any(isinstance(x, Symbol) for x in inputs):
            return forward(*inputs)
        if type(module).forward is Concat.forward:
            forward = partial(_concatenated, module)
        made = node_of(module, *(getattr(x, "array", x) for x in inputs))
        if made is not None:
            return self._layer(name, module, forward, inputs[0], made)
        before = len(self.nodes)
        if module.named_children() or isinstance(module, Sequential):
            try:
                returned = forward(*inputs)
                if _is_followed(returned):
                    return returned
            except Exception:  # CannotFollow, and all that code raises which meets a Symbol;
                pass  # what is wrong with the input is raised again below
            del self.nodes[before:]
        return self._opaque(name, module, forward, inputs)

    def _layer(self, name, module, forward, x, made):
        """One known layer: nothing, or a node."""
        if made.op is None:
            return x
        constants = [Value(f"{name}.{place}", constant=array)
                     for place, array in enumerate(made.constants)]
        return self._node(made.op, [x.value, *constants], [forward(x.array)], made.attributes, name,
                          fallback=lambda x, *_: (module(x),))[0]

    def _opaque(self, name, module, forward, inputs):
        """A module that only itself can run."""
        if not all(isinstance(x, Symbol) for x in inputs):
            raise CannotFollow
        returned = forward(*(x.array for x in inputs))
        single = isinstance(returned, np.ndarray)
        results = [returned] if single else list(returned)

        def fallback(*arrays):
            return (module(*arrays),) if single else tuple(module(*arrays))

        symbols = self._node(type(module).__name__, [x.value for x in inputs], results, {}, name,
                             domain=OWN_DOMAIN, fallback=fallback)
        if single:
            return symbols[0]
        return _like(type(returned), symbols)

    def add(self, op, run, operands, attributes=None):
        """A node of an operator on Symbols and arrays, which must be of one dtype."""
        dtypes = {x.dtype for x in operands if isinstance(x, Symbol)}
        if len(dtypes) != 1:
            raise CannotFollow
        result = run(*(getattr(x, "array", x) for x in operands))
        if result.dtype not in dtypes:
            raise CannotFollow
        values = [x.value if isinstance(x, Symbol)
                  else Value("constant", constant=np.asarray(x, result.dtype)) for x in operands]
        return self._node(op, values, [result], attributes or {}, op,
                          fallback=lambda *arrays: (run(*arrays),))[0]

    def _node(self, op, values, results, attributes, name, *, domain="", fallback):
        outputs = [Value(f"{name}.out{place}", array.dtype, array.shape)
                   for place, array in enumerate(results)]
        self.nodes.append(Node(op, values, outputs, attributes, name=name, domain=domain,
                               fallback=fallback))
        return [Symbol(self, array, value) for array, value in zip(results, outputs, strict=True)]


def _joined(axis, *arrays):
    return np.concatenate(arrays, axis)


def _concatenated(module, x):
    """What `Concat` computes, by functions that can be followed."""
    return np.concatenate([branch(x) for branch in module], module.axis)


def _is_followed(returned):
    parts = [returned] if isinstance(returned, Symbol) else returned
    return isinstance(parts, (list, tuple)) and all(isinstance(part, Symbol) for part in parts)
