"""Draws `drift.png`: how soon changes are found, beside other methods, and false alarms."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine

from monitoring.bench.outcomes import OURS
from monitoring.bench.plan import named
from monitoring.bench.summary import MONTH, Found, Summary

_OURS, _INK, _GRID = "#1a7f6b", "#1f2430", "#e4e7ec"
_SHARES = {"topic-20": "#0f5548", "topic-10": "#1a7f6b", "topic-5": "#58b09c",
           "topic-2": "#a8d5ca"}  # fmt: skip
_OTHERS = ("#c9772b", "#7a6fb0", "#4d86c6", "#c25b74", "#8791a5")
_BENIGN = {"shares": "#c9772b", "language": "#4d86c6", "typos": "#c25b74",
           "paraphrase": "#8791a5", "length": "#7a6fb0"}  # fmt: skip


def draw(summary: Summary, titles: dict[str, str], path: Path) -> None:
    """Draw the chart of what has been run."""
    style = {"font.size": 10, "text.color": _INK, "axes.edgecolor": _GRID, "axes.titlesize": 11}
    with mpl.rc_context(style):
        figure = Figure(figsize=(11, 10), layout=ConstrainedLayoutEngine(h_pad=0.14, w_pad=0.12))
        grid = figure.subplots(2, 2)
        for each in grid.ravel():
            each.spines[["top", "right", "left"]].set_visible(False)
            each.tick_params(length=0)
            each.set_axisbelow(True)
        month = summary.found[f"{MONTH:g}"]
        _curves(grid[0, 0], summary, "A new topic is found (30-day threshold)", [
            (named(name).title.removeprefix("new topic, "), month[name], colour)
            for name, colour in _SHARES.items()
        ])  # fmt: skip
        _curves(grid[0, 1], summary, "Other changes (30-day threshold)", [
            (named(name).title, month[name], colour) for name, colour in _BENIGN.items()
        ])  # fmt: skip
        lines = [
            (_title(line.name, titles), line.calibrated.found["topic-10"], colour)
            for line, colour in zip(summary.lines, (_OURS, *_OTHERS), strict=False)
        ]
        _curves(grid[1, 0], summary, "New topic of 10 %, all as rarely wrong", lines)
        _false(grid[1, 1], summary, titles)
        figure.savefig(path, dpi=160)


def _title(name: str, titles: dict[str, str]) -> str:
    return "Driftgate" if name == OURS else titles.get(name, name)


def _curves(
    axes: Axes, summary: Summary, title: str, curves: Sequence[tuple[str, Found, str]]
) -> None:
    """Draw the share of runs that found a change, over the requests since."""
    axes.set_title(title, loc="left", fontweight="bold", pad=10)
    windows, onset = summary.windows
    last = windows - onset
    for label, found, colour in curves:
        if not found.runs:
            continue
        shares = [
            100 * sum(each <= now for each in found.delays) / found.runs for now in range(last + 1)
        ]
        places = [now * summary.size for now in range(last + 1)]
        ours = label == "Driftgate"
        axes.step(places, shares, where="post", color=colour, linewidth=2.8 if ours else 2.0,
                  label=label, zorder=4 if ours else 3)  # fmt: skip
    axes.set_xlim(0, max(1, last * summary.size))
    axes.set_ylim(-3, 104)
    axes.set_yticks([0, 25, 50, 75, 100])
    axes.yaxis.set_major_formatter(lambda value, _: f"{value:g} %")
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
    axes.set_xlabel("requests since the change")
    axes.set_ylabel("runs that alarmed")
    axes.grid(color=_GRID)
    handles, _ = axes.get_legend_handles_labels()
    if handles:
        # Below the curves: beside them there is no place that none of them crosses.
        axes.legend(frameon=False, fontsize=8.5, loc="upper center", bbox_to_anchor=(0.5, -0.17),
                    ncols=2)  # fmt: skip


def _false(axes: Axes, summary: Summary, titles: dict[str, str]) -> None:
    """Draw the share of null runs in which each method alarms by default."""
    windows, _ = summary.windows
    axes.set_title(f"False alarms in {windows} usual windows", loc="left",
                   fontweight="bold", pad=10)  # fmt: skip
    lines = [each for each in summary.lines if each.default.nulls]
    for place, line in enumerate(lines):
        level: Any = line.default
        share = 100 * level.alarmed / level.nulls
        colour = _OURS if line.name == OURS else "#c9ced8"
        axes.barh(place, share, color=colour, height=0.6, zorder=3)
        axes.annotate(f"{share:.0f} %  ({level.alarmed} of {level.nulls} runs)", (share, place),
                      va="center", textcoords="offset points", xytext=(6, 0),
                      fontsize=9)  # fmt: skip
    axes.set_yticks(range(len(lines)), [_title(each.name, titles) for each in lines])
    axes.set_ylim(len(lines) - 0.4, -0.6)
    axes.set_xlim(0, 150)
    axes.set_xticks([0, 50, 100])
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:g} %")
    axes.set_xlabel("runs that alarmed")
    axes.grid(axis="x", color=_GRID)
