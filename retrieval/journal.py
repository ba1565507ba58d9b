"""The journal: what was added and removed since the last generation, durable when written.

A journal is a folder of numbered files. Compaction ends a file and begins the next, so that a
generation can say from which file on it has to be replayed. A file is a row of records:

    4 bytes "DGJ1", 4 bytes length, 4 bytes CRC-32 (both little-endian), the record as MessagePack

A record that is cut off at the end of the last file was never acknowledged, and is dropped. Any
other damage is skipped to the next whole record, and counted.
"""

import os
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import msgspec

from retrieval.database import CorruptIndex, IndexMismatch
from retrieval.durable import sync_folder
from retrieval.records import Entry

_MAGIC = b"DGJ1"
_HEAD = struct.Struct("<4sII")
_SUFFIX = ".journal"


class Record(msgspec.Struct, kw_only=True, omit_defaults=True):
    """One line of the journal.

    Attributes:
        kind: `begin` is the first record of a file and names the embedder.
        at: Unix seconds when it was written.
        entries: The documents added.
        vectors: Per entry its vectors: little-endian float32, row by row.
        documents: The ids removed.
    """

    kind: Literal["begin", "upsert", "remove"]
    at: float
    embedder: str = ""
    dimensions: int = 0
    entries: list[Entry] = []
    vectors: list[bytes] = []
    documents: list[str] = []


_decoder = msgspec.msgpack.Decoder(Record)
_encoder = msgspec.msgpack.Encoder()


class Reader:
    """Reads the files from one on, again and again as they grow.

    Args:
        folder: The journal.
        first: Number of the first file to read.
        through: Number of the last file to read; None: all.

    Attributes:
        damaged: How many damaged places were skipped.
        end: Where the last file that was read ends: number and bytes that are whole.
    """

    def __init__(self, folder: Path, first: int, through: int | None = None) -> None:
        self._folder, self._through = folder, through
        self.end = (first, 0)
        self.damaged = 0

    def read(self) -> Iterator[Record]:
        """Yield the records that follow those already read."""
        numbers = [n for n in files_of(self._folder) if n >= self.end[0]]
        if self._through is not None:
            numbers = [n for n in numbers if n <= self._through]
        for number in numbers:
            if number > self.end[0]:
                self.end = (number, 0)
            yield from self._file(number, last=number == numbers[-1])

    def _file(self, number: int, *, last: bool) -> Iterator[Record]:
        data = _path(self._folder, number).read_bytes()
        position = self.end[1]
        while position < len(data):
            found = _record(data, position)
            if found is None:
                following = _next_whole(data, position + 1)
                if following is None:
                    if not last:
                        self.end = (number, len(data))
                    self.damaged += not last or _is_long_enough(data, position)
                    return
                self.damaged += 1
                position = following
                continue
            record, position = found
            self.end = (number, position)
            yield record


class Journal:
    """The end of the journal, to write to. One process at a time, which its caller sees to.

    Args:
        folder: The journal's folder; made if missing.
        embedder: The embedder's id, noted in each file.
        dimensions: Length of its vectors.
        end: Where the last whole record ends, as a `Reader` found it; the rest is cut off. None
            begins the first file.
    """

    def __init__(
        self, folder: Path, embedder: str, dimensions: int, end: tuple[int, int] | None
    ) -> None:
        self._folder, self._embedder, self._dimensions = folder, embedder, dimensions
        folder.mkdir(exist_ok=True)
        self._file = -1
        if end is None or not _path(folder, end[0]).exists():
            self._begin(max(files_of(folder), default=0) + 1 if end is None else end[0])
            return
        self.number, self._size = end
        self._file = os.open(_path(folder, self.number), os.O_RDWR)
        os.ftruncate(self._file, self._size)
        if self._size == 0:
            self._header()

    def append(self, record: Record) -> None:
        """Write a record; it is on the disk when this returns.

        Raises:
            OSError: It could not be written; then nothing of it remains.
        """
        body = _encoder.encode(record)
        if len(body) > 2**32 - 1:
            raise ValueError("more than 4 GB at once")
        data = memoryview(_HEAD.pack(_MAGIC, len(body), zlib.crc32(body)) + body)
        written = 0
        try:
            while written < len(data):
                written += os.pwrite(self._file, data[written:], self._size + written)
            os.fdatasync(self._file)
        except OSError:
            os.ftruncate(self._file, self._size)
            raise
        self._size += len(data)

    def rotate(self) -> int:
        """Begin the next file; returns the number of the one that ended."""
        ended, descriptor = self.number, self._file
        self._begin(ended + 1)
        os.close(descriptor)
        return ended

    def close(self) -> None:
        """Close the file."""
        if self._file >= 0:
            os.close(self._file)
            self._file = -1

    def _begin(self, number: int) -> None:
        flags = os.O_RDWR | os.O_CREAT | os.O_TRUNC
        self._file = os.open(_path(self._folder, number), flags, 0o600)
        self.number, self._size = number, 0
        self._header()
        sync_folder(self._folder)

    def _header(self) -> None:
        begin = Record(kind="begin", at=0.0, embedder=self._embedder, dimensions=self._dimensions)
        self.append(begin)


def files_of(folder: Path) -> list[int]:
    """Return the numbers of a journal's files, in order."""
    return sorted(int(path.stem) for path in folder.glob("*" + _SUFFIX) if path.stem.isdecimal())


def drop_files_before(folder: Path, number: int) -> None:
    """Delete the files that no kept generation needs."""
    for old in files_of(folder):
        if old < number:
            _path(folder, old).unlink(missing_ok=True)


def check_origin(record: Record, embedder: str, dimensions: int) -> None:
    """Raise IndexMismatch where a file's first record names another embedder."""
    if record.kind == "begin" and (record.embedder, record.dimensions) != (embedder, dimensions):
        raise IndexMismatch(
            f"its vectors are of the embedder {record.embedder} ({record.dimensions} dimensions), "
            f"not of {embedder} ({dimensions})"
        )


def check_complete(folder: Path, first: int) -> None:
    """Raise CorruptIndex where a file from `first` on is missing."""
    numbers = [number for number in files_of(folder) if number >= first]
    if numbers != list(range(first, first + len(numbers))) or not numbers:
        raise CorruptIndex(f"the journal has no file {first} or lacks one after it")


def _path(folder: Path, number: int) -> Path:
    return folder / f"{number:08d}{_SUFFIX}"


def _record(data: bytes, position: int) -> tuple[Record, int] | None:
    start = position + _HEAD.size
    if start > len(data):
        return None
    magic, length, checksum = _HEAD.unpack_from(data, position)
    body = data[start : start + length]
    if magic != _MAGIC or len(body) != length or zlib.crc32(body) != checksum:
        return None
    try:
        return _decoder.decode(body), start + length
    except msgspec.DecodeError:
        return None


def _is_long_enough(data: bytes, position: int) -> bool:
    # A write that was cut off is shorter than its head says; one with all its bytes was damaged.
    if position + _HEAD.size > len(data):
        return False
    magic, length, _ = _HEAD.unpack_from(data, position)
    return bool(magic != _MAGIC or position + _HEAD.size + length <= len(data))


def _next_whole(data: bytes, position: int) -> int | None:
    while (position := data.find(_MAGIC, position)) >= 0:
        if _record(data, position) is not None:
            return position
        position += 1
    return None
