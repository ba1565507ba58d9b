import os
import time
from pathlib import Path
from typing import Any

import pytest

from gateway.store.database import Database, StoreError
from gateway.store.files import Files, StoredFile, file_id


@pytest.fixture
def files(database: Database, tmp_path: Path) -> Files:
    return Files(database, tmp_path / "files")


def keep(files: Files, owner: str = "0123abcd", at: float = 1.0, **fields: str) -> StoredFile:
    partial = files.partial()
    partial.write_bytes(b"bytes")
    values: dict[str, Any] = {"filename": "x", "purpose": "evals"} | fields
    file = StoredFile(file_id(), owner, at, bytes=5, sha256="00" * 32, **values)
    return files.add(file, partial)


def test_a_file_comes_and_goes_with_its_bytes(files: Files) -> None:
    file = keep(files, filename="Grüße\x00.jsonl")
    found = files.get(file.id)
    assert found is not None
    assert found.filename == "Grüße\ufffd.jsonl"
    assert files.path(file.id).read_bytes() == b"bytes"
    assert files.path(file.id).parent.stat().st_mode & 0o777 == 0o700
    assert files.delete(file.id)
    assert not files.delete(file.id)
    assert files.get(file.id) is None
    assert not files.path(file.id).exists()


def test_a_row_that_is_refused_leaves_no_bytes(files: Files) -> None:
    partial = files.partial()
    partial.write_bytes(b"x")
    bad = StoredFile("file-1", "0123abcd", 1.0, "x", "evals", 2**70, "00")
    with pytest.raises((StoreError, OverflowError)):
        files.add(bad, partial)
    assert list(files.path("x").parent.iterdir()) == []


def test_pages_are_of_one_key_and_one_purpose(files: Files) -> None:
    mine = [keep(files, at=float(n // 2)).id for n in range(5)]
    keep(files, owner="ffffffff")
    other = keep(files, purpose="user_data", at=9.0).id
    page, more = files.page(owner="0123abcd", limit=10)
    assert ({file.id for file in page}, more, page[0].id) == ({*mine, other}, False, other)
    found: list[str] = []
    after = None
    while True:
        page, more = files.page(
            owner="0123abcd", purpose="evals", limit=2, after=after, ascending=True
        )
        found += [file.id for file in page]
        if not more:
            break
        after = page[-1].id
    assert sorted(found) == sorted(mine)
    assert len(files.page()[0]) == 7
    for after in ("nope", keep(files, owner="ffffffff").id):
        with pytest.raises(KeyError):
            files.page(owner="0123abcd", after=after)


def test_what_a_killed_gateway_left_goes_after_a_day(files: Files) -> None:
    old, young = files.partial(), files.partial()
    for path in (old, young):
        path.touch()
    os.utime(old, (time.time() - 2 * 24 * 3600,) * 2)
    files.partial()
    assert (old.exists(), young.exists()) == (False, True)
