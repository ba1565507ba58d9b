"""CSV and TSV with a header.

With a column `text` or `id`, a row is a document: columns named as the fields of a document are
its fields, `text` its words, all others its metadata. With `id` and no `text`, its words are its
cells with the names of their columns. With neither, the file is one document of such rows.
"""

import csv
import itertools
import re
from collections.abc import Iterator
from pathlib import Path

from retrieval.loaders.encoding import lines
from retrieval.loaders.parts import BadPart, Block, LoadError, Part, Progress, Start
from retrieval.loaders.table import sentence

_FIELDS = ("id", "title", "url", "valid_from", "valid_to", "ttl", "supersedes", "metadata")
_NUMBER = re.compile(r"-?(0|[1-9]\d{0,14})(\.\d{0,9}[1-9])?")
_MAX_CELL = 8 * 2**20


def load(path: Path, filename: str) -> Iterator[Part]:
    """Yield the documents of a CSV file, and its bad rows; raises LoadError."""
    csv.field_size_limit(_MAX_CELL)
    told: list[Progress] = []
    source = _words(lines(path, filename), told)
    head = next(source, "")
    reader = csv.reader(
        itertools.chain([head], source), delimiter=_delimiter(head, filename), strict=True
    )
    try:
        names = [name.strip() for name in next(reader, [])]
    except csv.Error as error:
        raise LoadError(f"{filename}, line 1: is no header: {error}") from None
    if not any(names):
        raise LoadError(f"{filename}, line 1: has no names of columns")
    keys = [name.lower() if name.lower() in (*_FIELDS, "text") else name for name in names]
    twice = next((name for name in keys if name and keys.count(name) > 1), "")
    if twice:
        raise LoadError(f"{filename}, line 1: has two columns {twice!r}")
    is_rows = "text" in keys or "id" in keys
    if not is_rows:
        yield Start()
    number = 0
    while True:
        yield from told
        told.clear()
        place = f"line {reader.line_num + 1}"
        try:
            row = next(reader)
        except StopIteration:
            break
        except csv.Error as error:
            yield BadPart(place, f"is no row of CSV: {error}")
            continue
        if not any(cell.strip() for cell in row):
            continue
        number += 1
        if len(row) != len(names):
            yield BadPart(place, f"has {len(row)} cells, the header has {len(names)}")
        elif is_rows:
            yield from _document(keys, names, row, place, number)
        else:
            yield Block(sentence(names, row), tight=True)
    yield from told


def _document(
    keys: list[str], names: list[str], row: list[str], place: str, number: int
) -> Iterator[Part]:
    cells = dict(zip(keys, row, strict=True))
    if "text" in cells:
        text = cells.pop("text").strip()
    else:
        plain = [at for at, key in enumerate(keys) if key not in _FIELDS]
        text = sentence([names[at] for at in plain], [row[at] for at in plain])
    if not text:
        yield BadPart(place, "text: is empty")
        return
    yield Start(
        {key: cell if key in _FIELDS else _value(cell) for key, cell in cells.items() if key},
        place,
        number,
    )
    yield Block(text)


def _value(cell: str) -> str | float:
    """Return a number where it is written as one, so that filters can compare it."""
    return float(cell) if _NUMBER.fullmatch(cell.strip()) else cell.strip()


def _delimiter(head: str, filename: str) -> str:
    if filename.lower().endswith(".tsv"):
        return "\t"
    # The one that makes most columns of the header; a comma where none does.
    return max(",;\t|", key=lambda mark: len(next(csv.reader([head], delimiter=mark), [])))


def _words(source: Iterator[str | Progress], told: list[Progress]) -> Iterator[str]:
    for line in source:
        if isinstance(line, str):
            yield line
        else:
            told.append(line)
