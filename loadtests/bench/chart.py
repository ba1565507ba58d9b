"""Draws `bench.png`: added latency, requests and streams per second of each system."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from loadtests.bench.goals import ADDED, RATE, STREAMS
from loadtests.bench.results import Results
from loadtests.bench.summary import Measure, Spread

_OURS, _OTHERS, _INK = "#1a7f6b", "#aab2c0", "#1f2430"


@dataclass(frozen=True)
class _Panel:
    title: str
    measure: Measure
    unit: float
    digits: int
    best_first: bool  # whether small is good
    skip: Sequence[str] = ()


_PANELS = (
    _Panel(
        "Added latency, p50 at 1 connection (ms; less is better)", ADDED, 1000, 2, True, ["direct"]
    ),
    _Panel("Requests per second at 32 connections (more is better)", RATE, 1, 0, False),
    _Panel("Streams of 35 frames per second at 32 connections (more is better)", STREAMS, 1, 0,
           False),
)  # fmt: skip


def draw(results: Results, path: Path) -> None:
    """Draw the chart of what has been measured; bars are medians, lines smallest to largest."""
    panels = [(panel, _bars(panel, results)) for panel in _PANELS]
    heights = [max(1, len(bars)) + 1.5 for _, bars in panels]
    with mpl.rc_context({"font.size": 10, "text.color": _INK, "axes.edgecolor": "#e4e7ec"}):
        figure = Figure(figsize=(9, 0.3 * sum(heights)), layout="constrained")
        axes = figure.subplots(len(panels), 1, height_ratios=heights)
        for (panel, bars), each in zip(panels, axes, strict=True):
            _draw_panel(each, panel, bars)
        figure.savefig(path, dpi=160)


def _bars(panel: _Panel, results: Results) -> list[tuple[str, Spread]]:
    """Return the systems that have a value above 0, the best first."""
    found = [
        (name, spread)
        for name in results.systems
        if name not in panel.skip
        and (spread := panel.measure(results, name)) is not None
        and spread.median > 0
    ]
    return sorted(found, key=lambda bar: bar[1].median, reverse=not panel.best_first)


def _draw_panel(axes: Axes, panel: _Panel, bars: Sequence[tuple[str, Spread]]) -> None:
    axes.set_title(panel.title, loc="left", fontweight="bold")
    if not bars:
        axes.text(0, 0.5, "not measured", transform=axes.transAxes)
        axes.set_axis_off()
        return
    names = [name for name, _ in bars]
    values = [spread.median / panel.unit for _, spread in bars]
    spreads: Any = [
        [(spread.median - spread.low) / panel.unit for _, spread in bars],
        [(spread.high - spread.median) / panel.unit for _, spread in bars],
    ]
    colours = [_OURS if name.startswith("driftgate") else _OTHERS for name in names]
    drawn = axes.barh(names, values, color=colours, xerr=spreads, ecolor=_INK, height=0.7)
    labels = [
        f"{value:,.{panel.digits}f}" + (" (errors)" if spread.problem else "")
        for value, (_, spread) in zip(values, bars, strict=True)
    ]
    axes.bar_label(drawn, labels, padding=6)
    axes.set_xscale("log")
    axes.set_xlim(min(values) / 2, max(spread.high for _, spread in bars) / panel.unit * 2.5)
    axes.invert_yaxis()
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:,g}")
    axes.tick_params(length=0)
    axes.minorticks_off()
    axes.grid(axis="x", color="#e4e7ec")
    axes.set_axisbelow(True)
    axes.spines[["top", "right", "left"]].set_visible(False)
