"""What became of retrieval in one request: for its header, its traffic record and the metrics."""

import time
from collections.abc import Sequence
from typing import Literal

import msgspec

from retrieval.records import Found, Hit

Outcome = Literal[
    "grounded",  # answered from passages
    "plain",  # by the model alone: there was no reason to retrieve, or too little was found
    "said_so",  # answered that the documents do not hold the answer
    "held_out",  # by the model alone, drawn by chance, to measure what retrieval brings
    "switched_off",  # by the model alone, since retrieval harms on this topic
    "failed",  # by the model alone, since retrieval failed
]


# Of a passage: enough to see what the model read, where the log keeps texts.
_MOST_TEXT = 1000
_TEXTS = ("title", "text")


class NotedPassage(msgspec.Struct, omit_defaults=True):
    """A passage that the model was given, as it was then: documents change.

    Attributes:
        collection: Where it was found.
        document: Its document, by id.
        passage: Its number in the document.
        score: Of the search, 0 to 1.
        title: Of the document.
        text: Its beginning.
    """

    collection: str
    document: str
    passage: int
    score: float
    title: str = ""
    text: str = ""


class Notes(msgspec.Struct, omit_defaults=True):
    """The traffic record's `retrieval`; times in seconds.

    Attributes:
        mode: The mode that applied.
        outcome: What was done.
        reason: Why, in the words of `retrieval.gate`, or what failed.
        topic: What was asked about, as the documents have it (`stage.topic_of`): benefit and need
            of retrieval are counted by it. Empty where no document is about it.
        drawn: Whether chance decided between retrieval and none, so that the answer counts as a
            measurement.
        passages: What the model was given, number 1 first.
        generations: The generation of each collection that was searched.
        sufficiency: How much of the question the passages speak to, 0 to 1.
        nll: Mean negative log-likelihood of the plain answer, in nats, where it was judged.
        discarded_tokens: Tokens of a plain answer that was judged too unsure to be shown.
        sentences: Sentences of the answer that were checked.
        supported: How many of them a passage says.
        quoted: Whether the answer is a document's words instead of the model's.
        injections: Attempts to instruct the model that were made harmless in the passages.
        search_s: Time of the search.
        searched_at: When it began, in Unix seconds.
    """

    mode: str
    outcome: Outcome = "plain"
    reason: str = "none"
    topic: str = ""
    drawn: bool = False
    passages: list[NotedPassage] = []
    generations: dict[str, str] = {}
    sufficiency: float | None = None
    nll: float | None = None
    discarded_tokens: int = 0
    sentences: int = 0
    supported: int = 0
    quoted: bool = False
    injections: int = 0
    search_s: float | None = None
    searched_at: float | None = None

    def found(self, found: Found, took_s: float) -> None:
        """Note a search."""
        self.generations = dict(found.generations)
        self.search_s = took_s
        self.searched_at = time.time() - took_s

    def used(self, hits: Sequence[Hit]) -> None:
        """Note the passages that the model is given."""
        self.passages = [
            NotedPassage(
                hit.collection, hit.document.id, hit.passage.number, round(hit.score, 4),
                hit.document.title, hit.passage.text[:_MOST_TEXT],
            )
            for hit in hits
        ]  # fmt: skip

    def header(self) -> bytes:
        """Return the header line, such as `grounded;reason=freshness;passages=3`."""
        passages = b";passages=%d" % len(self.passages) if self.passages else b""
        return b"x-driftgate-retrieval: %b;reason=%b%b\r\n" % (
            self.outcome.encode(), self.reason.encode(), passages,
        )  # fmt: skip

    def encode(self) -> bytes:
        """Return it as JSON, for the spool; `outcome`, `reason` and `mode` are always there."""
        document = msgspec.to_builtins(self)
        return msgspec.json.encode({"outcome": self.outcome, "reason": self.reason} | document)


def without_texts(notes: dict[str, object]) -> dict[str, object]:
    """Return the notes without what a document says, for a log that keeps no texts."""
    passages = notes.get("passages")
    if not isinstance(passages, list):
        return notes
    bare = [{k: v for k, v in each.items() if k not in _TEXTS} for each in passages]
    return notes | {"passages": bare}


def generations_of(notes: dict[str, object]) -> str | None:
    """Return the record's `index_generation`: each collection and its generation."""
    generations = notes.get("generations")
    if not isinstance(generations, dict) or not generations:
        return None
    return ",".join(f"{name}:{generation}" for name, generation in sorted(generations.items()))
