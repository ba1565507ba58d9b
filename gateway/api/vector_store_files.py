"""Files of vector stores, one by one and in batches, in OpenAI's shape.

https://platform.openai.com/docs/api-reference/vector-stores-files. What attributes mean for
documents is said in `gateway.attributes`. A file that is added again is indexed anew, and belongs
to the batch that added it last. One that is deleted (`/v1/files`) leaves all stores.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, Path

from gateway import attributes
from gateway.api.access import principal_of
from gateway.api.files import listed
from gateway.api.vector_store_access import StoreAccess
from gateway.api.vector_store_shapes import (
    BatchRequest,
    FileRequest,
    FileUpdate,
    batch_object,
    file_object,
)
from gateway.api.vector_stores import UNKNOWN, Page, Paging, StoreId
from gateway.auth import KeyRing, Principal
from gateway.errors import NotFound
from gateway.indexed import Indexed
from gateway.store.vector_store_batches import FileBatch, batch_id
from gateway.store.vector_stores import VectorStore

_FileId = Annotated[str, Path(alias="file_id", max_length=64, pattern=r"^[^\x00]+$")]
_BatchId = Annotated[str, Path(alias="batch_id", max_length=64, pattern=r"^[^\x00]+$")]
_Status = Literal["in_progress", "completed", "failed", "cancelled"] | None


def forgetting(access: StoreAccess, indexed: Indexed) -> Callable[[str], Awaitable[None]]:
    """Return what takes an uploaded file that is deleted out of all vector stores."""

    async def forget(file_id: str) -> None:
        stores = await asyncio.to_thread(access.files.remove_everywhere, file_id)
        await asyncio.gather(*(indexed.remove(store, file_id) for store in stores))

    return forget


def router(keys: KeyRing, access: StoreAccess, indexed: Indexed) -> APIRouter:
    """Return the routes of files of vector stores.

    Args:
        keys: Who calls; the scope is `inference`.
        access: The stores.
        indexed: What the index holds of them.
    """
    caller = Annotated[Principal, Depends(principal_of(keys, "inference"))]
    api = APIRouter(prefix="/v1/vector_stores/{vector_store_id}", tags=["vector stores"])

    def one(store: VectorStore, file_id: str) -> dict[str, Any]:
        return file_object(access.file(store, file_id), store.chunking)

    def many(store: VectorStore, page: Paging, status: _Status, **asked: Any) -> dict[str, Any]:
        found, more = page.of(access.files.page, "file", store=store.id, status=status, **asked)
        return listed([file_object(file, store.chunking) for file in found], more)

    @api.post("/files", summary="Add a file", responses=UNKNOWN)
    def create(id: StoreId, body: FileRequest, principal: caller) -> dict[str, Any]:
        store = access.usable(access.changeable(id, principal))
        access.files.add(access.rows(store, [("file_id", body)], principal))
        indexed.wake()
        access.stores.update(store.id)
        return one(store, body.file_id)

    @api.get("/files", summary="List files", responses=UNKNOWN)
    def listing(
        id: StoreId, principal: caller, page: Page, filter: _Status = None
    ) -> dict[str, Any]:
        return many(access.seen(id, principal), page, filter)

    @api.get("/files/{file_id}", summary="Show a file", responses=UNKNOWN)
    def retrieve(id: StoreId, file_id: _FileId, principal: caller) -> dict[str, Any]:
        return one(access.seen(id, principal), file_id)

    @api.post("/files/{file_id}", summary="Replace its attributes", responses=UNKNOWN)
    def update(
        id: StoreId, file_id: _FileId, body: FileUpdate, principal: caller
    ) -> dict[str, Any]:
        store = access.usable(access.changeable(id, principal))
        file, given = access.file(store, file_id), body.attributes or {}
        if file.attributes != given:
            renamed = attributes.document_id(file.attributes) != attributes.document_id(given)
            access.files.set_attributes(store.id, file_id, given, stale=renamed)
            indexed.wake()
        return one(store, file_id)

    @api.delete("/files/{file_id}", summary="Remove a file from the store", responses=UNKNOWN)
    async def delete(id: StoreId, file_id: _FileId, principal: caller) -> dict[str, Any]:
        def removed() -> bool:
            store = access.changeable(id, principal)
            return access.files.remove(store.id, access.file(store, file_id).file_id)

        deleted = await asyncio.to_thread(removed)
        await indexed.remove(id, file_id)
        return {"id": file_id, "object": "vector_store.file.deleted", "deleted": deleted}

    @api.get("/files/{file_id}/content", summary="Show its text", responses=UNKNOWN)
    async def content(id: StoreId, file_id: _FileId, principal: caller) -> dict[str, Any]:
        def found() -> Any:
            store = access.usable(access.seen(id, principal))
            file = access.file(store, file_id)
            return file, access.uploads.get(file_id), store.chunking

        file, upload, chunking = await asyncio.to_thread(found)
        if upload is None:
            raise NotFound(f"There is no file `{file_id}`.", code="file_not_found", param="file_id")
        how = attributes.options(file, upload.filename, chunking)
        texts = await indexed.texts(access.uploads.path(file_id), how)
        return {
            "object": "vector_store.file_content.page",
            "data": [{"type": "text", "text": text.text} for text in texts],
            "has_more": False,
            "next_page": None,
        }

    def batch_of(store: VectorStore, id: str) -> FileBatch:
        batch = access.batches.get(store.id, id)
        if batch is None:
            raise NotFound(
                f"`{store.id}` has no file batch `{id}`.",
                code="file_batch_not_found",
                param="batch_id",
            )
        return batch

    def shown(batch: FileBatch) -> dict[str, Any]:
        return batch_object(batch, access.files.batch_counts(batch.id))

    @api.post("/file_batches", summary="Add files at once", responses=UNKNOWN)
    def create_batch(id: StoreId, body: BatchRequest, principal: caller) -> dict[str, Any]:
        store = access.usable(access.changeable(id, principal))
        batch = FileBatch(batch_id(), store.id, time.time())
        rows = access.rows(store, body.wanted(), principal, batch.id)
        access.batches.add(batch)
        access.files.add(rows)
        indexed.wake()
        access.stores.update(store.id)
        return shown(batch)

    @api.get("/file_batches/{batch_id}", summary="Show a batch", responses=UNKNOWN)
    def retrieve_batch(id: StoreId, batch: _BatchId, principal: caller) -> dict[str, Any]:
        return shown(batch_of(access.seen(id, principal), batch))

    @api.post(
        "/file_batches/{batch_id}/cancel", summary="Cancel what is left of it", responses=UNKNOWN
    )
    def cancel(id: StoreId, batch: _BatchId, principal: caller) -> dict[str, Any]:
        store = access.changeable(id, principal)
        known = batch_of(store, batch)
        if access.files.cancel(known.id):
            access.batches.cancel(known.id)
            indexed.wake()
        return shown(batch_of(store, batch))

    @api.get("/file_batches/{batch_id}/files", summary="List its files", responses=UNKNOWN)
    def batch_files(
        id: StoreId, batch: _BatchId, principal: caller, page: Page, filter: _Status = None
    ) -> dict[str, Any]:
        store = access.seen(id, principal)
        return many(store, page, filter, batch=batch_of(store, batch).id)

    return api
