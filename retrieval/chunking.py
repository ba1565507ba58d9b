"""Cuts a document into passages: on its structure, with overlap, counted in the embedder's tokens.

A passage never spans two headings, and not two pages unless a sentence does. Within that it takes
whole paragraphs while they fit; a paragraph that does not fit is cut between sentences, a sentence
that is too long between words. The next passage begins with the last sentences of the one before,
as far as they fit into the overlap.

The document's text is that of its passages, headings apart: a passage is
`text[start : start + len(passage.text)]` of it (`retrieval.passages.text_of`).
"""

import re
from dataclasses import dataclass

from retrieval.loaders.parts import Block
from retrieval.passages import context_of
from retrieval.records import Passage
from retrieval.sentences import sentences_of
from retrieval.tokens import TokenCounter

_MIN_TOKENS = 16
_WORD = re.compile(r"\S+")


@dataclass(frozen=True, slots=True)
class _Unit:
    """A sentence, or a piece of one that is too long."""

    text: str
    tokens: int
    gap: str  # what stands between the unit before and this one
    start: int
    page: int | None


class Chunker:
    """Cuts one document; use a new one for the next.

    Args:
        counter: Counts tokens.
        max_tokens: Most tokens of a passage; fewer where the embedder reads fewer, title and
            headings included.
        overlap_tokens: Most tokens that a passage repeats of the one before, at most half of it.
        title: The document's title, which is embedded with each passage.
    """

    def __init__(
        self, counter: TokenCounter, max_tokens: int, overlap_tokens: int, title: str = ""
    ) -> None:
        self._counter = counter
        self._max_tokens = max_tokens
        self._overlap_tokens = overlap_tokens
        self._title = title
        self._headings: list[tuple[int, str]] = []
        self._bare: Block | None = None  # the last heading, while nothing stands under it
        self._held: list[_Unit] = []
        self._repeated = 0  # how many of the held units are in the passage before as well
        self._number = 0
        self._plan()
        self.length = 0
        """Characters of the document's text so far."""

    def add(self, block: Block) -> list[Passage]:
        """Return the passages that are full now that this block follows."""
        text = _clean(block.text)
        if not text:
            return []
        if block.level:
            return self._heading(Block(text, block.level, block.page))
        self._bare = None
        return self._paragraph(text, block)

    def end(self) -> list[Passage]:
        """Return the passages that are left at the end of the document."""
        return [*self._flush(), *self._bare_heading()]

    def _heading(self, block: Block) -> list[Passage]:
        passages = self._flush()
        if self._bare is not None and block.level <= self._bare.level:
            passages += self._bare_heading()
        while self._headings and self._headings[-1][0] >= block.level:
            self._headings.pop()
        self._headings.append((block.level, " ".join(block.text.split())))
        self._bare = block
        self._plan()
        return passages

    def _bare_heading(self) -> list[Passage]:
        """Return a heading with nothing under it as text: it would not be found otherwise."""
        if self._bare is None:
            return []
        block, self._bare = self._bare, None
        return [*self._paragraph(block.text, Block(block.text, page=block.page)), *self._flush()]

    def _plan(self) -> None:
        """Set how many tokens are left for text under the present headings."""
        self._path = " > ".join(text for _, text in self._headings)
        self._budget = self._max_tokens
        if self._counter.limit is not None:
            context = context_of(self._title, self._path)
            used = self._counter.count([context])[0] if context else 0
            self._budget = min(self._budget, self._counter.limit - used)
        self._budget = max(self._budget, _MIN_TOKENS)
        self._overlap = min(self._overlap_tokens, self._budget // 2)

    def _paragraph(self, text: str, block: Block) -> list[Passage]:
        passages: list[Passage] = []
        if self._held and block.page != self._held[-1].page and not block.runs_on:
            passages += self._flush()
        gap = " " if block.runs_on else "\n" if block.tight else "\n\n"
        spans = sentences_of(text)
        counts = self._counter.count([text[start:end] for start, end in spans])
        units = self._units(text, spans, counts)
        held = sum(unit.tokens for unit in self._held)
        if held >= self._budget // 2 and held + sum(counts) > self._budget:
            passages += self._full()  # better between two paragraphs than within the next
        for start, end, tokens in units:
            held = sum(unit.tokens for unit in self._held)
            if self._held and held + tokens > self._budget:
                passages += self._full()
            self._hold(text[start:end], tokens, gap if self.length else "", block.page)
            rest = _WORD.search(text, end)
            gap = text[end : rest.start()] if rest else ""
        return passages

    def _units(
        self, text: str, spans: list[tuple[int, int]], counts: list[int]
    ) -> list[tuple[int, int, int]]:
        units = []
        for (start, end), tokens in zip(spans, counts, strict=True):
            if tokens <= self._budget:
                units.append((start, end, tokens))
                continue
            # Pieces as small as the overlap, so that there is something to repeat.
            most = max(min(self._overlap or self._budget, self._budget // 4), 4)
            units += self._pieces(text, start, end, most)
        return units

    def _pieces(self, text: str, start: int, end: int, most: int) -> list[tuple[int, int, int]]:
        """Return a long sentence in pieces of at most `most` tokens, cut between words."""
        pieces: list[tuple[int, int, int]] = []
        words = [found.span() for found in _WORD.finditer(text, start, end)]
        counts = self._counter.count([text[a:b] for a, b in words])
        begin, last, held = -1, start, 0
        for (a, b), tokens in zip(words, counts, strict=True):
            if begin >= 0 and held + tokens > most:
                pieces.append((begin, last, held))
                begin, held = -1, 0
            if tokens > most or b - a > 8 * most:  # a word of its own size: base64, a long URL
                for at in range(a, b, most):
                    stop = min(b, at + most)
                    pieces.append((at, stop, self._counter.count([text[at:stop]])[0]))
                continue
            begin = a if begin < 0 else begin
            last, held = b, held + tokens
        if begin >= 0:
            pieces.append((begin, last, held))
        return pieces

    def _hold(self, text: str, tokens: int, gap: str, page: int | None) -> None:
        start = self.length + len(gap)
        self._held.append(_Unit(text, tokens, gap, start, page))
        self.length = start + len(text)

    def _full(self) -> list[Passage]:
        """Return what is held, and keep its last sentences as the overlap of the next passage."""
        units = self._held
        passages = self._flush()
        tokens = 0
        kept = len(units)
        while kept > 1 and tokens + units[kept - 1].tokens <= self._overlap:
            kept -= 1
            tokens += units[kept].tokens
        self._held = units[kept:]
        self._repeated = len(self._held)
        return passages

    def _flush(self) -> list[Passage]:
        units, self._held = self._held, []
        repeated, self._repeated = self._repeated, 0
        passages: list[Passage] = []
        while len(units) > repeated:
            take = len(units)
            text = _joined(units)
            # Sums are estimates: joined, text may have more tokens than its sentences.
            while take > 1 and self._counter.count([text])[0] > self._budget:
                take -= 1
                text = _joined(units[:take])
            first = units[0]
            passages.append(
                Passage(
                    number=self._number,
                    text=text,
                    start=first.start,
                    heading=self._path,
                    page=units[min(repeated, take - 1)].page,
                )
            )
            self._number += 1
            units, repeated = units[take:], 0
        return passages


def _joined(units: list[_Unit]) -> str:
    return "".join([units[0].text, *(unit.gap + unit.text for unit in units[1:])])


def _clean(text: str) -> str:
    """Drop what no text has: NULs, and halves of surrogate pairs, which some PDF files give."""
    text = text.replace("\0", "").strip()
    try:
        text.encode()
    except UnicodeEncodeError:
        text = text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return text
