"""Files of vector stores on their way into the index: kills, faults, and changes of mind."""

import asyncio
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from gateway.store.database import Database, StoreError
from gateway.store.indexing import Indexing
from gateway.store.vector_store_files import VectorStoreFile
from gateway.store.vector_stores import VectorStore
from retrieval.client import RetrievalFailed, RetrievalUnavailable
from tests.gateway.ingesting import WORKER, Scripted, World, rows, until
from tests.retrieval.serving import documents, service


@pytest.fixture
def world(empty_store: Path, tmp_path: Path) -> Iterator[World]:
    shutil.copy(empty_store, tmp_path / "driftgate.db")
    database = Database(f"sqlite:///{tmp_path / 'driftgate.db'}")
    yield World(tmp_path, database)
    database.close()


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("_POLL_S", "_AWAY_S", "_SWEEP_S"):
        monkeypatch.setattr(f"gateway.ingestion.{name}", 0.05)


async def test_files_wait_for_the_service_and_are_indexed_when_it_comes(world: World) -> None:
    id = world.add("a.txt", b"The north gate opens at six.", attributes={"city": "Oslo"})
    async with world.working():
        await asyncio.sleep(0.3)
        assert (world.file(id).status, world.file(id).last_error) == ("in_progress", None)
        async with service(world.home) as client:
            await until(lambda: world.file(id).status == "completed")
            assert await documents(client, "gate", "vs_1") == {id}
    done = world.file(id)
    assert (done.documents, done.passages, done.claim, done.attempts) == (1, 1, None, 0)


@pytest.mark.slow
async def test_a_killed_workers_file_is_finished_by_another(world: World) -> None:
    async with service(world.home) as client:
        id = world.add("gates.jsonl", rows(20_000))
        dead = subprocess.Popen([sys.executable, "-c", WORKER, str(world.home)])
        try:
            await until(lambda: bool(world.file(id).progress), 40)
            taken = world.file(id)
        finally:
            dead.send_signal(signal.SIGKILL)
            dead.wait()
        assert (taken.status, world.file(id).claim) == ("in_progress", taken.claim)
        # A shorter file stands in for the rest of the work: what matters is who goes on.
        world.uploads.path(id).write_bytes(rows(50))
        async with world.working():
            await until(lambda: world.file(id).status == "completed")
        assert world.file(id).documents == 50
        assert await documents(client, "gate number 7", "vs_1") >= {f"{id}#7"}


@pytest.mark.slow
async def test_a_service_that_goes_away_while_it_adds_is_asked_again(world: World) -> None:
    id = world.add("gates.jsonl", rows(20_000))
    async with world.working():
        async with service(world.home):
            await until(lambda: bool(world.file(id).progress))
        await asyncio.sleep(0.2)
        assert world.file(id).status == "in_progress"
        world.uploads.path(id).write_bytes(rows(50))  # the rest of the work, made short
        async with service(world.home):
            await until(lambda: world.file(id).status == "completed", 60)
    assert world.file(id).documents == 50


@pytest.mark.slow
async def test_who_changes_the_attributes_meanwhile_gets_the_new_ones(world: World) -> None:
    async with service(world.home) as client, world.working() as ingestion:
        id = world.add("gates.jsonl", rows(20_000), attributes={"city": "Oslo"})
        await until(lambda: bool(world.file(id).progress))
        world.uploads.path(id).write_bytes(rows(50))  # for when it is begun anew
        world.files.set_attributes("vs_1", id, {"city": "Rome", "id": "g"}, stale=True)
        ingestion.wake()
        await until(lambda: world.file(id).status == "completed", 60)
        found = await documents(client, "gate", "vs_1")
        assert found
        assert all(name.startswith("g#") for name in found)


@pytest.mark.parametrize("how", ["cancel", "remove"])
async def test_nothing_is_left_of_what_was_cancelled_or_removed(world: World, how: str) -> None:
    async with service(world.home) as client, world.working() as ingestion:
        id = world.add("gates.jsonl", rows(20_000), batch_id="b")
        await until(lambda: bool(world.file(id).progress))
        if how == "cancel":
            world.files.cancel("b")
        else:
            world.files.remove("vs_1", id)
        ingestion.wake()

        def clean() -> bool:
            row = world.files.among([("vs_1", id)]).get(("vs_1", id))
            return row is None or (row.status == "cancelled" and not row.stale)

        await until(clean)
        assert await documents(client, "gate", "vs_1") == set()


async def test_a_store_that_is_deleted_while_files_are_added_is_dropped(world: World) -> None:
    async with service(world.home), world.working() as ingestion:
        id = world.add("gates.jsonl", rows(20_000))
        await until(lambda: bool(world.file(id).progress))
        assert world.stores.remove("vs_1")
        ingestion.wake()
        await until(lambda: world.stores.to_drop() == [])
        assert not (world.home / "indexes" / "vs_1").exists()
        assert world.files.among([("vs_1", id)]) == {}


async def test_an_expired_store_loses_what_it_holds(world: World) -> None:
    async with service(world.home), world.working() as ingestion:
        id = world.add("a.txt", b"The north gate.")
        await until(lambda: world.file(id).status == "completed")
        old = VectorStore("vs_2", None, time.time() - 90_000, expires_after_days=1)
        world.stores.add(old)
        world.files.add([VectorStoreFile("vs_2", id, None, 1.0)])
        ingestion.wake()
        await until(lambda: world.stores.to_drop() == [])
        kept = world.stores.get("vs_2")
        assert kept is not None
        assert kept.dropped_at is not None
        assert world.files.get("vs_2", id) is None
        assert world.file(id).status == "completed"


async def test_use_is_noted_without_being_waited_for(world: World) -> None:
    async with world.working() as ingestion:
        before = world.stores.get("vs_1")
        assert before is not None
        await asyncio.sleep(1.1)
        ingestion.used(("vs_1", "vs_none"))

        def noted() -> bool:
            after = world.stores.get("vs_1")
            return after is not None and after.last_active_at > before.last_active_at + 1

        await until(noted)


async def test_what_cannot_be_read_fails_with_its_name(world: World) -> None:
    async with service(world.home), world.working():
        empty = world.add("empty.md", b"")
        image = world.add("a.png", b"\x89PNG" + bytes(range(256)))
        lost = world.add("lost.txt", b"x")
        gone = world.add("gone.txt", b"x")
        world.uploads.path(lost).unlink()
        world.uploads.delete(gone)
        # They may have been begun before their bytes went; that is no failure of this test.
        await until(lambda: all(world.file(i).status != "in_progress" for i in (empty, image)))
    for id, code, told in (
        (empty, "invalid_file", "empty.md: is empty"),
        (image, "unsupported_file", "a.png"),
    ):
        error = world.file(id).last_error
        assert error is not None
        assert (error["code"], told in error["message"]) == (code, True)


@pytest.mark.parametrize("lost", ["upload", "bytes"])
async def test_bytes_that_are_not_there_are_told(world: World, lost: str) -> None:
    id = world.add("a.txt", b"x")
    if lost == "upload":
        world.uploads.delete(id)
    else:
        world.uploads.path(id).unlink()
    index = Scripted()
    async with world.working(index):
        await until(lambda: world.file(id).status == "failed")
        await until(lambda: index.removed == [id])  # and nothing of it stays
    error = world.file(id).last_error
    assert error is not None
    expected = {"upload": ("invalid_file", "deleted"), "bytes": ("server_error", "a.txt: its")}
    assert (error["code"], expected[lost][1] in error["message"]) == (expected[lost][0], True)


async def test_a_service_that_fails_is_asked_some_times(world: World) -> None:
    id = world.add("a.txt", b"x")
    index = Scripted(*[RetrievalFailed("disk full")] * 4)
    async with world.working(index):
        await until(lambda: world.file(id).status == "completed")
    assert index.added == 1
    other = world.add("b.txt", b"x")
    index = Scripted(*[RetrievalFailed("disk full")] * 9)
    async with world.working(index):
        await until(lambda: world.file(other).status == "failed")
    assert world.file(other).last_error == {
        "code": "server_error", "message": "b.txt: disk full"
    }  # fmt: skip
    assert len(index.faults) == 4


async def test_a_file_that_ends_the_service_again_and_again_is_given_up(world: World) -> None:
    id = world.add("bomb.txt", b"x")
    index = Scripted(*[RetrievalUnavailable("it went away")] * 9)
    async with world.working(index):
        await until(lambda: world.file(id).status == "failed")
    error = world.file(id).last_error
    assert error is not None
    assert "bomb.txt: was begun 5 times" in error["message"]


@pytest.mark.parametrize("reason", ["mismatch", "refused"])
async def test_what_no_repetition_helps_fails_at_once(world: World, reason: Any) -> None:
    id = world.add("a.txt", b"x")
    index = Scripted(*[RetrievalFailed("another embedder", reason)] * 2)
    async with world.working(index):
        await until(lambda: world.file(id).status == "failed")
    assert len(index.faults) == 1
    assert world.file(id).last_error == {
        "code": "server_error", "message": "a.txt: another embedder"
    }  # fmt: skip


async def test_a_worker_that_is_stopped_lets_go_at_once(world: World) -> None:
    id = world.add("a.txt", b"x")
    index = Scripted()
    index.hold.clear()
    async with world.working(index, lease_s=600):
        await until(lambda: world.file(id).claim is not None)
    assert (world.file(id).claim, world.file(id).attempts) == (None, 0)


async def test_a_store_that_is_away_stops_nothing(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    claim, faults = Indexing.claim, [StoreError("away")] * 2

    def shaky(self: Indexing, token: str) -> Any:
        if faults:
            raise faults.pop()
        return claim(self, token)

    monkeypatch.setattr(Indexing, "claim", shaky)
    index = Scripted()
    id = world.add("a.txt", b"x")
    async with world.working(index):
        await until(lambda: world.file(id).status == "completed")
    assert faults == []


async def test_many_files_are_worked_on_two_at_a_time(world: World) -> None:
    ids = [world.add(f"{n}.txt", b"x") for n in range(5)]
    index = Scripted()
    index.hold.clear()
    async with world.working(index):
        await until(lambda: sum(world.file(id).claim is not None for id in ids) == 2)
        await asyncio.sleep(0.2)
        assert sum(world.file(id).claim is not None for id in ids) == 2
        index.hold.set()
        await until(lambda: all(world.file(id).status == "completed" for id in ids))
