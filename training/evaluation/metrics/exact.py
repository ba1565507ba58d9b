"""Exact match: texts after normalising, JSON documents by value."""

import json
import re
import unicodedata
from typing import Any

_SPACE = re.compile(r"\s+")
_EDGE = " \t\n\r.,;:!?\"'`*“”‘’«»"  # noqa: RUF001 - quotation marks that models write
_MISSING = object()


def matches(answer: str, reference: str) -> bool:
    """Return whether an answer says the same as the reference.

    A reference that is a JSON object or list is compared by value: order of keys, spaces and
    `1.0` for `1` do not count, `true` for `1` does. All else is compared as normalised text.
    """
    expected = document(reference)
    if expected is _MISSING:
        return normalised(answer) == normalised(reference)
    found = document(answer)
    return found is not _MISSING and same_value(found, expected)


def is_document(text: str) -> bool:
    """Return whether a text is a JSON object or list, and nothing else."""
    return document(text) is not _MISSING


def normalised(text: str) -> str:
    """Return a text for comparison: NFKC, case folded, one space, no marks at its edges."""
    folded = unicodedata.normalize("NFKC", text).casefold()
    return _SPACE.sub(" ", folded).strip(_EDGE)


def document(text: str) -> Any:
    """Return the object or list that a text is, or a mark that it is none."""
    stripped = text.strip()
    if not stripped.startswith(("{", "[")):
        return _MISSING
    try:
        return json.loads(stripped)
    except (ValueError, RecursionError):
        return _MISSING


def same_value(one: Any, other: Any) -> bool:
    """Compare two decoded JSON values."""
    if isinstance(one, bool) or isinstance(other, bool):
        return one is other
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(same_value(one[k], other[k]) for k in one)
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(same_value, one, other))
    return bool(one == other)
