import threading
import time
from typing import Any

import pytest

from gateway.store.database import Database
from gateway.store.indexing import ClaimLost, Indexing
from gateway.store.vector_store_batches import FileBatch, FileBatches, batch_id
from gateway.store.vector_store_files import (
    CANCELLED,
    COMPLETED,
    FAILED,
    IN_PROGRESS,
    FileCounts,
    VectorStoreFile,
    VectorStoreFiles,
)
from gateway.store.vector_stores import VectorStore, VectorStores


@pytest.fixture
def files(database: Database) -> VectorStoreFiles:
    for store in ("vs_1", "vs_2"):
        VectorStores(database).add(VectorStore(store, None, time.time()))
    return VectorStoreFiles(database)


@pytest.fixture
def indexing(database: Database) -> Indexing:
    return Indexing(database, lease_s=10)


def row(file_id: str, store: str = "vs_1", **fields: Any) -> VectorStoreFile:
    return VectorStoreFile(**{
        "vector_store_id": store, "file_id": file_id, "key_prefix": "0123abcd", "created_at": 1.0,
        **fields,
    })  # fmt: skip


def claimed(indexing: Indexing, token: str = "t") -> VectorStoreFile:
    file = indexing.claim(token)
    assert file is not None
    return file


def test_files_are_claimed_in_their_order_and_finished_once(
    files: VectorStoreFiles, indexing: Indexing
) -> None:
    assert indexing.claim("t") is None
    attributes = {"a": "b\x00", "n": 1.5, "yes": True}
    files.add([row("file-1", attributes=attributes), row("file-2", chunking={"x": 1})])
    files.add([])
    first, second = claimed(indexing, "t1"), claimed(indexing, "t2")
    assert (first.file_id, second.file_id) == ("file-1", "file-2")
    assert first.attributes == {"a": "b\ufffd", "n": 1.5, "yes": True}
    assert (first.attempts, second.chunking) == (1, {"x": 1})
    assert indexing.claim("t3") is None
    indexing.renew(first, progress={"read": 1})
    found = files.get("vs_1", "file-1")
    assert found is not None
    assert found.progress == {"read": 1}
    indexing.finish(first, status=COMPLETED, usage_bytes=7, documents=1, passages=2)
    with pytest.raises(ClaimLost):
        indexing.finish(first, status=FAILED)
    done = files.get("vs_1", "file-1")
    assert done is not None
    assert (done.status, done.usage_bytes, done.progress) == (COMPLETED, 7, None)
    counts = files.counts(["vs_1", "vs_2"])
    assert counts == {"vs_1": FileCounts(1, 1, 0, 0, 7), "vs_2": FileCounts()}
    assert counts["vs_1"].total == 2


def test_a_silent_workers_file_is_taken_over(files: VectorStoreFiles, database: Database) -> None:
    files.add([row("file-1")])
    quick = Indexing(database, lease_s=0.05)
    dead = claimed(quick, "dead")
    assert quick.claim("other") is None
    time.sleep(0.1)
    other = claimed(quick, "other")
    assert (other.file_id, other.attempts) == ("file-1", 2)
    with pytest.raises(ClaimLost):
        quick.renew(dead)
    quick.release(dead)  # changes nothing
    quick.finish(other, status=COMPLETED)


def test_one_that_rests_is_not_claimed_before(files: VectorStoreFiles, indexing: Indexing) -> None:
    files.add([row("file-1")])
    indexing.release(claimed(indexing), after_s=0.1, counts=False)
    assert indexing.claim("t") is None
    time.sleep(0.15)
    again = claimed(indexing)
    assert again.attempts == 1
    indexing.release(again)
    assert claimed(indexing).attempts == 2


def test_a_key_with_one_file_does_not_wait_for_another_with_many(
    files: VectorStoreFiles, indexing: Indexing
) -> None:
    files.add([row(f"file-{n}") for n in range(60)])
    files.add([row("file-late", "vs_2", key_prefix=None)])
    # One of two keys is drawn each time: to miss it forty times has a chance of 1e-12.
    assert "file-late" in [claimed(indexing, f"t{n}").file_id for n in range(40)]


def test_a_new_wish_waits_for_the_worker_of_the_old_one(
    files: VectorStoreFiles, indexing: Indexing
) -> None:
    files.add([row("file-1")])
    old = claimed(indexing)
    changed = files.set_attributes("vs_1", "file-1", {"new": "x"}, stale=False)
    assert changed is not None
    assert (changed.attributes, changed.status, changed.stale) == ({"new": "x"}, IN_PROGRESS, False)
    assert indexing.claim("u") is None  # never two at once
    for write in (indexing.renew, indexing.finish):
        with pytest.raises(ClaimLost):
            write(old)
    indexing.release(old, after_s=60)
    new = claimed(indexing, "u")
    assert (new.revision, new.attributes) == (old.revision + 1, {"new": "x"})
    indexing.finish(new, status=COMPLETED)
    assert files.set_attributes("vs_1", "none", {}, stale=False) is None


def test_a_removed_file_is_work_until_its_documents_are_gone(
    files: VectorStoreFiles, indexing: Indexing
) -> None:
    files.add([row("file-1"), row("file-1", "vs_2"), row("file-2")])
    assert files.remove("vs_1", "file-1")
    assert not files.remove("vs_1", "file-1")
    assert files.get("vs_1", "file-1") is None
    assert [file.file_id for file in files.page("vs_1")[0]] == ["file-2"]
    assert ("vs_1", "file-1") in files.among([("vs_1", "file-1"), ("vs_9", "x")])
    assert files.among([]) == {}
    gone = claimed(indexing)
    assert (gone.file_id, gone.vector_store_id, gone.stale) == ("file-1", "vs_1", True)
    files.add([row("file-1", attributes={"again": True})])
    indexing.delete(gone)  # it was added again meanwhile
    again = files.get("vs_1", "file-1")
    assert again is not None
    assert (again.stale, again.attributes, again.status) == (True, {"again": True}, IN_PROGRESS)
    assert sorted(files.remove_everywhere("file-1")) == ["vs_1", "vs_2"]
    indexing.release(gone)
    for _ in range(2):
        indexing.delete(claimed(indexing))
    assert files.among([("vs_1", "file-1"), ("vs_2", "file-1")]) == {}


def test_a_batch_is_cancelled_where_it_is_not_done(
    files: VectorStoreFiles, indexing: Indexing, database: Database
) -> None:
    batches = FileBatches(database)
    batch = batches.add(FileBatch(batch_id(), "vs_1", 1.0))
    assert batches.get("vs_1", batch.id) == batch
    assert batches.get("vs_2", batch.id) is None
    files.add([row(f"file-{n}", batch_id=batch.id) for n in range(4)] + [row("file-9")])
    indexing.finish(claimed(indexing), status=COMPLETED)
    working = claimed(indexing)
    assert files.cancel(batch.id) == 3
    batches.cancel(batch.id)
    found = batches.get("vs_1", batch.id)
    assert found is not None
    assert found.cancelled_at is not None
    counts = files.batch_counts(batch.id)
    assert (counts.completed, counts.cancelled, counts.in_progress) == (1, 3, 0)
    with pytest.raises(ClaimLost):
        indexing.finish(working, status=COMPLETED)
    # Cancelled files are still cleaned up after, and stay cancelled with other attributes.
    assert claimed(indexing, "u").status == CANCELLED
    changed = files.set_attributes("vs_1", "file-3", {}, stale=True)
    assert changed is not None
    assert changed.status == CANCELLED
    page, _ = files.page("vs_1", batch=batch.id, status=CANCELLED, limit=9, ascending=True)
    assert [file.file_id for file in page] == ["file-1", "file-2", "file-3"]
    batches.forget("vs_1")
    assert batches.get("vs_1", batch.id) is None


def test_files_of_a_store_that_is_gone_are_no_work(
    files: VectorStoreFiles, indexing: Indexing, database: Database
) -> None:
    files.add([row("file-1"), row("file-2")])
    held = claimed(indexing)
    VectorStores(database).remove("vs_1")
    files.remove_all("vs_1")
    assert indexing.claim("u") is None
    assert not files.forget("vs_1")  # a worker may still add to it
    with pytest.raises(ClaimLost):
        indexing.renew(held)
    indexing.release(held)
    assert files.forget("vs_1")
    assert files.among([("vs_1", "file-1"), ("vs_1", "file-2")]) == {}


def test_pages_go_both_ways(files: VectorStoreFiles) -> None:
    ids = [f"file-{n}" for n in range(5)]
    files.add([row(id) for id in ids])
    assert [f.file_id for f in files.page("vs_1")[0]] == ids[::-1]
    page, more = files.page("vs_1", ascending=True, after="file-1", limit=2)
    assert ([f.file_id for f in page], more) == (ids[2:4], True)
    page, more = files.page("vs_1", before="file-1", limit=9)
    assert ([f.file_id for f in page], more) == (["file-4", "file-3", "file-2"], False)
    with pytest.raises(KeyError):
        files.page("vs_2", after="file-1")


@pytest.mark.slow
def test_of_many_workers_each_file_has_one(files: VectorStoreFiles, database: Database) -> None:
    files.add([row(f"file-{n}") for n in range(60)])
    found: list[str] = []

    def work(name: str) -> None:
        indexing = Indexing(database)
        number = 0
        while (file := indexing.claim(f"{name}-{number}")) is not None:
            number += 1
            found.append(file.file_id)
            indexing.finish(file, status=COMPLETED)

    threads = [threading.Thread(target=work, args=(f"w{n}",)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert sorted(found) == sorted(f"file-{n}" for n in range(60))
