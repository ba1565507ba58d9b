"""What the attributes of a vector store's file mean.

All attributes can be filtered by. These describe the document as well, where the file is one
(text, Markdown, HTML, PDF, DOCX); they win over what the file says itself:

    id          its name in the store; another document of that name is replaced
    title, url  for people, and for citations
    valid_from  from when it holds: an ISO 8601 date or time, or Unix seconds
    valid_to    from when it holds no more, or
    ttl         for how long it does: seconds, or as "30d"; counted from `valid_from`, or from when
                the file was added to the store
    supersedes  ids of documents that it replaces, with commas between them

The rows of a CSV or JSONL file are documents of their own, with fields of their own. For them
`url`, validity and `supersedes` hold for all rows, `id` is what the ids of rows without one begin
with, and `title` is left to the rows; filters do not see these.
"""

import json
import time
from collections.abc import Mapping
from pathlib import PurePath
from typing import Any

from gateway.store.vector_store_files import VectorStoreFile
from retrieval.document_fields import document
from retrieval.ingest import IngestOptions
from retrieval.loaders import FORMATS
from retrieval.records import Value

DESCRIBING = ("id", "title", "url", "valid_from", "valid_to", "ttl", "supersedes")
DEFAULT_CHUNKING = {"max_chunk_size_tokens": 200, "chunk_overlap_tokens": 40}
_ROWS = (*FORMATS["csv"], *FORMATS["jsonl"])
_KNOWN = {ending for endings in FORMATS.values() for ending in endings}


class InvalidAttribute(ValueError):
    """An attribute cannot mean what its name says; `name` is the attribute."""

    def __init__(self, name: str, message: str) -> None:
        super().__init__(message)
        self.name = name


def check(attributes: Mapping[str, Value]) -> None:
    """Raise InvalidAttribute where one that describes a document cannot be read."""
    given = {name: attributes[name] for name in attributes if _field(name) in DESCRIBING}
    fields = [_field(name) for name in given]
    twice = next((name for name in given if fields.count(_field(name)) > 1), None)
    if twice is not None:
        raise InvalidAttribute(twice, f"{_field(twice)}: is given twice")
    try:
        document({}, given, document_id="x", now=time.time())
    except (ValueError, OverflowError) as error:
        told = str(error)
        name = next((name for name in given if told.startswith(f"{_field(name)}:")), None)
        if name is None:  # a list of ids that is no JSON
            name = next((name for name in given if _field(name) == "supersedes"), min(given))
            told = f"{name}: {told}"
        raise InvalidAttribute(name, told) from None


def document_id(attributes: Mapping[str, Value]) -> str:
    """Return the id that the attributes give to the file's document, or an empty text."""
    return next((_text(attributes[name]) for name in attributes if _field(name) == "id"), "")


def is_known_format(filename: str) -> bool:
    """Return whether there is a loader for files of this ending, or it has none."""
    suffix = PurePath(filename).suffix.lower()
    return not suffix or suffix in _KNOWN


def options(
    file: VectorStoreFile, filename: str, default: Mapping[str, int] | None
) -> IngestOptions:
    """Return how a file is to be indexed.

    Args:
        file: The file of the vector store.
        filename: What it was called when it was uploaded.
        default: How its store has files cut.
    """
    rows = PurePath(filename).suffix.lower() in _ROWS
    left_out = ("id", "title") if rows else ()
    given: dict[str, Value] = {}
    kept: dict[str, Any] = {}
    for name, value in file.attributes.items():
        field = _field(name)
        if field == "metadata" or (field in DESCRIBING and not rows):
            kept[name] = value
        if field != "metadata" and field not in left_out:
            given[name] = _text(value) if field == "id" else value
    if kept:
        # Fields of the document are not its metadata, and filters look at that alone.
        given["metadata"] = json.dumps(kept)
    chunking = {**DEFAULT_CHUNKING, **(file.chunking or default or {})}
    return IngestOptions(
        filename=filename,
        document_id=document_id(file.attributes) or file.file_id,
        file_id=file.file_id,
        attributes=given,
        max_tokens=chunking["max_chunk_size_tokens"],
        overlap_tokens=chunking["chunk_overlap_tokens"],
        now=file.created_at,
    )


def _field(name: str) -> str:
    return name.strip().lower()


def _text(value: Value) -> str:
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return " ".join(str(value).split())
