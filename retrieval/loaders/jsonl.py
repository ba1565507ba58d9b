"""JSONL: a document a row, its words in `text`, its fields beside them."""

import re
from collections.abc import Iterator
from pathlib import Path

import msgspec

from retrieval.loaders.encoding import lines
from retrieval.loaders.parts import BadPart, Block, Part, Start

_BLANK = re.compile(r"\n[ \t]*\n")


def load(path: Path, filename: str) -> Iterator[Part]:
    """Yield the documents of a JSONL file, and its bad rows; raises LoadError."""
    number = 0
    for line in lines(path, filename):
        if not isinstance(line, str):
            yield line
            continue
        number += 1
        if not line.strip():
            continue
        place = f"line {number}"
        try:
            row = msgspec.json.decode(line)
        except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
            yield BadPart(place, f"is not JSON: {error}")
            continue
        if not isinstance(row, dict):
            yield BadPart(place, "is no JSON object")
            continue
        text = row.pop("text", None)
        if not isinstance(text, str) or not text.strip():
            yield BadPart(place, "text: is missing, empty or no text")
            continue
        yield Start(row, place, number)
        for paragraph in _BLANK.split(text):
            yield Block(paragraph)
