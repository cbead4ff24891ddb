"""The choice of algorithm: a table of problems, refusals, and what explain_conv2d tells."""

import numpy as np
import pytest

import fastconv
from fastconv import plan
from fastconv._engine import dispatch


def problem(**changes):
    """A 3x3 layer of 64 -> 64 channels on 56x56 pixels, with changes."""
    usual = plan.Problem(
        op="conv2d", batch=1, in_channels=64, out_channels=64, groups=1, kernel=(1, 3, 3),
        stride=(1, 1, 1), dilation=(1, 1, 1), padded=False, out_size=(1, 56, 56),
        channels_contiguous=False, run=56 * 56, packed=True, lanes=16, held=27,
    )  # fmt: skip
    return usual._replace(**changes)


CHOICES = [
    ({}, "winograd", "F("),
    ({"kernel": (1, 1, 3), "out_size": (1, 1, 500)}, "winograd", "F("),
    ({"kernel": (1, 1, 1)}, "direct", "pointwise"),
    ({"kernel": (1, 1, 1), "groups": 2}, "direct", "pointwise"),
    ({"kernel": (1, 1, 1), "padded": True}, "im2col", "pointers"),
    ({"kernel": (1, 1, 1), "stride": (1, 1, 2)}, "im2col", "pointers"),
    ({"kernel": (1, 1, 1), "run": 1}, "im2col", "pointers"),
    ({"kernel": (1, 1, 1), "run": 49, "in_channels": 512}, "im2col", "pointers"),
    ({"kernel": (1, 1, 1), "run": 49, "lanes": 4}, "direct", "pointwise"),
    ({"kernel": (1, 1, 1), "run": 49, "out_channels": 24}, "direct", "pointwise"),
    ({"kernel": (1, 1, 1), "run": 3136, "in_channels": 1}, "direct", "pointwise"),
    ({"kernel": (1, 5, 5)}, "winograd", "F(2,5)"),
    ({"kernel": (1, 1, 5), "out_size": (1, 1, 500)}, "winograd", "F(4,5)"),
    ({"kernel": (1, 1, 7)}, "winograd", "F(2,7)"),
    ({"kernel": (1, 5, 3)}, "im2col", "pointers"),
    ({"kernel": (1, 7, 7)}, "im2col", "pointers"),
    ({"stride": (1, 2, 2)}, "im2col", "pointers"),
    ({"dilation": (1, 2, 2)}, "winograd", "F(4,3)"),
    ({"dilation": (1, 12, 12)}, "winograd", "F("),
    ({"dilation": (1, 60, 60)}, "im2col", "pointers"),  # each output is a grid of its own
    ({"kernel": (3, 3, 3)}, "im2col", "pointers"),
    ({"in_channels": 3}, "direct", "planes"),
    ({"in_channels": 3, "run": 56}, "direct", "planes"),
    ({"in_channels": 3, "run": 1, "channels_contiguous": True}, "direct", "rows"),
    ({"in_channels": 3, "run": 1}, "direct", "rows"),
    ({"in_channels": 3, "out_channels": 32, "run": 1, "channels_contiguous": True},
     "direct", "stationary"),
    ({"in_channels": 3, "out_channels": 32, "run": 1, "channels_contiguous": True, "held": 8},
     "direct", "rows"),
    ({"in_channels": 1, "out_channels": 32, "run": 1, "channels_contiguous": True,
      "kernel": (1, 9, 9)}, "direct", "stationary"),
    ({"in_channels": 1, "out_channels": 32, "run": 1, "channels_contiguous": True,
      "kernel": (1, 10, 9)}, "direct", "rows"),
    ({"in_channels": 8, "out_size": (1, 7, 7), "run": 49}, "direct", "rows"),
    ({"in_channels": 8, "out_channels": 2}, "direct", "planes"),
    ({"in_channels": 3, "kernel": (1, 7, 7), "stride": (1, 2, 2), "out_size": (1, 112, 112)},
     "direct", "planes"),
    ({"in_channels": 3, "kernel": (1, 11, 11), "stride": (1, 4, 4), "out_channels": 96,
      "out_size": (1, 55, 55)}, "direct", "rows"),
    ({"in_channels": 1}, "direct", "planes"),
    ({"in_channels": 1, "channels_contiguous": True, "run": 1}, "direct", "rows"),
    ({"in_channels": 1, "out_channels": 6, "channels_contiguous": True}, "direct", "planes"),
    ({"in_channels": 1, "out_channels": 1}, "direct", "planes"),
    ({"out_channels": 3}, "direct", "planes"),
    ({"out_channels": 12}, "im2col", "pointers"),
    ({"out_channels": 3, "channels_contiguous": True}, "im2col", "pointers"),
    ({"out_channels": 3, "channels_contiguous": True, "kernel": (1, 9, 9)}, "direct", "planes"),
    ({"out_channels": 3, "out_size": (1, 0, 0)}, "im2col", "pointers"),
    ({"groups": 64, "channels_contiguous": True}, "direct", "depthwise"),
    ({"groups": 64}, "direct", "planes"),
    ({"groups": 16}, "direct", "grouped"),
    ({"groups": 8, "channels_contiguous": True}, "direct", "grouped"),
    ({"groups": 8, "lanes": 8}, "im2col", "pointers"),
    ({"groups": 4}, "winograd", "F("),
    ({"groups": 16, "dilation": (1, 99, 128)}, "direct", "grouped"),
    ({"groups": 16, "dilation": (1, 1, 129)}, "direct", "planes"),
    ({"groups": 16, "kernel": (1, 1, 1)}, "direct", "pointwise"),
    ({"groups": 16, "kernel": (1, 1, 1), "run": 1}, "direct", "grouped"),
    ({"groups": 64, "out_channels": 128}, "direct", "planes"),
    ({"groups": 64, "out_channels": 128, "channels_contiguous": True}, "direct", "grouped"),
    ({"groups": 64, "out_channels": 1024, "channels_contiguous": True}, "direct", "rows"),
]


@pytest.mark.parametrize(("changes", "algorithm", "form"), CHOICES, ids=str)
def test_auto(changes, algorithm, form):
    choice = plan.choose(problem(**changes), "auto", "high")
    assert choice.algorithm == algorithm
    assert choice.form.startswith(form)
    assert choice.reason
    assert (choice.tile > 0) == (algorithm == "winograd")


def test_makers_differ_in_reading_planes_from_afar(monkeypatch):
    far = problem(kernel=(1, 1, 1), in_channels=512, out_channels=128, run=784)
    monkeypatch.setattr(plan, "PLANES_AFAR", 1.1)
    assert not plan.pointwise_pays(far)
    monkeypatch.setattr(plan, "PLANES_AFAR", 1.03)
    assert plan.pointwise_pays(far)


def test_highest_precision_and_integers_leave_winograd_out():
    assert plan.choose(problem(), "auto", "highest").algorithm == "im2col"
    wide = problem(kernel=(1, 5, 5))
    assert plan.choose(wide, "auto", "highest").algorithm == "im2col"
    assert plan.choose(wide, "auto", "high", exact=True).algorithm == "im2col"
    assert plan.choose(problem(), "auto", "high", exact=True).algorithm == "im2col"
    assert plan.choose(problem(), "auto", "medium").algorithm == "winograd"


# ---------------------------------------------------------------- tiles

# Changes to a layer of 256 -> 256 channels on 56x56 pixels at a level with tiles, precision, form.
TILES = [
    ({"stride": (1, 2, 2), "out_size": (1, 28, 28)}, "high", "3 bfloat16"),
    ({"kernel": (1, 1, 1)}, "high", "3 bfloat16"),
    ({"kernel": (1, 1, 1), "channels_contiguous": True, "run": 1}, "high", "3 bfloat16"),
    ({"kernel": (3, 3, 3)}, "high", "3 bfloat16"),
    ({"kernel": (1, 7, 7)}, "high", "3 bfloat16"),
    ({"dilation": (1, 2, 2), "out_size": (1, 28, 28)}, "high", "3 bfloat16"),
    # its blocks see the same input again and again
    ({"dilation": (1, 12, 12), "out_size": (1, 33, 33)}, "high", "F(4,3)"),
    ({}, "high", "3 bfloat16"),
    ({"in_channels": 40, "out_channels": 40}, "high", "F(4,3)"),      # 64 for tiles
    ({"out_size": (1, 14, 14)}, "high", "3 bfloat16"),
    ({}, "medium", "bfloat16"),
    ({"stride": (1, 2, 2)}, "highest", "pointers"),
    ({"stride": (1, 2, 2), "tiles": False}, "high", "pointers"),
    ({"stride": (1, 2, 2), "tiles": False}, "medium", "pointers"),
    ({"kernel": (1, 1, 1), "in_channels": 64, "out_channels": 16}, "high", "pointwise"),
    ({"in_channels": 3}, "medium", "planes"),
    ({"in_channels": 3, "kernel": (1, 7, 7), "stride": (1, 2, 2)}, "high", "runs, 3 bfloat16"),
    ({"in_channels": 3, "kernel": (1, 7, 7), "stride": (1, 2, 2), "channels_contiguous": True,
      "run": 1}, "medium", "runs, bfloat16"),
    ({"in_channels": 3, "kernel": (1, 25, 7), "stride": (1, 2, 2), "channels_contiguous": True,
      "run": 1}, "high", "rows"),       # too many runs
    ({"in_channels": 3, "kernel": (1, 7, 7), "dilation": (1, 1, 2), "channels_contiguous": True,
      "run": 1}, "high", "pointers"),       # rows of taps that do not touch
    ({"in_channels": 3, "channels_contiguous": True, "run": 1}, "high", "rows"),
    ({"groups": 256}, "medium", "planes"),
    ({"groups": 256, "channels_contiguous": True}, "medium", "depthwise"),
    ({"groups": 64}, "medium", "grouped"),
    ({"groups": 2, "stride": (1, 2, 2)}, "high", "3 bfloat16"),
    ({"stride": (1, 2, 2), "out_size": (1, 1, 1)}, "high", "pointers"),
    ({"kernel": (1, 17, 16)}, "high", "pointers"),      # too many taps
    ({"stride": (1, 2, 2), "dilation": (1, 99, 99)}, "high", "pointers"),
    ({"kernel": (1, 0, 3)}, "high", "pointers"),
    ({"stride": (1, 2, 2), "out_size": (1, 0, 4)}, "high", "pointers"),
]  # fmt: skip


@pytest.mark.parametrize(("changes", "precision", "form"), TILES, ids=str)
def test_tiles_where_they_cost_less(changes, precision, form):
    layer = problem(in_channels=256, out_channels=256, tiles=True)._replace(**changes)
    choice = plan.choose(layer, "auto", precision)
    assert choice.form == form
    assert choice.algorithm == "im2col" or "bfloat16" not in form
    runs_as_high = '"medium"' in choice.reason and 'runs as "high"' in choice.reason
    assert runs_as_high == (precision == "medium" and "bfloat16" not in form)


def test_tiles_are_arithmetic_of_im2col():
    layer = problem(in_channels=256, out_channels=256, tiles=True)
    for precision, form in (("highest", "pointers"), ("high", "3 bfloat16"),
                            ("medium", "bfloat16")):
        assert plan.choose(layer, "im2col", precision).form == form
        assert "bfloat16" not in plan.choose(layer, "direct", precision).form
    assert plan.choose(layer, "winograd", "medium").algorithm == "winograd"
    assert plan.choose(layer, "im2col", "high", exact=True).form == "pointers"


def test_a_named_algorithm_does_not_depend_on_packing():
    """Few pixels: to pack in every call costs more than tiles save."""
    few = problem(in_channels=520, out_channels=150, out_size=(1, 5, 6), tiles=True)
    assert plan.choose(few, "auto", "high").form == "3 bfloat16"
    assert plan.choose(few._replace(packed=False), "auto", "high").form == "pointers"
    assert plan.choose(few._replace(packed=False), "im2col", "high").form == "3 bfloat16"


def test_medium_without_tiles_says_so():
    reason = plan.choose(problem(), "auto", "medium").reason
    assert reason.endswith('saves multiplications; "medium" needs tiles (AMX) and runs as "high"')
    assert '"medium"' not in plan.choose(problem(), "auto", "high").reason


def test_the_reason_names_the_width_of_the_kernel():
    assert "3-wide, stride 1" in plan.choose(problem(), "auto", "high").reason
    assert "5-wide, stride 1" in plan.choose(problem(kernel=(1, 5, 5)), "auto", "high").reason


def test_the_reason_names_a_dilation():
    assert "stride 1, 64 -> 64 channels: F(" in plan.choose(problem(), "auto", "high").reason
    apart = plan.choose(problem(dilation=(1, 2, 3)), "auto", "high")
    assert "stride 1, dilation (2, 3), 64 -> 64 channels: F(" in apart.reason


def test_packing_counts_where_every_call_packs():
    """Few pixels: transforming the kernels costs more than it saves, unless it is done once."""
    few = problem(in_channels=256, out_channels=256, out_size=(1, 9, 9))
    assert plan.choose(few, "auto", "high").algorithm == "winograd"
    assert plan.choose(few._replace(packed=False), "auto", "high").algorithm == "im2col"


@pytest.mark.parametrize("algorithm", ["direct", "im2col", "winograd"])
def test_what_is_asked_for_is_done(algorithm):
    choice = plan.choose(problem(), algorithm, "high")
    assert choice.algorithm == algorithm
    assert choice.reason == "asked for"


@pytest.mark.parametrize(
    ("changes", "precision", "reason"),
    [
        ({"kernel": (1, 7, 7)}, "high", "5x5, 1x5, 5x1, 1x7 or 7x1 kernel, got 7x7"),
        ({"kernel": (3, 3, 3)}, "high", "got 3x3x3"),
        ({"kernel": (1, 3, 5)}, "high", "got 3x5"),
    ({"kernel": (1, 1, 4)}, "high", "got 1x4"),
        ({"stride": (1, 2, 1)}, "high", "stride 1, got stride (2, 1)"),
        ({"stride": (2, 1, 1)}, "high", "stride 1, got stride (2, 1, 1)"),
        ({}, "highest", '"highest" keeps to direct and im2col'),
    ],
    ids=str,
)
def test_winograd_says_why_it_cannot(changes, precision, reason):
    with pytest.raises(ValueError, match='^conv2d: algorithm="winograd" cannot run this') as caught:
        plan.choose(problem(**changes), "winograd", precision)
    assert reason in str(caught.value)


def test_winograd_does_what_it_is_asked_to_even_where_it_does_not_pay():
    choice = plan.choose(problem(in_channels=1, out_channels=2), "winograd", "high")
    assert choice.algorithm == "winograd"
    assert choice.tile > 0


def test_unknown_algorithm():
    with pytest.raises(ValueError, match="conv2d: algorithm must be one of .* got 'fft'"):
        plan.choose(problem(), "fft", "high")


# ---------------------------------------------------------------- explain_conv2d


def test_explain_conv2d():
    plan = fastconv.explain_conv2d((1, 3, 227, 227), (96, 3, 11, 11), stride=4, dtype="float64")
    assert plan.algorithm == "direct"
    assert plan.isa == fastconv.show_config("dicts")["isa"]
    assert plan.flops == 2 * 96 * 55 * 55 * 3 * 11 * 11
    assert plan.precision == fastconv.get_precision()
    assert plan.unused == (0, 0)
    assert 0 < plan.workspace_bytes < 8 << 20
    assert plan.packed_bytes >= 96 * 3 * 11 * 11 * 8
    text = str(plan)
    for part in (plan.algorithm, plan.reason, plan.tile, plan.isa, plan.precision, "MFLOP", "KiB"):
        assert part in text
    assert "left over" not in text


def test_explain_conv2d_shows_what_no_window_reaches():
    plan = fastconv.explain_conv2d((1, 3, 224, 225), (96, 3, 11, 11), stride=4)
    assert plan.unused == (1, 2)
    assert "reached by no window: 1 x 2" in str(plan)


@pytest.mark.parametrize("algorithm", ["direct", "im2col", "winograd"])
@pytest.mark.parametrize("dtype", [np.float32, np.float64, "float32"])
@pytest.mark.parametrize("layout", ["NCHW", "NHWC"])
def test_explain_conv2d_knows_every_algorithm(algorithm, dtype, layout):
    shape = (2, 32, 20, 20) if layout == "NCHW" else (2, 20, 20, 32)
    plan = fastconv.explain_conv2d(
        shape, (32, 32, 3, 3), True, padding=1, layout=layout, algorithm=algorithm, dtype=dtype
    )
    assert plan.algorithm == algorithm
    assert plan.flops == 2 * 2 * 32 * 32 * 9 * 400
    assert plan.form.startswith("F(") == (algorithm == "winograd")


def test_explain_conv2d_needs_no_memory():
    plan = fastconv.explain_conv2d((64, 512, 4096, 4096), (512, 512, 3, 3), padding=1)
    assert plan.flops > 1e15


def test_explain_conv2d_follows_the_current_precision():
    shapes = (1, 64, 56, 56), (64, 64, 3, 3)
    with fastconv.precision("highest"):
        plan = fastconv.explain_conv2d(*shapes, padding=1, dtype="float64")
    assert (plan.algorithm, plan.form, plan.precision) == ("im2col", "pointers", "highest")
    high = fastconv.explain_conv2d(*shapes, padding=1, precision="high", dtype="float64")
    assert high.algorithm == "winograd"


SHOW = """
import numpy as np, fastconv
x = np.ones((1, 64, 56, 56), np.float32)
for _ in range(2):
    fastconv.conv2d(x, np.ones((64, 64, 3, 3), np.float32), padding=1)
fastconv.conv_transpose1d(x[0, 0], np.ones((56, 3, 2), np.float32), stride=2)
"""


def test_verbose_shows_each_new_plan_once(fresh_python):
    done = fresh_python("-c", SHOW, FASTCONV_VERBOSE="1", FASTCONV_PRECISION=None,
                        FASTCONV_ISA=dispatch.vector_isa())
    assert done.returncode == 0, done.stderr
    lines = done.stderr.splitlines()
    assert len(lines) == 2, lines
    assert lines[0].startswith("fastconv: conv2d (1, 64, 56, 56) float32, weight (64, 64, 3, 3): ")
    assert "winograd" in lines[0] and "workspace" in lines[0]
    assert lines[1].startswith("fastconv: conv_transpose1d (56, 56) float32")
    assert done.stdout == ""


@pytest.mark.parametrize("value", [None, "", "0"])
def test_quiet_without_verbose(value, fresh_python):
    done = fresh_python("-c", SHOW, FASTCONV_VERBOSE=value)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
