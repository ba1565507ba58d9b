"""The client to engines against scripted servers: framing, reuse, timeouts, back-pressure."""

import asyncio
import contextlib
import inspect
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from gateway.connection import BadAnswer, ConnectFailed, ConnectionBroken, UpstreamTimeout
from gateway.flow import Deadlines, Flow
from gateway.upstream import Exchange, Upstream
from tests.gateway.flows import drive

Handler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
_OK = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"


@asynccontextmanager
async def _server(handler: Handler, path: Path | None = None) -> AsyncIterator[Upstream]:
    async def guarded(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            await handler(reader, writer)
        writer.close()

    if path is not None:
        server = await asyncio.start_unix_server(guarded, path)
        address = f"unix:{path}"
    else:
        server = await asyncio.start_server(guarded, "127.0.0.1", 0)
        address = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    upstream = Upstream(address)
    try:
        yield upstream
    finally:
        upstream.close()
        server.close()


def in_a_flow(test: Callable[..., Coroutine[Any, Any, None]]) -> Callable[..., Any]:
    """Run a test as the relay runs a request; its first argument is the flow."""
    names = list(inspect.signature(test).parameters.values())[1:]

    async def run(**arguments: Any) -> None:
        deadlines = Deadlines()
        deadlines.start()
        try:
            await drive(deadlines, lambda flow: test(flow, **arguments))
        finally:
            deadlines.close()

    run.__name__ = test.__name__
    run.__signature__ = inspect.Signature(names)  # type: ignore[attr-defined]
    return run


async def _ask(
    flow: Flow, upstream: Upstream, body: bytes = b"{}", head_timeout_s: float = 2.0
) -> Exchange:
    timeouts = {"connect_timeout_s": 1.0, "head_timeout_s": head_timeout_s}
    return await upstream.request(flow, b"POST", b"/x", b"x-a: b\r\n", body, **timeouts)


async def _within(waiting: Coroutine[Any, Any, Any]) -> bool:
    done, _ = await asyncio.wait({asyncio.ensure_future(waiting)}, timeout=1)
    return bool(done)


async def _request(reader: asyncio.StreamReader) -> bytes:
    head = await reader.readuntil(b"\r\n\r\n")
    length = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
    return head + await reader.readexactly(length)


def _answering(*answers: bytes) -> tuple[Handler, list[bytes]]:
    """Return a handler that gives each request on a connection the next answer, and its log."""
    seen: list[bytes] = []

    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for answer in answers:
            seen.append(await _request(reader))
            writer.write(answer)
            await writer.drain()

    return handler, seen


@in_a_flow
async def test_a_unix_socket_serves_many_requests_on_one_connection(
    flow: Flow, tmp_path: Path
) -> None:
    handler, seen = _answering(_OK, _OK, _OK)
    async with _server(handler, tmp_path / "s") as upstream:
        for _ in range(3):
            with await _ask(flow, upstream, b"hello") as exchange:
                assert exchange.status == 200
                assert await exchange.read_all(1, 100) == b"ok"
    assert len(seen) == 3
    assert seen[0].endswith(b"x-a: b\r\n\r\nhello")


@in_a_flow
async def test_chunked_answers_are_joined(flow: Flow) -> None:
    answer = (
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n"
    )
    handler, _ = _answering(answer, _OK)
    async with _server(handler) as upstream:
        with await _ask(flow, upstream) as exchange:
            assert await exchange.read_all(1, 100) == b"abcde"
        with await _ask(flow, upstream) as exchange:
            assert await exchange.read_all(1, 100) == b"ok"


@in_a_flow
async def test_an_answer_without_length_ends_with_its_connection(flow: Flow) -> None:
    handler, _ = _answering(b"HTTP/1.1 200 OK\r\n\r\nto the end")
    async with _server(handler) as upstream:
        with await _ask(flow, upstream) as exchange:
            assert await exchange.read_all(1, 100) == b"to the end"


@in_a_flow
async def test_a_connection_closed_while_idle_is_replaced_unseen(flow: Flow) -> None:
    handler, seen = _answering(_OK)  # closes after one answer
    async with _server(handler) as upstream:
        for _ in range(3):
            with await _ask(flow, upstream) as exchange:
                assert await exchange.read_all(1, 100) == b"ok"
    assert len(seen) == 3


@in_a_flow
async def test_nobody_listens(flow: Flow, tmp_path: Path) -> None:
    with pytest.raises(ConnectFailed):
        await _ask(flow, Upstream(f"unix:{tmp_path / 'none'}"))


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (b"", ConnectionBroken),
        (b"HTTP/1.1 200 OK\r\ncontent-", ConnectionBroken),
        (b"garbage\r\n\r\n", BadAnswer),
        (b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nhalf", ConnectionBroken),
        (b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nab", ConnectionBroken),
        (b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n", BadAnswer),
    ],
)
@in_a_flow
async def test_broken_answers_are_errors(flow: Flow, answer: bytes, error: type[Exception]) -> None:
    handler, _ = _answering(answer)
    async with _server(handler) as upstream:
        with pytest.raises(error):
            with await _ask(flow, upstream) as exchange:
                await exchange.read_all(1, 100)


@in_a_flow
async def test_a_silent_engine_times_out_and_is_left(flow: Flow) -> None:
    left = asyncio.Event()

    async def silent(reader: asyncio.StreamReader, _: asyncio.StreamWriter) -> None:
        await _request(reader)
        assert await reader.read() == b""
        left.set()

    async with _server(silent) as upstream:
        with pytest.raises(UpstreamTimeout):
            await _ask(flow, upstream, head_timeout_s=0.05)
        assert await _within(left.wait())


@in_a_flow
async def test_leaving_early_closes_the_connection(flow: Flow) -> None:
    left = asyncio.Event()

    async def endless(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await _request(reader)
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 1000000\r\n\r\nx")
        assert await reader.read() == b""
        left.set()

    async with _server(endless) as upstream:
        with await _ask(flow, upstream) as exchange:
            assert await exchange.read(1) == b"x"
        assert await _within(left.wait())


@in_a_flow
async def test_cancelling_a_wait_closes_the_connection(flow: Flow) -> None:
    left = asyncio.Event()

    async def silent(reader: asyncio.StreamReader, _: asyncio.StreamWriter) -> None:
        await _request(reader)
        assert await reader.read() == b""
        left.set()

    async with _server(silent) as upstream:
        other = Deadlines()
        task = asyncio.create_task(drive(other, lambda mine: _ask(mine, upstream)))
        await asyncio.sleep(0.05)
        task.cancel()
        await asyncio.wait({task})
        assert task.cancelled()
        assert await _within(left.wait())


@in_a_flow
async def test_a_slow_reader_holds_the_engine_back(flow: Flow) -> None:
    sent = 0

    async def flood(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal sent
        await _request(reader)
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 100000000\r\n\r\n")
        for _ in range(1000):
            writer.write(b"x" * 100_000)
            await writer.drain()
            sent += 100_000

    async with _server(flood) as upstream:
        with await _ask(flow, upstream) as exchange:
            await asyncio.sleep(0.3)
            assert sent < 20_000_000  # kernel buffers and ours, far from the whole
            size = 0
            while data := await exchange.read(1):
                size += len(data)
            assert size == 100_000_000


@in_a_flow
async def test_an_answer_over_the_limit_is_refused(flow: Flow) -> None:
    handler, _ = _answering(b"HTTP/1.1 200 OK\r\ncontent-length: 500\r\n\r\n" + b"x" * 500)
    async with _server(handler) as upstream:
        with await _ask(flow, upstream) as exchange:
            with pytest.raises(BadAnswer, match="larger than 100"):
                await exchange.read_all(1, 100)
