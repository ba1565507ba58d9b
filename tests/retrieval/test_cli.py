"""`driftgate retrieval serve` as a process."""

import asyncio
import signal
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner

from retrieval.cli import app
from retrieval.client import RetrievalClient
from tests.retrieval.serving import SERVE, entry, process


@pytest.fixture
def socket() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="dg-") as folder:
        yield Path(folder) / "run" / "r.sock"


@pytest.mark.parametrize("option", ["--model", "--reranker"])
def test_a_folder_that_is_not_there_is_named(tmp_path: Path, option: str) -> None:
    given = {"--model": "hash", "--socket": str(tmp_path / "r.sock")}
    given[option] = str(tmp_path / "nothing")
    result = CliRunner().invoke(app, ["serve", *(part for pair in given.items() for part in pair)])
    assert result.exit_code == 2
    assert f"There is no folder {tmp_path / 'nothing'}." in result.stderr


@pytest.mark.slow
def test_it_serves_privately_and_a_second_one_does_not(tmp_path: Path, socket: Path) -> None:
    async def add() -> None:
        client = RetrievalClient(socket)
        await client.add_entries("facts", [entry("a", "apples")])
        await client.close()

    with process(tmp_path, socket):
        asyncio.run(add())
        for path in (tmp_path / "indexes", *(tmp_path / "indexes").rglob("*")):
            assert stat.S_IMODE(path.stat().st_mode) & 0o077 == 0, path
        command = [sys.executable, "-c", SERVE, "serve", "--model", "hash", "--socket", str(socket)]
        second = subprocess.run(command, capture_output=True, text=True, timeout=60)
        assert second.returncode == 2
        assert "another retrieval service" in second.stderr
        asyncio.run(add())


@pytest.mark.slow
def test_sigterm_ends_it_at_once_even_while_it_compacts(tmp_path: Path, socket: Path) -> None:
    async def add_and_compact() -> None:
        client = RetrievalClient(socket)
        many = [entry(f"d{n}", f"apples number {n}") for n in range(500)]
        await client.add_entries("facts", many)
        compacting = asyncio.create_task(client.compact("facts"))
        async with asyncio.timeout(10):
            while not (await client.stats("facts"))[0].compacting:
                await asyncio.sleep(0.01)
        served.send_signal(signal.SIGTERM)
        await asyncio.gather(compacting, return_exceptions=True)
        await client.close()

    with process(tmp_path, socket) as served:
        asyncio.run(add_and_compact())
        began = time.monotonic()
        assert served.wait(20) == 0
        assert time.monotonic() - began < 5
    assert not socket.exists()
    with process(tmp_path, socket):

        async def count() -> int:
            client = RetrievalClient(socket)
            (stats,) = await client.stats("facts")
            await client.close()
            return stats.documents

        assert asyncio.run(count()) == 500
