"""`/v1/vector_stores` with the official client."""

import time
from collections.abc import Callable
from typing import Any

import openai
import pytest
import sqlalchemy as sa
from openai.types import VectorStore

from gateway.store.owners import owners
from tests.gateway.api.documents import BREAD, HOURS, Desk, add, upload
from tests.gateway.running import wait


def test_a_store_from_its_first_day_to_its_last(desk: Desk, tenant: openai.OpenAI) -> None:
    first, second = upload(tenant, "hours.md", HOURS), upload(tenant, "bread.txt", BREAD)
    store = tenant.vector_stores.create(
        name="Handbook",
        description="All of it",
        file_ids=[first, second],
        metadata={"team": "ops"},
        expires_after={"anchor": "last_active_at", "days": 7},
        chunking_strategy={
            "type": "static",
            "static": {"max_chunk_size_tokens": 120, "chunk_overlap_tokens": 20},
        },
    )
    assert (store.object, store.name, store.metadata) == (
        "vector_store", "Handbook", {"team": "ops"}
    )  # fmt: skip
    assert store.file_counts.total == 2
    assert store.expires_after is not None
    assert store.expires_after.days == 7
    assert store.expires_at == pytest.approx(time.time() + 7 * 86400, abs=10)
    wait(lambda: tenant.vector_stores.retrieve(store.id).status == "completed")
    done = tenant.vector_stores.retrieve(store.id)
    assert (done.file_counts.completed, done.file_counts.in_progress) == (2, 0)
    files = list(tenant.vector_stores.files.list(store.id))
    assert done.usage_bytes == sum(file.usage_bytes for file in files) > 0
    strategy = files[0].chunking_strategy
    assert strategy is not None
    assert strategy.type == "static"
    assert strategy.static.max_chunk_size_tokens == 120
    (best, *_) = tenant.vector_stores.search(store.id, query="When does Karlsruhe open?").data
    assert (best.file_id, best.filename) == (first, "hours.md")
    assert "9:30" in best.content[0].text

    changed = tenant.vector_stores.update(store.id, name="Manual", metadata={}, expires_after=None)
    assert (changed.name, changed.metadata, changed.expires_at) == ("Manual", {}, None)
    assert tenant.vector_stores.update(store.id, metadata={"a": "b"}).name == "Manual"
    assert store.id in [each.id for each in tenant.vector_stores.list(limit=2)]

    folder = desk.gateway.home / "indexes" / store.id
    assert folder.is_dir()
    gone = tenant.vector_stores.delete(store.id)
    assert (gone.deleted, gone.object, gone.id) == (True, "vector_store.deleted", store.id)
    with pytest.raises(openai.NotFoundError) as caught:
        tenant.vector_stores.retrieve(store.id)
    assert (caught.value.code, caught.value.param) == ("vector_store_not_found", "vector_store_id")
    with pytest.raises(openai.NotFoundError):
        tenant.vector_stores.search(store.id, query="hours")
    wait(lambda: not folder.exists())
    assert tenant.files.retrieve(first).id == first  # the files themselves stay


def test_the_client_pages_through_stores(desk: Desk) -> None:
    own = desk.key()
    made = [own.vector_stores.create(name=str(n)).id for n in range(5)]
    shared = _shared(desk)
    assert [s.id for s in own.vector_stores.list(limit=2)] == [shared.id, *made[::-1]]
    assert [s.id for s in own.vector_stores.list(order="asc", limit=3)][-6:] == [*made, shared.id]
    page = own.vector_stores.list(after=made[3], limit=2)
    assert ([s.id for s in page.data], page.has_more) == ([made[2], made[1]], True)
    page = own.vector_stores.list(before=made[0], order="desc", limit=2)
    assert [s.id for s in page.data] == [made[2], made[1]]
    for name in ("after", "before"):
        with pytest.raises(openai.BadRequestError, match="nope") as caught:
            own.vector_stores.list(**{name: "nope"})  # type: ignore[arg-type]
        assert (caught.value.code, caught.value.param) == ("invalid_cursor", name)
    desk.admin.vector_stores.delete(shared.id)


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"name": 5}, "name"),
        ({"name": "n" * 257}, "name"),
        ({"description": "d" * 513}, "description"),
        ({"metadata": {"k": 1}}, "metadata.k"),
        ({"metadata": {str(n): "" for n in range(17)}}, "metadata"),
        ({"metadata": {"k": "v" * 513}}, "metadata.k"),
        ({"metadata": {"k\x00": "v"}}, "metadata.k\x00.[key]"),
        ({"expires_after": {"anchor": "created_at", "days": 1}}, "expires_after.anchor"),
        ({"expires_after": {"anchor": "last_active_at", "days": 0}}, "expires_after.days"),
        ({"expires_after": {"anchor": "last_active_at", "days": 366}}, "expires_after.days"),
        ({"file_ids": "file-1"}, "file_ids"),
        ({"file_ids": ["file-none"]}, "file_ids.0"),
        ({"file_ids": ["file-1"] * 501}, "file_ids"),
        ({"chunking_strategy": {"type": "other"}}, "chunking_strategy.type"),
        ({"chunking_strategy": {"type": "static"}}, "chunking_strategy"),
        (
            {
                "chunking_strategy": {
                    "type": "static",
                    "static": {"max_chunk_size_tokens": 99, "chunk_overlap_tokens": 0},
                }
            },
            "chunking_strategy.static.max_chunk_size_tokens",
        ),
        (
            {
                "chunking_strategy": {
                    "type": "static",
                    "static": {"max_chunk_size_tokens": 100, "chunk_overlap_tokens": 51},
                }
            },
            "chunking_strategy.static",
        ),
        ({"driftgate": {"shared": True}}, "driftgate.shared"),
        ({"colour": "red"}, "colour"),
    ],
)
def test_a_wrong_field_is_named(tenant: openai.OpenAI, fields: dict[str, Any], param: str) -> None:
    before = len(list(tenant.vector_stores.list()))
    with pytest.raises(openai.APIStatusError) as caught:
        tenant.vector_stores.create(extra_body=fields)
    assert caught.value.status_code == (403 if "shared" in param else 400)
    assert caught.value.param == param
    assert len(list(tenant.vector_stores.list())) == before  # nothing was made


def test_files_of_other_purposes_and_keys_are_no_documents(desk: Desk) -> None:
    owner = desk.key(["inference", "training"])
    rows = b'{"messages":[{"role":"user","content":"a"},{"role":"assistant","content":"b"}]}\n'
    trained = owner.files.create(file=("r.jsonl", rows), purpose="fine-tune").id
    with pytest.raises(openai.BadRequestError, match="fine-tune") as caught:
        owner.vector_stores.create(file_ids=[trained])
    assert (caught.value.code, caught.value.param) == ("invalid_file_purpose", "file_ids.0")
    mine = upload(owner, "a.txt", b"mine alone")
    with pytest.raises(openai.BadRequestError) as caught:
        desk.key().vector_stores.create(file_ids=[mine])
    assert (caught.value.code, caught.value.param) == ("file_not_found", "file_ids.0")
    with pytest.raises(openai.BadRequestError) as caught:
        owner.vector_stores.create(file_ids=[mine, mine])
    assert (caught.value.code, caught.value.param) == ("duplicate_file", "file_ids.1")


def test_a_key_without_the_scope_has_no_stores(desk: Desk) -> None:
    narrow = desk.key(["training"])
    for call in (narrow.vector_stores.list, narrow.vector_stores.create):
        with pytest.raises(openai.PermissionDeniedError, match="inference"):
            call()
    inference = desk.key()
    with pytest.raises(openai.PermissionDeniedError, match="training"):
        inference.files.create(file=("x.jsonl", b"{}"), purpose="fine-tune")


def _calls(client: openai.OpenAI, store: str, file: str, batch: str) -> list[Callable[[], Any]]:
    stores = client.vector_stores
    return [
        lambda: stores.retrieve(store),
        lambda: stores.update(store, name="x"),
        lambda: stores.delete(store),
        lambda: stores.search(store, query="x"),
        lambda: stores.files.create(store, file_id=file),
        lambda: stores.files.list(store),
        lambda: stores.files.retrieve(file, vector_store_id=store),
        lambda: stores.files.update(file, vector_store_id=store, attributes={"a": "b"}),
        lambda: stores.files.content(file, vector_store_id=store),
        lambda: stores.files.delete(file, vector_store_id=store),
        lambda: stores.file_batches.create(store, file_ids=[file]),
        lambda: stores.file_batches.retrieve(batch, vector_store_id=store),
        lambda: stores.file_batches.list_files(batch, vector_store_id=store),
        lambda: stores.file_batches.cancel(batch, vector_store_id=store),
    ]


def test_another_keys_store_is_as_unknown_as_none_on_every_route(
    desk: Desk, tenant: openai.OpenAI, store: VectorStore
) -> None:
    file = add(tenant, store, "hours.md", HOURS)
    batch = tenant.vector_stores.file_batches.create_and_poll(
        store.id, file_ids=[file.id], poll_interval_ms=50
    )
    other = desk.key()
    for theirs, none in zip(
        _calls(other, store.id, file.id, batch.id),
        _calls(other, "vs_0123", file.id, batch.id),
        strict=True,
    ):
        told = []
        for call in (theirs, none):
            with pytest.raises(openai.NotFoundError) as caught:
                call()
            told.append(str(caught.value).replace(store.id, "vs_0123"))
        assert told[0] == told[1]
    assert store.id not in [each.id for each in other.vector_stores.list()]
    for edge in ("after", "before"):
        with pytest.raises(openai.BadRequestError):
            other.vector_stores.list(**{edge: store.id})  # type: ignore[arg-type]
    # Files and batches of another store of one's own are unknown, too.
    own = tenant.vector_stores.create()
    for call in _calls(tenant, own.id, file.id, batch.id)[6:10]:
        with pytest.raises(openai.NotFoundError, match=file.id):
            call()
    for call in _calls(tenant, own.id, file.id, batch.id)[11:]:
        with pytest.raises(openai.NotFoundError, match=batch.id):
            call()


def _shared(desk: Desk) -> VectorStore:
    return desk.admin.vector_stores.create(extra_body={"driftgate": {"shared": True}})


def test_the_operators_store_is_read_by_all_and_changed_by_admin(
    desk: Desk, tenant: openai.OpenAI
) -> None:
    shared = _shared(desk)
    file = add(desk.admin, shared, "hours.md", HOURS)
    batch = desk.admin.vector_stores.file_batches.create_and_poll(
        shared.id, file_ids=[file.id], poll_interval_ms=50
    )
    assert owners(desk.gateway.database)[shared.id] is None
    assert shared.id in [each.id for each in tenant.vector_stores.list()]
    calls = _calls(tenant, shared.id, file.id, batch.id)
    for number in (0, 3, 5, 6, 8, 11, 12):
        calls[number]()
    for number in (1, 2, 4, 7, 9, 10, 13):
        with pytest.raises(openai.PermissionDeniedError, match="operator"):
            calls[number]()
    assert tenant.vector_stores.search(shared.id, query="Karlsruhe").data[0].file_id == file.id
    desk.admin.vector_stores.delete(shared.id)


def test_a_store_expires_after_its_last_use(
    desk: Desk, tenant: openai.OpenAI, store: VectorStore
) -> None:
    def ago(**fields: float) -> None:
        columns = ", ".join(f"{name} = :{name}" for name in fields)
        with desk.gateway.database.begin() as connection:
            connection.execute(
                sa.text(f"UPDATE vector_stores SET {columns} WHERE id = :id"),
                {**fields, "id": store.id},
            )

    file = add(tenant, store, "hours.md", HOURS)
    tenant.vector_stores.update(store.id, expires_after={"anchor": "last_active_at", "days": 1})
    now = time.time()
    ago(last_active_at=now - 86000, expires_at=now + 400)
    tenant.vector_stores.search(store.id, query="hours")
    wait(lambda: (tenant.vector_stores.retrieve(store.id).expires_at or 0) > now + 86000)
    assert (tenant.vector_stores.retrieve(store.id).last_active_at or 0) >= int(now)

    ago(expires_at=now - 1)
    assert tenant.vector_stores.retrieve(store.id).status == "expired"
    assert store.id not in owners(desk.gateway.database)
    calls = _calls(tenant, store.id, file.id, "vsfb_1")
    for number in (3, 4, 7, 8, 10):
        with pytest.raises(openai.BadRequestError) as caught:
            calls[number]()
        assert caught.value.code == "vector_store_expired"
    with pytest.raises(openai.BadRequestError, match="expired"):
        tenant.vector_stores.update(store.id, expires_after={"anchor": "last_active_at", "days": 9})
    wait(lambda: not (desk.gateway.home / "indexes" / store.id).exists(), 15)
    wait(lambda: tenant.vector_stores.retrieve(store.id).usage_bytes == 0)
    assert tenant.vector_stores.delete(store.id).deleted


def test_ids_that_are_none_are_refused(desk: Desk) -> None:
    with desk.gateway.client() as client:
        for path in ("vs_%00", "..", "vs_" + "x" * 90):
            assert client.get(f"/v1/vector_stores/{path}").status_code in (400, 404)
