"""A question of the playground on its way through the relay, without a socket."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any, cast

import pytest

from gateway.auth import KeyRing, Principal
from gateway.call import Call, ClientLeft
from gateway.console.asking import ask
from gateway.console.parts import Parts
from gateway.errors import GatewayError, RateLimited
from gateway.flow import Deadlines
from gateway.store.keys import ApiKey


class _Relay:
    """Streams what it is told to, and notes what became of it."""

    def __init__(self, keys: KeyRing, frames: list[bytes], error: GatewayError | None) -> None:
        self.urls: dict[bytes, str] = {}
        self._keys, self._frames, self._error = keys, frames, error
        self.principal: Principal | None = None
        self.became = ""
        self.sent = 0

    def begin(self, call: Call) -> None:
        self.principal = self._keys.authenticate(call.authorization)
        call.flow.start(self._answer(call))

    def refuses(self, call: Call) -> GatewayError | None:
        return None

    async def _answer(self, call: Call) -> None:
        try:
            if self._error is not None:
                raise self._error
            for frame in self._frames:
                await call.frames(frame, 5.0)
                self.sent += 1
            if self.became:  # it hangs after its frames
                await asyncio.get_running_loop().create_future()
            call.end()
            self.became = "done"
        except GatewayError as error:
            call.fail(error)
            self.became = "failed"
        except ClientLeft:
            self.became = "left"


class _Desk:
    def __init__(self, frames: list[bytes], error: GatewayError | None = None) -> None:
        keys = KeyRing(open_without_keys=False)
        keys.load([ApiKey("0123abcd", bytes(32), "k", frozenset({"inference"}), 1.0, None)])
        self.relay = _Relay(keys, frames, error)
        self.deadlines = Deadlines()
        parts: Any = type("P", (), {"keys": keys, "hot": self.relay, "deadlines": self.deadlines})
        self.parts = cast(Parts, parts)


async def _all(body: AsyncIterator[bytes]) -> bytes:
    return b"".join([part async for part in body])


async def test_a_stream_comes_as_it_is() -> None:
    desk = _Desk([b"data: 1\n\n", b"data: \r\n\r\n2\n\n", b"data: [DONE]\n\n"])
    asked = await ask(desk.parts, "0123abcd", b"{}")
    assert asked.status == 200
    assert asked.headers["content-type"].startswith("text/event-stream")
    assert await _all(asked.body) == b"data: 1\n\ndata: \r\n\r\n2\n\ndata: [DONE]\n\n"
    assert desk.relay.principal == Principal("0123abcd", frozenset({"inference"}))
    assert desk.relay.became == "done"


async def test_an_error_comes_with_its_status() -> None:
    desk = _Desk([], RateLimited("Too many.", code="rate", retry_after=3))
    asked = await ask(desk.parts, "0123abcd", b"{}")
    assert (asked.status, asked.headers["retry-after"]) == (429, "3")
    assert b"Too many." in await _all(asked.body)


async def test_who_closes_the_page_ends_the_engines_work() -> None:
    desk = _Desk([b"data: 1\n\n"])
    desk.relay.became = "hanging"
    asked = await ask(desk.parts, "0123abcd", b"{}")
    body = asked.body
    assert await anext(body) == b"data: 1\n\n"
    await body.aclose()  # type: ignore[attr-defined]
    assert desk.relay.became == "left"


async def test_a_slow_reader_holds_the_stream_back() -> None:
    desk = _Desk([b"x" * 10] * 1000)
    asked = await ask(desk.parts, "0123abcd", b"{}")
    assert desk.relay.sent < 100, "the rest waits"
    assert await _all(asked.body) == b"x" * 10_000
    assert desk.relay.became == "done"


@pytest.mark.parametrize("key", ["ffffffff", ""])
async def test_an_unknown_key_asks_nothing(key: str) -> None:
    with pytest.raises(GatewayError):
        await ask(_Desk([]).parts, key, b"{}")
