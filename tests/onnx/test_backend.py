"""ONNX's own backend tests: node, simple, PyTorch-made models and light networks.

The cases come with the `onnx` wheel. Exceptions stand below with their reason, and must still be
exceptions; the comparison, with each case's own tolerance, is that of ONNX's runner.
"""

import warnings
from pathlib import Path

import numpy as np
import pytest

onnx = pytest.importorskip("onnx", reason="needs onnx: pip install fastconv[onnx]")

from onnx.backend.test.loader import load_model_tests  # noqa: E402
from onnx.backend.test.runner import Runner  # noqa: E402

from fastconv.onnx import backend  # noqa: E402

RANDOM = "random numbers: the reference's are others each time, too"
REFERENCE = "the reference evaluator gives no or another result, too"
# Case -> why it is left out.
EXCEPTIONS = {
    "test_bernoulli": RANDOM,
    "test_bernoulli_double": RANDOM,
    "test_bernoulli_double_expanded": RANDOM,
    "test_bernoulli_expanded": RANDOM,
    "test_bernoulli_seed": RANDOM,
    "test_bernoulli_seed_expanded": RANDOM,
    "test_gradient_of_add": REFERENCE,
    "test_gradient_of_add_and_mul": REFERENCE,
    "test_if_opt": REFERENCE,
    "test_loop16_seq_none": REFERENCE,
    "test_scan_sum": REFERENCE,
    "test_scatter_with_axis": REFERENCE,
    "test_scatter_without_axis": REFERENCE,
}


def cases(kind):
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")  # the cases divide by zero to make infinities
        return load_model_tests(kind=kind)


def read_proto(path, kind):
    """An input or output of a case, by the type that the model declares."""
    content = path.read_bytes()
    if kind.HasField("sequence_type"):
        return onnx.numpy_helper.to_list(onnx.SequenceProto.FromString(content))
    if kind.HasField("optional_type"):
        return onnx.numpy_helper.to_optional(onnx.OptionalProto.FromString(content))
    return onnx.numpy_helper.to_array(onnx.TensorProto.FromString(content))


def as_array(value):
    return onnx.numpy_helper.to_array(value) if isinstance(value, onnx.TensorProto) else value


def model_and_data(case):
    """A case's model, and its pairs of inputs and outputs."""
    if case.model_dir is None:
        return case.model, [tuple(list(map(as_array, part)) for part in pair)
                            for pair in case.data_sets]
    folder = Path(case.model_dir)
    model = onnx.load(folder / "model.onnx")
    pairs = []
    for data in sorted(folder.glob("test_data_set*")):
        pairs.append(tuple(
            [read_proto(data / f"{word}_{i}.pb", declared[i].type)
             for i in range(len(list(data.glob(f"{word}_*.pb"))))]
            for word, declared in (("input", model.graph.input), ("output", model.graph.output))
        ))
    return model, pairs


def failure(case):
    """What is wrong with the results of a case, None where nothing is."""
    try:
        model, pairs = model_and_data(case)
        prepared = backend.prepare(model)
        for inputs, outputs in pairs:
            results = list(prepared.run(inputs))
            Runner.assert_similar_outputs(outputs, results, rtol=case.rtol, atol=case.atol)
    except Exception as error:
        return f"{type(error).__name__}: {error}"
    return None


@pytest.mark.parametrize("kind, least", [
    ("node", 1500), ("simple", 20), ("pytorch-converted", 80), ("pytorch-operator", 30),
])
def test_cases(kind, least):
    found = cases(kind)
    assert len(found) >= least
    failures = {case.name: failure(case) for case in found}
    wrong = {name: why for name, why in failures.items() if why and name not in EXCEPTIONS}
    assert not wrong
    # Bernoulli's small arrays can be right by chance.
    idle = [name for name, why in EXCEPTIONS.items()
            if why != RANDOM and name in failures and failures[name] is None]
    assert not idle


LIGHT = sorted((Path(onnx.__file__).parent / "backend/test/data/light").glob("*.onnx"))


@pytest.mark.parametrize("path", LIGHT, ids=lambda path: path.stem)
def test_light_models(path):
    """Weights of one value each: the results are the wheel's, shapes and numbers."""
    model = onnx.load(path)
    given = {tensor.name for tensor in model.graph.initializer}
    feeds = [
        Runner.generate_dummy_data(value) for value in model.graph.input if value.name not in given
    ]
    wanted = onnx.TensorProto.FromString(path.with_name(f"{path.stem}_output_0.pb").read_bytes())
    (result,) = backend.run_model(model, feeds)
    np.testing.assert_allclose(result, onnx.numpy_helper.to_array(wanted), rtol=1e-3, atol=1e-7)


def test_interface():
    assert backend.supports_device("CPU") and backend.supports_device("CPU:0")
    assert not backend.supports_device("CUDA")
    x = onnx.helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, [2])
    y = onnx.helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, [2])
    node = onnx.helper.make_node("Relu", ["x"], ["y"])
    model = onnx.helper.make_model(onnx.helper.make_graph([node], "g", [x], [y]))
    assert backend.is_compatible(model) and not backend.is_compatible(model, "CUDA:1")
    values = np.array([-1, 2], np.float32)
    for inputs in ([values], {"x": values}, values):
        np.testing.assert_array_equal(backend.run_model(model, inputs)[0], [0, 2])
    with pytest.raises(ValueError, match="runs on the CPU, not on 'CUDA'"):
        backend.prepare(model, "CUDA")
    with pytest.raises(ValueError, match="takes 1 inputs, got 2"):
        backend.run_model(model, [values, values])
