"""Charts of the bench: what they draw is what was measured."""

import numpy as np
import pytest

from fastconv import plot


def test_bench_chart_bars():
    pytest.importorskip("matplotlib", reason="needs matplotlib: pip install fastconv[test]")
    run = {"gflops": 120.0, "algorithm": "im2col", "faster_than_blas": 4.0}
    layer = {"name": "a", "text": "1x1", "flops": 6e8, "numpy_blas_ms": 20.0, "runs": [run]}
    refused = {"name": "b", "runs": []}
    result = {
        "layers": [layer, refused],
        "peak_gflops": 200.0,
        "machine": {"cpu": "x", "isa": "avx2"},
        "threads": 2,
        "layout": "NCHW",
    }
    figure = plot.bench_chart(result)
    assert [bar.get_width() for bar in figure.axes[0].patches] == [120.0, 30.0]
    assert "im2col, 4.0x" in [text.get_text().strip() for text in figure.axes[0].texts]


def test_roofline_chart_spots():
    """A spot for each layer that ran, at its intensity and speed, below its roofs."""
    pytest.importorskip("matplotlib", reason="needs matplotlib: pip install fastconv[test]")
    runs = [{"gflops": 120.0, "algorithm": "im2col"}], [{"gflops": 500.0, "algorithm": "winograd"}]
    layers = [{"name": f"l{i}", "flops": 6e8, "bytes": 3e6, "runs": r} for i, r in enumerate(runs)]
    result = {
        "layers": [*layers, {"name": "refused", "flops": 1e8, "bytes": 1e6, "runs": []}],
        "peak_gflops": 200.0,
        "memory_gbs": 20.0,
        "machine": {"cpu": "x", "isa": "avx2"},
        "threads": 2,
        "layout": "NCHW",
    }
    axes = plot.roofline_chart(result).axes[0]
    spots = [line.get_xydata()[0] for line in axes.lines if line.get_marker() == "o"]
    np.testing.assert_allclose(spots, [(200, 120), (200, 500)])
    roofs = [line.get_xydata() for line in axes.lines if line.get_marker() != "o"]
    assert [roof[-1, 1] for roof in roofs] == [200, 800]
    for roof in roofs:  # bandwidth times intensity on the slope
        np.testing.assert_allclose(roof[0, 1], min(20 * roof[0, 0], roof[-1, 1]))
