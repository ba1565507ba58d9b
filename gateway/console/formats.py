"""How values are written on the pages: times, counts, shares, durations."""

import math
import time
from collections.abc import Callable, Mapping
from typing import Any

import msgspec
from markupsafe import Markup, escape

NOTHING = "\u2013"
_UNITS = ((86_400, "d"), (3600, "h"), (60, "min"), (1, "s"))


def ago(at: float | None, now: float | None = None) -> str:
    """Return how long ago a time was (Unix seconds), such as `3 min ago`."""
    if at is None:
        return "never"
    took = (time.time() if now is None else now) - at
    if took < -1:
        return f"in {lasting(-took)}"
    return "just now" if took < 2 else f"{lasting(took)} ago"


def clock(at: float | None) -> str:
    """Return a time as `2026-11-28 10:30:05`, UTC."""
    return NOTHING if at is None else time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(at))


def when(at: float | None) -> Markup:
    """Return a time for people and programs: how long ago, and the exact time on demand."""
    if at is None:
        return escape(NOTHING)
    stamp = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(at))
    return Markup('<time datetime="{}" title="{} UTC">{}</time>').format(stamp, clock(at), ago(at))


def lasting(seconds: float | None) -> str:
    """Return a duration in its largest unit, below a second in milliseconds."""
    if seconds is None:
        return NOTHING
    if seconds < 1:
        return f"{seconds * 1000:.0f} ms"
    if seconds < 10:
        return f"{seconds:.1f} s"
    for size, unit in _UNITS:
        if seconds >= size:
            return f"{seconds / size:.0f} {unit}"
    return "0 s"


def count(value: float | None) -> str:
    """Return a count with thousands set apart."""
    return NOTHING if value is None else f"{value:,.0f}"


def number(value: float | None, digits: int = 3) -> str:
    """Return a figure with so many digits that count; very large ones as a power of ten."""
    if value is None or math.isnan(value):
        return NOTHING
    if math.isinf(value):
        return "∞"
    if abs(value) >= 1e6:
        return f"10^{math.log10(abs(value)):.0f}"
    if abs(value) >= 1000:
        return f"{value:,.0f}"
    return f"{value:.{digits}g}"


def percent(share: float | None, digits: int = 0) -> str:
    """Return a share as percent."""
    return NOTHING if share is None else f"{share * 100:.{digits}f} %"


def size(value: float | None) -> str:
    """Return bytes in a unit that fits."""
    if value is None:
        return NOTHING
    for unit in ("B", "KiB", "MiB", "GiB"):
        if value < 1024:
            return f"{value:.0f} {unit}" if unit == "B" else f"{value:.1f} {unit}"
        value /= 1024
    return f"{value:.1f} TiB"


def short(text: str, most: int = 120) -> str:
    """Return the beginning of a text in one line."""
    line = " ".join(str(text).split())
    return line if len(line) <= most else line[: most - 1].rstrip() + "…"


def json(value: Any) -> str:
    """Return a value as indented JSON."""
    return msgspec.json.format(msgspec.json.encode(value), indent=2).decode()


def ticked(text: str) -> Markup:
    """Return a sentence with what stands in backticks as code."""
    parts = str(text).split("`")
    if len(parts) % 2 == 0:  # one tick has no partner
        return escape(text)
    code = Markup("<code>{}</code>")
    return Markup().join(
        code.format(part) if n % 2 else escape(part) for n, part in enumerate(parts)
    )


def words(name: str) -> str:
    """Return a name of the code as words."""
    return str(name).replace("_", " ").replace("-", " ")


FILTERS: Mapping[str, Callable[..., Any]] = {
    "ago": ago, "clock": clock, "when": when, "lasting": lasting, "count": count,
    "number": number, "percent": percent, "size": size, "short": short, "json": json,
    "words": words, "ticked": ticked,
}  # fmt: skip
