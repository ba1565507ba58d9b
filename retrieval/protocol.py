"""The frames between the retrieval service and its clients: a length, then MessagePack.

4 bytes, big-endian: the number of bytes that follow
a request: {"id": int, "kind": "embed" | "info", "texts": [str, …]}
an answer: {"id": int, "vectors": [bytes, …], "tokens": int, …} or {"id": int, "error": str, …}
"""

import asyncio
import struct

import msgspec

MAX_FRAME_BYTES = 64 * 2**20
_LENGTH = struct.Struct(">I")


class RetrievalRequest(msgspec.Struct):
    """What a client asks. `texts` are to be embedded."""

    id: int
    kind: str
    texts: list[str] = []


class RetrievalAnswer(msgspec.Struct, omit_defaults=True):
    """The answer: vectors as little-endian float32, tokens read, or what went wrong."""

    id: int
    vectors: list[bytes] = []
    tokens: int = 0
    embedder: str = ""
    dimensions: int = 0
    error: str = ""
    overloaded: bool = False


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
