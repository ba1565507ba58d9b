"""A row of a table as words that stand alone: each value with the name of its column."""

from collections.abc import Sequence


def sentence(names: Sequence[str], values: Sequence[str]) -> str:
    """Return "name: value; name: value" for a row; empty values are left out."""
    parts = []
    for position, value in enumerate(values):
        words = " ".join(value.split())
        if not words:
            continue
        name = " ".join(names[position].split()) if position < len(names) else ""
        parts.append(f"{name}: {words}" if name else words)
    return "; ".join(parts)
