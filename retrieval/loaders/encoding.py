"""Bytes to text: UTF-8 and what says that it is something else, with errors that name the line."""

import codecs
import io
import re
from collections.abc import Iterator
from pathlib import Path

from retrieval.loaders.parts import LoadError, Progress

_SAMPLE_BYTES = 64 * 2**10
_CHUNK_BYTES = 2**18
_PROGRESS_BYTES = 2**20
_MAX_LINE = 8 * 2**20
_BOMS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),  # before UTF-16, whose mark it begins with
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_SEQUENCE = re.compile(
    rb"[\xc2-\xdf][\x80-\xbf]|[\xe0-\xef][\x80-\xbf]{2}|[\xf0-\xf4][\x80-\xbf]{3}"
)
_CONTROLS = bytes(set(range(32)) - set(b"\t\n\r\f\x1b\b"))


def encoding_of(path: Path, filename: str) -> str:
    """Return the encoding of a text file, from its beginning.

    What is not UTF-8 is guessed, but never where most of it is UTF-8: that is a damaged file,
    and a guess would index garbage.

    Raises:
        LoadError: It is binary, or in no encoding that can be told with confidence.
    """
    with path.open("rb") as file:
        sample = file.read(_SAMPLE_BYTES)
    for mark, name in _BOMS:
        if sample.startswith(mark):
            return name
    if is_binary(sample):
        raise LoadError(f"{filename}: is binary, not text")
    bad = _first_not_utf8(path)
    if bad is None:
        return "utf-8"
    line, byte, sample = bad
    if not _is_damaged_utf8(sample):
        guess = _guess(sample)
        if guess is not None:
            return guess
    raise LoadError(f"{filename}, line {line}: is not UTF-8 (byte 0x{byte:02x})")


def is_binary(sample: bytes) -> bool:
    """Return whether bytes are no text in any encoding that extends ASCII."""
    controls = len(sample) - len(sample.translate(None, _CONTROLS))
    return b"\0" in sample or controls > len(sample) // 50


def read_text(path: Path, filename: str, limit_bytes: int, encoding: str = "") -> str:
    """Return a whole text file, its line ends as line feeds.

    Args:
        path: The file.
        filename: What errors call it.
        limit_bytes: Larger ones are refused.
        encoding: What the file itself says that it is in; used where that is true.

    Raises:
        LoadError: Too large, binary or wrongly encoded.
    """
    if path.stat().st_size > limit_bytes:
        raise LoadError(f"{filename}: is larger than {limit_bytes >> 20} MiB; split it")
    text = None
    if encoding:
        try:
            text = path.read_bytes().decode(encoding)
        except (UnicodeDecodeError, LookupError):
            text = None
    if text is None:
        name = encoding_of(path, filename)
        try:
            text = path.read_bytes().decode(name)
        except UnicodeDecodeError as error:
            raise LoadError(f"{filename}: is not {name} ({error.reason})") from None
    return text.replace("\r\n", "\n").replace("\r", "\n")


def lines(path: Path, filename: str) -> Iterator[str | Progress]:
    """Yield a text file's lines with their ends, and now and then how far it is.

    Raises:
        LoadError: Binary, wrongly encoded, or with a line of more than 8 MiB.
    """
    name = encoding_of(path, filename)
    total = path.stat().st_size
    told = 0
    number = 0
    with path.open("rb") as raw, io.TextIOWrapper(raw, name, newline=None) as file:
        while True:
            try:
                line = file.readline(_MAX_LINE)
            except UnicodeDecodeError as error:
                raise LoadError(
                    f"{filename}, after line {number}: is not {name} ({error.reason})"
                ) from None
            if not line:
                break
            number += 1
            if len(line) == _MAX_LINE and not line.endswith("\n"):
                raise LoadError(f"{filename}, line {number}: is longer than 8 MiB")
            yield line
            done = raw.tell()
            if done - told >= _PROGRESS_BYTES:
                told = done
                yield Progress(done, total, "bytes")
    yield Progress(total, total, "bytes")


def _first_not_utf8(path: Path) -> tuple[int, int, bytes] | None:
    """Return the line and value of the first byte that is not UTF-8 and what surrounds it."""
    decoder = codecs.getincrementaldecoder("utf-8")()
    line = 1
    with path.open("rb") as file:
        while True:
            chunk = file.read(_CHUNK_BYTES)
            try:
                text = decoder.decode(chunk, final=not chunk)
            except UnicodeDecodeError as error:
                # The decoder puts what it held back in front: positions are in both together.
                data, at = error.object, error.start
                line += data.count(b"\n", 0, at)
                return line, data[at], data[max(0, at - _SAMPLE_BYTES) : at + _SAMPLE_BYTES]
            line += text.count("\n")
            if not chunk:
                return None


def _is_damaged_utf8(sample: bytes) -> bool:
    """Return whether most bytes beyond ASCII form UTF-8 sequences: the rest is damage."""
    beyond = sum(1 for byte in sample if byte >= 0x80)
    return 2 * sum(len(found) for found in _SEQUENCE.findall(sample)) > beyond


def _guess(sample: bytes) -> str | None:
    from charset_normalizer import from_bytes

    # A quarter of a sample in a wrong encoding reads as noise; prose in the right one does not.
    best = from_bytes(sample, threshold=0.1).best()
    return None if best is None else best.encoding
