"""Which release a conversation began on, shared by the workers of a host.

A table in a mapped file: an entry is a conversation's key, a checksum of the release and the time,
16 bytes, written without a lock. Two keys that meet in a slot, or a torn read, cost a conversation
its stickiness, nothing else; hosts do not share the table.
"""

import mmap
import os
import re
import struct
import time
import zlib
from pathlib import Path
from typing import Final

import msgspec

from gateway.wire import InferenceRequest

_ENTRY: Final = struct.Struct("<8sII")  # key, checksum of the release, Unix time
_KEY: Final = struct.Struct("<II")
_SLOTS: Final = 2**16
_LIFETIME_S: Final = 3600
_SYSTEM: Final = re.compile(rb'"role"\s*:\s*"(?:system|developer)"')


class Conversations:
    """The table.

    Args:
        file: The mapped file; None keeps the table in this process.
    """

    def __init__(self, file: Path | None) -> None:
        size = _SLOTS * _ENTRY.size
        if file is None:
            self._table = mmap.mmap(-1, size)
            return
        file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        descriptor = os.open(file, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            os.ftruncate(descriptor, size)
            self._table = mmap.mmap(descriptor, size)
        finally:
            os.close(descriptor)

    def began_on(self, key: bytes) -> int | None:
        """Return the checksum of the release that a conversation began on, if it is known."""
        known, release, at = _ENTRY.unpack_from(self._table, _offset(key))
        return release if known == key and time.time() - at < _LIFETIME_S else None

    def note(self, key: bytes, release: int) -> None:
        """Remember the release of a conversation."""
        _ENTRY.pack_into(self._table, _offset(key), key, release, int(time.time()))

    def close(self) -> None:
        """Unmap the file."""
        self._table.close()


def checksum(release: str) -> int:
    """Return what stands for a release in the table."""
    return zlib.crc32(release.encode())


def key_of(request: InferenceRequest, caller: str | None) -> tuple[bytes | None, bool]:
    """Return the key of a request's conversation (8 bytes) and whether it is a later turn of one.

    A conversation is what `metadata.conversation` names, or what begins with the same messages up
    to the first one that is not the system's: a client sends them again with each turn.

    Args:
        request: The request; only a chat has turns, any operation may name its conversation.
        caller: The prefix of the caller's key: two callers share no conversation.
    """
    named = request.metadata.get("conversation")
    if named is not None:
        return _digest(caller, named.encode()), True
    messages = request.messages
    if not messages:
        return None, False
    last = len(messages) - 1
    first = 0
    while first < last and _SYSTEM.search(messages[first]):
        first += 1
    return _digest(caller, *messages[: first + 1]), first < last


def _digest(caller: str | None, *parts: bytes | msgspec.Raw) -> bytes:
    # Checksums: fast, and a collision that somebody looks for moves no conversation but theirs.
    one = two = zlib.crc32(caller.encode()) if caller else 0
    for part in parts:
        one = zlib.crc32(part, one)
        two = zlib.adler32(part, two)
    return _KEY.pack(one, two)


def _offset(key: bytes) -> int:
    return (key[0] | key[1] << 8) * _ENTRY.size
