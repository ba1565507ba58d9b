"""Clients that leave a real vLLM: its work on them ends within 100 ms of its next step."""

import asyncio
import contextlib
import json
import time
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import httpx
import pytest

if TYPE_CHECKING:
    from .conftest import Served

pytestmark = [pytest.mark.engine, pytest.mark.chaos]

_POLL_S = 0.01
# vLLM's counters are those of its last step: a departure shows at the end of the one under way.
_ALLOWED_S = 0.1
_TEXT = "Tell a long story of a ship and its crew."
_BODIES: dict[str, dict[str, Any]] = {
    "/v1/chat/completions": {
        "messages": [{"role": "user", "content": _TEXT}], "max_tokens": 1500, "ignore_eos": True,
    },
    "/v1/completions": {"prompt": _TEXT, "max_tokens": 1500, "ignore_eos": True},
    "/v1/responses": {"input": _TEXT, "max_output_tokens": 1500},
}  # fmt: skip


class _Engine:
    """The engine's own metrics, past the gateway."""

    def __init__(self, client: httpx.AsyncClient) -> None:
        self._client = client

    async def metric(self, name: str) -> float:
        text = (await self._client.get("http://engine/metrics")).text
        return sum(float(x.split()[-1]) for x in text.splitlines() if x.startswith(f"{name}{{"))

    async def running(self) -> float:
        return await self.metric("vllm:num_requests_running")

    async def until(self, count: int, within_s: float) -> float:
        """Wait until so many requests run; returns how long it took, in seconds."""
        began = time.monotonic()
        while await self.running() != count:
            assert time.monotonic() - began < within_s, f"not {count} within {within_s} s"
            await asyncio.sleep(_POLL_S)
        return time.monotonic() - began

    async def step_s(self) -> float:
        """Return the longest of the engine's steps in one second, from its count of tokens."""
        longest, last, moment = 0.0, await self.metric("vllm:generation_tokens_total"), 0.0
        end = time.monotonic() + 1.0
        while (now := time.monotonic()) < end:
            tokens = await self.metric("vllm:generation_tokens_total")
            if tokens != last:
                longest = max(longest, now - moment) if moment else longest
                last, moment = tokens, now
            await asyncio.sleep(_POLL_S)
        return longest


@contextlib.asynccontextmanager
async def _engine(home: Path) -> AsyncIterator[_Engine]:
    socket_path = next((home / "run").glob("engine-*.sock"), None)
    assert socket_path is not None
    transport = httpx.AsyncHTTPTransport(uds=str(socket_path))
    async with httpx.AsyncClient(transport=transport, timeout=10) as client:
        yield _Engine(client)


@contextlib.asynccontextmanager
async def _asking(served: "Served", path: str, body: Mapping[str, Any]) -> AsyncIterator[Any]:
    """Send a request; its client leaves at the end of the block."""
    url = urlsplit(served.url)
    data = json.dumps({"model": "production", **body}).encode()
    reader, writer = await asyncio.open_connection(url.hostname, url.port)
    head = (
        f"POST {path} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {served.key}\r\n"
        f"content-type: application/json\r\ncontent-length: {len(data)}\r\n\r\n"
    )
    writer.write(head.encode() + data)
    try:
        yield reader
    finally:
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
@pytest.mark.parametrize("path", _BODIES)
async def test_a_departure_frees_the_engine_at_its_next_step(
    served: "Served",
    path: str,
    stream: bool,
    record_property: Any,
    capsys: pytest.CaptureFixture[str],
) -> None:
    async with _engine(served.home) as engine:
        await engine.until(0, 10)
        async with _asking(served, path, {**_BODIES[path], "stream": stream}) as reader:
            await engine.until(1, 10)
            if stream:
                await reader.readuntil(b"\n\n")
            step = await engine.step_s()
            assert await engine.running() == 1
            left = time.monotonic()
        took = await engine.until(0, 5)
        took = max(took, time.monotonic() - left)
    record_property("freed_after_ms", round(took * 1000))
    with capsys.disabled():
        kind = "stream" if stream else "whole"
        print(f"\n{path} {kind}: free after {took * 1000:.0f} ms, a step takes {step * 1000:.0f}")
    assert took < step + _ALLOWED_S
