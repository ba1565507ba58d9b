"""Kill -9 of the real service while it adds and compacts: acknowledged documents stay."""

import asyncio
import os
import random
import signal
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from retrieval.client import RetrievalClient, RetrievalFailed, RetrievalUnavailable
from retrieval.ingest import IngestOptions
from tests.retrieval.serving import documents, entry, process

pytestmark = pytest.mark.slow


@pytest.fixture
def socket() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="dg-") as folder:
        yield Path(folder) / "run" / "r.sock"


@pytest.mark.parametrize("compacts", [False, True])
def test_a_killed_service_loses_nothing_that_it_acknowledged(
    tmp_path: Path, socket: Path, compacts: bool
) -> None:
    chance = random.Random(7)
    expected: dict[str, str] = {}
    compactions = 0
    for life in range(4):
        with process(tmp_path, socket) as served:
            asyncio.run(_check(socket, expected))
            compactions += asyncio.run(_live(socket, expected, life, compacts))
            wait_s = 0.3 + chance.random() * (2.0 if compacts else 0.5)
            more = _live_until_killed(socket, expected, life, compacts, wait_s, served.pid)
            compactions += asyncio.run(more)
            assert served.wait(10) == -signal.SIGKILL
    with process(tmp_path, socket):
        asyncio.run(_check(socket, expected))
    assert len(expected) > 20
    assert compactions > 0 or not compacts


async def _check(socket: Path, expected: dict[str, str]) -> None:
    client = RetrievalClient(socket)
    try:
        found = await client.stats("facts")
        sure = {name for name, text in expected.items() if text != "?"}
        there = await documents(client, "apples") if found else set()
        assert sure <= there
        assert there <= expected.keys()
        for name in expected.keys() - sure:  # it was under way when the service was killed
            del expected[name]
            if name in there:
                await client.remove("facts", documents=[name])
        counters = (await client.info())["counters"]
        assert counters.get("corrupt_files", 0) == 0
    finally:
        await client.close()


async def _live(socket: Path, expected: dict[str, str], life: int, compacts: bool) -> int:
    """Add and remove for sure, and compact once."""
    client = RetrievalClient(socket)
    try:
        for number in range(6):
            name = f"sure{life}-{number}"
            await client.add_entries("facts", [entry(name, f"apples {name}")])
            expected[name] = name
        gone = f"sure{life}-0"
        assert await client.remove("facts", documents=[gone]) == 1
        del expected[gone]
        if compacts and life % 2:
            await client.compact("facts")
            return 1
        return 0
    finally:
        await client.close()


async def _live_until_killed(
    socket: Path, expected: dict[str, str], life: int, compacts: bool, wait_s: float, pid: int
) -> int:
    """Add from three sides, and perhaps compact, until the service is killed."""
    client = RetrievalClient(socket)
    compactions = 0

    async def add(side: int) -> None:
        for number in range(1_000_000):
            name = f"d{life}-{side}-{number}"
            expected[name] = "?"
            await client.add_entries("facts", [entry(name, f"apples {name}")])
            expected[name] = name

    async def compact() -> None:
        nonlocal compactions
        while True:
            await client.compact("facts")
            compactions += 1

    async def kill() -> None:
        await asyncio.sleep(wait_s)
        os.kill(pid, signal.SIGKILL)

    tasks = [asyncio.create_task(add(side)) for side in range(3)]
    if compacts:
        tasks.append(asyncio.create_task(compact()))
    tasks.append(asyncio.create_task(kill()))
    results = await asyncio.gather(*tasks, return_exceptions=True)
    assert all(r is None or isinstance(r, RetrievalUnavailable) for r in results), results
    await client.close()
    return compactions


def test_a_file_that_was_being_added_when_it_was_killed_can_be_added_again(
    tmp_path: Path, socket: Path
) -> None:
    path = tmp_path / "files" / "a.jsonl"
    how = IngestOptions(filename="a.jsonl", document_id="a", file_id="f1")
    with process(tmp_path, socket) as served:
        path.write_text("\n".join(f'{{"id": "r{n}", "text": "apples {n}"}}' for n in range(5000)))

        async def add_and_kill() -> int:
            client = RetrievalClient(socket)
            adding = asyncio.create_task(client.add_file("facts", path, how))
            try:
                async with asyncio.timeout(30):
                    while not (stats := await client.stats("facts")) or not stats[0].documents:
                        await asyncio.sleep(0.01)
                seen = (await client.stats("facts"))[0].documents
                served.kill()
                with pytest.raises((RetrievalUnavailable, RetrievalFailed)):
                    await adding
                return seen
            finally:
                await client.close()

        seen = asyncio.run(add_and_kill())
    with process(tmp_path, socket):

        async def add_again() -> None:
            client = RetrievalClient(socket)
            (stats,) = await client.stats("facts")
            assert seen <= stats.documents < 5000
            counts = await client.add_file("facts", path, how)
            assert counts.documents == 5000
            (stats,) = await client.stats("facts")
            assert stats.documents == 5000
            await client.close()

        asyncio.run(add_again())
