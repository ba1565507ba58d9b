"""The picture of the run: answers, evidence, latency and releases over the same minutes."""

import io
from collections.abc import Callable, Sequence
from math import nan
from statistics import fmean, quantiles
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from examples.loop.story import Story
    from examples.loop.timeline import Evidence

_INK = "#0f0f0f"  # becomes the page's colour
_KNOWN, _NEW, _DRIFT, _HARM = "#1f6feb", "#d9822b", "#8250df", "#c4242b"
_BIN_S = 30.0
_LEAST, _MOST = 1e-2, 1e5  # of the evidence that is drawn: what is beyond says no more
_STATES = {"WARN": "#d9a62e", "DEGRADED": "#c4242b", "RETRAINING": "#8250df", "CANARY": "#1a7f37"}
_RELEASES = ("#8c959f", "#1a7f37", "#8250df", "#d9822b", "#c4242b")
_FAINT: dict[str, Any] = {"color": "#8c959f", "linewidth": 0.8, "alpha": 0.6}
_SHOWN: dict[str, tuple[str, dict[str, Any]]] = {
    "feedback": ("harm, by feedback", {"color": _HARM, "linewidth": 1.8}),
    "all": ("drift", {"color": _DRIFT, "linewidth": 1.5}),
}
_GAP_S = 90.0  # without windows: no line is drawn across it
Bin = tuple[float, list[dict[str, Any]]]


def draw(story: "Story") -> str:
    """Return the picture as SVG, to stand in the page."""
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 9.5), facecolor="none", layout="constrained")
    rows = figure.subplots(4, 1, sharex=True, height_ratios=(3, 3, 2, 1.6))
    bins = _bins(story)
    _answers(rows[0], story, bins)
    _evidence(rows[1], story)
    _latency(rows[2], bins)
    _releases(rows[3], story, bins)
    for axes in rows:
        _bands(axes, story)
        axes.set_facecolor("none")
        axes.tick_params(colors=_INK)
        axes.yaxis.label.set_color(_INK)
        axes.grid(color=_INK, alpha=0.12)
        for side, spine in axes.spines.items():
            spine.set_visible(side in ("left", "bottom"))
            spine.set_color(_INK)
        axes.legend(frameon=False, labelcolor=_INK, loc="upper left", fontsize=8, ncols=4)
    rows[-1].set_xlabel("minutes", color=_INK)
    written = io.BytesIO()
    FigureCanvasSVG(figure).print_svg(written)
    svg = written.getvalue().decode()
    return svg[svg.index("<svg") :].replace(_INK, "currentColor")


def _answers(axes: Any, story: "Story", bins: Sequence[Bin]) -> None:
    for new, colour, name in ((False, _KNOWN, "known topics"), (True, _NEW, "new topics")):
        points = [
            (middle, fmean(line["right"] for line in of_kind))
            for middle, lines in bins
            if len(of_kind := [x for x in lines if x["new"] is new and "right" in x]) >= 3
        ]
        if points:
            axes.plot(*zip(*points, strict=True), color=colour, linewidth=1.8, label=name)
    axes.set_ylim(-0.03, 1.25)
    axes.set_yticks([0, 0.5, 1], ["0 %", "50 %", "100 %"])
    axes.set_ylabel("right answers")
    axes.axvline(_minute(story, story.shifted), color=_NEW, linestyle=":", linewidth=1.5)


def _evidence(axes: Any, story: "Story") -> None:
    names = sorted({name for each in story.evidence for name in each.values} - set(_SHOWN))
    labels = dict.fromkeys(names, "_")
    if names:
        labels[names[0]] = "single signals"
    for name in (*names, *_SHOWN):
        label, style = _SHOWN.get(name, (labels.get(name, "_"), _FAINT))
        for release in dict.fromkeys(each.release for each in story.evidence):
            of_release = [each for each in story.evidence if each.release == release]
            axes.plot(*_line(story, of_release, name), label=label, **style)
            label = "_"  # told once
    axes.axhline(story.threshold, color=_DRIFT, linestyle="--", linewidth=1)
    axes.axhline(200, color=_HARM, linestyle="--", linewidth=1)
    axes.set_yscale("log")
    axes.set_ylim(_LEAST, 30 * _MOST)  # room for the legend
    axes.set_ylabel("evidence (e-value)")


def _line(
    story: "Story", evidence: "Sequence[Evidence]", name: str
) -> tuple[list[float], list[float]]:
    """Return minutes and values of a signal, with a NaN where its release was not judged."""
    minutes: list[float] = []
    values: list[float] = []
    last = None
    for each in evidence:
        if name not in each.values:
            continue
        if last is not None and each.at - last > _GAP_S:
            minutes.append(_minute(story, each.at))
            values.append(nan)
        last = each.at
        minutes.append(_minute(story, each.at))
        values.append(min(max(each.values[name], _LEAST), _MOST))
    return minutes, values


def _latency(axes: Any, bins: Sequence[Bin]) -> None:
    levels: tuple[tuple[str, Callable[[list[float]], float], float], ...] = (
        ("median", lambda s: quantiles(s, n=2)[0], 2.0),
        ("95th percentile", lambda s: quantiles(s, n=20)[18], 1.0),
    )
    for name, level, width in levels:
        points = [
            (middle, level(seconds))
            for middle, lines in bins
            if len(seconds := [line["seconds"] for line in lines]) >= 2
        ]
        if points:
            axes.plot(*zip(*points, strict=True), color=_KNOWN, linewidth=width, label=name)
    axes.set_ylim(bottom=0)
    axes.set_ylabel("seconds")


def _releases(axes: Any, story: "Story", bins: Sequence[Bin]) -> None:
    seen = [line.get("release") for line in story.requests]
    releases = [release for release in dict.fromkeys(seen) if release]
    if not bins or not releases:
        return
    shares = [
        [
            sum(line.get("release") == release for line in lines) / max(1, len(lines))
            for _, lines in bins
        ]
        for release in releases
    ]
    names = [release.rpartition("-")[2] for release in releases]
    colours = [_RELEASES[n % len(_RELEASES)] for n in range(len(releases))]
    axes.stackplot([m for m, _ in bins], shares, labels=names, colors=colours, alpha=0.75)
    axes.set_ylim(0, 1.45)
    axes.set_yticks([0, 1], ["0 %", "100 %"])
    axes.set_ylabel("answered by")


def _bands(axes: Any, story: "Story") -> None:
    """Shade the minutes in which the alias was not healthy."""
    state, since = "HEALTHY", 0.0
    last = max((line["at"] for line in story.requests), default=story.began)
    changes = [moment for moment in story.moments if moment.kind == "health"]
    for moment in [*changes, None]:
        at = last if moment is None else moment.at
        if state in _STATES:
            ends = _minute(story, since), _minute(story, at)
            axes.axvspan(*ends, color=_STATES[state], alpha=0.13, linewidth=0)
        if moment is not None:
            state, since = moment.text.split("→")[1].split(":")[0].strip(), moment.at


def _bins(story: "Story") -> list[Bin]:
    found: dict[int, list[dict[str, Any]]] = {}
    for line in story.requests:
        found.setdefault(int((line["at"] - story.began) // _BIN_S), []).append(line)
    return [((place + 0.5) * _BIN_S / 60, found[place]) for place in sorted(found)]


def _minute(story: "Story", at: float) -> float:
    return (at - story.began) / 60
