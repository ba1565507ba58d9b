"""Draws a run: who was there and what was answered, how long it took, and how that is spread."""

import io

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure

from loadtests.sla.measured import Floats, Measured
from loadtests.sla.verdict import TITLES, Verdict

# Stands for the page's text colour, which is black or white.
_INK = "#0f0f0f"
_COLOURS = {
    "ttft_ms": "#1f6feb",
    "inter_token_ms": "#8957e5",
    "total_ms": "#1a9c7b",
    "search_ms": "#d9822b",
}
_BAD, _REFUSED, _FINE = "#d1373f", "#b08800", "#7aa7d9"
_MOST_BARS = 40
_MOST_DOTS = 2000


def as_svg(verdict: Verdict) -> str:
    """Return a run's picture to stand in a page."""
    figure = Figure(figsize=(9, 8.5), facecolor="none", layout="constrained")
    traffic, times, spread = figure.subplots(3, 1, height_ratios=[2, 3, 3])
    _traffic(traffic, verdict.measured)
    _times(times, verdict)
    _spread(spread, verdict)
    for axes in (traffic, times, spread):
        _dress(axes)
    written = io.BytesIO()
    FigureCanvasSVG(figure).print_svg(written)
    svg = written.getvalue().decode()
    return svg[svg.index("<svg") :].replace(_INK, "currentColor")


def _traffic(axes: Axes, measured: Measured) -> None:
    axes.set_title("Users, and answers per second", loc="left", color=_INK, fontweight="bold")
    count = max(1, min(_MOST_BARS, int(measured.seconds)))
    edges = np.linspace(0, max(measured.seconds, 1.0), count + 1)
    width = edges[1]

    def rate(at: Floats) -> Floats:
        return np.asarray(np.histogram(at, edges)[0] / width, dtype=np.float64)

    failed, refused = rate(measured.failed_at), rate(measured.refused_at)
    answered = rate(measured.ended) - failed
    bottom = np.zeros(count)
    for label, colour, bars in (
        ("answered", _FINE, answered),
        ("refused by limits", _REFUSED, refused),
        ("failed", _BAD, failed),
    ):
        if bars.any():
            axes.bar(
                edges[:-1], bars, width * 0.85, bottom, align="edge", color=colour, label=label
            )
            bottom = bottom + bars
    users = measured.users
    axes.step(users.at, users.value, where="post", color=_INK, linewidth=1.5, label="users")
    axes.set_xlim(0, edges[-1])


def _times(axes: Axes, verdict: Verdict) -> None:
    axes.set_title(
        "How long each took (ms); dashed: the limit of p95",
        loc="left", color=_INK, fontweight="bold",
    )  # fmt: skip
    limits = verdict.scenario.limits.times_ms
    for figure in limits:
        series = verdict.measured.figures[figure]
        every = max(1, len(series.at) // _MOST_DOTS)
        axes.plot(
            series.at[::every], series.value[::every], ".", color=_COLOURS[figure],
            markersize=4, alpha=0.6, label=TITLES[figure],
        )  # fmt: skip
        if "p95" in limits[figure]:
            axes.axhline(limits[figure]["p95"], color=_COLOURS[figure], linestyle="--", linewidth=1)
    axes.set_yscale("log")
    axes.yaxis.set_major_formatter(lambda value, _: f"{value:,g}")
    axes.minorticks_off()
    axes.set_xlabel("seconds", color=_INK)
    axes.set_xlim(0, max(verdict.measured.seconds, 1.0))


def _spread(axes: Axes, verdict: Verdict) -> None:
    axes.set_title(
        "Share that took at most so long; a limit is kept where the line passes left of its mark",
        loc="left", color=_INK, fontweight="bold",
    )  # fmt: skip
    limits = verdict.scenario.limits.times_ms
    for figure, by_percentile in limits.items():
        values = np.sort(verdict.measured.figures[figure].value)
        if len(values):
            share = np.arange(1, len(values) + 1) / len(values)
            axes.step(values, share, where="post", color=_COLOURS[figure], label=TITLES[figure])
        for name, limit in by_percentile.items():
            axes.plot(limit, float(name[1:]) / 100, "D", color=_COLOURS[figure], markersize=5)
    axes.set_xscale("log")
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:,g}")
    axes.minorticks_off()
    axes.yaxis.set_major_formatter(lambda value, _: f"{value:.0%}")
    axes.set_ylim(0, 1.03)
    axes.set_xlabel("milliseconds", color=_INK)


def _dress(axes: Axes) -> None:
    axes.set_facecolor("none")
    axes.tick_params(colors=_INK, length=0)
    axes.grid(color=_INK, alpha=0.12)
    axes.set_axisbelow(True)
    for side, spine in axes.spines.items():
        spine.set_visible(side in ("left", "bottom"))
        spine.set_color(_INK)
    if axes.get_legend_handles_labels()[0]:
        axes.legend(frameon=False, labelcolor=_INK, ncols=4, markerscale=2)
