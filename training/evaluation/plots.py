"""The report's pictures, as SVG that takes the page's own text colour (matplotlib)."""

import io
import re
from collections.abc import Mapping, Sequence
from typing import Any

from training.evaluation.gates import Gate, Verdict

# Drawn in this colour, then replaced by the page's: so one picture is readable in light and dark.
_INK = "#010203"
_COLOURS = {Verdict.PASS: "#2da44e", Verdict.FAIL: "#d1242f", Verdict.INCONCLUSIVE: "#bf8700"}
_LINES = ("#8b949e", "#1f6feb", "#bf8700", "#2da44e", "#8250df")
_MOST = 60


def forest(gates: Sequence[Gate]) -> str:
    """Draw candidate - baseline of every test with its limits and its margin, in points.

    The worst come first where there are more than can be shown.
    """
    tests = [(gate, test) for gate in gates for test in gate.tests if test.pairs.n]
    if not tests:
        return ""
    tests.sort(key=lambda pair: list(Verdict).index(pair[1].verdict) != 1)
    shown = tests[:_MOST]
    figure, axes = _figure(7.5, 0.9 + 0.32 * len(shown))
    rows = range(len(shown) - 1, -1, -1)
    colours = [_COLOURS[test.verdict] for _, test in shown]
    seen = [test.difference for _, test in shown]
    lows, highs = [100 * d.low for d in seen], [100 * d.high for d in seen]
    axes.hlines(rows, lows, highs, colors=colours, linewidth=2)
    axes.scatter([100 * d.value for d in seen], rows, c=colours, s=26, zorder=3)
    bounded = [(r, t) for r, (_, t) in zip(rows, shown, strict=True) if t.rule == "non-inferior"]
    heights = [row for row, _ in bounded]
    margins = [-100 * test.margin for _, test in bounded]
    axes.vlines(margins, [r - 0.35 for r in heights], [r + 0.35 for r in heights], color=_INK)
    axes.axvline(0, color=_INK, linewidth=0.8, linestyle=(0, (4, 3)))
    axes.set_yticks(rows, [_label(gate, test.slice) for gate, test in shown])
    axes.set_ylim(-0.7, len(shown) - 0.3)
    axes.set_xlabel("candidate - baseline, points, with one-sided 95 % limits; | is the margin")
    return _svg(figure)


def latency(seconds: Mapping[str, Sequence[float]], limit_s: float | None) -> str:
    """Draw for each system which share of answers came within a time, and the SLA."""
    drawn = {name: sorted(values) for name, values in seconds.items() if values}
    if not drawn:
        return ""
    figure, axes = _figure(7.5, 3.2)
    for (name, values), colour in zip(drawn.items(), _LINES * len(drawn), strict=False):
        shares = [100 * (n + 1) / len(values) for n in range(len(values))]
        axes.step(values, shares, where="post", label=name, color=colour, linewidth=1.8)
    if limit_s is not None:
        axes.axvline(limit_s, color=_COLOURS[Verdict.FAIL], linewidth=1, label="SLA (p95)")
    axes.axhline(95, color=_INK, linewidth=0.6, linestyle=(0, (4, 3)))
    everything = [value for values in drawn.values() for value in values]
    if max(everything) > 20 * max(min(everything), 1e-3):
        axes.set_xscale("log")
    axes.set_ylim(0, 101)
    axes.set_xlabel("seconds to the whole answer")
    axes.set_ylabel("% of answers")
    axes.legend(frameon=False, labelcolor=_INK, loc="lower right")
    return _svg(figure)


def _label(gate: Gate, slice: str) -> str:
    prefix = "" if gate.name == "paired" else f"{gate.name}: "
    text = f"{prefix}{slice}"
    return text if len(text) <= 40 else f"{text[:39]}…"


def _figure(width: float, height: float) -> tuple[Any, Any]:
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasSVG(figure)
    figure.patch.set_alpha(0)
    axes = figure.add_subplot()
    axes.patch.set_alpha(0)
    axes.tick_params(colors=_INK, length=3)
    axes.xaxis.label.set_color(_INK)
    axes.yaxis.label.set_color(_INK)
    for side, spine in axes.spines.items():
        spine.set_visible(side in ("left", "bottom"))
        spine.set_color(_INK)
    return figure, axes


def _svg(figure: Any) -> str:
    import matplotlib as mpl

    # Text stays text: `$` in the name of a slice is no formula, and `<` is escaped.
    settings = {"svg.hashsalt": "driftgate", "svg.fonttype": "none", "text.parse_math": False}
    buffer = io.StringIO()
    with mpl.rc_context(settings):
        figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None})
    text = buffer.getvalue()
    start = text.index("<svg")
    body = re.sub(r"<metadata>.*?</metadata>", "", text[start:], flags=re.DOTALL)
    return body.replace(_INK, "currentColor")
