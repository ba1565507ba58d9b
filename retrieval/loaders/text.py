"""Plain text: a paragraph is what stands between blank lines."""

from collections.abc import Iterator
from pathlib import Path

from retrieval.loaders.encoding import lines
from retrieval.loaders.parts import Block, Part, Start

# A log has no blank lines: a piece of this many lines is given on as a paragraph of its own.
_MAX_LINES = 64


def load(path: Path, filename: str) -> Iterator[Part]:
    """Yield the paragraphs of a text file; raises LoadError."""
    yield Start()
    held: list[str] = []
    tight = False
    for line in lines(path, filename):
        if not isinstance(line, str):
            yield line
        elif not line.strip():
            if held:
                yield Block("".join(held), tight=tight)
            held, tight = [], False
        else:
            held.append(line)
            if len(held) == _MAX_LINES:
                yield Block("".join(held), tight=tight)
                held, tight = [], True
    if held:
        yield Block("".join(held), tight=tight)
