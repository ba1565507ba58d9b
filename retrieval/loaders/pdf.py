"""PDF: the text layer, page by page, with the outline's headings."""

import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pypdf import PageObject, PasswordType, PdfReader
from pypdf.errors import DependencyError, PyPdfError
from pypdf.generic import ArrayObject, StreamObject

from retrieval.loaders.page_lines import lines_of, paragraphs, runs_on, without_furniture
from retrieval.loaders.parts import BadPart, Block, LoadError, Part, Progress, Start

_PROGRESS_PAGES = 20
_FORGET_PAGES = 100
_MAX_LEVEL = 6
_EMPTY_BYTES = 32  # contents of nothing may be so long where they are compressed


def load(path: Path, filename: str) -> Iterator[Part]:
    """Yield the paragraphs of a PDF file, and the pages that cannot be read; raises LoadError."""
    logging.getLogger("pypdf").setLevel(logging.CRITICAL)  # it warns of each small fault
    with path.open("rb") as file:
        reader = _open(file, filename)
        total = _pages(reader, filename)
        yield Start(_fields(reader))
        yield Progress(0, total, "pages")
        has_text = False
        bad = 0
        for block in _blocks(reader, total):
            has_text = has_text or isinstance(block, Block)
            bad += isinstance(block, BadPart)
            yield block
        if not has_text and bad < total:
            raise LoadError(f"{filename}: has no text; scanned pages need OCR first")


def _open(file: Any, filename: str) -> PdfReader:
    try:
        reader = PdfReader(file, strict=False)
        if reader.is_encrypted and reader.decrypt("") == PasswordType.NOT_DECRYPTED:
            raise LoadError(f"{filename}: is encrypted, and its password is not known")
    except DependencyError:
        raise LoadError(f"{filename}: is encrypted in a way that cannot be read here") from None
    except (PyPdfError, ValueError, KeyError, TypeError, AttributeError, OSError) as error:
        raise LoadError(f"{filename}: is damaged: {error}") from None
    return reader


def _pages(reader: PdfReader, filename: str) -> int:
    try:
        total = len(reader.pages)
    except Exception as error:  # whatever a damaged page tree leads to
        raise LoadError(f"{filename}: is damaged: {error}") from None
    if total == 0:
        raise LoadError(f"{filename}: has no pages")
    return total


def _fields(reader: PdfReader) -> dict[str, object]:
    try:
        title = reader.metadata.title if reader.metadata else None
    except Exception:
        return {}
    return {"title": title.strip()} if isinstance(title, str) and title.strip() else {}


def _blocks(reader: PdfReader, total: int) -> Iterator[Part]:
    outline = _outline(reader)
    before: list[str] = []
    ended = ""
    here = _lines(reader, 0)
    for number in range(1, total + 1):
        after = _lines(reader, number) if number < total else []
        if isinstance(here, BadPart):
            yield here
            ended = ""
        else:
            beside = [page for page in (before, after) if not isinstance(page, BadPart)]
            headings = outline.get(number, [])
            for block in _page(without_furniture(here, beside), headings, number):
                if block.level == 0 and runs_on(ended, block.text):
                    block = Block(block.text, page=number, runs_on=True)
                ended = "" if block.level else block.text
                yield block
        before = [] if isinstance(here, BadPart) else here
        here = after
        if number % _PROGRESS_PAGES == 0 or number == total:
            yield Progress(number, total, "pages")
        if number % _FORGET_PAGES == 0:
            # Everything that was read stays in this cache, fonts and contents of all pages.
            reader.resolved_objects.clear()


def _page(lines: list[str], headings: list[tuple[int, str]], number: int) -> Iterator[Block]:
    """Yield a page's blocks; its headings stand where its lines say them, else at its top."""
    places: list[tuple[int, int, str]] = []
    for level, title in headings:
        wanted = "".join(title.split()).lower()
        at = next((n for n, line in enumerate(lines) if wanted == _squeezed(line, wanted)), -1)
        places.append((at, level, title))
    begin = 0
    for at, level, title in sorted(places, key=lambda place: place[0]):
        if at >= begin:
            for text in paragraphs(lines[begin:at]):
                yield Block(text, page=number)
            begin = at + 1
        yield Block(title, level, number)
    for text in paragraphs(lines[begin:]):
        yield Block(text, page=number)


def _squeezed(line: str, wanted: str) -> str:
    """Return a line without white space, case and a number in front that the outline leaves out."""
    text = "".join(line.split()).lower()
    return text if wanted[:1].isdigit() else text.lstrip("0123456789.")


def _lines(reader: PdfReader, position: int) -> list[str] | BadPart:
    try:
        page = reader.pages[position]
        text = page.extract_text()
        if not text and _is_lost(page):
            return BadPart(f"page {position + 1}", "cannot be read: its contents are damaged")
        return lines_of(text)
    except (MemoryError, LoadError):
        raise
    except Exception as error:  # pypdf lets errors of every kind out of a damaged page
        return BadPart(f"page {position + 1}", f"cannot be read: {type(error).__name__}: {error}")


def _is_lost(page: PageObject) -> bool:
    """Return whether a page has contents, and nothing of them can be decoded: pypdf only warns."""
    contents = page.get("/Contents")
    contents = None if contents is None else contents.get_object()
    parts = contents if isinstance(contents, ArrayObject) else [contents]
    streams = [
        s for part in parts if part is not None and isinstance(s := part.get_object(), StreamObject)
    ]
    stored = sum(len(stream._data) for stream in streams)
    return stored > _EMPTY_BYTES and not any(stream.get_data() for stream in streams)


def _outline(reader: PdfReader) -> dict[int, list[tuple[int, str]]]:
    """Return the titles of the outline with their levels, by page from 1."""
    found: dict[int, list[tuple[int, str]]] = {}

    def walk(items: list[Any], level: int) -> None:
        for item in items:
            if isinstance(item, list):
                walk(item, min(level + 1, _MAX_LEVEL))
                continue
            position = reader.get_destination_page_number(item)
            title = " ".join(str(item.title or "").split())
            if position is not None and position >= 0 and title:
                found.setdefault(position + 1, []).append((level, title))

    try:
        walk(reader.outline, 1)
    except Exception:  # a damaged outline costs the headings, not the text
        return {}
    return found
