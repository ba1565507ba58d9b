"""Draws `retrieval.png`: latencies against their goals, freshness over time, and quality."""

from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.lines import Line2D

from loadtests.retrieval.goals import LARGE_P50_MS, SERVED_P50_MS, SERVED_P99_MS, VISIBLE_MS
from loadtests.retrieval.results import Fresh, Labelled, Results, Times

_OURS, _SECOND, _OTHERS = "#1a7f6b", "#c9772b", "#8791a5"
_INK, _GRID, _SHADE = "#1f2430", "#e4e7ec", "#f3ead9"
_PLAIN = {"facecolor": "white", "edgecolor": "none", "pad": 1.0, "alpha": 0.85}
_MODES = {"lexical": _OTHERS, "dense": _SECOND, "hybrid": _OURS}


def draw(results: Results, path: Path) -> None:
    """Draw the chart of what has been measured."""
    style = {"font.size": 10, "text.color": _INK, "axes.edgecolor": _GRID, "axes.titlesize": 11}
    with mpl.rc_context(style):
        figure = Figure(figsize=(9, 9.6), layout=ConstrainedLayoutEngine(h_pad=0.12))
        axes = figure.subplots(3, 1, height_ratios=(1.0, 1.15, 1.0))
        for each in axes:
            each.spines[["top", "right", "left"]].set_visible(False)
            each.tick_params(length=0)
            each.set_axisbelow(True)
        _latency(axes[0], results)
        _freshness(axes[1], results.fresh)
        _quality(axes[2], results.quality)
        figure.savefig(path, dpi=160)


def _title(axes: Axes, title: str) -> None:
    axes.set_title(title, loc="left", fontweight="bold", pad=10)


def _empty(axes: Axes) -> None:
    axes.text(0, 0.5, "not measured", transform=axes.transAxes)
    axes.set_axis_off()


def _latency(axes: Axes, results: Results) -> None:
    _title(axes, "Search latency")
    served, large = results.served, results.large
    if served is None and large is None:
        _empty(axes)
        return
    shares = 100 * np.arange(0.005, 1, 0.01)
    largest = SERVED_P99_MS
    if served is not None:
        _curve(axes, served.times, shares, _OURS, f"{served.passages:,} passages, with embedding")
        _goal(axes, served.times.p50, SERVED_P50_MS, 50, _OURS)
        _goal(axes, served.times.p99, SERVED_P99_MS, 99, _OURS)
        largest = max(largest, served.times.curve[-1])
    if large is not None:
        _curve(axes, large.times, shares, _SECOND, f"{large.vectors:,} vectors, without")
        _goal(axes, large.times.p50, LARGE_P50_MS, 50, _SECOND)
        largest = max(largest, large.times.curve[-1])
    axes.set_xscale("log")
    smallest = min(t.times.curve[0] for t in (served, large) if t is not None)
    axes.set_xlim(smallest / 1.3, 1.6 * largest)
    axes.set_xticks([tick for tick in (0.5, 1, 2, 5, 10, 20, 50, 100, 200, 500)
                     if smallest / 1.3 <= tick <= 1.6 * largest])  # fmt: skip
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:g} ms")
    axes.minorticks_off()
    axes.set_ylim(0, 108)
    axes.set_yticks([0, 50, 99])
    axes.yaxis.set_major_formatter(lambda value, _: f"{value:g} %")
    axes.grid(color=_GRID)
    axes.legend(frameon=False, loc="lower right", ncols=2, bbox_to_anchor=(1, 0.99))


def _curve(
    axes: Axes, times: Times, shares: npt.NDArray[np.floating[Any]], colour: str, label: str
) -> None:
    axes.plot(times.curve, shares, color=colour, linewidth=2.2, label=label, zorder=3)


def _goal(axes: Axes, measured: float, limit: float, share: int, colour: str) -> None:
    axes.plot(measured, share, "o", color=colour, markersize=6, zorder=6)
    axes.plot(limit, share, marker="v", color=colour, markersize=8, markerfacecolor="white",
              zorder=6)  # fmt: skip
    for text, place, shift, side in (
        (f"p{share} {measured:.1f} ms", measured, (-8, 3), "right"),
        (f"goal {limit:g} ms", limit, (0, -18), "center"),
    ):
        axes.annotate(text, (place, share), color=colour, fontsize=9, bbox=_PLAIN, zorder=5,
                      textcoords="offset points", xytext=shift, ha=side)  # fmt: skip


def _freshness(axes: Axes, found: Fresh | None) -> None:
    if found is None:
        _title(axes, "Upserts and compaction under searches")
        _empty(axes)
        return
    _title(axes, f"{found.rate:g} searches/s: {found.failed:,} of "
                 f"{found.searches:,} failed")  # fmt: skip
    for start, end in found.compactions:
        axes.axvspan(start, end, color=_SHADE, zorder=0, linewidth=0)
        axes.annotate("compaction", (start, 0), xycoords=("data", "axes fraction"), fontsize=9,
                      color="#8a6d2f", textcoords="offset points", xytext=(5, 6))  # fmt: skip
    trace = np.array(found.trace or [(0.0, 0.0)])
    upserts = np.array(found.upserts or [(0.0, 0.0)])
    axes.plot(trace[:, 0], 1000 * trace[:, 1], ".", color=_OTHERS, markersize=2.5, alpha=0.45,
              label="a search", zorder=2)  # fmt: skip
    axes.plot(upserts[:, 0], 1000 * upserts[:, 1], "o", color=_OURS, markersize=4.5,
              label="an upsert until it is found", zorder=3)  # fmt: skip
    axes.axhline(VISIBLE_MS, color=_OURS, linewidth=1, linestyle=(0, (4, 3)))
    axes.annotate("goal: an upsert is found within 1 s", (trace[0, 0], VISIBLE_MS), color=_OURS,
                  fontsize=9, textcoords="offset points", xytext=(2, 4))  # fmt: skip
    axes.set_yscale("log")
    axes.set_ylim(max(0.5, 700 * trace[:, 1].min()), max(2600.0, 1500 * trace[:, 1].max()))
    axes.set_xlim(trace[0, 0], trace[-1, 0])
    axes.yaxis.set_major_formatter(lambda value, _: f"{value:,g} ms")
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:g} s")
    axes.minorticks_off()
    axes.grid(axis="y", color=_GRID)
    legend = axes.legend(loc="lower right", ncols=2, bbox_to_anchor=(1, 0.99), frameon=False)
    for handle in legend.legend_handles:
        if isinstance(handle, Line2D):
            handle.set_markersize(6)
            handle.set_alpha(1)


def _quality(axes: Axes, found: list[Labelled]) -> None:
    _title(axes, "Quality with 95 % intervals (more is better)")
    if not found:
        _empty(axes)
        return
    rows: list[str] = []
    for labelled in found:
        for metric, name in (("ndcg", "nDCG@10"), ("recall", "recall@10")):
            place = len(rows)
            rows.append(f"{labelled.name}\n{name}")
            for shift, (mode, colour) in zip((-0.25, 0.0, 0.25), _MODES.items(), strict=True):
                value = getattr(labelled.modes[mode], metric)
                axes.plot((value.low, value.high), (place + shift,) * 2, color=colour, linewidth=2)
                axes.plot(value.mean, place + shift, "o", color=colour, markersize=6,
                          label=mode if place == 0 else None)  # fmt: skip
                axes.annotate(f"{value.mean:.3f}", (value.high, place + shift), color=colour,
                              fontsize=9, va="center", textcoords="offset points",
                              xytext=(7, 0))  # fmt: skip
    axes.set_yticks(range(len(rows)), rows)
    axes.set_ylim(len(rows) - 0.4, -0.6)
    values = [v for s in found for f in s.modes.values() for i in (f.ndcg, f.recall)
              for v in (i.low, i.high)]  # fmt: skip
    axes.set_xlim(max(0.0, min(values) - 0.03), min(1.05, max(values) + 0.06))
    axes.grid(axis="x", color=_GRID)
    axes.legend(frameon=False, loc="lower right", ncols=3, bbox_to_anchor=(1, 0.99))
