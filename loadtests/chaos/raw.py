"""One request as bytes over a socket of its own, for clients that do not behave."""

import asyncio
import contextlib
import socket
import struct
from collections.abc import AsyncIterator
from dataclasses import dataclass

import httptools
import msgspec

from loadtests.chaos.targets import Running
from loadtests.chaos.traffic import PATH, fields

Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]


@dataclass
class Answer:
    """What came back: `status` 0 where nothing did, `whole` whether it came to its end."""

    status: int = 0
    body: bytes = b""
    whole: bool = False
    closed: bool = False
    error: str = ""


class _Reader:
    def __init__(self) -> None:
        self.parser = httptools.HttpResponseParser(self)
        self.status = 0
        self.body = b""
        self.whole = False

    def on_headers_complete(self) -> None:
        self.status = self.parser.get_status_code()

    def on_body(self, body: bytes) -> None:
        self.body += body

    def on_message_complete(self) -> None:
        self.whole = self.status >= 200  # not "100 Continue"


def message(running: Running, text: str, stream: bool = False, path: str = PATH) -> bytes:
    """Return a whole request."""
    body = msgspec.json.encode(fields(running, text, stream))
    return head(running, len(body), path) + body


def head(running: Running, length: int | None, path: str = PATH) -> bytes:
    """Return a request's head; a `length` of None announces chunks."""
    framing = "transfer-encoding: chunked" if length is None else f"content-length: {length}"
    lines = [f"POST {path} HTTP/1.1", "host: x", "content-type: application/json", framing]
    lines += [f"{name}: {value}" for name, value in running.headers.items()]
    return "\r\n".join([*lines, "", ""]).encode()


@contextlib.asynccontextmanager
async def connected(running: Running) -> AsyncIterator[Streams]:
    """Connect; the connection is closed at the end."""
    reader, writer = await asyncio.open_connection(*running.address)
    try:
        yield reader, writer
    finally:
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()


async def receive(reader: asyncio.StreamReader, timeout_s: float, to_end: bool = False) -> Answer:
    """Read one answer.

    Args:
        reader: The connection.
        timeout_s: How long it may take.
        to_end: Read on until the other side closes.
    """
    found = _Reader()
    answer = Answer()
    try:
        async with asyncio.timeout(timeout_s):
            while not found.whole or to_end:
                data = await reader.read(65536)
                if not data:
                    answer.closed = True
                    break
                if not found.whole:
                    found.parser.feed_data(data)
    except TimeoutError:
        answer.error = "nothing more came"
    except OSError as error:
        answer.error, answer.closed = type(error).__name__, True
    except httptools.HttpParserError:
        answer.error = "not HTTP"
    answer.status, answer.body, answer.whole = found.status, found.body, found.whole
    return answer


def reset_on_close(writer: asyncio.StreamWriter) -> None:
    """Let closing send a reset, as a client's death does, in place of an orderly end."""
    sock: socket.socket = writer.get_extra_info("socket")
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
