"""Files over the service's socket: read in processes of their own, added, read, refused."""

import asyncio
import contextlib
import json
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt
import psutil
import pytest

from retrieval.client import RetrievalClient, RetrievalFailed, RetrievalUnavailable
from retrieval.embedder import HashEmbedder
from retrieval.ingest import IngestOptions, LoadError, Progress
from retrieval.records import Entry
from retrieval.requests import Counts
from tests.retrieval.serving import documents, entry, search, service


class _Slow(HashEmbedder):
    """Takes 2 ms a text."""

    def embed(self, texts: list[str]) -> tuple[npt.NDArray[np.float32], list[int]]:
        time.sleep(0.002 * len(texts))
        return super().embed(texts)


@pytest.fixture
async def client(tmp_path: Path) -> AsyncIterator[RetrievalClient]:
    async with service(tmp_path, embedder=_Slow()) as client:
        yield client


def options(path: Path, **fields: str) -> IngestOptions:
    return IngestOptions(filename=path.name, document_id=path.stem, file_id="f1", **fields)  # type: ignore[arg-type]


def rows(path: Path, number: int) -> Path:
    """Write a file of documents."""
    lines = [json.dumps({"id": f"r{n}", "text": f"apples number {n}"}) for n in range(number)]
    path.write_text("\n".join(lines))
    return path


async def test_a_file_is_added_with_progress(
    client: RetrievalClient, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("retrieval.service._PROGRESS_S", 0.05)
    path = rows(tmp_path / "files" / "a.jsonl", 400)
    heard: list[Counts] = []
    counts = await client.add_file("facts", path, options(path), on_progress=heard.append)
    assert (counts.documents, counts.passages, counts.error) == (400, 400, "")
    assert (counts.read, counts.total, counts.unit) == (
        path.stat().st_size, path.stat().st_size, "bytes",
    )  # fmt: skip
    assert counts.bytes > 400 * 64 * 4
    so_far = [each.documents for each in heard]
    assert so_far == sorted(so_far)
    assert any(0 < each < 400 for each in so_far)
    found = await search(client, "apples number 7", limit=1)
    assert found.hits[0].document.file_id == "f1"
    assert found.hits[0].document.filename == "a.jsonl"
    assert await client.remove("facts", file_id="f1") == 400
    assert await documents(client, "apples") == set()


async def test_the_text_of_a_file_is_read(client: RetrievalClient, tmp_path: Path) -> None:
    path = tmp_path / "files" / "a.md"
    path.write_text("# Fees\n\nThe fee is two euros.\n")
    (text,) = await client.read_file(path, options(path))
    assert text.document_id == "a"
    assert text.title == "Fees"
    assert "The fee is two euros." in text.text
    assert await client.stats() == ()


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("empty.txt", b"", r"empty\.txt: is empty"),
        ("binary.txt", b"\x00\x01\x02", r"binary\.txt: is binary"),
        ("not.pdf", b"hello", r"not\.pdf: is no PDF"),
        ("missing.txt", None, r"missing\.txt: cannot be read: No such file"),
    ],
)
async def test_a_file_that_cannot_be_read_is_named(
    client: RetrievalClient, tmp_path: Path, name: str, content: bytes | None, message: str
) -> None:
    path = tmp_path / "files" / name
    if content is not None:
        path.write_bytes(content)
    for call in (
        client.add_file("facts", path, options(path)),
        client.read_file(path, options(path)),
    ):
        with pytest.raises(RetrievalFailed, match=message) as failed:
            await call
        assert failed.value.reason == "file"
    assert await client.stats() == ()


async def test_nothing_stays_of_a_file_that_fails_half_way(
    client: RetrievalClient, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await client.add_entries("facts", [entry("other", "apples of another file")])

    async def breaks(
        path: Path,
        options: IngestOptions,
        *,
        on_progress: Callable[[Progress], None] | None = None,
    ) -> AsyncGenerator[Entry]:
        for number in range(100):
            yield entry(f"r{number}", "apples", file_id=options.file_id)
        assert len(await documents(client, "apples")) > 1  # some were added
        raise LoadError("a.jsonl: is damaged")

    monkeypatch.setattr("retrieval.folder.ingest", breaks)
    path = tmp_path / "files" / "a.jsonl"
    with pytest.raises(RetrievalFailed, match="is damaged"):
        await client.add_file("facts", path, options(path))
    assert await documents(client, "apples") == {"other"}


async def test_bad_rows_are_named_and_the_rest_is_added(
    client: RetrievalClient, tmp_path: Path
) -> None:
    path = tmp_path / "files" / "a.jsonl"
    path.write_text('{"id": "r1", "text": "apples"}\nnonsense\n{"id": "r2", "text": "apples"}\n')
    counts = await client.add_file("facts", path, options(path))
    assert counts.documents == 2
    assert counts.error.startswith("a.jsonl, line 2: ")
    assert await documents(client, "apples") == {"r1", "r2"}
    texts = await client.read_file(path, options(path))
    assert [text.document_id for text in texts] == ["r1", "r2"]


async def test_files_outside_the_folder_are_refused(
    client: RetrievalClient, tmp_path: Path
) -> None:
    secret = tmp_path / "secret.txt"
    secret.write_text("secret")
    link = tmp_path / "files" / "link.txt"
    link.symlink_to(secret)
    for path in (secret, link, tmp_path / "files" / ".." / "secret.txt"):
        for call in (
            client.add_file("facts", path, options(path)),
            client.read_file(path, options(path)),
        ):
            with pytest.raises(RetrievalFailed, match="outside") as failed:
                await call
            assert failed.value.reason == "refused"
    assert await client.stats() == ()


@pytest.mark.slow
async def test_a_call_that_is_given_up_stops_adding(
    client: RetrievalClient, tmp_path: Path
) -> None:
    path = rows(tmp_path / "files" / "a.jsonl", 20_000)  # 40 s
    with pytest.raises(RetrievalUnavailable, match="within"):
        await client.add_file("facts", path, options(path), deadline_s=3)
    await asyncio.sleep(0.5)
    assert not _reading()
    (stats,) = await client.stats("facts")
    assert 0 < stats.documents < 20_000
    await asyncio.sleep(0.5)
    assert (await client.stats("facts"))[0].documents == stats.documents


async def test_to_remove_a_file_that_is_being_added_ends_that(
    client: RetrievalClient, tmp_path: Path
) -> None:
    path = rows(tmp_path / "files" / "a.jsonl", 20_000)
    adding = asyncio.create_task(client.add_file("facts", path, options(path)))
    async with asyncio.timeout(20):
        while not await client.stats("facts"):
            await asyncio.sleep(0.02)
    removed = await client.remove("facts", file_id="f1")
    assert 0 < removed < 20_000
    with pytest.raises(RetrievalFailed, match="removed meanwhile") as failed:
        await adding
    assert failed.value.reason == "cancelled"
    assert (await client.stats("facts"))[0].documents == 0
    assert not _reading()


def _reading() -> list[psutil.Process]:
    found = []
    for child in psutil.Process().children(recursive=True):
        with contextlib.suppress(psutil.Error):  # it is gone, or a zombie
            if "retrieval.ingest" in child.cmdline():
                found.append(child)
    return found
