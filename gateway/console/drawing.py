"""Small pictures, drawn on the server as inline SVG: lines, bars, meters, shares.

Colours and type come from the style sheet by class, so one picture serves light and dark. What is
drawn are numbers and, escaped, the labels that are passed.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup, escape

from gateway.console.formats import number

_WIDTH, _HEIGHT = 240, 44
Value = float | None


def spark(values: Sequence[Value], label: str) -> Markup:
    """Return a line over equal steps of time; None is a gap.

    Args:
        values: From left to right.
        label: What it shows, for whoever cannot see it.
    """
    known = [value for value in values if value is not None]
    top = max(known, default=0.0) or 1.0
    step = _WIDTH / max(len(values) - 1, 1)
    runs: list[list[tuple[float, float]]] = [[]]
    for n, value in enumerate(values):
        if value is None:
            runs.append([])
        else:
            runs[-1].append((n * step, _HEIGHT - 3 - value / top * (_HEIGHT - 8)))
    parts = []
    for run in filter(None, runs):
        line = " ".join(f"{x:.1f},{y:.1f}" for x, y in run)
        if len(run) == 1:
            parts.append(f'<circle class="dot" cx="{run[0][0]:.1f}" cy="{run[0][1]:.1f}" r="1.5"/>')
            continue
        under = f"{run[0][0]:.1f},{_HEIGHT} {line} {run[-1][0]:.1f},{_HEIGHT}"
        parts.append(f'<polygon class="under" points="{under}"/>')
        parts.append(f'<polyline class="line" points="{line}"/>')
    return _svg("spark", label, "".join(parts))


def bars(values: Sequence[float], bad: Sequence[float], label: str) -> Markup:
    """Return a bar for each value, with the part of it that is bad in another colour."""
    top = max(values, default=0.0) or 1.0
    step = _WIDTH / max(len(values), 1)
    parts = []
    for n, (value, part) in enumerate(zip(values, bad, strict=True)):
        for css, amount in (("bar", value), ("bar bad", part)):
            if amount:
                height = max(1.0, amount / top * (_HEIGHT - 4))
                parts.append(
                    f'<rect class="{css}" x="{n * step + 0.5:.1f}" y="{_HEIGHT - height:.1f}" '
                    f'width="{max(step - 1, 0.8):.1f}" height="{height:.1f}"/>'
                )
    return _svg("spark", label, "".join(parts))


def meter(evidence: float, threshold: float, label: str) -> Markup:
    """Return how far evidence is on its way to a threshold, on a logarithmic scale."""
    share = math.log1p(max(evidence, 0.0)) / math.log1p(threshold) if threshold > 0 else 0.0
    width = min(share, 1.0) * 200
    css = "high" if share >= 1 else "some" if share >= 0.5 else "low"
    return _svg(
        "meter",
        label,
        '<rect class="rail" x="0" y="0" width="200" height="8"/>'
        f'<rect class="{css}" x="0" y="0" width="{max(width, 2):.1f}" height="8"/>',
        (200, 8),
    )


def meter_of(used: float, most: float, label: str) -> Markup:
    """Return how much of a budget is used."""
    share = min(used / most, 1.0) if most else 0.0
    css = "high" if share >= 1 else "some" if share >= 0.8 else "low"
    return shares([(share, css), (1 - share, "none")], f"{label}: {share:.0%} used")


def progress(done: int, of: int, label: str) -> Markup:
    """Return how much of something is done: all of it is no alarm, as it is of a budget."""
    share = min(done / of, 1.0) if of else 0.0
    return shares([(share, "low"), (1 - share, "none")], f"{done} of {of} {label}")


def shares(parts: Sequence[tuple[float, str]], label: str) -> Markup:
    """Return one bar that is divided: each part's share and its class."""
    drawn, x = [], 0.0
    for share, css in parts:
        width = max(share * 200, 1.0)
        drawn.append(
            f'<rect class="{escape(css)}" x="{x:.1f}" y="0" width="{width:.1f}" height="8"/>'
        )
        x += width
    return _svg("meter", label, "".join(drawn), (200, 8))


def span(begin: float, share: float, label: str) -> Markup:
    """Return a part of a whole, where it lies in it; both from 0 to 1."""
    return _svg(
        "meter",
        f"{label}: {share:.0%} of the time",
        '<rect class="rail" x="0" y="0" width="200" height="8"/>'
        f'<rect class="low" x="{begin * 200:.1f}" y="0" width="{max(share * 200, 1):.1f}" '
        'height="8"/>',
        (200, 8),
    )


@dataclass(frozen=True, slots=True)
class Series:
    """One line of a chart: its name, its points (x, y), its class (`s1` to `s4`)."""

    name: str
    points: Sequence[tuple[float, float]]
    css: str = "s1"


@dataclass(frozen=True, slots=True)
class Level:
    """A value that a line is compared with, drawn across the chart."""

    name: str
    value: float
    css: str = "limit"


_W, _H, _LEFT, _RIGHT, _TOP, _BOTTOM = 440.0, 230.0, 52.0, 12.0, 12.0, 34.0
_LEAST_LOG = 1e-3


def chart(
    series: Sequence[Series],
    label: str,
    *,
    levels: Sequence[Level] = (),
    x_name: str = "",
    log: bool = False,
) -> Markup:
    """Return lines with axes.

    Args:
        series: The lines.
        label: What it shows, for whoever cannot see it.
        levels: Values to compare with.
        x_name: What the axis below counts.
        log: Whether the axis at the left is logarithmic.
    """
    xs = [x for each in series for x, _ in each.points] or [0.0]
    ys = [y for each in series for _, y in each.points] + [level.value for level in levels]
    ys = [_on(y, log) for y in ys if math.isfinite(y)] or [0.0]
    low, high = (min(ys), max(ys)) if log else (0.0, max(ys))
    if high - low < 1e-9:
        high = low + 1
    high += (high - low) * 0.06
    last = max(max(xs), 1e-9)

    def at(x: float, y: float) -> tuple[float, float]:
        share = min(max((_on(y, log) - low) / (high - low), 0.0), 1.0)
        return (
            _LEFT + x / last * (_W - _LEFT - _RIGHT),
            _H - _BOTTOM - share * (_H - _TOP - _BOTTOM),
        )

    parts = [_axes(low, high, last, x_name, log)]
    for level in levels:
        _, y = at(0, level.value)
        parts.append(
            f'<line class="{escape(level.css)}" x1="{_LEFT}" x2="{_W - _RIGHT}" '
            f'y1="{y:.1f}" y2="{y:.1f}"/>'
        )
    for each in series:
        points = [at(x, y) for x, y in each.points]
        line = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
        parts.append(f'<polyline class="line {escape(each.css)}" points="{line}"/>')
        if points:
            x, y = points[-1]
            parts.append(
                f'<circle class="dot {escape(each.css)}" cx="{x:.1f}" cy="{y:.1f}" r="3"/>'
            )
    for level in levels:  # above the lines, with a halo
        _, y = at(0, level.value)
        parts.append(
            f'<text class="note" x="{_LEFT + 4}" y="{y - 4:.1f}">{escape(level.name)}</text>'
        )
    return _svg("chart", label, "".join(parts), (_W, _H))


def _axes(low: float, high: float, last: float, x_name: str, log: bool) -> str:
    parts = []
    for tick in _ticks(low, high, log):
        y = _H - _BOTTOM - (tick - low) / (high - low) * (_H - _TOP - _BOTTOM)
        shown = number(10**tick if log else tick)
        parts.append(
            f'<line class="grid" x1="{_LEFT}" x2="{_W - _RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>'
            f'<text x="{_LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">{shown}</text>'
        )
    for x, anchor, shown in (
        (_LEFT, "start", "0"),
        ((_LEFT + _W - _RIGHT) / 2, "middle", str(escape(x_name))),
        (_W - _RIGHT, "end", number(last, 4)),
    ):
        parts.append(f'<text x="{x}" y="{_H - 12}" text-anchor="{anchor}">{shown}</text>')
    return "".join(parts)


def _ticks(low: float, high: float, log: bool) -> list[float]:
    if log:
        first, end = math.ceil(low), math.floor(high)
        step = max(1, math.ceil((end - first + 1) / 5))
        return [float(n) for n in range(first, end + 1, step)]
    rough = (high - low) / 4
    power = 10 ** math.floor(math.log10(rough))
    step = next(m * power for m in (1, 2, 2.5, 5, 10) if m * power >= rough)
    return [n * step for n in range(int(high / step) + 1)]


def _on(y: float, log: bool) -> float:
    return math.log10(max(y, _LEAST_LOG)) if log else y


def _svg(css: str, label: str, inner: str, box: tuple[float, float] = (_WIDTH, _HEIGHT)) -> Markup:
    stretch = ' preserveAspectRatio="none"' if css != "chart" else ""
    # Numbers and classes of this file, labels escaped above.
    return Markup(  # noqa: S704
        f'<svg class="{css}" viewBox="0 0 {box[0]:g} {box[1]:g}"{stretch} role="img" '
        f'aria-label="{escape(label)}">{inner}</svg>'
    )
