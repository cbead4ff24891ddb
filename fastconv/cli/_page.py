"""The demonstration's HTML page: one file, no scripts, nothing loaded from anywhere.

Experiments go in, a page comes out: pictures as data URIs (JPEG for photographs, PNG where single
pixels matter), numbers in tables whose bars compare the time with NumPy's. Styles follow the
reader's light or dark setting and also print well.
"""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from html import escape

import numpy as np

from fastconv.cli._experiments import Experiment, Outcome, Result
from fastconv.plot import Picture

CHOSEN = 'what algorithm="auto" takes'
METHOD = (
    "Fastest of several calls, fastconv and NumPy taking turns; weights are packed beforehand, as "
    "a layer does.\nNumPy's side is im2col + matmul (reference.conv2d_blas), for pools windows "
    "(reference.max_pool2d, avg_pool2d).\nmax error: against the reference in float64, relative "
    "to the largest value."
)

STYLE = """
:root { color-scheme: light dark;
  --ink: #1d2327; --quiet: #66707a; --paper: #fdfdfb; --card: #fff; --rule: #e3e5e2;
  --ours: #0f766e; --track: #e4e6e3; }
@media (prefers-color-scheme: dark) { :root {
  --ink: #e6e8ea; --quiet: #98a2ab; --paper: #14171a; --card: #1b1f23; --rule: #2c3237;
  --ours: #2fb5a5; --track: #30363b; } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--paper); color: var(--ink);
  font: 1.05rem/1.6 Charter, "Bitstream Charter", "Sitka Text", Cambria, Georgia, serif; }
main { max-width: 62rem; margin: 0 auto; padding: 4rem 1.5rem 5rem; }
h1 { font-size: 2.6rem; line-height: 1.15; letter-spacing: -0.015em; margin: 0 0 0.8rem; }
h2 { font-size: 1.5rem; line-height: 1.25; margin: 0 0 0.3rem; }
p { max-width: 42rem; margin: 0 0 1rem; }
.lead { font-size: 1.2rem; }
.quiet, figcaption, th, table, .claim { font-family: system-ui, "Segoe UI", Roboto,
  "Helvetica Neue", sans-serif; }
.quiet { color: var(--quiet); font-size: 0.85rem; line-height: 1.5; }
section { border-top: 1px solid var(--rule); margin-top: 3rem; padding-top: 2.2rem; }
.claim { color: var(--ours); font-weight: 600; font-size: 0.95rem; margin-bottom: 0.6rem; }
.pictures { display: flex; flex-wrap: wrap; gap: 1.1rem; margin: 1.4rem 0; }
figure { margin: 0; flex: var(--aspect) 1 calc(var(--aspect) * 9rem);
  max-width: calc(var(--aspect) * 19rem); }
img { display: block; width: 100%; height: auto; border-radius: 3px; }
img.pixels { image-rendering: pixelated; }
figcaption { color: var(--quiet); font-size: 0.8rem; padding-top: 0.35rem; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; font-size: 0.88rem; font-variant-numeric: tabular-nums;
  table-layout: fixed; width: 100%; max-width: 52rem; min-width: 42rem; }
th { color: var(--quiet); font-weight: 500; }
th, td { text-align: right; padding: 0.35rem 0 0.35rem 1.2rem; white-space: nowrap; }
th:first-child, td:first-child { text-align: left; padding-left: 0; }
td { border-top: 1px solid var(--rule); }
th:first-child { width: 11.5rem; }
th.bar { width: 30%; }
td.no { text-align: left; white-space: normal; color: var(--quiet); }
.track { background: var(--track); border-radius: 2px; height: 0.6rem; }
.track i { display: block; background: var(--ours); border-radius: 2px; height: 100%; }
.chosen { font-weight: 600; }
code { font: 0.92rem/1.5 ui-monospace, "SF Mono", Menlo, Consolas, "DejaVu Sans Mono", monospace; }
.code { margin-bottom: 0; overflow-x: auto; white-space: nowrap; }
@media (max-width: 44rem) {
  main { padding-top: 2.5rem; }
  .bar { display: none; }
  table { min-width: 0; font-size: 0.8rem; table-layout: auto; }
  th, td { padding-left: 0.8rem; }
  th:first-child { width: auto; white-space: normal; }
}
"""


def render(title: str, machine: str, experiments: Sequence[Experiment]) -> str:
    """Return the page as text.

    Parameters
    ----------
    title : str
        Heading of the page.
    machine : str
        What it ran on and how: versions, threads, precision.
    experiments : sequence of Experiment
        In the order of the page.
    """
    method = METHOD.replace("\n", " ")
    sections = "\n".join(map(_section, experiments))
    return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>fastconv: {escape(title)}</title>
<style>{STYLE}</style>
</head>
<body>
<main>
<h1>{escape(title)}</h1>
<p class="lead">Real photographs and real handwritten digits, convolved and pooled by fastconv.
Each algorithm computes the same picture; what differs is the time. In the tables the grey bar is
NumPy's time and the coloured one ours.</p>
<p class="quiet">{escape(machine).replace(chr(10), "<br>")}</p>
{sections}
<section>
<p class="quiet">Bold: {escape(CHOSEN)}. {escape(method)}</p>
</section>
</main>
</body>
</html>
"""


def _section(experiment: Experiment) -> str:
    figures = "\n".join(map(_figure, experiment.pictures))
    return f"""<section>
<h2>{escape(experiment.title)}</h2>
<p class="claim">{escape(experiment.claim)}</p>
<p>{escape(experiment.story)}</p>
<p class="code"><code>{escape(experiment.code)}</code></p>
<div class="pictures">
{figures}
</div>
{_table(experiment.outcome)}
</section>"""


def _figure(picture: Picture) -> str:
    height, width = picture.pixels.shape[:2]
    small = max(height, width) < 200
    kind = ' class="pixels"' if small else ""
    return (
        f'<figure style="--aspect: {width / height:.3f}">'
        f'<img{kind} src="{data_uri(picture.pixels)}" width="{width}" height="{height}" '
        f'alt="{escape(picture.caption)}">'
        f"<figcaption>{escape(picture.caption)}</figcaption></figure>"
    )


def data_uri(pixels: np.ndarray) -> str:
    """Return a picture as a data URI: PNG for few pixels, JPEG for many."""
    from PIL import Image

    small = max(pixels.shape[:2]) < 200
    kind, options = ("png", {"optimize": True}) if small else ("jpeg", {"quality": 88})
    content = io.BytesIO()
    Image.fromarray(pixels).save(content, kind, **options)
    return f"data:image/{kind};base64,{base64.b64encode(content.getvalue()).decode('ascii')}"


def _table(outcome: Outcome) -> str:
    rows = "\n".join(_row(result, result.name == outcome.chosen) for result in outcome.results)
    return f"""<div class="scroll"><table>
<thead><tr><th>{escape(outcome.work)}</th><th class="bar"></th>
<th>ms</th><th>NumPy ms</th><th>faster</th><th>max error</th></tr></thead>
<tbody>
{rows}
</tbody>
</table></div>"""


def _row(result: Result, chosen: bool) -> str:
    if result.refused is not None:
        reason = f'<td class="no" colspan="5">{escape(result.refused)}</td>'
        return f"<tr><td>{escape(result.name)}</td>{reason}</tr>"
    kind = ' class="chosen"' if chosen else ""
    share = min(1.0, result.seconds / result.numpy_seconds)
    return (
        f"<tr{kind}><td>{escape(result.name)}</td>"
        f'<td class="bar"><div class="track"><i style="width: {share:.1%}"></i></div></td>'
        f"<td>{result.seconds * 1e3:.3f}</td><td>{result.numpy_seconds * 1e3:.3f}</td>"
        f"<td>{result.faster:.1f}x</td><td>{result.error_text}</td></tr>"
    )
