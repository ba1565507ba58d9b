"""The writes of one turn: together, in order, and one broken connection is its own affair."""

import asyncio
from typing import Any, cast

from gateway.outbox import Outbox


class _Transport:
    """Notes what is written to it."""

    def __init__(self, closing: bool = False, broken: bool = False) -> None:
        self.written: list[bytes] = []
        self._closing = closing
        self._broken = broken

    def is_closing(self) -> bool:
        return self._closing

    def close(self) -> None:
        self._closing = True

    abort = close

    def write(self, data: bytes) -> None:
        if self._broken:
            raise RuntimeError("the handler is closed")
        self.written.append(data)


def _write(outbox: Outbox, transport: _Transport, data: bytes) -> None:
    outbox.write(cast(asyncio.Transport, transport), data)


async def test_writes_wait_for_the_end_of_the_turn_and_keep_their_order() -> None:
    outbox = Outbox(asyncio.get_running_loop())
    one, two = _Transport(), _Transport()
    _write(outbox, one, b"a")
    _write(outbox, two, b"x")
    _write(outbox, one, b"b")
    assert one.written == two.written == []
    await asyncio.sleep(0)
    assert (one.written, two.written) == ([b"a", b"b"], [b"x"])
    _write(outbox, one, b"c")
    await asyncio.sleep(0)
    assert one.written == [b"a", b"b", b"c"]


async def test_what_is_flushed_is_written_once() -> None:
    outbox = Outbox(asyncio.get_running_loop())
    one = _Transport()
    _write(outbox, one, b"last words")
    outbox.flush()
    one.close()
    await asyncio.sleep(0)
    assert one.written == [b"last words"]


async def test_writes_made_while_it_flushes_are_not_lost() -> None:
    outbox = Outbox(asyncio.get_running_loop())
    late = _Transport()

    class _Answering(_Transport):
        def write(self, data: bytes) -> None:
            super().write(data)
            _write(outbox, late, b"because of it")

    _write(outbox, _Answering(), b"first")
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert late.written == [b"because of it"]


async def test_a_closing_connection_is_not_written_to() -> None:
    outbox = Outbox(asyncio.get_running_loop())
    closing = _Transport(closing=True)
    _write(outbox, closing, b"x")
    await asyncio.sleep(0)
    assert closing.written == []


async def test_a_connection_that_fails_takes_no_others_bytes_with_it() -> None:
    """What one turn writes belongs to many clients and engines."""
    failures: list[Any] = []
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(lambda _, context: failures.append(context))
    outbox = Outbox(loop)
    before, broken, after = _Transport(), _Transport(broken=True), _Transport()
    for transport in (before, broken, after):
        _write(outbox, transport, b"x")
    await asyncio.sleep(0)
    assert before.written == [b"x"]
    assert after.written == [b"x"]
