"""The retrieval service over its socket, with the stub embedder."""

import asyncio
import stat
import struct
from collections.abc import AsyncIterator
from pathlib import Path

import numpy as np
import pytest

from retrieval.client import RetrievalClient, RetrievalFailed, RetrievalUnavailable
from retrieval.embedder import HashEmbedder
from retrieval.protocol import MAX_FRAME_BYTES
from retrieval.service import RetrievalService


class _Slow(HashEmbedder):
    """Counts batches, and fails on request."""

    def __init__(self) -> None:
        super().__init__(8)
        self.batches: list[int] = []

    def embed(self, texts: list[str]) -> tuple[np.ndarray, list[int]]:
        import time

        self.batches.append(len(texts))
        time.sleep(0.05)
        if "fail" in texts:
            raise RuntimeError("broken weights")
        return super().embed(texts)


@pytest.fixture
def embedder() -> _Slow:
    return _Slow()


@pytest.fixture
async def client(tmp_path: Path, embedder: _Slow) -> AsyncIterator[RetrievalClient]:
    path = tmp_path / "run" / "r.sock"
    async with RetrievalService(embedder, path).serving():
        client = RetrievalClient(path)
        yield client
        await client.close()


async def test_vectors_are_the_embedders(client: RetrievalClient) -> None:
    vectors, tokens = await client.embed(["a b", "c"], deadline_s=2)
    expected, _ = HashEmbedder(8).embed(["a b", "c"])
    assert [struct.unpack("<8f", v) for v in vectors] == [tuple(row) for row in expected.tolist()]
    assert tokens == 3
    info = await client.info()
    counters = info.pop("counters")
    assert info == {"embedder": "hash-8", "dimensions": 8, "max_tokens": 8192}
    assert counters["corrupt_files"] == 0  # shown before there is one, or no alert sees it rise
    assert not any(counters.values())


async def test_calls_that_wait_are_embedded_together(
    client: RetrievalClient, embedder: _Slow
) -> None:
    texts = [["word " * (i + 1)] for i in range(20)]
    answers = await asyncio.gather(*(client.embed(t, deadline_s=5) for t in texts))
    for given, (vectors, tokens) in zip(texts, answers, strict=True):
        assert vectors == [HashEmbedder(8).embed(given)[0].tobytes()]
        assert tokens == len(given[0].split())
    assert len(embedder.batches) <= 3


async def test_a_failure_is_the_callers_and_the_service_lives(client: RetrievalClient) -> None:
    calls = [client.embed([text], deadline_s=5) for text in ("warm", "one", "fail", "two")]
    warm, one, failed, two = await asyncio.gather(*calls, return_exceptions=True)
    assert isinstance(failed, RetrievalFailed)
    assert "broken weights" in str(failed)
    assert not any(isinstance(answer, BaseException) for answer in (warm, one, two))


async def test_the_deadline_holds(client: RetrievalClient) -> None:
    with pytest.raises(RetrievalUnavailable, match="within") as late:
        await client.embed(["x"], deadline_s=0.01)
    assert late.value.late
    assert await client.embed(["x"], deadline_s=2)


async def test_the_socket_is_private(client: RetrievalClient, tmp_path: Path) -> None:
    await client.info()
    assert stat.S_IMODE((tmp_path / "run" / "r.sock").stat().st_mode) == 0o600
    assert stat.S_IMODE((tmp_path / "run").stat().st_mode) == 0o700


@pytest.mark.parametrize(
    "junk", [b"GET / HTTP/1.1\r\n\r\n", struct.pack(">I", MAX_FRAME_BYTES + 1), b"\0\0\0\1x"]
)
async def test_junk_ends_only_its_connection(
    client: RetrievalClient, tmp_path: Path, junk: bytes
) -> None:
    reader, writer = await asyncio.open_unix_connection(tmp_path / "run" / "r.sock")
    writer.write(junk)
    writer.write_eof()
    assert await asyncio.wait_for(reader.read(), 2) == b""
    writer.close()
    assert await client.embed(["x"], deadline_s=2)


async def test_no_service_is_told_and_a_new_one_is_found(tmp_path: Path) -> None:
    path = tmp_path / "r.sock"
    client = RetrievalClient(path)
    with pytest.raises(RetrievalUnavailable) as away:
        await client.embed(["x"], deadline_s=1)
    assert not away.value.late
    for _ in range(2):  # the second time over a connection that had been closed
        async with RetrievalService(HashEmbedder(8), path).serving():
            assert await client.embed(["x"], deadline_s=2)
        await asyncio.sleep(0.05)
    await client.close()
