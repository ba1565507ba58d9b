"""The pictures of a data report, as inline SVG that takes the page's colours, light or dark."""

import io
import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

# Stand-ins that are drawn with, and what the page puts in their place.
_TEXT, _ACCENT, _BAD, _WARN, _QUIET = "#010203", "#010204", "#010205", "#010206", "#010207"
_PAGE_COLOURS = {
    _TEXT: "currentColor",
    _ACCENT: "var(--accent)",
    _BAD: "var(--bad)",
    _WARN: "var(--warn)",
    _QUIET: "var(--quiet)",
}
_SEVERITY = {"error": _BAD, "warning": _WARN, "info": _QUIET}
_WIDTH = 7.0
_MOST_BARS = 30


def token_lengths(tokens: Sequence[int], max_length: int) -> str:
    """Return a histogram of the rows' lengths in tokens, with the limit of the trainer."""
    if not tokens:
        return ""
    with _figure(2.6) as (axes, finished):
        axes.hist(tokens, bins=min(50, max(10, len(set(tokens)))), color=_ACCENT)
        if max(tokens) > 0.7 * max_length:
            axes.axvline(max_length, color=_BAD, linestyle="--", label="trainer reads up to")
            axes.legend(frameon=False, labelcolor=_TEXT)
        axes.set_xlabel("tokens of a row")
        axes.set_ylabel("rows")
        return finished(f"Histogram of the token lengths of {len(tokens):,} rows")


def bars(counted: Mapping[str, int], what: str) -> str:
    """Return horizontal bars of the names; of many, the most common and the rarest ones."""
    if not counted:
        return ""
    ranked = Counter(counted).most_common()
    between = ranked[_MOST_BARS // 2 : -(_MOST_BARS // 2)] if len(ranked) > _MOST_BARS else []
    shown = [entry for entry in ranked if entry not in between]
    with _figure(0.5 + 0.24 * len(shown)) as (axes, finished):
        names = [_short(name) for name, _ in shown]
        drawn = axes.barh(range(len(shown)), [n for _, n in shown], color=_ACCENT, height=0.7)
        axes.bar_label(drawn, [f"{n:,}" for _, n in shown], padding=4, color=_TEXT, fontsize=8)
        _name_bars(axes, names)
        if between:
            axes.axhline(_MOST_BARS // 2 - 0.5, color=_QUIET, linewidth=0.8, linestyle=":")
            rows = sum(count for _, count in between)
            axes.set_xlabel(f"at the dotted line: {len(between)} more with {rows:,} rows")
        return finished(f"Rows of each {what}")


def by_check(counted: Mapping[str, Mapping[str, int]]) -> str:
    """Return stacked bars of the findings of each check, by severity.

    Args:
        counted: check → severity → findings.
    """
    if not counted:
        return ""
    checks = sorted(counted, key=lambda name: -sum(counted[name].values()))
    with _figure(0.7 + 0.26 * len(checks)) as (axes, finished):
        left = [0] * len(checks)
        for severity, colour in _SEVERITY.items():
            widths = [counted[name].get(severity, 0) for name in checks]
            if any(widths):
                axes.barh(range(len(checks)), widths, 0.7, left, color=colour, label=severity)
            left = [a + b for a, b in zip(left, widths, strict=True)]
        for place, total in enumerate(left):
            axes.annotate(f"{total:,}", (total, place), (4, 0), textcoords="offset points",
                          va="center", color=_TEXT, fontsize=8)  # fmt: skip
        _name_bars(axes, checks)
        axes.legend(frameon=False, labelcolor=_TEXT, loc="lower right")
        return finished("Findings of each check by severity")


def _name_bars(axes: Any, names: Sequence[str]) -> None:
    axes.set_yticks(range(len(names)), names)
    axes.set_xticks([])
    axes.spines["bottom"].set_visible(False)
    axes.set_ylim(len(names) - 0.4, -0.6)
    axes.margins(x=0.12)


def _short(name: str, most: int = 44) -> str:
    # Matplotlib takes text between two dollar signs for a formula.
    text = " ".join(name.split()).replace("$", r"\$") or "(not named)"
    return text if len(text) <= most else text[: most - 1] + "…"


@contextmanager
def _figure(height: float) -> Iterator[tuple[Any, Callable[[str], str]]]:
    """Return the axes of a new figure, and a function that closes it into an SVG with a title."""
    from matplotlib import rc_context
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure

    style = {
        "svg.fonttype": "none",
        "svg.hashsalt": "driftgate",
        "font.size": 9,
        "text.color": _TEXT,
        "axes.edgecolor": _QUIET,
        "axes.labelcolor": _TEXT,
        "xtick.color": _QUIET,
        "xtick.labelcolor": _TEXT,
        "ytick.color": _QUIET,
        "ytick.labelcolor": _TEXT,
        "axes.spines.top": False,
        "axes.spines.right": False,
    }
    with rc_context(style):
        figure = Figure(figsize=(_WIDTH, height), layout="constrained")
        FigureCanvasSVG(figure)
        axes = figure.add_subplot()

        def finished(title: str) -> str:
            buffer = io.StringIO()
            figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None})
            return _for_page(buffer.getvalue(), title)

        yield axes, finished


def _for_page(svg: str, title: str) -> str:
    """Cut the XML prologue and the size off, name the picture, and give it the page's colours."""
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    head, rest = svg.split(">", 1)
    head = re.sub(r' (width|height)="[^"]*"', "", head)
    for stand_in, colour in _PAGE_COLOURS.items():
        rest = rest.replace(stand_in, colour)
    # The page's font, not matplotlib's list of fonts.
    rest = re.sub(r"font: ([\d.]+px) [^;\"]*", r"font-size: \1; font-family: inherit", rest)
    return f'{head} role="img" aria-label="{title}">{rest}'
