"""Reads files of many formats as documents and their blocks; picks the format."""

import importlib
import zipfile
from collections.abc import Iterator
from pathlib import Path, PurePath
from typing import cast

from retrieval.loaders.parts import Loader, LoadError, Part

FORMATS: dict[str, tuple[str, ...]] = {
    "text": (".txt", ".text", ".log", ".rst"),
    "markdown": (".md", ".markdown"),
    "html": (".html", ".htm", ".xhtml"),
    "pdf": (".pdf",),
    "docx": (".docx",),
    "csv": (".csv", ".tsv"),
    "jsonl": (".jsonl", ".ndjson"),
}
"""The loaders, one module each, and the endings of file names that they read."""

_OLE = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"


def load(path: Path, filename: str) -> Iterator[Part]:
    """Yield the documents and blocks of a file.

    What a file is, its content says where it can: a PDF called notes.txt is read as a PDF. What
    has no known ending and no known beginning is read as text.

    Args:
        path: The file.
        filename: What it is called.

    Raises:
        LoadError: It is empty, binary, encrypted, damaged or wrongly encoded.
    """
    name = _format(path, filename)
    module = importlib.import_module(f"retrieval.loaders.{name}")
    yield from cast(Loader, module.load)(path, filename)


def _format(path: Path, filename: str) -> str:
    with path.open("rb") as file:
        head = file.read(1024)
    if not head:
        raise LoadError(f"{filename}: is empty")
    suffix = PurePath(filename).suffix.lower()
    named = next((name for name, endings in FORMATS.items() if suffix in endings), "")
    if b"%PDF-" in head:
        return "pdf"
    if head.startswith(b"PK\x03\x04"):
        if "word/document.xml" in _names(path, filename):
            return "docx"
        raise LoadError(f"{filename}: is an archive or an Office file other than DOCX")
    if head.startswith(_OLE):
        raise LoadError(f"{filename}: is an encrypted or old Office file; save it as .docx")
    if named in ("pdf", "docx"):
        raise LoadError(f"{filename}: is no {named.upper()} file, though it is called one")
    if not named and head.lstrip(b"\xef\xbb\xbf \t\r\n").lower().startswith((b"<!doc", b"<html")):
        return "html"
    return named or "text"


def _names(path: Path, filename: str) -> list[str]:
    try:
        with zipfile.ZipFile(path) as archive:
            return archive.namelist()
    except zipfile.BadZipFile:
        raise LoadError(f"{filename}: is damaged (a broken ZIP archive)") from None
