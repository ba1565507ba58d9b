"""Citations: each sentence of an answer is checked, and only what a passage says is cited.

The model's own markers are dropped, whatever they say; ours are placed where support was found, and
numbered by first use. An answer that is still being written goes through the same code sentence by
sentence, so that what was streamed is what would have been answered whole.
"""

import re
from collections.abc import Sequence
from typing import Literal

import msgspec

from retrieval.records import Hit
from retrieval.sentences import sentence_end
from retrieval.statements import read
from retrieval.support import SUPPORTED, Match, Verdict, keys_of, match

MOST_CHECKED = 500
"""Sentences of an answer that are checked; what follows them has no citations."""

Keep = Literal["all", "uncontradicted", "supported"]


class Annotation(msgspec.Struct, frozen=True, kw_only=True):
    """One marker and what it cites.

    Attributes:
        number: What stands between its brackets; one number per document.
        start: Where the cited sentence begins in the answer, in characters.
        end: Where the marker ends in the answer.
        index: Where the marker begins in the answer.
        collection: The vector store.
        document_id: The document.
        file_id: The file that it came from.
        filename: That file's name.
        title: The document's title.
        url: Where people can read it.
        quote: The passage's words that say it.
        quote_start: Where they stand in the document's text.
        quote_end: Where they end there.
        page: Their page, where there are pages.
    """

    number: int
    start: int
    end: int
    index: int
    collection: str
    document_id: str
    file_id: str = ""
    filename: str = ""
    title: str = ""
    url: str = ""
    quote: str = ""
    quote_start: int = 0
    quote_end: int = 0
    page: int | None = None


class Checked(msgspec.Struct, frozen=True, kw_only=True):
    """A sentence of an answer, as it was judged.

    Attributes:
        text: As the model wrote it, without its markers.
        supported: Whether a passage says it.
        contradicted: Whether a passage speaks of it and says something else.
        score: Of the best evidence.
        hit: Place of the hit that says it, or -1.
        why: What speaks against it.
        kept: Whether it is in the answer.
    """

    text: str
    supported: bool
    contradicted: bool = False
    score: float = 0.0
    hit: int = -1
    why: str = ""
    kept: bool = True


class Cited(msgspec.Struct, frozen=True, kw_only=True):
    """An answer with its citations.

    Attributes:
        text: What is shown, markers included.
        annotations: One for each marker, in order.
        supported: Whether a passage says at least one of its sentences.
        sentences: How each sentence was judged.
        quoted: Whether the words are a document's and not the model's.
    """

    text: str
    annotations: tuple[Annotation, ...] = ()
    supported: bool = False
    sentences: tuple[Checked, ...] = ()
    quoted: bool = False


_NUMBERS = r"\s*#?\d{1,3}(?:\s*[,;\u2013-]\s*#?\d{1,3})*(?:†[^\]】]{0,40})?\s*"
_NAMED = rf"(?:(?:source|passage|document|ref|citation)s?)?{_NUMBERS}"
_MARKERS = re.compile(
    r"(?P<code>`[^`\n]*`)"  # an index there is no marker
    rf"|[ \t]*(?:【{_NAMED}】|(?:(?<=[^\W\d_]{{3}})|(?<![\w\])]))\[{_NAMED}\](?!\())"
    rf"(?:[ \t]*(?:【{_NAMED}】|\[{_NAMED}\](?!\()))*",
    re.IGNORECASE,
)
_FENCE = re.compile(r"^\s*(```|~~~)")
_BLANK = re.compile(r"\s*")


def cite(
    answer: str,
    hits: Sequence[Hit],
    question: str = "",
    *,
    keep: Keep = "all",
    threshold: float = SUPPORTED,
) -> Cited:
    """Check a whole answer and cite what holds.

    Args:
        answer: The model's words.
        hits: The passages that it was given.
        question: What was asked: short answers and pronouns are read with it.
        keep: Which sentences stay: all of them, all but those that a passage contradicts, or those
            that one says.
        threshold: Score from which a sentence is supported.
    """
    citer = StreamCiter(hits, question, keep=keep, threshold=threshold)
    citer.feed(answer)
    return citer.end()


class StreamCiter:
    """Cites an answer while it is being written; a sentence is held until it is checked."""

    def __init__(
        self,
        hits: Sequence[Hit],
        question: str = "",
        *,
        keep: Keep = "all",
        threshold: float = SUPPORTED,
        hold: bool = False,
    ) -> None:
        """Start an answer.

        Args:
            hits: The passages that the model was given.
            question: What was asked.
            keep: As for `cite`.
            threshold: As for `cite`.
            hold: Hold everything back until a first sentence is supported, so that an answer
                without any can still be replaced.
        """
        self._hits = hits
        self._question = question
        self._keep = keep
        self._threshold = threshold
        self._holding = hold
        self._pending = ""
        self._parts: list[str] = []
        self._length = 0
        self._sent = 0
        self._annotations: list[Annotation] = []
        self._sentences: list[Checked] = []
        self._numbers: dict[tuple[str, str], int] = {}
        self._fenced = False
        self._before = question
        terms = read(question.rsplit("\n", 1)[-1]).terms
        names = (term.key for term in terms if term.kind in "Nc")
        self._asked = frozenset(name for name in names if self._spoken_of(name))

    def feed(self, text: str) -> str:
        """Take the next piece of the answer and return what can be shown now."""
        self._pending += text
        self._take(final=False)
        return self._release()

    def end(self) -> Cited:
        """Return the whole answer; `rest` is what was not shown yet."""
        self._take(final=True)
        self._holding = False
        return Cited(
            text="".join(self._parts),
            annotations=tuple(self._annotations),
            supported=any(sentence.supported for sentence in self._sentences),
            sentences=tuple(self._sentences),
        )

    @property
    def rest(self) -> str:
        """What of the answer was not returned by `feed`."""
        return "".join(self._parts[self._sent :])

    @property
    def sent(self) -> str:
        """What `feed` has returned until now: the answer begins with it."""
        return "".join(self._parts[: self._sent])

    def _say(self, text: str) -> None:
        self._parts.append(text)
        self._length += len(text)

    def _take(self, *, final: bool) -> None:
        pending, begin = self._pending, 0
        while begin < len(pending):
            blank = _BLANK.match(pending, begin)
            start = blank.end() if blank else begin
            if start == len(pending) and not final:
                break
            end = sentence_end(pending, start, final=final)
            if end < 0:
                break
            self._add(pending[begin:end])
            begin = end
        self._pending = pending[begin:]

    def _add(self, piece: str) -> None:
        plain = piece if self._fenced else _MARKERS.sub(_code, piece)
        words = plain.strip()
        if _FENCE.match(plain):
            self._fenced = not self._fenced
        elif words and not self._fenced:
            self._check(plain, words)
            return
        if words or plain == piece:  # a piece that was nothing but markers leaves nothing
            self._say(plain)

    def _check(self, plain: str, words: str) -> None:
        if len(self._sentences) < MOST_CHECKED:
            found = match(read(words), self._hits, self._about(words))
        else:
            found = Match(-1, 0, 0, Verdict(0.0, "beyond what is checked"))
        supported = found.verdict.score >= self._threshold
        contradicted = found.verdict.contradicted and not supported
        why = found.verdict.why
        if supported and self._is_elsewhere(words, found):
            supported, why = False, "about something else than was asked"
            contradicted = self._asked.isdisjoint(self._spoken_in(words, found))
        kept = self._keep == "all" or supported
        kept = kept or (self._keep == "uncontradicted" and not contradicted)
        self._sentences.append(
            Checked(
                text=words,
                supported=supported,
                contradicted=contradicted,
                score=found.verdict.score,
                hit=found.hit if supported else -1,
                why=why,
                kept=kept,
            )
        )
        if kept:
            start = self._length + plain.index(words[0])
            tail = plain[plain.rindex(words[-1]) + 1 :]
            self._say(plain[: len(plain) - len(tail)])
            if supported:
                self._mark(start, found)
                self._holding = False
            self._say(tail)
        self._before = words

    def _about(self, words: str) -> frozenset[str]:
        """Return what must be spoken of too: what a pronoun or a short answer stands for."""
        statement = read(words)
        if len(statement.terms) < 2 or statement.terms[0].kind in "nd":
            asked = read(self._question.rsplit("\n", 1)[-1]).terms
            return frozenset(
                term.key for term in asked if term.kind in "nNc" or self._spoken_of(term.key)
            )
        if not statement.refers:
            return frozenset()
        before = read(self._before)
        return frozenset(term.key for term in before.terms if term.kind in "Nc")

    def _is_elsewhere(self, words: str, found: Match) -> bool:
        """Tell whether a sentence, true as it is, is not about what the question names.

        Asked of one thing, a small model likes to answer of another that a passage names too. So
        where some passage speaks of all that the question names, the cited one must as well.
        """
        if not any(self._asked <= keys_of(hit) for hit in self._hits):
            return False
        return not self._asked <= self._spoken_in(words, found)

    def _spoken_in(self, words: str, found: Match) -> frozenset[str]:
        return frozenset(keys_of(self._hits[found.hit])) | read(words).keys

    def _spoken_of(self, key: str) -> bool:
        """Tell whether a passage has a word of the question: what none has decides nothing."""
        return any(key in keys_of(hit) for hit in self._hits)

    def _mark(self, start: int, found: Match) -> None:
        hit = self._hits[found.hit]
        document, passage = hit.document, hit.passage
        name = (hit.collection, document.id)
        number = self._numbers.setdefault(name, len(self._numbers) + 1)
        index = self._length + 1
        self._say(f" [{number}]")
        self._annotations.append(
            Annotation(
                number=number,
                start=start,
                end=self._length,
                index=index,
                collection=hit.collection,
                document_id=document.id,
                file_id=document.file_id,
                filename=document.filename,
                title=document.title,
                url=document.url,
                quote=passage.text[found.start : found.end],
                quote_start=passage.start + found.start,
                quote_end=passage.start + found.end,
                page=passage.page,
            )
        )

    def _release(self) -> str:
        if self._holding:
            return ""
        ready = "".join(self._parts[self._sent :])
        self._sent = len(self._parts)
        return ready


def _code(found: re.Match[str]) -> str:
    return found.group("code") or ""
