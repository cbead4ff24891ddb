"""Arrays of other libraries, through every public function, by whichever protocol they offer."""

import numpy as np
import pytest

import fastconv
from fastconv import filters, grad, nn
from fastconv.filters._arguments import as_array as filters_array
from fastconv.functional._arrays import as_array


class ByDlpack:
    """An array that offers its memory by DLPack alone."""

    def __init__(self, array):
        self._array = array

    def __dlpack__(self, **options):
        return self._array.__dlpack__(**options)

    def __dlpack_device__(self):
        return self._array.__dlpack_device__()


class ByInterface:
    """An array that offers its memory by NumPy's own protocol."""

    def __init__(self, array):
        self._array = array
        self.__array_interface__ = array.__array_interface__


def as_tensor(array):
    torch = pytest.importorskip("torch", reason="needs torch: pip install fastconv[bench]")
    return torch.from_numpy(array)


def as_frame(array):
    """What pandas has for it: a series, a frame, or nothing."""
    pandas = pytest.importorskip("pandas", reason="needs pandas: pip install fastconv[test]")
    kinds = {1: pandas.Series, 2: pandas.DataFrame}
    return kinds[array.ndim](array, copy=False) if array.ndim in kinds else array


def as_labelled(array):
    xarray = pytest.importorskip("xarray", reason="needs xarray: pip install fastconv[test]")
    return xarray.DataArray(array)


WRAPPERS = {
    "DLPack": ByDlpack, "array interface": ByInterface, "buffer": memoryview, "torch": as_tensor,
    "pandas": as_frame, "xarray": as_labelled,
}  # fmt: skip


def mapped(array, path):
    """The array in a file, mapped read-only."""
    np.save(path, array)
    return np.load(path, mmap_mode="r")


def numbers(*shape):
    return np.random.default_rng(sum(shape)).standard_normal(shape).astype(np.float32)


def spatial_calls(nd):
    """Arguments of the functions whose names end in 1d, 2d or 3d."""
    x, y = numbers(1, 2, *[6] * nd), numbers(1, 3, *[4] * nd)
    weight, bias, pooled = numbers(3, 2, *[3] * nd), numbers(3), numbers(1, 2, *[3] * nd)
    weight_back, y_back = numbers(2, 3, *[3] * nd), numbers(1, 3, *[8] * nd)
    indices = getattr(fastconv, f"max_pool{nd}d")(x, 2, return_indices=True)[1]
    return {
        f"conv{nd}d": (x, weight, bias),
        f"conv_transpose{nd}d": (x, weight_back, bias),
        f"max_pool{nd}d": (x, 2),
        f"avg_pool{nd}d": (x, 2),
        f"adaptive_max_pool{nd}d": (x, 4),
        f"adaptive_avg_pool{nd}d": (x, 4),
        f"grad.conv{nd}d_bias": (y,),
        f"grad.conv{nd}d_input": (x.shape, weight, y),
        f"grad.conv{nd}d_weight": (x, weight.shape, y),
        f"grad.conv_transpose{nd}d_input": (weight_back, y_back),
        f"grad.conv_transpose{nd}d_weight": (x, weight_back.shape, y_back),
        f"grad.max_pool{nd}d_input": (x.shape, indices, pooled),
        f"grad.avg_pool{nd}d_input": (x.shape, pooled, 2),
        f"grad.adaptive_avg_pool{nd}d_input": (x.shape, pooled),
    }


X, G, C = numbers(2, 3, 5), numbers(2, 3, 5) + 1, numbers(3)
PICTURE, KERNEL = numbers(12, 15), numbers(3, 3)
CALLS = {
    **spatial_calls(1), **spatial_calls(2), **spatial_calls(3),
    **{
        name: (X,) for name in (
            "relu", "relu6", "leaky_relu", "sigmoid", "tanh", "silu", "hardsigmoid", "hardswish",
            "softmax", "log_softmax", "flatten",
        )
    },
    **{
        f"grad.{name}": (X, G) for name in (
            "relu", "relu6", "leaky_relu", "sigmoid", "tanh", "silu", "hardsigmoid", "hardswish",
            "softmax", "log_softmax",
        )
    },
    "dropout": (X, 0.5, False),
    "pad": (X, (1, 2)), "grad.pad": (X, (1, 2)),
    "prelu": (X, C), "grad.prelu": (X, C, G),
    "grad.clip": (X, G, -1.0, 1.0), "grad.fused": ("relu", X, G),
    "linear": (numbers(4, 5), numbers(3, 5), C),
    "grad.linear_bias": (numbers(4, 3),),
    "grad.linear_input": (numbers(3, 5), numbers(4, 3)),
    "grad.linear_weight": (numbers(4, 5), numbers(4, 3)),
    "batch_norm": (X, C, abs(C)), "grad.batch_norm": (X, G, C),
    "local_response_norm": (X, 3), "grad.local_response_norm": (X, G, 3),
    **{
        f"filters.{name}": (PICTURE,)
        for name in ("sobel", "prewitt", "laplace")
    },
    **{
        f"filters.{name}": (PICTURE, KERNEL)
        for name in ("correlate", "convolve", "correlate2d", "convolve2d")
    },
    **{f"filters.{name}": (PICTURE, C) for name in ("correlate1d", "convolve1d")},
    "filters.correlate_bank": (PICTURE, numbers(2, 3, 3)),
    **{
        f"filters.{name}": (PICTURE, 2) for name in filters.__all__
        if name.startswith(("gaussian", "uniform", "maximum", "minimum"))
    },
    **{
        f"filters.{name}": (PICTURE, None, KERNEL > 0, KERNEL)
        for name in ("grey_dilation", "grey_erosion")
    },
}  # fmt: skip
OPTIONS = {"grad.batch_norm": {"training": True}}
# Settings, and what prepares or explains a call.
NOT_OF_ARRAYS = {
    "get_precision", "precision", "set_precision", "show_config", "get_num_threads",
    "set_num_threads", "conv_output_size", "explain_conv2d", "prepare_conv", "prepare_linear",
}  # fmt: skip


def function(name):
    module, _, name = f"fastconv.{name}".rpartition(".")
    return getattr({"fastconv": fastconv, "fastconv.grad": grad}.get(module, filters), name)


def call(name, wrap):
    arguments = [wrap(a) if isinstance(a, np.ndarray) else a for a in CALLS[name]]
    return function(name)(*arguments, **OPTIONS.get(name, {}))


def assert_equal(ours, wanted):
    assert type(ours) is type(wanted)
    if isinstance(wanted, tuple):
        for one, other in zip(ours, wanted, strict=True):
            assert_equal(one, other)
    else:
        np.testing.assert_array_equal(ours, wanted)


def test_every_function_is_here():
    functions = {n for n in fastconv.__all__ if callable(getattr(fastconv, n))} - NOT_OF_ARRAYS
    functions |= {f"grad.{n}" for n in grad.__all__}
    assert functions | {f"filters.{n}" for n in filters.__all__} == set(CALLS)


@pytest.mark.parametrize("kind", WRAPPERS)
@pytest.mark.parametrize("name", CALLS)
def test_other_libraries_arrays(name, kind):
    assert_equal(call(name, WRAPPERS[kind]), call(name, np.asarray))


@pytest.mark.parametrize("name", CALLS)
def test_memory_maps(name, tmp_path):
    paths = iter(tmp_path / f"{i}.npy" for i in range(9))
    assert_equal(call(name, lambda array: mapped(array, next(paths))), call(name, np.asarray))


@pytest.mark.parametrize("kind", WRAPPERS)
def test_layers(kind):
    layer = nn.Conv2d(2, 3, 3, rng=0).eval()
    x = numbers(1, 2, 6, 6)
    np.testing.assert_array_equal(layer(WRAPPERS[kind](x)), layer(x))


@pytest.mark.parametrize("kind", WRAPPERS)
@pytest.mark.parametrize("reader", [lambda x: as_array("f", "x", x), filters_array])
def test_no_copy(reader, kind):
    x = numbers(6, 7)
    assert np.shares_memory(reader(WRAPPERS[kind](x)), x)


@pytest.mark.parametrize("name", ["conv2d", "max_pool2d", "relu", "linear"])
def test_memory_maps_as_results(name, tmp_path):
    wanted = call(name, np.asarray)
    out = np.memmap(tmp_path / "out", wanted.dtype, "w+", shape=wanted.shape)
    assert function(name)(*CALLS[name], out=out) is out
    np.testing.assert_array_equal(np.fromfile(tmp_path / "out", wanted.dtype), wanted.ravel())


WITH_OUTPUT = sorted({f"filters.{n}" for n in filters.__all__ if not n.endswith("2d")})


@pytest.mark.parametrize("name", WITH_OUTPUT)
def test_results_of_filters(name, tmp_path):
    """In a memory map, which is handed back itself, and in memory of other libraries."""
    wanted = call(name, np.asarray)
    out = np.memmap(tmp_path / "out", wanted.dtype, "w+", shape=wanted.shape)
    assert function(name)(*CALLS[name], output=out) is out
    np.testing.assert_array_equal(np.fromfile(tmp_path / "out", wanted.dtype), wanted.ravel())
    for wrap in (ByDlpack, ByInterface, memoryview):
        plain = np.zeros_like(wanted)
        function(name)(*CALLS[name], output=wrap(plain))
        np.testing.assert_array_equal(plain, wanted)


def test_tensors_as_results():
    tensor = as_tensor(np.zeros((12, 15), np.float32))
    filters.sobel(as_tensor(PICTURE), output=tensor)
    np.testing.assert_array_equal(tensor.numpy(), filters.sobel(PICTURE))
