"""The spool: traffic records on their way from a worker to the store, as files in `home/spool`.

A worker appends raw bytes to a list and a thread writes them out ten times a second, each batch at
once and as a file of its own that appears whole, by a rename. The recorder, a process of its own,
reads them into the store. So the request path never decodes a record nor waits for the store, and a
store that is away for an hour costs disk, not records. Both ends are bounded: what does not fit is
dropped and counted.
"""

import contextlib
import logging
import os
import threading
import time
from collections import deque
from collections.abc import Iterator
from io import FileIO
from pathlib import Path
from typing import Final

import msgspec

from gateway.metrics import RecordMetrics
from gateway.served import Served, decode, encode

_log = logging.getLogger(__name__)
_WRITE_EVERY_S = 0.1
_MAX_WAITING_BYTES: Final = 32 * 2**20
_LENGTH_BYTES: Final = 4
_SUFFIX = ".spool"


class Spool:
    """Takes `Served` requests and writes them to files.

    Args:
        folder: Where the files go.
        metrics: Where dropped records are counted.
        limit_bytes: Bytes that may lie in the folder.
    """

    def __init__(self, folder: Path, metrics: RecordMetrics, limit_bytes: int) -> None:
        self._folder = folder
        self._metrics = metrics
        self._limit_bytes = limit_bytes
        self._waiting: deque[bytes] = deque()
        # Two counters, each with one writer, so that neither needs a lock.
        self._put_bytes = 0
        self._taken_bytes = 0
        self._full = False
        self._number = 0
        self._stop = threading.Event()
        self._writer = threading.Thread(target=self._run, name="spool", daemon=True)

    def start(self) -> None:
        """Start writing.

        Raises:
            OSError: The folder cannot be made.
        """
        self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._writer.start()

    def put(self, served: Served) -> None:
        """Take a record, or drop and count it where the spool is full. Never blocks."""
        if self._full or self._put_bytes - self._taken_bytes > _MAX_WAITING_BYTES:
            self._metrics.dropped.inc()
            return
        record = encode(served)
        self._waiting.append(len(record).to_bytes(_LENGTH_BYTES, "big"))
        self._waiting.append(record)
        self._put_bytes += len(record)

    def close(self) -> None:
        """Write what waits."""
        self._stop.set()
        if self._writer.is_alive():
            self._writer.join()

    def _run(self) -> None:
        measured = 0.0
        while not self._stop.wait(_WRITE_EVERY_S):
            if time.monotonic() - measured > 1.0:
                measured = time.monotonic()
                self._full = size(self._folder) > self._limit_bytes
            self._write()
        self._write()

    def _write(self) -> None:
        count = len(self._waiting) // 2
        if not count:
            return
        parts = [self._waiting.popleft() for _ in range(2 * count)]
        batch = b"".join(parts)
        self._taken_bytes += len(batch) - count * _LENGTH_BYTES
        self._number += 1
        name = f"{time.time_ns()}-{os.getpid()}-{self._number}"
        unfinished = self._folder / f"{name}.tmp"
        try:
            # One write for all: after each, this thread must win the interpreter's lock back from
            # the relay, which cost the relay 15 % when records were written one by one.
            with open(unfinished, "wb", buffering=0) as file:
                _write_all(file, batch)
            unfinished.rename(self._folder / (name + _SUFFIX))
        except OSError as error:
            self._metrics.dropped.inc(count)
            _log.warning("spool: %s; %d records are lost", error, count)
            with contextlib.suppress(OSError):
                unfinished.unlink()


def _write_all(file: FileIO, batch: bytes) -> None:
    rest = memoryview(batch)
    while rest:
        rest = rest[file.write(rest) :]


def files(folder: Path) -> list[Path]:
    """Return the files that wait, oldest first."""
    return sorted(folder.glob(f"*{_SUFFIX}"))


def read(file: Path) -> Iterator[Served]:
    """Yield the records of a file.

    Raises:
        OSError: The file cannot be read.
        ValueError: It is not a spool file.
    """
    with file.open("rb") as opened:
        while head := opened.read(_LENGTH_BYTES):
            if len(head) < _LENGTH_BYTES:
                raise ValueError(f"{file.name} ends within a length")
            length = int.from_bytes(head, "big")
            try:
                yield decode(opened.read(length))
            except msgspec.MsgspecError as error:
                raise ValueError(f"{file.name}: {error}") from error


def size(folder: Path) -> int:
    """Return the bytes in a folder."""
    total = 0
    with contextlib.suppress(OSError), os.scandir(folder) as entries:
        for entry in entries:
            with contextlib.suppress(OSError):
                total += entry.stat().st_size
    return total
