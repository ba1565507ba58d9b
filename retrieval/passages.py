"""What passages are to others: the text that is embedded, and the document's text from them."""

from collections.abc import Iterable

from retrieval.records import Document, Passage

_MAX_CONTEXT = 160


def embedded_text(document: Document, passage: Passage) -> str:
    """Return what an embedder and BM25 read of a passage: title and headings, then its text.

    A passage from the middle of a section does not say what it is about; they do. The chunker
    leaves room for them.
    """
    context = context_of(document.title, passage.heading)
    return f"{context}\n{passage.text}" if context else passage.text


def context_of(title: str, heading: str) -> str:
    """Return title and headings in one line of at most 160 characters; its end matters most."""
    if not heading or not title or heading.startswith(title):
        context = heading or title
    else:
        context = f"{title} > {heading}"
    return context if len(context) <= _MAX_CONTEXT else f"…{context[1 - _MAX_CONTEXT :]}"


def text_of(passages: Iterable[Passage]) -> str:
    """Return a document's text from its passages in order, what they repeat only once.

    Each passage stands at its `start`. White space between passages may differ from the file's.
    """
    parts: list[str] = []
    length = 0
    for passage in passages:
        gap = passage.start - length
        if gap > 0:
            parts.append(" " if gap == 1 else "\n" * gap)
        parts.append(passage.text[max(0, -gap) :])
        length = max(length, passage.start + len(passage.text))
    return "".join(parts)
