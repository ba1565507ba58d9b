"""OpenAI's filters over the attributes of documents, read strictly.

https://platform.openai.com/docs/guides/retrieval#attribute-filtering
"""

from collections.abc import Mapping
from typing import Any

from gateway.errors import InvalidRequest
from retrieval.records import Filter

_MAX_DEPTH = 5
_MAX_FILTERS = 100
_COMPARISONS = ("eq", "ne", "gt", "gte", "lt", "lte", "in", "nin")


def read_filter(given: Mapping[str, Any]) -> Filter:
    """Return a filter.

    Raises:
        InvalidRequest: It is none; the parameter says which part of it.
    """
    left = [_MAX_FILTERS]
    return _filter(given, "filters", 1, left)


def _filter(given: Any, place: str, depth: int, left: list[int]) -> Filter:
    if not isinstance(given, Mapping):
        raise _wrong(place, "must be an object with a `type`")
    left[0] -= 1
    if depth > _MAX_DEPTH or left[0] < 0:
        raise _wrong(place, f"nests deeper than {_MAX_DEPTH}, or there are over {_MAX_FILTERS}")
    kind = given.get("type")
    if kind in ("and", "or"):
        _only(given, place, {"type", "filters"})
        parts = given.get("filters")
        if not isinstance(parts, list) or not parts:
            raise _wrong(f"{place}.filters", "must be a list of filters")
        inner = (
            _filter(part, f"{place}.filters.{n}", depth + 1, left) for n, part in enumerate(parts)
        )
        return Filter(type=kind, filters=tuple(inner))
    if kind not in _COMPARISONS:
        names = ", ".join((*_COMPARISONS, "and", "or"))
        raise _wrong(f"{place}.type", f"must be one of {names}")
    _only(given, place, {"type", "key", "value"})
    key, value = given.get("key"), given.get("value")
    if not isinstance(key, str) or not 0 < len(key) <= 256:
        raise _wrong(f"{place}.key", "must be the name of an attribute")
    if kind in ("in", "nin"):
        if not isinstance(value, list) or len(value) > 1000 or not all(map(_is_value, value)):
            raise _wrong(f"{place}.value", "must be a list of texts or numbers")
    elif not _is_value(value):
        raise _wrong(f"{place}.value", "must be a text, a number or a truth value")
    return Filter(type=kind, key=key, value=value)


def _is_value(value: Any) -> bool:
    if isinstance(value, str):
        return len(value) <= 4096
    return isinstance(value, bool) or (isinstance(value, (int, float)) and abs(value) <= 2.0**63)


def _only(given: Mapping[str, Any], place: str, names: set[str]) -> None:
    further = min(given.keys() - names, default=None)
    if further is not None:
        raise _wrong(f"{place}.{further[:100]}", "is no field of a filter of this type")


def _wrong(place: str, told: str) -> InvalidRequest:
    return InvalidRequest(f"`{place}` {told}.", code="invalid_filter", param=place)
