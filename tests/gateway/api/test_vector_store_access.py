"""Who may see and change which vector store."""

import shutil
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from gateway.api.vector_store_access import MAX_FILES, StoreAccess
from gateway.api.vector_store_shapes import FileRequest
from gateway.auth import KeyRing, Principal
from gateway.errors import InvalidRequest, NotFound, PermissionDenied
from gateway.store.database import Database
from gateway.store.files import Files, StoredFile, file_id
from gateway.store.vector_store_files import FileCounts
from gateway.store.vector_stores import VectorStore

MINE = Principal("aaaaaaaa", frozenset({"inference"}))
OTHER = Principal("bbbbbbbb", frozenset({"inference"}))
ADMIN = Principal("cccccccc", frozenset({"inference", "admin"}))


@pytest.fixture
def access(empty_store: Path, tmp_path: Path) -> Iterator[StoreAccess]:
    shutil.copy(empty_store, tmp_path / "x.db")
    database = Database(f"sqlite:///{tmp_path / 'x.db'}")
    access = StoreAccess(database, Files(database, tmp_path / "files"))
    access.stores.add(VectorStore("vs_mine", "aaaaaaaa", time.time()))
    access.stores.add(VectorStore("vs_all", None, time.time()))
    yield access
    database.close()


def test_a_key_sees_its_own_and_the_operators(access: StoreAccess) -> None:
    for who in (MINE, ADMIN):
        assert access.changeable("vs_mine", who).id == "vs_mine"
    for look in (access.seen, access.changeable):
        with pytest.raises(NotFound):
            look("vs_mine", OTHER)
    for who in (MINE, OTHER, ADMIN):
        assert access.seen("vs_all", who).key_prefix is None
    assert access.changeable("vs_all", ADMIN).key_prefix is None
    with pytest.raises(PermissionDenied, match="operator"):
        access.changeable("vs_all", MINE)


def test_while_no_key_was_ever_made_the_machine_is_the_operator(access: StoreAccess) -> None:
    nobody = KeyRing(open_without_keys=True).authenticate(None)
    assert access.changeable("vs_all", nobody).id == "vs_all"


def test_a_store_holds_so_many_files(
    access: StoreAccess, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    store, id = access.seen("vs_mine", MINE), file_id()
    partial = access.uploads.partial()
    partial.write_bytes(b"x")
    access.uploads.add(StoredFile(id, "aaaaaaaa", 1.0, "x", "assistants", 1, "00"), partial)
    wanted = [("file_id", FileRequest(file_id=id))]
    full = FileCounts(completed=MAX_FILES - 1)
    monkeypatch.setattr(access.files, "counts", lambda stores: {store.id: full})
    assert [row.file_id for row in access.rows(store, wanted, MINE)] == [id]
    full.failed = 1
    with pytest.raises(InvalidRequest, match="10000") as caught:
        access.rows(store, wanted, MINE)
    assert (caught.value.code, caught.value.param) == ("too_many_files", "file_id")
