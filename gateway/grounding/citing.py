"""The citations of one request: checks an answer's text, and tells OpenAI's clients of them."""

import logging
from collections.abc import Sequence
from typing import Any

from gateway.grounding.notes import Notes
from retrieval.citations import Annotation, Cited, StreamCiter, cite
from retrieval.gate import Policy
from retrieval.quoting import quoted
from retrieval.records import Hit

_log = logging.getLogger(__name__)
Json = dict[str, Any]


class Citing:
    """How answers to one request are cited.

    Args:
        hits: The passages that the model is given.
        question: What was asked.
        policy: What becomes of an answer without support.
        notes: Where it is noted how much was supported.
        nothing: The answer where nothing is left to say.
    """

    def __init__(
        self, hits: Sequence[Hit], question: str, policy: Policy, notes: Notes, nothing: str
    ) -> None:
        self._hits = hits
        self._question = question
        self._quotes = policy.unsupported == "quote"
        self._notes = notes
        self._nothing = nothing

    def begin(self) -> None:
        """Forget what was noted of an answer that was given up."""
        self._notes.sentences = self._notes.supported = 0
        self._notes.quoted = False

    def text(self, answer: str) -> Cited:
        """Cite a whole answer."""
        keep = "uncontradicted" if self._quotes else "all"
        return self._settled(cite(answer, self._hits, self._question, keep=keep))  # type: ignore[arg-type]

    def stream(self) -> StreamCiter:
        """Return what cites an answer sentence by sentence; `end` below ends it."""
        keep = "uncontradicted" if self._quotes else "all"
        return StreamCiter(self._hits, self._question, keep=keep, hold=self._quotes)  # type: ignore[arg-type]

    def end(self, citer: StreamCiter) -> tuple[Cited, str]:
        """End a streamed answer: the whole of it, and what is still to be shown."""
        sent = citer.sent
        cited = citer.end()
        if sent:
            self._count(cited)
            return cited, cited.text[len(sent) :]
        settled = self._settled(cited)
        return settled, settled.text

    def _settled(self, cited: Cited) -> Cited:
        """Return the answer, or the document's own words where none of it is supported."""
        if self._quotes and not cited.supported:
            quote = quoted(self._question, self._hits)
            if quote.text:
                self._count(cited)
                self._notes.quoted = True
                return quote
        self._count(cited)
        if cited.sentences and not cited.text.strip():
            return Cited(text=self._nothing, sentences=cited.sentences)
        return cited

    def _count(self, cited: Cited) -> None:
        self._notes.sentences += len(cited.sentences)
        self._notes.supported += sum(sentence.supported for sentence in cited.sentences)


def file_citation(annotation: Annotation) -> Json:
    """Return an annotation as the Responses API has it, with what else there is to know of it.

    Source: https://platform.openai.com/docs/guides/tools-file-search
    """
    shown: Json = {
        "type": "file_citation",
        "index": annotation.index,
        "file_id": annotation.file_id,
        "filename": annotation.filename or annotation.title or annotation.document_id,
        "vector_store_id": annotation.collection,
        "number": annotation.number,
        "start_index": annotation.start,
        "end_index": annotation.end,
    }
    for name in ("document_id", "title", "url", "quote", "quote_start", "quote_end", "page"):
        shown[name] = getattr(annotation, name)
    return shown


def chat_annotations(cited: Cited) -> list[Json]:
    """Return the annotations of a chat message: nested, as its `url_citation` is."""
    found = []
    for annotation in cited.annotations:
        flat = file_citation(annotation)
        found.append({"type": flat.pop("type"), "file_citation": flat})
    return found
