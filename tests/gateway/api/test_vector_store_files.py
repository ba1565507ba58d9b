"""Files of vector stores with the official client: adding, attributes, batches, removal."""

from typing import Any

import openai
import pytest
from openai.types import VectorStore

from tests.gateway.api.documents import BREAD, HOURS, Desk, add, upload
from tests.gateway.running import wait


def found(client: openai.OpenAI, store: VectorStore, query: str, **asked: Any) -> list[str]:
    return [hit.file_id for hit in client.vector_stores.search(store.id, query=query, **asked).data]


def test_a_file_comes_is_found_and_goes(tenant: openai.OpenAI, store: VectorStore) -> None:
    file = add(tenant, store, "hours.md", HOURS, {"lang": "en", "year": 2024, "draft": False})
    assert (file.object, file.vector_store_id) == ("vector_store.file", store.id)
    assert file.attributes == {"lang": "en", "year": 2024, "draft": False}
    assert file.usage_bytes > len(HOURS)
    assert file.model_extra is not None
    assert file.model_extra["driftgate"]["documents"] == 1
    strategy = file.chunking_strategy
    assert strategy is not None
    assert strategy.type == "static"
    assert strategy.static.max_chunk_size_tokens == 200
    assert tenant.vector_stores.files.retrieve(file.id, vector_store_id=store.id) == file
    (text,) = tenant.vector_stores.files.content(file.id, vector_store_id=store.id).data
    assert text.type == "text"
    assert text.text is not None
    assert "opens at 9:30" in text.text
    assert found(tenant, store, "Karlsruhe") == [file.id]
    gone = tenant.vector_stores.files.delete(file.id, vector_store_id=store.id)
    assert (gone.deleted, gone.object) == (True, "vector_store.file.deleted")
    assert found(tenant, store, "Karlsruhe") == []
    with pytest.raises(openai.NotFoundError) as caught:
        tenant.vector_stores.files.delete(file.id, vector_store_id=store.id)
    assert (caught.value.code, caught.value.param) == ("vector_store_file_not_found", "file_id")
    # The upload itself stays, and may be added again.
    again = tenant.vector_stores.files.create_and_poll(
        file.id, vector_store_id=store.id, poll_interval_ms=50
    )
    assert (again.status, again.attributes) == ("completed", {})
    assert found(tenant, store, "Karlsruhe") == [file.id]


def test_the_clients_helpers_upload_and_wait(tenant: openai.OpenAI, store: VectorStore) -> None:
    file = tenant.vector_stores.files.upload_and_poll(
        vector_store_id=store.id, file=("hours.md", HOURS), poll_interval_ms=50
    )
    batch = tenant.vector_stores.file_batches.upload_and_poll(
        store.id, files=[("bread.md", BREAD)], poll_interval_ms=50
    )
    assert (file.status, batch.status, batch.file_counts.completed) == ("completed",) * 2 + (1,)
    names = {hit.filename for hit in tenant.vector_stores.search(store.id, query="Karlsruhe salt")}
    assert names == {"hours.md", "bread.md"}


def test_a_deleted_upload_leaves_all_stores(tenant: openai.OpenAI, store: VectorStore) -> None:
    file = add(tenant, store, "hours.md", HOURS)
    second = tenant.vector_stores.create()
    tenant.vector_stores.files.create_and_poll(
        file.id, vector_store_id=second.id, poll_interval_ms=50
    )
    assert found(tenant, second, "Karlsruhe") == [file.id]
    tenant.files.delete(file.id)
    for each in (store, second):
        assert found(tenant, each, "Karlsruhe") == []
        assert list(tenant.vector_stores.files.list(each.id)) == []
        assert tenant.vector_stores.retrieve(each.id).file_counts.total == 0


def test_other_attributes_are_searched_by(tenant: openai.OpenAI, store: VectorStore) -> None:
    file = add(tenant, store, "hours.md", HOURS, {"team": "a"})

    def of(team: str) -> list[str]:
        wanted: Any = {"type": "eq", "key": "team", "value": team}
        return found(tenant, store, "Karlsruhe", filters=wanted)

    assert (of("a"), of("b")) == ([file.id], [])
    changed = tenant.vector_stores.files.update(
        file.id, vector_store_id=store.id, attributes={"team": "b"}
    )
    assert changed.attributes == {"team": "b"}
    done = tenant.vector_stores.files.poll(file.id, vector_store_id=store.id, poll_interval_ms=50)
    assert (done.status, of("a"), of("b")) == ("completed", [], [file.id])
    same = tenant.vector_stores.files.update(
        file.id, vector_store_id=store.id, attributes={"team": "b"}
    )
    assert same.status == "completed"
    assert tenant.vector_stores.files.update(
        file.id, vector_store_id=store.id, attributes=None
    ).attributes == {}  # fmt: skip


def test_attributes_describe_the_document(tenant: openai.OpenAI, store: VectorStore) -> None:
    old = add(tenant, store, "old.md", HOURS, {"id": "hours", "title": "Hours of 2023"})
    assert found(tenant, store, "Karlsruhe") == [old.id]
    new = add(
        tenant,
        store,
        "new.md",
        HOURS.replace(b"9:30", b"8:00"),
        {"id": "hours-2024", "supersedes": "hours", "title": "Hours", "url": "https://x.test/h"},
    )
    (hit,) = tenant.vector_stores.search(store.id, query="Karlsruhe").data
    assert (hit.file_id, "8:00" in hit.content[0].text) == (new.id, True)
    assert hit.model_extra is not None
    told = hit.model_extra["driftgate"]
    assert (told["document_id"], told["title"]) == ("hours-2024", "Hours")
    assert told["url"] == "https://x.test/h"
    titled: Any = {"type": "eq", "key": "title", "value": "Hours"}
    assert found(tenant, store, "Karlsruhe", filters=titled) == [new.id]
    # What does not hold yet, or no more, is not found; what it replaced is found again.
    tenant.vector_stores.files.update(
        new.id,
        vector_store_id=store.id,
        attributes={"id": "hours-2024", "supersedes": "hours", "valid_to": "2020-01-01"},
    )
    tenant.vector_stores.files.poll(new.id, vector_store_id=store.id, poll_interval_ms=50)
    assert new.id not in found(tenant, store, "Karlsruhe")
    # Another id takes the place of the old one.
    tenant.vector_stores.files.update(
        old.id, vector_store_id=store.id, attributes={"id": "opening"}
    )
    tenant.vector_stores.files.poll(old.id, vector_store_id=store.id, poll_interval_ms=50)
    (hit,) = tenant.vector_stores.search(store.id, query="Karlsruhe").data
    assert hit.model_extra is not None
    assert hit.model_extra["driftgate"]["document_id"] == "opening"


def test_rows_are_documents_of_their_own(tenant: openai.OpenAI, store: VectorStore) -> None:
    rows = b"text,city\nThe north gate opens at six,Oslo\nThe south gate opens at nine,Rome\n"
    file = add(tenant, store, "gates.csv", rows, {"id": "gates", "year": 2024})
    assert file.model_extra is not None
    assert file.model_extra["driftgate"]["documents"] == 2
    rome: Any = {
        "type": "and",
        "filters": [
            {"type": "eq", "key": "city", "value": "Rome"},
            {"type": "gte", "key": "year", "value": 2024},
        ],
    }
    (hit,) = tenant.vector_stores.search(store.id, query="gate", filters=rome).data
    assert "south" in hit.content[0].text
    assert hit.model_extra is not None
    assert hit.model_extra["driftgate"]["document_id"] == "gates#2"
    assert hit.attributes == {"city": "Rome", "year": 2024, "id": "gates"}


@pytest.mark.parametrize(
    ("name", "content", "code", "told"),
    [
        ("a.md", b"", "invalid_file", "a.md: is empty"),
        ("a.pdf", b"no pdf at all", "invalid_file", "a.pdf"),
        ("a.png", b"\x89PNG\r\n\x1a\n" + bytes(range(256)), "unsupported_file", "a.png"),
        ("a.xlsx", b"PK\x03\x04 broken", "unsupported_file", "a.xlsx"),
    ],
)
def test_a_file_that_cannot_be_read_fails_by_name(
    tenant: openai.OpenAI, store: VectorStore, name: str, content: bytes, code: str, told: str
) -> None:
    batch = tenant.vector_stores.file_batches.create_and_poll(
        store.id,
        file_ids=[upload(tenant, name, content), upload(tenant, "hours.md", HOURS)],
        poll_interval_ms=50,
    )
    assert (batch.file_counts.failed, batch.file_counts.completed) == (1, 1)
    assert batch.status == "completed"
    (failed,) = tenant.vector_stores.files.list(store.id, filter="failed").data
    assert failed.last_error is not None
    assert failed.last_error.code == code
    assert told in failed.last_error.message
    assert len(found(tenant, store, "Karlsruhe")) == 1


def test_what_could_not_be_read_of_a_file_is_told(
    tenant: openai.OpenAI, store: VectorStore
) -> None:
    rows = b'{"text": "The north gate opens at six"}\nnonsense\n'
    file = tenant.vector_stores.files.create_and_poll(
        upload(tenant, "gates.jsonl", rows), vector_store_id=store.id, poll_interval_ms=50
    )
    assert file.status == "completed"
    assert file.last_error is not None
    assert file.last_error.code == "invalid_file"
    assert "gates.jsonl, line 2" in file.last_error.message
    assert found(tenant, store, "gate") == [file.id]


def test_files_of_a_batch_have_attributes_of_their_own(
    tenant: openai.OpenAI, store: VectorStore
) -> None:
    first, second = upload(tenant, "hours.md", HOURS), upload(tenant, "bread.md", BREAD)
    batch = tenant.vector_stores.file_batches.create_and_poll(
        store.id,
        files=[
            {"file_id": first, "attributes": {"of": "one"}},
            {
                "file_id": second,
                "chunking_strategy": {
                    "type": "static",
                    "static": {"max_chunk_size_tokens": 100, "chunk_overlap_tokens": 0},
                },
            },
        ],
        poll_interval_ms=50,
    )
    assert (batch.object, batch.status) == ("vector_store.files_batch", "completed")
    assert batch.file_counts.total == batch.file_counts.completed == 2
    same = tenant.vector_stores.file_batches.retrieve(batch.id, vector_store_id=store.id)
    assert same == batch
    files = list(
        tenant.vector_stores.file_batches.list_files(
            batch.id, vector_store_id=store.id, order="asc", limit=1
        )
    )
    assert [(file.id, file.attributes) for file in files] == [(first, {"of": "one"}), (second, {})]
    strategy = files[1].chunking_strategy
    assert strategy is not None
    assert strategy.type == "static"
    assert strategy.static.max_chunk_size_tokens == 100
    listed = tenant.vector_stores.files.list(store.id, before=first, order="desc")
    assert [file.id for file in listed.data] == [second]


def test_a_batch_is_cancelled_while_it_is_added(tenant: openai.OpenAI, store: VectorStore) -> None:
    # Long enough to be still in work: thousands of rows, each a document.
    rows = b"".join(b'{"text": "gate number %d opens at six"}\n' % n for n in range(20_000))
    ids = [upload(tenant, f"gates-{n}.jsonl", rows) for n in range(3)]
    batch = tenant.vector_stores.file_batches.create(store.id, file_ids=ids)

    def begun() -> bool:
        files = tenant.vector_stores.files.list(store.id).data
        return any((file.model_extra or {})["driftgate"]["progress"] for file in files)

    wait(begun, 20)
    assert tenant.vector_stores.retrieve(store.id).status == "in_progress"
    cancelled = tenant.vector_stores.file_batches.cancel(batch.id, vector_store_id=store.id)
    assert (cancelled.status, cancelled.file_counts.cancelled) == ("cancelled", 3)
    wait(lambda: found(tenant, store, "gate") == [], 20)
    after = tenant.vector_stores.file_batches.retrieve(batch.id, vector_store_id=store.id)
    assert (after.status, after.file_counts.completed) == ("cancelled", 0)
    # It is over, and the store takes other files.
    file = add(tenant, store, "hours.md", HOURS)
    assert found(tenant, store, "gate opens Karlsruhe") == [file.id]


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({}, "file_id"),
        ({"file_id": ""}, "file_id"),
        ({"file_id": "file-none"}, "file_id"),
        ({"attributes": {"a": [1]}}, "attributes"),
        ({"attributes": {"a": None}}, "attributes"),
        ({"attributes": {"a": "x" * 513}}, "attributes"),
        ({"attributes": {"a": 1e300}}, "attributes"),
        ({"attributes": {str(n): 1 for n in range(17)}}, "attributes"),
        ({"attributes": {"valid_from": "yesterday"}}, "attributes"),
        ({"attributes": {"ttl": "soon"}}, "attributes"),
        ({"attributes": {"valid_to": "2020-01-01", "ttl": 5}}, "attributes"),
        ({"attributes": {"supersedes": "[1]]"}}, "attributes"),
        ({"attributes": {"title": True}}, "attributes"),
        ({"attributes": {"title": "a", "Title": "b"}}, "attributes"),
        ({"chunking_strategy": {"type": "auto", "static": None, "x": 1}}, "chunking_strategy.x"),
        ({"colour": "red"}, "colour"),
    ],
)
def test_a_wrong_field_is_named(
    tenant: openai.OpenAI, store: VectorStore, fields: dict[str, Any], param: str
) -> None:
    given = fields
    if fields and "file_id" not in fields:
        given = {"file_id": upload(tenant, "a.txt", b"x"), **fields}
    with pytest.raises(openai.BadRequestError) as caught:
        tenant.post(f"/vector_stores/{store.id}/files", body=given, cast_to=object)
    assert caught.value.param == param
    if "attributes" in fields and len(fields["attributes"]) == 1:
        assert min(fields["attributes"]) in caught.value.message
    assert tenant.vector_stores.retrieve(store.id).file_counts.total == 0


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({}, None),
        ({"file_ids": ["file-none"]}, "file_ids.0"),
        ({"file_ids": []}, "file_ids"),
        ({"files": [{"file_id": "file-none"}]}, "files.0.file_id"),
        ({"files": [{"attributes": {}}]}, "files.0.file_id"),
        ({"file_ids": ["file-1"], "files": [{"file_id": "file-1"}]}, None),
        ({"file_ids": ["x"] * 2001}, "file_ids"),
    ],
)
def test_a_wrong_field_of_a_batch_is_named(
    tenant: openai.OpenAI, store: VectorStore, fields: dict[str, Any], param: str | None
) -> None:
    with pytest.raises(openai.BadRequestError) as caught:
        tenant.post(f"/vector_stores/{store.id}/file_batches", body=fields, cast_to=object)
    assert caught.value.param == param


def test_lists_name_what_is_wrong(desk: Desk, tenant: openai.OpenAI, store: VectorStore) -> None:
    with desk.gateway.client(tenant.api_key) as client:
        for query, param in (
            ("limit=0", "limit"), ("limit=101", "limit"), ("order=up", "order"),
            ("filter=done", "filter"), ("after=nope", "after"), ("before=nope", "before"),
        ):  # fmt: skip
            answer = client.get(f"/v1/vector_stores/{store.id}/files?{query}")
            assert (answer.status_code, answer.json()["error"]["param"]) == (400, param)
