"""Process-wide settings: precision in its three places, and what show_config tells."""

import threading

import numpy as np
import pytest

import fastconv

X, WEIGHT = (1, 64, 56, 56), (64, 64, 3, 3)


def algorithm(**options):
    return fastconv.explain_conv2d(X, WEIGHT, padding=1, dtype="float64", **options).algorithm


@pytest.fixture(autouse=True)
def restore_precision():
    before = fastconv.get_precision()
    yield
    fastconv.set_precision(before)


def test_set_precision():
    for value in ("medium", "highest", "high"):
        fastconv.set_precision(value)
        assert fastconv.get_precision() == value


def test_precision_within_a_block():
    fastconv.set_precision("high")
    with fastconv.precision("highest"):
        assert fastconv.get_precision() == "highest"
        assert algorithm() == "im2col"
        assert algorithm(precision="high") == "winograd"
        with fastconv.precision("medium"):
            assert fastconv.get_precision() == "medium"
        assert fastconv.get_precision() == "highest"
    assert fastconv.get_precision() == "high"
    assert algorithm() == "winograd"


def test_precision_comes_back_after_an_error():
    fastconv.set_precision("high")
    with pytest.raises(KeyError), fastconv.precision("highest"):
        raise KeyError
    assert fastconv.get_precision() == "high"


def test_precision_of_a_block_is_this_thread_s_alone():
    seen = []
    fastconv.set_precision("high")
    with fastconv.precision("highest"):
        thread = threading.Thread(target=lambda: seen.append(fastconv.get_precision()))
        thread.start()
        thread.join()
    assert seen == ["high"]


def test_precision_decides_about_calls():
    """Not only about plans: a convolution cached under one is planned anew under the other."""
    rng = np.random.default_rng(0)
    x, weight = rng.standard_normal((1, 64, 56, 56)), rng.standard_normal((64, 64, 3, 3))
    x, weight = x.astype("float32"), weight.astype("float32")
    fastconv.set_precision("high")
    fast = fastconv.conv2d(x, weight)
    with fastconv.precision("highest"):
        np.testing.assert_array_equal(
            fastconv.conv2d(x, weight), fastconv.conv2d(x, weight, algorithm="im2col")
        )
    np.testing.assert_array_equal(fastconv.conv2d(x, weight), fast)
    assert (fast != fastconv.conv2d(x, weight, precision="highest")).any()


@pytest.mark.parametrize("value", ["low", "", None, 2])
def test_wrong_precision(value):
    message = 'precision must be "highest", "high" or "medium"'
    with pytest.raises(ValueError, match=f"set_precision: {message}"):
        fastconv.set_precision(value)
    with pytest.raises(ValueError, match=f"precision: {message}"), fastconv.precision(value):
        pass


def test_precision_of_the_process(fresh_python):
    show = "import fastconv; print(fastconv.get_precision())"
    assert fresh_python("-c", show, FASTCONV_PRECISION=None).stdout == "high\n"
    assert fresh_python("-c", show, FASTCONV_PRECISION="").stdout == "high\n"
    assert fresh_python("-c", show, FASTCONV_PRECISION="highest").stdout == "highest\n"
    done = fresh_python("-c", show, FASTCONV_PRECISION="best")
    assert done.returncode == 1
    assert 'FASTCONV_PRECISION: precision must be "highest", "high" or "medium", got \'best\'' in (
        done.stderr
    )


def test_show_config(capsys):
    facts = fastconv.show_config("dicts")
    assert capsys.readouterr().out == ""
    assert facts["version"] == fastconv.__version__
    assert facts["isa"] in facts["isa_available"]
    assert facts["isa_available"][0] == "baseline"
    assert facts["threads"] == fastconv.get_num_threads()
    assert isinstance(facts["openmp"], bool)
    assert facts["precision"] == fastconv.get_precision()
    assert facts["compiler"] and facts["cpu"]
    assert fastconv.show_config() is None
    shown = capsys.readouterr().out
    for name, value in facts.items():
        assert name in shown
        assert str(value) in shown or isinstance(value, list)


def test_show_config_wrong_mode():
    with pytest.raises(ValueError, match='show_config: mode must be "stdout" or "dicts"'):
        fastconv.show_config("json")
