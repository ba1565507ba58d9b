"""The frames between the retrieval service and its clients: a length, then MessagePack.

4 bytes, big-endian: the number of bytes that follow; then one message of `retrieval.requests`.
"""

import asyncio
import struct

import msgspec

MAX_FRAME_BYTES = 64 * 2**20
_LENGTH = struct.Struct(">I")


async def read_frame(reader: asyncio.StreamReader) -> bytes:
    """Return the next frame; ValueError where it is too large, IncompleteReadError at the end."""
    (length,) = _LENGTH.unpack(await reader.readexactly(_LENGTH.size))
    if length > MAX_FRAME_BYTES:
        raise ValueError(f"a frame of {length} bytes")
    return await reader.readexactly(length)


def frame(message: msgspec.Struct) -> bytes:
    """Return a message as a frame."""
    body = msgspec.msgpack.encode(message)
    return _LENGTH.pack(len(body)) + body
