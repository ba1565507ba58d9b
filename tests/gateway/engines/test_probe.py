import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from gateway.engines.probe import is_taken, post


@asynccontextmanager
async def _server(path: Path, answer: bytes, delay_s: float = 0) -> AsyncIterator[list[bytes]]:
    """Answers one request with `answer` and closes."""
    seen: list[bytes] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        seen.append(await reader.readuntil(b"}"))
        await asyncio.sleep(delay_s)
        writer.write(answer)
        writer.close()

    server = await asyncio.start_unix_server(serve, path)
    try:
        yield seen
    finally:
        server.close()
        await server.wait_closed()


async def test_a_document_is_posted_and_answered(tmp_path: Path) -> None:
    path = tmp_path / "s"
    answer = b"HTTP/1.1 400 Bad Request\r\ncontent-length: 4\r\n\r\nno\r\n"
    async with _server(path, answer) as seen:
        assert await post(f"unix:{path}", "/v1/x", {"a": "b"}, 5) == (400, b"no\r\n")
    head, _, body = seen[0].partition(b"\r\n\r\n")
    assert head.startswith(b"POST /v1/x HTTP/1.1\r\n")
    assert b"Content-Type: application/json" in head
    assert b"Content-Length: 10" in head
    assert body == b'{"a": "b"}'


@pytest.mark.parametrize(
    "answer", [b"", b"HTTP/1.1 200", b"garbage\r\n\r\n", b"HTTP/1.1 x\r\n\r\n"]
)
async def test_what_is_no_http_is_told(tmp_path: Path, answer: bytes) -> None:
    async with _server(tmp_path / "s", answer):
        with pytest.raises(ValueError, match="no answer in HTTP"):
            await post(f"unix:{tmp_path / 's'}", "/", {"a": "b"}, 5)


async def test_an_engine_that_is_away_or_silent_is_told(tmp_path: Path) -> None:
    address = f"unix:{tmp_path / 's'}"
    assert not await is_taken(address)
    with pytest.raises(OSError):
        await post(address, "/", {"a": "b"}, 5)
    async with _server(tmp_path / "s", b"", delay_s=0.3):
        with pytest.raises(TimeoutError):
            await post(address, "/", {"a": "b"}, 0.1)
        await asyncio.sleep(0.3)
