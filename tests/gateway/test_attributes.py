"""What attributes of a vector store's file mean for its documents."""

import json
from typing import Any

import pytest

from gateway.attributes import InvalidAttribute, check, is_known_format, options
from gateway.store.vector_store_files import VectorStoreFile
from retrieval.document_fields import document


def file(attributes: dict[str, Any], **fields: Any) -> VectorStoreFile:
    return VectorStoreFile("vs_1", "file-1", None, 50.0, attributes=attributes, **fields)


def test_a_document_is_described_and_can_be_filtered_by_all_of_it() -> None:
    given = {"Title": "T", "url": "u", "ttl": "1d", "supersedes": "a, b", "id": 7.0, "team": "x"}
    how = options(file(given), "a.md", None)
    made = document({}, how.attributes, document_id=how.document_id, now=50.0)
    assert (made.id, how.document_id, made.title, made.url) == ("7", "7", "T", "u")
    assert (made.valid_to, made.supersedes) == (50.0 + 86400, ("a", "b"))
    assert made.metadata == given
    assert (how.now, how.file_id, how.filename) == (50.0, "file-1", "a.md")
    assert (how.max_tokens, how.overlap_tokens) == (200, 40)


def test_plain_attributes_are_metadata() -> None:
    how = options(file({"team": "x", "n": 1}), "a.md", None)
    assert (how.attributes, how.document_id) == ({"team": "x", "n": 1}, "file-1")
    how = options(file({"metadata": "words"}), "a.md", None)
    made = document({"metadata": {"own": 1}}, how.attributes, document_id="d", now=0)
    assert made.metadata == {"metadata": "words"}


def test_rows_keep_their_own_names() -> None:
    given = {"id": "gates", "title": "T", "valid_to": "2030-01-01", "team": "x"}
    how = options(file(given), "GATES.CSV", None)
    assert how.document_id == "gates"
    assert how.attributes == {"valid_to": "2030-01-01", "team": "x"}
    made = document({"id": "9", "title": "own"}, how.attributes, document_id="g#1", now=0)
    assert (made.id, made.title, made.metadata) == ("9", "own", {"team": "x"})


def test_the_files_own_cut_goes_before_the_stores() -> None:
    sizes = {"max_chunk_size_tokens": 300, "chunk_overlap_tokens": 10}
    assert options(file({}), "a.md", sizes).max_tokens == 300
    own = {"max_chunk_size_tokens": 100, "chunk_overlap_tokens": 0}
    how = options(file({}, chunking=own), "a.md", sizes)
    assert (how.max_tokens, how.overlap_tokens) == (100, 0)


@pytest.mark.parametrize(
    ("given", "name"),
    [
        ({"valid_from": "yesterday"}, "valid_from"),
        ({"Valid_To": True}, "Valid_To"),
        ({"ttl": -1}, "ttl"),
        ({"valid_from": 1.7e12}, "valid_from"),
        ({"valid_from": "2024-01-02", "valid_to": "2024-01-01"}, "valid_to"),
        ({"supersedes": "[1]]"}, "supersedes"),
        ({"title": False}, "title"),
        ({"title": "a", " TITLE": "b"}, "title"),
    ],
)
def test_what_cannot_be_meant_is_named(given: dict[str, Any], name: str) -> None:
    with pytest.raises(InvalidAttribute, match=name.lower()) as caught:
        check(given)
    assert caught.value.name == name


def test_what_can_be_meant_passes() -> None:
    check({})
    check({"team": "x", "metadata": json.dumps([1])})
    check({"valid_from": "2024-01-01", "ttl": "30d", "supersedes": '["a"]', "url": 5})


@pytest.mark.parametrize(
    ("name", "known"), [("a.md", True), ("a.PDF", True), ("README", True), ("a.png", False)]
)
def test_formats(name: str, known: bool) -> None:
    assert is_known_format(name) is known
