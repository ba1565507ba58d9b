"""Asks in the name of whoever is logged in: the relay answers as it does any client.

No socket lies between, for the console has no key's text, and another worker would not know whom it
asks for. Limits, records, documents and rollouts are what they are for that key.
"""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Final

from gateway.call import Call
from gateway.console.parts import Parts
from gateway.flow import Flow

_PATH: Final = "/v1/chat/completions"
_MOST_WAITING: Final = 64


@dataclass(frozen=True, slots=True)
class Asked:
    """An answer that has begun: its status, its headers (names in lower case), its body."""

    status: int
    headers: dict[str, str]
    body: AsyncIterator[bytes]


class _Worker:
    draining = False
    date_line = b""


class _Reader:
    """What a call takes for its client's connection."""

    def __init__(self) -> None:
        self.front = _Worker()
        self.write_paused = False
        self.is_over = False
        self.call: Call | None = None
        self._written: asyncio.Queue[bytes] = asyncio.Queue()

    def write(self, data: bytes) -> None:
        self._written.put_nowait(data)
        self.write_paused = self._written.qsize() > _MOST_WAITING

    def abort(self) -> None:
        self.answered(None)

    def answered(self, call: Call | None) -> None:
        self.is_over = True
        self._written.put_nowait(b"")

    async def read(self) -> bytes:
        """Return what was written next; nothing at the end."""
        data = await self._written.get()
        if self.write_paused and self.call is not None:
            self.write_paused = False
            self.call.flow.wake()
        return data

    def leave(self) -> None:
        """End the call, where it has not ended."""
        if not self.is_over and self.call is not None:
            self.is_over = True
            self.call.leave()


async def ask(parts: Parts, key: str, body: bytes) -> Asked:
    """Ask the relay for a chat completion.

    Args:
        parts: The relay, and its clock.
        key: Prefix of the key that asks.
        body: The request, as JSON.
    """
    reader = _Reader()
    call = Call(reader, Flow(parts.deadlines, asyncio.get_running_loop()), _PATH)
    reader.call = call
    call.speak_http_1_0()  # the body comes as it is, without chunks
    call.authorization = parts.keys.lend(key)
    call.body = body
    parts.hot.begin(call)
    head = b""
    try:
        while b"\r\n\r\n" not in head:
            data = await reader.read()
            if not data:
                break
            head += data
    except BaseException:
        reader.leave()
        raise
    lines, _, rest = head.partition(b"\r\n\r\n")
    status, *fields = lines.decode("latin-1").split("\r\n")
    pairs = (field.partition(":") for field in fields)
    headers = {name.lower(): value.strip() for name, _, value in pairs}
    return Asked(int(status.split()[1]), headers, _body(reader, rest))


async def _body(reader: _Reader, first: bytes) -> AsyncIterator[bytes]:
    try:
        if first:
            yield first
        while data := await reader.read():
            yield data
    finally:
        reader.leave()
