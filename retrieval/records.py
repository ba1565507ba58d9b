"""What retrieval speaks about: documents, their passages, searches and what they found.

Light on purpose (msgspec alone): the service, its clients and the gateway share these.
"""

from typing import Literal

import msgspec

Value = str | float | bool
SearchMode = Literal["hybrid", "dense", "lexical"]


class Document(msgspec.Struct, frozen=True, kw_only=True):
    """A document, without its text.

    Attributes:
        id: Its name in its collection; adding the same id again replaces the document.
        title: For people, and for citations.
        url: Where people can read it.
        file_id: The uploaded file that it came from.
        filename: That file's name.
        valid_from: Unix seconds from which it holds; before them no search finds it. None: always.
        valid_to: Unix seconds from which it holds no more. None: for good.
        supersedes: Ids of documents of the collection that it replaces from `valid_from` on.
        updated_at: Unix seconds of its content, for freshness: `valid_from` where it is given,
            else when it was added.
        metadata: What filters look at.
    """

    id: str
    title: str = ""
    url: str = ""
    file_id: str = ""
    filename: str = ""
    valid_from: float | None = None
    valid_to: float | None = None
    supersedes: tuple[str, ...] = ()
    updated_at: float = 0.0
    metadata: dict[str, Value] = {}


class Passage(msgspec.Struct, frozen=True, kw_only=True):
    """A piece of a document that is searched and cited.

    Attributes:
        number: Its place among the document's passages, from 0.
        text: The words.
        start: Where it begins in the document's text, in characters.
        heading: The headings above it, joined by " > ".
        page: Its page from 1, where the format has pages.
    """

    number: int
    text: str
    start: int = 0
    heading: str = ""
    page: int | None = None


class Entry(msgspec.Struct, frozen=True, kw_only=True):
    """A document and all its passages: what is added at once, and replaced at once."""

    document: Document
    passages: tuple[Passage, ...]


class Filter(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """OpenAI's filter of a vector store search: a comparison, or a compound of filters.

    Source: https://platform.openai.com/docs/api-reference/vector-stores/search
    """

    type: Literal["eq", "ne", "gt", "gte", "lt", "lte", "in", "nin", "and", "or"]
    key: str = ""
    value: Value | list[str | float] | None = None
    filters: tuple["Filter", ...] = ()


class Area(msgspec.Struct, frozen=True):
    """What questions of one topic have in common, as their embeddings do.

    Attributes:
        middle: A unit vector of the embedder's.
        least: Cosine to it from which a question belongs to the topic.
    """

    middle: tuple[float, ...]
    least: float


class Search(msgspec.Struct, frozen=True, kw_only=True):
    """A question to one or several collections.

    Attributes:
        query: The words to look for.
        collections: Names of the collections; those that do not exist have nothing.
        limit: Most hits.
        mode: Dense vectors and BM25 fused, or one of them.
        filters: What a document's metadata must meet.
        now: Unix seconds at which documents must hold; None: the service's clock.
        rerank: Whether a cross-encoder orders the best hits again, by scores of its own; None:
            where the service has one.
        reference: A collection whose nearest passage tells how usual the query is.
        areas: Topics; the answer tells whether the query is of one of them.
    """

    query: str
    collections: tuple[str, ...]
    limit: int = 5
    mode: SearchMode = "hybrid"
    filters: Filter | None = None
    now: float | None = None
    rerank: bool | None = None
    reference: str | None = None
    areas: tuple[Area, ...] = ()


class Hit(msgspec.Struct, frozen=True, kw_only=True):
    """A passage that was found.

    Attributes:
        collection: Where it was found.
        document: Its document.
        passage: The passage.
        score: Between 0 and 1, best first; comparable between searches of one embedder.
        dense: Cosine similarity to the query, where it is known.
        lexical: BM25 score, where the lexical half found it.
    """

    collection: str
    document: Document
    passage: Passage
    score: float
    dense: float | None = None
    lexical: float | None = None


class Found(msgspec.Struct, frozen=True, kw_only=True):
    """What a search found.

    Attributes:
        hits: Best first.
        generations: The generation of each collection that was searched, by name.
        reference_similarity: Cosine to the nearest passage of the reference collection, or None.
        inside: Whether the query is of one of the areas; None where that is not known: there were
            none, or none of this embedder's.
        took_s: Time in the service, in seconds.
        problems: Collections that could not be searched, and why; the others were.
    """

    hits: tuple[Hit, ...]
    generations: dict[str, str] = {}
    reference_similarity: float | None = None
    inside: bool | None = None
    took_s: float = 0.0
    problems: dict[str, str] = {}


class CollectionStats(msgspec.Struct, frozen=True, kw_only=True):
    """The state of a collection; sizes in bytes, times in Unix seconds.

    Attributes:
        fallbacks: Damaged parts that were passed over when it was opened.
        problem: Why it cannot be used; then nothing else of it is known.
    """

    name: str
    documents: int = 0
    passages: int = 0
    generation: str = ""
    delta_passages: int = 0
    tombstones: int = 0
    bytes: int = 0
    embedder: str = ""
    newest: float | None = None
    compacting: bool = False
    fallbacks: int = 0
    problem: str = ""
