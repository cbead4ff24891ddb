"""Whole networks in the race: `fastconv bench --networks`.

    name or file -> NetworkContest -> net.onnx and .npy files -> each contestant loads and runs it

A contest here has what one of contest.py has, but its job is a file. The numbers that everybody's
are held against are onnxruntime's with all its optimisations off, or where it is not installed
those of the `onnx` package's reference implementations.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from fastconv.cli._common import CommandError
from fastconv.cli._feeds import Shape, random_feeds
from fastconv.cli.race.light import LIGHT, file_of, filled

FOLDER = "FASTCONV_MODELS"  # the environment variable that names a folder of networks
RANDOM, REAL = "random weights", "real weights"
_NEWER = 13  # the opset in which Softmax no longer joined axes

# Networks that do not run at any size, by the beginning of the file's name.
_SHAPES: dict[str, dict[str, Shape]] = {
    "audio_silero-vad": {"input": (1, 576), "state": (2, 1, 128)},
    "ocr_ppocrv4-rec": {"x": (1, 3, 48, 320)},
    "textdet_ppocrv4-det": {"x": (1, 3, 320, 320)},
    "superres_waifu2x": {"Input1": (1, 3, 100, 100)},
}


class NetworkContest(NamedTuple):
    """A network to race; `source` is a file, or a name in LIGHT."""

    network: str
    name: str
    text: str
    source: Path | str
    feeds: dict[str, np.ndarray]

    def job(self, layout: str) -> dict[str, Any]:
        """What every contestant is told; the feeds are in files called feed0, feed1, ..."""
        model = "net.onnx" if isinstance(self.source, str) else str(self.source.resolve())
        inputs = {f"feed{place}": name for place, name in enumerate(self.feeds)}
        return {"op": "network", "layout": layout, "model": model, "inputs": inputs}

    def write(self, folder: Path, layout: str) -> None:
        """Write the feeds, and what the network should answer, as .npy files."""
        path = Path(folder, self.job(layout)["model"])
        if isinstance(self.source, str):
            path.write_bytes(filled(self.source).SerializeToString())
        for place, array in enumerate(self.feeds.values()):
            np.save(folder / f"feed{place}.npy", array)
        for place, array in enumerate(_reference(path, self.feeds)):
            np.save(folder / f"exact.{place:03}.npy", array)

    def facts(self) -> dict[str, Any]:
        """What the JSON file says about it, before any measuring."""
        return {"network": self.network, "name": self.name, "text": self.text}


def network_contests(
    words: list[str], size: int, shapes: Mapping[str, Shape]
) -> list[NetworkContest]:
    """Find networks and make up what is fed to them.

    Parameters
    ----------
    words : list of str
        Names of LIGHT, files, or parts of the names of files in the folder FASTCONV_MODELS;
        none of them means all of LIGHT and of the folder.
    size, shapes
        As for `random_feeds`.

    Raises
    ------
    CommandError
        When a word names nothing, or a file is no network.
    """
    words = words or [*LIGHT, *(path.stem for path in _folder())]
    sources = [source for word in words for source in _sources(word)]
    return [_contest(source, size, shapes) for source in dict.fromkeys(sources)]


def _folder() -> list[Path]:
    folder = os.environ.get(FOLDER)
    return sorted(Path(folder).glob("*.onnx")) if folder else []


def _sources(word: str) -> list[Path | str]:
    if word in LIGHT:
        return [word]
    if word.endswith(".onnx"):
        return [Path(word)]
    found: list[Path | str] = [path for path in _folder() if word in path.stem]
    if not found:
        raise CommandError(
            f"bench: no network {word!r}; known: {', '.join(LIGHT)}, files that end in .onnx, and "
            f"those in the folder {FOLDER} (an environment variable)"
        )
    return found


def _contest(source: Path | str, size: int, shapes: Mapping[str, Shape]) -> NetworkContest:
    name = source if isinstance(source, str) else source.stem
    known = next((of for start, of in _SHAPES.items() if name.startswith(start)), {})
    try:
        feeds = random_feeds(_inputs(source), size, shapes or known)
    except ValueError as error:
        raise CommandError(f"bench: {error}") from error
    text = ", ".join("x".join(map(str, fed.shape)) for fed in feeds.values() if fed.ndim)
    return NetworkContest(REAL if isinstance(source, Path) else RANDOM, name, text, source, feeds)


def _inputs(source: Path | str) -> list[Any]:
    """The inputs that must be fed."""
    from fastconv.onnx.reader import read

    path = file_of(source) if isinstance(source, str) else source
    return read(path, str(source))[0].inputs


def _reference(path: Path, feeds: dict[str, np.ndarray]) -> list[np.ndarray]:
    try:
        import onnxruntime
    except ImportError:
        return _evaluated(path, feeds)
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.log_severity_level = 3  # unused weights are no concern of the race
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    return session.run(None, feeds)


def _evaluated(path: Path, feeds: dict[str, np.ndarray]) -> list[np.ndarray]:
    """The answer of the reference implementations, which know operators' newer meanings only."""
    import onnx
    from onnx import version_converter
    from onnx.reference import ReferenceEvaluator

    model = onnx.load(path)
    versions = {opset.domain: opset.version for opset in model.opset_import}
    if versions.get("", _NEWER) < _NEWER:
        model = version_converter.convert_version(model, _NEWER)
    return list(ReferenceEvaluator(model).run(None, feeds))
