"""`state_dict` and `load_state_dict`, files of arrays, initial weights."""

import sys

import numpy as np
import pytest

from fastconv import nn


def network(rng=0):
    return nn.Sequential(
        {
            "conv1": nn.Conv2d(1, 4, 3, bias=False, rng=rng),
            "bn1": nn.BatchNorm2d(4),
            "head": nn.Sequential(nn.Flatten(), nn.Linear(16, 2, rng=rng), nn.PReLU()),
        }
    )


NAMES = [
    "conv1.weight",
    "bn1.weight",
    "bn1.bias",
    "bn1.running_mean",
    "bn1.running_var",
    "bn1.num_batches_tracked",
    "head.1.weight",
    "head.1.bias",
    "head.2.weight",
]


def test_names_are_pytorchs():
    state = network().state_dict()
    assert list(state) == NAMES
    assert state["bn1.num_batches_tracked"].shape == ()
    assert state["bn1.num_batches_tracked"].dtype == np.int64
    assert [name for name, _ in network().named_parameters()] == [
        name for name in NAMES if "running" not in name and "num_" not in name
    ]
    assert list(nn.Linear(2, 3).state_dict()) == ["weight", "bias"]


def test_a_state_is_a_copy():
    net = network()
    state = net.state_dict()
    state["conv1.weight"][...] = 7
    assert not (net.conv1.weight == 7).any()
    net(np.ones((2, 1, 4, 4)))
    assert state["bn1.num_batches_tracked"] == 0
    assert net.state_dict()["bn1.num_batches_tracked"] == 1


@pytest.mark.parametrize("training", [True, False])
def test_there_and_back(training):
    first, second = network(1), network(2).train(training)
    x = np.random.default_rng(0).normal(size=(3, 1, 4, 4))
    first(x)
    second(x)  # packs, in evaluation mode
    assert second.load_state_dict(first.state_dict()) == ([], [])
    np.testing.assert_array_equal(first.eval()(x), second.eval()(x))
    assert second.bn1.num_batches_tracked == 1
    assert not np.shares_memory(first.conv1.weight, second.conv1.weight)


def test_as_torch():
    torch = pytest.importorskip("torch", reason="needs torch: pip install fastconv[bench]")
    theirs = torch.nn.Sequential()
    theirs.conv1 = torch.nn.Conv2d(1, 4, 3, bias=False)
    theirs.bn1 = torch.nn.BatchNorm2d(4)
    theirs.head = torch.nn.Sequential(
        torch.nn.Flatten(), torch.nn.Linear(16, 2), torch.nn.PReLU()
    )
    x = torch.randn(5, 1, 4, 4)
    theirs(x)
    assert list(theirs.state_dict()) == NAMES
    ours = network()
    ours.load_state_dict(theirs.state_dict())
    with torch.no_grad():
        wanted = theirs.eval()(x).numpy()
    np.testing.assert_allclose(ours.eval()(x.numpy()), wanted, rtol=1e-4, atol=1e-5)
    tensors = {name: torch.from_numpy(array) for name, array in ours.state_dict().items()}
    theirs.load_state_dict(tensors)
    half = {name: tensor.bfloat16() for name, tensor in theirs.state_dict().items()}
    half["conv1.weight"].requires_grad_()
    ours.load_state_dict(half)
    np.testing.assert_allclose(
        ours.conv1.weight, tensors["conv1.weight"].numpy(), rtol=2**-8, atol=0
    )


def test_values_are_cast():
    layer = nn.Linear(1, 2, dtype=np.float64)
    layer.load_state_dict({"weight": [[1], [2]], "bias": np.float16([3, 4])})
    assert layer.weight.dtype == layer.bias.dtype == np.float64
    np.testing.assert_array_equal(layer([[1]]), [[4, 6]])


def test_everything_that_does_not_fit_is_listed():
    net = network()
    before = net.state_dict()
    state = {name: array + 1 for name, array in before.items()}
    del state["conv1.weight"], state["head.1.bias"]
    state["head.1.weight"] = np.zeros((2, 15))
    state["fc.weight"] = np.zeros(3)
    with pytest.raises(ValueError) as caught:
        net.load_state_dict(state)
    assert str(caught.value).splitlines() == [
        "load_state_dict: arrays must fit Sequential, got",
        "  wrong shapes: head.1.weight (has shape (2, 16), got (2, 15))",
        "  missing: conv1.weight, head.1.bias",
        "  without a place: fc.weight",
    ]
    with pytest.raises(ValueError, match=r"got\n  wrong shapes: head.1.weight [^\n]*$"):
        net.load_state_dict(state, strict=False)
    for name, array in net.state_dict().items():
        np.testing.assert_array_equal(array, before[name])


def test_not_strict():
    net = network()
    answer = net.load_state_dict({"bn1.bias": np.full(4, 5), "fc.bias": [1]}, strict=False)
    assert answer.unexpected == ["fc.bias"]
    assert answer.missing == [n for n in NAMES if n not in ("bn1.bias", "bn1.num_batches_tracked")]
    np.testing.assert_array_equal(net.bn1.bias, 5)


def test_old_files_have_no_count_of_batches():
    net = network()
    state = net.state_dict()
    del state["bn1.num_batches_tracked"]
    assert net.load_state_dict(state) == ([], [])


@pytest.mark.parametrize("value", [np.array(["a", "b"]), None, np.ones(2, complex)])
def test_what_is_no_array_of_numbers(value):
    layer = nn.Linear(1, 2)
    with pytest.raises(TypeError, match="load_state_dict: bias must be an array of real numbers"):
        layer.load_state_dict({"weight": np.zeros((2, 1)), "bias": value})
    assert layer.weight.all()


def test_what_is_no_dictionary():
    with pytest.raises(TypeError, match="arrays must be a dict of names to arrays, got list"):
        network().load_state_dict([1])


def test_a_shared_layer_has_every_name():
    layer = nn.Linear(2, 2)
    net = nn.Sequential(layer, layer)
    assert list(net.state_dict()) == ["0.weight", "0.bias", "1.weight", "1.bias"]
    assert [name for name, _ in net.named_parameters()] == ["0.weight", "0.bias"]
    assert [path for path, _ in net.named_modules()] == ["", "0"]


# ---------------------------------------------------------------- files


def need(suffix):
    if suffix == ".safetensors":
        pytest.importorskip("safetensors", reason="needs safetensors: pip install fastconv[files]")


@pytest.mark.parametrize("suffix", [".npz", ".safetensors"])
def test_files(tmp_path, suffix):
    need(suffix)
    net, twin = network(1).eval(), network(2)
    path = tmp_path / f"net{suffix}"
    nn.save(net, path)
    state = nn.load(str(path))
    assert set(state) == set(NAMES)
    twin.load_state_dict(state)
    for name, array in net.state_dict().items():
        np.testing.assert_array_equal(state[name], array)
        assert state[name].dtype == array.dtype
    nn.save({"a": np.arange(6).reshape(2, 3).T}, path)
    np.testing.assert_array_equal(nn.load(path)["a"], [[0, 3], [1, 4], [2, 5]])
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("suffix", [".npz", ".safetensors"])
def test_damaged_files(tmp_path, suffix):
    need(suffix)
    path = tmp_path / f"net{suffix}"
    nn.save(network(), path)
    whole = path.read_bytes()
    for content in (b"", b"nonsense" * 9, whole[: len(whole) // 2]):
        path.write_bytes(content)
        with pytest.raises(ValueError, match=f"load: .*net{suffix} must hold arrays by name, got"):
            nn.load(path)


def test_a_single_array_is_no_network(tmp_path):
    path = tmp_path / "array.npz"
    with path.open("wb") as file:
        np.save(file, np.ones(3))
    with pytest.raises(ValueError, match="must hold arrays by name, got another kind of file"):
        nn.load(path)


def test_unknown_formats(tmp_path):
    error = r"must end in \.npz or \.safetensors, got '.*net.pth'"
    with pytest.raises(ValueError, match=f"save: path {error}"):
        nn.save(network(), tmp_path / "net.pth")
    with pytest.raises(ValueError, match=f"load: path {error}"):
        nn.load("net.pth")
    with pytest.raises(FileNotFoundError, match="absent.npz"):
        nn.load(tmp_path / "absent.npz")


def test_the_library_for_safetensors_is_named(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "safetensors.numpy", None)
    with pytest.raises(ImportError, match=r'python -m pip install "fastconv\[files\]"'):
        nn.save(network(), tmp_path / "net.safetensors")
    assert list(tmp_path.iterdir()) == []


# ---------------------------------------------------------------- initial weights

# fan_in 5 * 9, fan_out 200 * 9.
RULES = {
    "kaiming_normal": 2 / 45,
    "kaiming_uniform": 2 / 45,
    "xavier_normal": 2 / (45 + 1800),
    "xavier_uniform": 2 / (45 + 1800),
}


@pytest.mark.parametrize("rule, variance", RULES.items())
def test_initial_weights(rule, variance):
    def make(rng):
        net = nn.Sequential(nn.Conv2d(5, 200, 3), nn.Sequential(nn.Linear(4, 4, bias=False)))
        assert getattr(nn.init, rule)(net, rng=rng) is net
        return net

    net = make(3)
    weight = net[0].weight
    # 9000 draws: the relative deviation of the variance is below 0.015.
    assert weight.var() == pytest.approx(variance, rel=0.06)
    assert abs(weight.mean()) < 4 * (variance / 9000) ** 0.5
    reach = abs(weight).max() / variance**0.5
    assert reach <= 3**0.5 * 1.001 if "uniform" in rule else reach > 3
    np.testing.assert_array_equal(net[0].bias, 0)
    np.testing.assert_array_equal(make(3)[1][0].weight, net[1][0].weight)
    assert not np.array_equal(make(4)[0].weight, weight)


def test_initial_weights_need_a_seed_that_is_one():
    with pytest.raises(TypeError, match="kaiming_normal: rng must be None, a non-negative integer"):
        nn.init.kaiming_normal(nn.Linear(1, 1), rng="seed")
