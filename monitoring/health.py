"""From evidence to the health of an alias."""

from collections.abc import Mapping
from typing import Any

from monitoring.evidence.book import TOGETHER, Book

WATCHED = frozenset({"HEALTHY", "WARN", "DEGRADED"})
"""States that the monitor writes; the others belong to a retraining under way."""
_OVER = 0.001


def next_state(state: str, book: Book, threshold: float) -> str:
    """Return the state that follows from the evidence.

    Harm makes DEGRADED, which lasts until another release is served or a person clears it. Drift
    makes WARN, until its evidence has sunk to a thousandth of the threshold: between the two a
    state does not flutter.
    """
    if state not in WATCHED:
        return state
    if state == "DEGRADED" or book.harms:
        return "DEGRADED"
    if book.drift >= threshold:
        return "WARN"
    if state == "WARN" and book.drift > threshold * _OVER:
        return "WARN"
    return "HEALTHY"


def reasons(book: Book, release: str, topics: list[Mapping[str, Any]]) -> dict[str, Any]:
    """Return what speaks for a state: evidence by signal, since when, and which topics."""
    signals = book.signals()
    shown = {name: round(each["evidence"], 3) for name, each in signals.items()}
    return {
        "release": release,
        "drift": shown.get(TOGETHER, 1.0),
        "signals": shown,
        "harm": {
            name: {"mean": signals[name]["mean"], "limit": signals[name]["limit"]}
            for name in book.harms
        },
        "windows_since_onset": book.onset,
        "topics": [topic["label"] for topic in topics],
    }
