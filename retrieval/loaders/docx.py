"""DOCX: paragraphs, headings, lists and tables in order, with tracked insertions."""

import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import docx
from docx.opc.exceptions import OpcError
from docx.oxml.ns import qn

from retrieval.loaders.parts import Block, LoadError, Part, Progress, Start
from retrieval.loaders.table import sentence

_MAX_UNPACKED = 512 * 2**20
_TEXT, _TAB, _LINE, _CARRIAGE = (qn(f"w:{name}") for name in ("t", "tab", "br", "cr"))
_PARAGRAPH, _TABLE, _ROW, _CELL = (qn(f"w:{name}") for name in ("p", "tbl", "tr", "tc"))
_WRAPPERS = {qn(f"w:{name}") for name in ("sdt", "sdtContent", "ins", "customXml")}
_BREAKS = {_TAB: " ", _LINE: "\n", _CARRIAGE: "\n"}


def load(path: Path, filename: str) -> Iterator[Part]:
    """Yield the blocks of a Word document; raises LoadError."""
    try:
        with zipfile.ZipFile(path) as archive:
            if sum(entry.file_size for entry in archive.infolist()) > _MAX_UNPACKED:
                raise LoadError(f"{filename}: unpacks to more than {_MAX_UNPACKED >> 20} MiB")
        document = docx.Document(str(path))
    except (OpcError, zipfile.BadZipFile, KeyError, ValueError, SyntaxError) as error:
        raise LoadError(f"{filename}: is damaged or no Word document: {error}") from None
    title = document.core_properties.title.strip()
    levels = _levels(document)
    blocks = list(_blocks(document.element.body, levels))
    if not title:
        title = next((block.text for block in blocks if block.level == 1), "")
    yield Start({"title": title} if title else {})
    yield from blocks
    yield Progress(1, 1, "files")


def _levels(document: Any) -> dict[str, int]:
    """Return the levels of the styles that are headings, by id; names are English in every file."""
    levels = {}
    for style in document.styles:
        name = (style.name or "").lower()
        if name == "title":
            levels[style.style_id] = 1
        elif name.startswith("heading ") and name[8:].isdigit():
            levels[style.style_id] = min(int(name[8:]), 9)
    return levels


def _blocks(parent: Any, levels: dict[str, int]) -> Iterator[Block]:
    for element in parent:
        if element.tag == _PARAGRAPH:
            words = _words(element)
            if words:
                level = levels.get(element.style or "", 0)
                is_item = element.pPr is not None and element.pPr.numPr is not None
                is_item = is_item or (element.style or "").startswith("List")
                is_item = is_item and not level
                yield Block(f"- {words}" if is_item else words, level, tight=is_item)
        elif element.tag == _TABLE:
            yield from _table(element)
        elif element.tag in _WRAPPERS:
            yield from _blocks(element, levels)


def _table(table: Any) -> Iterator[Block]:
    names: list[str] | None = None
    for row in table.iterchildren(_ROW):
        cells = [
            " ".join(_words(paragraph) for paragraph in cell.iter(_PARAGRAPH)).strip()
            for cell in row.iterchildren(_CELL)
        ]
        if names is None and len(cells) > 1:
            names = cells
        elif words := sentence(names or [], cells):
            yield Block(words, tight=True)
    if names and table.find(_ROW) is table[-1]:  # one row alone is no header
        yield Block(sentence([], names), tight=True)


def _words(paragraph: Any) -> str:
    """Return a paragraph's words; deleted ones are in other elements (w:delText)."""
    parts = []
    for element in paragraph.iter(_TEXT, *_BREAKS):
        # A tab within w:tabs defines a stop and is no character.
        if element.tag != _TAB or element.getparent().tag == qn("w:r"):
            parts.append(_BREAKS.get(element.tag) or element.text or "")
    return "".join(parts).strip()
