"""Draws `bench.png`: three panels of bars on logarithmic axes, with Pillow alone."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

from loadtests.bench.goals import ADDED, RATE, STREAMS
from loadtests.bench.results import Results
from loadtests.bench.summary import Measure, Spread

_SCALE = 2  # pixels per unit: sharp on dense screens
_WIDTH, _LABELS, _VALUES, _MARGIN = 960, 130, 100, 24
_BAR, _GAP, _TITLE, _BETWEEN = 20, 8, 46, 22
_INK, _FAINT, _OTHERS, _OURS = "#1f2430", "#7b8190", "#aab2c0", "#1a7f6b"


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
        "Added latency, p50 at 1 connection (ms, log scale, less is better)",
        ADDED,
        1000,
        2,
        True,
        ["direct"],
    ),
    _Panel("Requests per second at 32 connections (log scale, more is better)", RATE, 1, 0, False),
    _Panel(
        "Streams of 35 frames per second at 32 connections (log scale, more is better)",
        STREAMS,
        1,
        0,
        False,
    ),
)


def draw(results: Results, path: Path) -> None:
    """Draw the chart of what has been measured."""
    panels = [(panel, _bars(panel, results)) for panel in _PANELS]
    height = 2 * _MARGIN + sum(_height(bars) for _, bars in panels) + _BETWEEN * (len(panels) - 1)
    image = Image.new("RGB", (_WIDTH * _SCALE, height * _SCALE), "white")
    canvas = ImageDraw.Draw(image)
    top = _MARGIN
    for panel, bars in panels:
        _draw_panel(canvas, top, panel, bars)
        top += _height(bars) + _BETWEEN
    image.save(path, optimize=True)


def _bars(panel: _Panel, results: Results) -> dict[str, Spread]:
    """Return the systems that have a value above 0, the best first."""
    found = {
        name: spread
        for name in results.systems
        if name not in panel.skip
        and (spread := panel.measure(results, name)) is not None
        and spread.median > 0
    }
    order = sorted(found, key=lambda name: found[name].median, reverse=not panel.best_first)
    return {name: found[name] for name in order}


def _height(bars: Mapping[str, Spread]) -> int:
    return _TITLE + max(1, len(bars)) * (_BAR + _GAP)


def _draw_panel(
    canvas: ImageDraw.ImageDraw, top: int, panel: _Panel, bars: Mapping[str, Spread]
) -> None:
    _text(canvas, _MARGIN, top + 10, panel.title, 17, _INK)
    first = top + _TITLE
    if not bars:
        _text(canvas, _MARGIN, first + _BAR / 2, "not measured", 14, _FAINT)
        return
    low = 10 ** math.floor(math.log10(min(bar.median for bar in bars.values()) * 0.7))
    high = max(bar.high for bar in bars.values())
    left, right = _MARGIN + _LABELS, _WIDTH - _MARGIN - _VALUES

    def across(value: float) -> float:
        return left + (right - left) * math.log(max(value, low) / low) / math.log(high / low)

    bottom = first + len(bars) * (_BAR + _GAP) - _GAP
    for power in range(math.ceil(math.log10(low)), math.floor(math.log10(high)) + 1):
        x = across(10.0**power)
        _line(canvas, x, first - 4, x, bottom + 4, "#e4e7ec", 1)
        tick = 10.0**power / panel.unit
        _text(canvas, x, first - 12, f"{tick:,.10g}", 11, _FAINT, "mm")
    for index, (name, bar) in enumerate(bars.items()):
        y = first + index * (_BAR + _GAP)
        colour = _OURS if name.startswith("driftgate") else _OTHERS
        middle = y + _BAR / 2
        _text(canvas, left - 10, middle, name, 14, _INK, "rm")
        box = [left, y, across(bar.median), y + _BAR]
        canvas.rectangle([_SCALE * value for value in box], fill=colour)
        _line(canvas, across(bar.low), middle, across(bar.high), middle, _INK, 1)
        value = f"{bar.median / panel.unit:,.{panel.digits}f}"
        mark = f"{value} (errors)" if bar.problem else value
        _text(canvas, across(bar.high) + 8, middle, mark, 14, _INK, "lm")


def _text(
    canvas: ImageDraw.ImageDraw,
    x: float,
    y: float,
    text: str,
    size: int,
    colour: str,
    anchor: str = "lm",
) -> None:
    font = ImageFont.load_default(size * _SCALE)
    canvas.text((x * _SCALE, y * _SCALE), text, fill=colour, font=font, anchor=anchor)


def _line(
    canvas: ImageDraw.ImageDraw,
    x: float,
    y: float,
    to_x: float,
    to_y: float,
    colour: str,
    width: int,
) -> None:
    ends = [x * _SCALE, y * _SCALE, to_x * _SCALE, to_y * _SCALE]
    canvas.line(ends, fill=colour, width=width * _SCALE)
