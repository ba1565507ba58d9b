"""What is said of a document, by its file or by who adds it, as the document's record.

Validity: `valid_from` and `valid_to` are ISO 8601 dates or times (UTC where no zone is given) or
Unix seconds; `ttl` is a number of seconds or "30d" (s, m, h, d, w), counted from `valid_from`, or
from when the document is added.
"""

import datetime as dt
import json
import math
import re
from collections.abc import Mapping

from retrieval.records import Document, Value

_TTL = re.compile(r"(\d+(?:\.\d+)?)\s*([smhdw]?)")
_SECONDS = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86400, "w": 7 * 86400}
_TEXTS = ("id", "title", "url")
_VALIDITY = ("valid_from", "valid_to", "ttl")
# A millisecond clock is the usual mistake: 1e11 seconds would be the year 5138.
_MAX_SECONDS = 1e11
_MAX_DEPTH = 4


def document(
    own: Mapping[str, object],
    given: Mapping[str, Value],
    *,
    document_id: str,
    now: float,
    file_id: str = "",
    filename: str = "",
) -> Document:
    """Return the record of a document.

    Args:
        own: What the file says of it; names are taken without regard to case.
        given: What was given with the file, which wins. A `ttl` here also replaces a `valid_to`
            of the file, and the reverse.
        document_id: Its id, where the file gives none.
        now: Unix seconds at which it is added.
        file_id: The uploaded file.
        filename: Its name.

    Raises:
        ValueError: A field cannot be read; the message begins with its name.
    """
    fields = _normal(own)
    later = _normal(given)
    if any(later.get(name) is not None for name in ("valid_to", "ttl")):
        fields.pop("valid_to", None)
        fields.pop("ttl", None)
    fields |= later
    texts = {name: _text(name, fields.pop(name, None)) for name in _TEXTS}
    start, end = _validity({name: fields.pop(name, None) for name in _VALIDITY}, now)
    supersedes = _ids(fields.pop("supersedes", None))
    metadata: dict[str, Value] = {}
    nested = fields.pop("metadata", None)
    if isinstance(nested, str) and nested.strip().startswith("{"):  # a cell of a CSV
        try:
            nested = json.loads(nested)
        except ValueError:
            raise ValueError("metadata: is not JSON") from None
    if nested not in (None, "") and not isinstance(nested, Mapping):
        raise ValueError("metadata: must be a mapping of names to values")
    _add(metadata, fields, "")
    if isinstance(nested, Mapping):
        _add(metadata, nested, "")
    return Document(
        id=texts["id"] or document_id,
        title=texts["title"],
        url=texts["url"],
        file_id=file_id,
        filename=filename,
        valid_from=start,
        valid_to=end,
        supersedes=supersedes,
        updated_at=now if start is None else start,
        metadata=metadata,
    )


def moment(name: str, value: object) -> float:
    """Return a point in time as Unix seconds; raises ValueError that begins with the field."""
    if isinstance(value, str) and re.fullmatch(r"-?\d+(\.\d+)?", value.strip()):
        # Eight digits are a date in ISO's basic form, which no one means as seconds of 1970.
        text = value.strip()
        if len(text) != 8 or "." in text:
            value = float(text)
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        if not math.isfinite(value) or abs(value) >= _MAX_SECONDS:
            raise ValueError(f"{name}: {value:g} are not Unix seconds (milliseconds?)")
        return float(value)
    if isinstance(value, str):
        try:
            value = dt.datetime.fromisoformat(value.strip())
        except ValueError:
            raise ValueError(
                f"{name}: {_shown(value)} is neither an ISO 8601 date nor Unix seconds"
            ) from None
    if isinstance(value, dt.date) and not isinstance(value, dt.datetime):
        value = dt.datetime(value.year, value.month, value.day)
    if not isinstance(value, dt.datetime):
        raise ValueError(f"{name}: {_shown(value)} is neither an ISO 8601 date nor Unix seconds")
    if value.tzinfo is None:
        value = value.replace(tzinfo=dt.UTC)
    return value.timestamp()


def duration(name: str, value: object) -> float:
    """Return a length of time in seconds; raises ValueError that begins with the field."""
    seconds = math.nan
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        seconds = float(value)
    elif isinstance(value, str) and (found := _TTL.fullmatch(value.strip().lower())):
        seconds = float(found[1]) * _SECONDS[found[2]]
    if not 0 < seconds < _MAX_SECONDS:
        raise ValueError(f'{name}: {_shown(value)} is not a number of seconds or as "30d"')
    return seconds


def _validity(fields: Mapping[str, object], now: float) -> tuple[float | None, float | None]:
    given = {name: value for name, value in fields.items() if value not in (None, "")}
    if "valid_to" in given and "ttl" in given:
        raise ValueError("ttl: give valid_to or ttl, not both")
    start = moment("valid_from", given["valid_from"]) if "valid_from" in given else None
    end = moment("valid_to", given["valid_to"]) if "valid_to" in given else None
    if "ttl" in given:
        end = (now if start is None else start) + duration("ttl", given["ttl"])
    if start is not None and end is not None and end <= start:
        raise ValueError("valid_to: is not after valid_from")
    return start, end


def _normal(fields: Mapping[str, object] | Mapping[str, Value]) -> dict[str, object]:
    known = {*_TEXTS, *_VALIDITY, "supersedes", "metadata"}
    return {
        (name.strip().lower() if name.strip().lower() in known else name.strip()): value
        for name, value in fields.items()
    }


def _text(name: str, value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, (Mapping, list, tuple, bool)):
        raise ValueError(f"{name}: {_shown(value)} is not text")
    return " ".join(str(value).split())


def _ids(value: object) -> tuple[str, ...]:
    if value in (None, ""):
        return ()
    if isinstance(value, str):
        text = value.strip()
        # A list in a cell or an attribute is written as JSON or with commas.
        try:
            is_json = text.startswith("[") and text.endswith("]")
            value = json.loads(text) if is_json else text.split(",")
        except ValueError:
            raise ValueError("supersedes: is not JSON") from None
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        value = [value]
    if not isinstance(value, (list, tuple)) or not all(isinstance(v, (str, int)) for v in value):
        raise ValueError("supersedes: must be the id of a document, or a list of ids")
    return tuple(dict.fromkeys(text for one in value if (text := str(one).strip())))


def _add(metadata: dict[str, Value], fields: Mapping[str, object], above: str) -> None:
    """Take fields as metadata: nested names are joined by dots, lists of plain values by commas."""
    for key, value in fields.items():
        name = f"{above}{key}"
        if value is None or value == "" or not name:
            continue
        if isinstance(value, bool | str):
            metadata[name] = value
        elif isinstance(value, (int, float)):
            metadata[name] = float(value)
        elif isinstance(value, Mapping) and name.count(".") < _MAX_DEPTH:
            _add(metadata, value, f"{name}.")
        elif isinstance(value, (list, tuple)) and not any(
            isinstance(one, (Mapping, list, tuple)) for one in value
        ):
            metadata[name] = ", ".join(str(one) for one in value)
        elif isinstance(value, (dt.date, dt.datetime)):
            metadata[name] = value.isoformat()
        else:
            raise ValueError(f"{name}: {_shown(value)} is no text, number or truth value")


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}…"
