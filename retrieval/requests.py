"""What clients ask of the retrieval service, and what it answers.

Every request has an `id` of the connection; its answers carry the same. All have one answer but
`AddFile`, whose answers with `more` tell how far it is.
"""

from typing import Literal

import msgspec

from retrieval.ingest import IngestOptions
from retrieval.records import CollectionStats, Entry, Found, Search

# Why a request failed, for programs: `file` the file cannot be read, `missing` there is no such
# collection, `mismatch` it was made with another embedder, `refused` the request is not allowed,
# `cancelled` what was being added was removed meanwhile.
Reason = Literal["", "failed", "file", "missing", "mismatch", "refused", "cancelled"]


class Info(msgspec.Struct, frozen=True, tag_field="kind", tag="info"):
    """Which embedder, and what the service has counted since it started."""

    id: int


class Embed(msgspec.Struct, frozen=True, tag_field="kind", tag="embed"):
    """Vectors of texts."""

    id: int
    texts: list[str]


class Find(msgspec.Struct, frozen=True, tag_field="kind", tag="find"):
    """A search."""

    id: int
    search: Search


class AddEntries(msgspec.Struct, frozen=True, tag_field="kind", tag="add_entries"):
    """Documents that are already cut into passages; the collection is made where it is missing."""

    id: int
    collection: str
    entries: tuple[Entry, ...]


class AddFile(msgspec.Struct, frozen=True, tag_field="kind", tag="add_file"):
    """A file in the folder that the service was started with."""

    id: int
    collection: str
    path: str
    options: IngestOptions


class Read(msgspec.Struct, frozen=True, tag_field="kind", tag="read"):
    """The text of a file, as it would be indexed."""

    id: int
    path: str
    options: IngestOptions


class Remove(msgspec.Struct, frozen=True, tag_field="kind", tag="remove"):
    """Documents by id, or all of a file. A file that is being added stops being added."""

    id: int
    collection: str
    documents: tuple[str, ...] = ()
    file_id: str | None = None


class Stats(msgspec.Struct, frozen=True, tag_field="kind", tag="stats"):
    """The state of one collection; None: of all."""

    id: int
    collection: str | None = None


class Compact(msgspec.Struct, frozen=True, tag_field="kind", tag="compact"):
    """Fold what was added and removed into a new generation; answered when it is done."""

    id: int
    collection: str


class Drop(msgspec.Struct, frozen=True, tag_field="kind", tag="drop"):
    """Delete a collection; whatever is being added to it stops."""

    id: int
    collection: str


class Cancel(msgspec.Struct, frozen=True, tag_field="kind", tag="cancel"):
    """Nobody waits any more for the answer to this request."""

    id: int


Request = (
    Info | Embed | Find | AddEntries | AddFile | Read | Remove | Stats | Compact | Drop | Cancel
)


class Counts(msgspec.Struct, frozen=True, omit_defaults=True):
    """What was added, so far or in all.

    Attributes:
        documents: Documents that can be found.
        passages: Their passages.
        bytes: Bytes of their texts and vectors.
        read: How far the file has been read: of `total` pages or bytes, as `unit` says.
        total: All pages or bytes; 0 where it is not known.
        unit: What `read` and `total` count.
        error: What of the file could not be read, where the rest of it was added.
    """

    documents: int = 0
    passages: int = 0
    bytes: int = 0
    read: int = 0
    total: int = 0
    unit: str = ""
    error: str = ""


class Text(msgspec.Struct, frozen=True):
    """The text of one document of a file."""

    document_id: str
    title: str
    text: str


class Answer(msgspec.Struct, omit_defaults=True):
    """The answer to a request: what it asked for, or what went wrong.

    Attributes:
        id: The request's.
        more: Whether further answers to it follow.
        vectors: Little-endian float32.
        tokens: Tokens read.
        embedder: The embedder's id.
        dimensions: Length of its vectors.
        max_tokens: Tokens that it reads of a text.
        counters: What the service has counted since it started.
        found: What a search found.
        counts: What was added.
        texts: The documents of a file.
        removed: How many documents were removed.
        collections: States of collections.
        error: What went wrong, for people.
        reason: The same for programs.
        overloaded: Whether it is only that too much waits.
    """

    id: int
    more: bool = False
    vectors: list[bytes] = []
    tokens: int = 0
    embedder: str = ""
    dimensions: int = 0
    max_tokens: int = 0
    counters: dict[str, int] = {}
    found: Found | None = None
    counts: Counts | None = None
    texts: tuple[Text, ...] = ()
    removed: int = 0
    collections: tuple[CollectionStats, ...] = ()
    error: str = ""
    reason: Reason = ""
    overloaded: bool = False
