"""What is said of a document becomes its record; what is wrong is named by its field."""

import datetime as dt
from collections.abc import Mapping

import pytest

from retrieval.document_fields import document
from retrieval.records import Document, Value

_NOW = 1_800_000_000.0
_DAY = 86400.0


def _read(own: Mapping[str, object], **given: Value) -> Document:
    return document(own, given, document_id="file", now=_NOW, file_id="f1", filename="a.md")


def _utc(*parts: int) -> float:
    return dt.datetime(*parts, tzinfo=dt.UTC).timestamp()  # type: ignore[arg-type, misc]


def test_every_field() -> None:
    found = _read(
        {
            "ID": "fees",
            "Title": "  The\nfees ",
            "url": "https://x.example/fees",
            "valid_from": "2026-01-01",
            "valid_to": "2026-07-01T12:00:00+02:00",
            "supersedes": ["old", "older", "old"],
            "metadata": {"city": "Bonn", "level": {"a": 1, "b": True}},
            "tags": ["x", "y"],
            "empty": "",
        }
    )
    assert found == Document(
        id="fees",
        title="The fees",
        url="https://x.example/fees",
        file_id="f1",
        filename="a.md",
        valid_from=_utc(2026, 1, 1),
        valid_to=_utc(2026, 7, 1, 10),
        supersedes=("old", "older"),
        updated_at=_utc(2026, 1, 1),
        metadata={"tags": "x, y", "city": "Bonn", "level.a": 1.0, "level.b": True},
    )


def test_nothing_said() -> None:
    found = _read({})
    assert (found.id, found.title, found.supersedes, found.metadata) == ("file", "", (), {})
    assert (found.valid_from, found.valid_to, found.updated_at) == (None, None, _NOW)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("2026-03-01", _utc(2026, 3, 1)),
        ("20260301", _utc(2026, 3, 1)),
        ("2026-03-01T10:00:00Z", _utc(2026, 3, 1, 10)),
        (1_770_000_000, 1_770_000_000.0),
        ("1770000000.5", 1_770_000_000.5),
        (dt.date(2026, 3, 1), _utc(2026, 3, 1)),  # as YAML gives it
    ],
)
def test_moments(value: object, expected: float) -> None:
    assert _read({"valid_from": value}).valid_from == expected


@pytest.mark.parametrize(
    ("value", "seconds"),
    [(90, 90), ("90", 90), ("30d", 30 * _DAY), ("1.5 h", 5400), ("2W", 14 * _DAY)],
)
def test_a_ttl_counts_from_valid_from_or_from_now(value: object, seconds: float) -> None:
    assert _read({"ttl": value}).valid_to == _NOW + seconds
    later = _read({"ttl": value, "valid_from": "2026-01-01"})
    assert later.valid_to == _utc(2026, 1, 1) + seconds


def test_what_was_given_with_the_file_wins() -> None:
    own = {"title": "Own", "valid_to": "2026-01-01", "city": "Bonn"}
    found = _read(own, Title="Given", ttl="1d", city="Köln")
    assert (found.title, found.metadata) == ("Given", {"city": "Köln"})
    assert found.valid_to == _NOW + _DAY


@pytest.mark.parametrize("value", ["a, b", '["a", "b"]', ["a", "b"], ("a", "b")])
def test_lists_of_ids(value: object) -> None:
    assert _read({"supersedes": value}).supersedes == ("a", "b")


def test_metadata_in_a_cell() -> None:
    assert _read({"metadata": '{"k": 2}'}).metadata == {"k": 2.0}


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"title": ["x"]}, "title: ['x'] is not text"),
        ({"id": True}, "id: True is not text"),
        ({"valid_from": "soon"}, "valid_from: 'soon' is neither an ISO 8601 date nor Unix seconds"),
        ({"valid_to": 1.8e12}, "valid_to: 1.8e+12 are not Unix seconds (milliseconds?)"),
        ({"valid_from": True}, "valid_from: True is neither"),
        ({"valid_from": "nan"}, "valid_from: 'nan' is neither"),
        ({"ttl": "soon"}, "ttl: 'soon' is not a number of seconds"),
        ({"ttl": -5}, "ttl: -5 is not a number of seconds"),
        ({"ttl": 5, "valid_to": "2030-01-01"}, "ttl: give valid_to or ttl, not both"),
        ({"valid_from": 20, "valid_to": 10}, "valid_to: is not after valid_from"),
        ({"supersedes": {"a": 1}}, "supersedes: must be the id of a document"),
        ({"supersedes": "[a, b]"}, "supersedes: is not JSON"),
        ({"metadata": "x"}, "metadata: must be a mapping"),
        ({"metadata": "{x"}, "metadata: is not JSON"),
        ({"a": {"b": [[1]]}}, "a.b: [[1]] is no text, number or truth value"),
    ],
)  # fmt: skip
def test_bad_values_are_named_by_their_field(fields: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError) as caught:
        _read(fields)
    assert str(caught.value).startswith(message)
