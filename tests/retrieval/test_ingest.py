"""Files read by a child process: what it sends, what ends it, and what errors say."""

import asyncio
import contextlib
import os
import random
import signal
import sys
import time
import zipfile
from pathlib import Path

import docx
import psutil
import pytest

from retrieval import ingest as module
from retrieval.ingest import IngestOptions, LoadError, Progress, ingest
from retrieval.records import Entry, Value
from tests.retrieval.pdf_files import write_pdf

_MIB = 2**20


def _options(path: Path, **attributes: Value) -> IngestOptions:
    return IngestOptions(
        filename=path.name, document_id="d", file_id="f", attributes=attributes, now=1.8e9
    )


async def _all(path: Path, **attributes: Value) -> list[Entry]:
    return [entry async for entry in ingest(path, _options(path, **attributes))]


async def _until_error(
    path: Path, *, timeout_s: float = 60, memory_bytes: int = module.MEMORY_BYTES
) -> tuple[list[Entry], LoadError]:
    """Return what came before the error, and the error."""
    entries = []
    with pytest.raises(LoadError) as caught:
        async for entry in ingest(
            path, _options(path), timeout_s=timeout_s, memory_bytes=memory_bytes
        ):
            entries.append(entry)
    return entries, caught.value


def _children() -> list[psutil.Process]:
    """Return the children that read files; whole gateways of other tests may live beside them."""
    return [child for child in psutil.Process().children() if _reads(child)]


def _reads(child: psutil.Process) -> bool:
    try:
        return "retrieval.ingest" in child.cmdline()
    except psutil.Error:  # it is gone, or a zombie
        return False


async def test_a_file_becomes_a_document_with_its_passages(tmp_path: Path) -> None:
    path = tmp_path / "fees.md"
    path.write_text(
        "---\ntitle: Fees\nttl: 1d\n---\n# Fees\n\nThe fee is 5.\n\n## Bonn\n\nIt is 6.\n"
    )
    (entry,) = await _all(path, city="Bonn", title="The fees")
    document = entry.document
    assert (document.id, document.title, document.filename) == ("d", "The fees", "fees.md")
    assert (document.valid_to, document.file_id) == (1.8e9 + 86400, "f")
    assert document.metadata == {"city": "Bonn"}
    assert [(p.heading, p.text) for p in entry.passages] == [
        ("Fees", "The fee is 5."),
        ("Fees > Bonn", "It is 6."),
    ]


async def test_bad_rows_are_named_and_the_rest_is_indexed(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text(
        '{"id": "a", "text": "One."}\nnot json\n{"text": "Two.", "valid_to": "soon"}\n'
        '{"text": "Three."}\n'
    )
    entries, error = await _until_error(path)
    assert [entry.document.id for entry in entries] == ["a", "d#4"]
    assert error.partial
    assert str(error).startswith("a.jsonl, line 2: is not JSON: ")
    assert "line 3: valid_to: 'soon' is neither" in str(error)


async def test_a_damaged_page_is_named_and_the_rest_is_indexed(tmp_path: Path) -> None:
    path = write_pdf(tmp_path / "a.pdf", [["One."], ["Two."], ["Three."]], broken=[2])
    entries, error = await _until_error(path)
    assert error.partial
    assert str(error) == "a.pdf, page 2: cannot be read: its contents are damaged"
    assert [p.text for p in entries[0].passages] == ["One.", "Three."]


def _bomb(path: Path) -> None:
    """Write a DOCX of 1 MiB that unpacks to 1 GiB."""
    document = docx.Document()
    document.add_paragraph("Words.")
    document.save(str(path))
    with zipfile.ZipFile(path, "a", zipfile.ZIP_DEFLATED) as archive:
        with archive.open("word/media/image1.xml", "w") as file:
            for _ in range(1024):
                file.write(bytes(_MIB))


def _one_of_each(folder: Path) -> dict[str, str]:
    """Write files that cannot be read; returns what is to be said of each."""
    noise = random.Random(3).randbytes(5000)
    for name, data in (
        ("empty.txt", b""),
        ("blank.txt", b" \n\n\t\n"),
        ("binary.txt", noise),
        ("image.md", b"\x89PNG\r\n\x1a\n" + noise),
        ("wrong.txt", "Ein Gruß.\nNoch einer: grüßt".encode() + b"\xff\xfe\xfd\n"),
        ("broken.pdf", b"%PDF-1.4\nnothing more"),
        ("named.pdf", b"no PDF"),
    ):
        (folder / name).write_bytes(data)
    _bomb(folder / "bomb.docx")
    return {
        "empty.txt": "empty.txt: is empty",
        "blank.txt": "blank.txt: has no text",
        "binary.txt": "binary.txt: is binary, not text",
        "image.md": "image.md: is binary, not text",
        "wrong.txt": "wrong.txt, line 2: is not UTF-8 (byte 0xff)",
        "broken.pdf": "broken.pdf: is damaged",
        "named.pdf": "named.pdf: is no PDF file, though it is called one",
        "bomb.docx": "bomb.docx: unpacks to more than 512 MiB",
        "gone.txt": "gone.txt: cannot be read: No such file or directory",
    }


@pytest.mark.slow
async def test_what_cannot_be_read_is_named_and_other_files_are_read(tmp_path: Path) -> None:
    expected = _one_of_each(tmp_path)
    for name, message in expected.items():
        entries, error = await _until_error(tmp_path / name)
        assert str(error).startswith(message)
        assert (entries, error.partial) == ([], False)
    (tmp_path / "good.txt").write_text("Words.")
    (entry,) = await _all(tmp_path / "good.txt")
    assert entry.passages[0].text == "Words."
    assert _children() == []


async def test_bad_attributes_are_named(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text("Words.")
    with pytest.raises(LoadError, match=r"a\.txt: attributes: ttl: 'never' is not"):
        await _all(path, ttl="never")


async def test_a_child_that_needs_too_much_memory_is_ended(tmp_path: Path) -> None:
    path = tmp_path / "large.html"
    path.write_text("<p>word</p>" * 1_500_000)
    entries, error = await _until_error(path, memory_bytes=256 * _MIB)
    assert entries == []
    assert str(error) == "large.html: reading it takes more than 256 MiB of memory"


async def test_a_child_that_takes_too_long_is_ended(tmp_path: Path) -> None:
    path = tmp_path / "pipe.txt"
    os.mkfifo(path)  # opening it waits for a writer that never comes
    began = time.monotonic()
    _, error = await _until_error(path, timeout_s=1)
    assert str(error) == "pipe.txt: reading it took more than 1 s"
    assert time.monotonic() - began < 10
    assert _children() == []


async def test_a_child_that_is_killed_is_told_with_the_file(tmp_path: Path) -> None:
    path = tmp_path / "pipe.txt"
    os.mkfifo(path)
    reading = asyncio.create_task(_until_error(path))
    while not _children():
        await asyncio.sleep(0.02)
    await asyncio.sleep(0.2)
    for child in _children():  # as the kernel does where memory runs out
        child.send_signal(signal.SIGKILL)
    entries, error = await reading
    assert (entries, error.partial) == ([], False)
    assert str(error) == "pipe.txt: the process that read it was ended by signal 9"


async def test_a_child_that_cannot_start_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.txt"
    path.write_text("Words.")
    monkeypatch.setattr(sys, "executable", "/bin/false")
    _, error = await _until_error(path)
    assert str(error) == "a.txt: the process that read it ended with code 1"


async def test_leaving_early_ends_the_child(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text('{"text": "Some words."}\n' * 100_000)
    async with contextlib.aclosing(ingest(path, _options(path))) as entries:
        async for entry in entries:
            assert entry.document.id == "d#1"
            break
    assert _children() == []


@pytest.mark.slow
@pytest.mark.timeout(300)
async def test_a_pdf_of_10_000_pages_with_progress_and_little_memory(tmp_path: Path) -> None:
    pages = (
        [f"Section {number} tells of item {number}.", f"Its price is {number * 3} EUR.", "", "End."]
        for number in range(1, 10_001)
    )
    path = write_pdf(tmp_path / "manual.pdf", pages)
    told: list[Progress] = []
    largest = 0

    def note(progress: Progress) -> None:
        nonlocal largest
        told.append(progress)
        for child in _children():
            with contextlib.suppress(psutil.NoSuchProcess):
                largest = max(largest, child.memory_info().rss)

    (entry,) = [entry async for entry in ingest(path, _options(path), on_progress=note)]
    found = {passage.page: passage.text for passage in entry.passages}
    assert len(found) == 10_000
    assert "item 9876." in found[9876]
    assert "29628 EUR" in found[9876]
    assert [one.done for one in told] == sorted(one.done for one in told)
    assert len(told) > 400
    assert (told[-1].done, told[-1].total, told[-1].unit) == (10_000, 10_000, "pages")
    assert largest < 300 * _MIB
