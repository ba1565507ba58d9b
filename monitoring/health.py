"""From evidence to the health of an alias."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from monitoring.evidence.book import TOGETHER, Book

WATCHED = frozenset({"HEALTHY", "WARN", "DEGRADED"})
"""States that the monitor writes; the others belong to a retraining under way."""
QUIET = 40
"""Windows without a further alarm after which drift is over."""
_MOST_AREAS = 8  # the gateway compares a question with each


def next_state(state: str, book: Book) -> str:
    """Return the state that follows from the evidence.

    Harm makes DEGRADED, which lasts until another release is served or a person clears it. Drift
    makes WARN, until it has not alarmed again for `QUIET` windows: a state does not flutter.
    """
    if state not in WATCHED:
        return state
    if state == "DEGRADED" or book.harms:
        return "DEGRADED"
    return "WARN" if book.quiet is not None and book.quiet < QUIET else "HEALTHY"


def reasons(book: Book, release: str, topics: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return what speaks for a state: evidence by signal, since when, and which topics.

    `drifted` has these topics as areas (`retrieval.records.Area`), for the gateway.
    """
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
        "alarm": None if book.alarm is None else asdict(book.alarm),
        "topics": [topic["news"] for topic in topics if topic.get("news")],
        "drifted": [topic["area"] for topic in topics if topic.get("area")][:_MOST_AREAS],
    }
