"""`/v1/vector_stores` in OpenAI's shape: documents that answers are grounded on.

https://platform.openai.com/docs/api-reference/vector-stores. The scope is `inference`. Beside
OpenAI's fields there is `driftgate` (the official client's `extra_body`):

    {"driftgate": {"shared": true}}

makes a store of the operator's, which every key may search; it takes a key with `admin`.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, Path, Query

from gateway.api.access import owner_of, principal_of
from gateway.api.files import listed, no_cursor
from gateway.api.vector_store_access import StoreAccess
from gateway.api.vector_store_shapes import (
    FileRequest,
    StoreRequest,
    StoreUpdate,
    sizes,
    store_object,
)
from gateway.auth import KeyRing, Principal
from gateway.errors import InvalidRequest, PermissionDenied
from gateway.indexed import Indexed
from gateway.store.vector_stores import VectorStore, vector_store_id

# Each open collection costs the retrieval service memory.
MAX_STORES = 1000
StoreId = Annotated[str, Path(alias="vector_store_id", max_length=80, pattern=r"^[A-Za-z0-9_-]+$")]
Cursor = Annotated[str | None, Query(max_length=80, pattern=r"^[^\x00]*$")]
Limit = Annotated[int, Query(ge=1, le=100)]
Order = Literal["asc", "desc"]


@dataclass(frozen=True, slots=True)
class Paging:
    """Which page of a list: OpenAI's query parameters."""

    after: Cursor = None
    before: Cursor = None
    limit: Limit = 20
    order: Order = "desc"

    def of(self, page: Callable[..., Any], noun: str, **asked: Any) -> Any:
        """Return the page; where it begins or ends at nothing, InvalidRequest names the field."""
        try:
            return page(
                after=self.after or None,
                before=self.before or None,
                limit=self.limit,
                ascending=self.order == "asc",
                **asked,
            )
        except KeyError as error:
            param = "after" if error.args[0] == self.after else "before"
            raise no_cursor(noun, error.args[0], param) from None


Page = Annotated[Paging, Depends()]
UNKNOWN: dict[int | str, dict[str, Any]] = {404: {"description": "No such vector store."}}


def router(keys: KeyRing, access: StoreAccess, indexed: Indexed) -> APIRouter:
    """Return the routes of vector stores.

    Args:
        keys: Who calls; the scope is `inference`.
        access: The stores.
        indexed: What the index holds of them.
    """
    caller = Annotated[Principal, Depends(principal_of(keys, "inference"))]
    api = APIRouter(prefix="/v1/vector_stores", tags=["vector stores"])

    def shown(store: VectorStore) -> dict[str, Any]:
        return store_object(store, access.files.counts([store.id])[store.id])

    @api.post("", summary="Make a vector store")
    def create(body: StoreRequest, principal: caller) -> dict[str, Any]:
        if body.driftgate.shared and "admin" not in principal.scopes:
            raise PermissionDenied(
                "A vector store for every key needs a key with the scope `admin`.",
                code="insufficient_scope",
                param="driftgate.shared",
            )
        owner = None if body.driftgate.shared else principal.key_prefix
        if access.stores.owned(owner) >= MAX_STORES:
            raise InvalidRequest(
                f"There are {MAX_STORES} vector stores already; delete one.",
                code="too_many_vector_stores",
            )
        store = VectorStore(
            id=vector_store_id(),
            key_prefix=owner,
            created_at=time.time(),
            name=body.name or "",
            description=body.description,
            metadata=body.metadata or {},
            chunking=sizes(body.chunking_strategy),
            expires_after_days=None if body.expires_after is None else body.expires_after.days,
        )
        wanted = [(f"file_ids.{n}", FileRequest(file_id=id)) for n, id in enumerate(body.file_ids)]
        rows = access.rows(store, wanted, principal)
        store = access.stores.add(store)
        access.files.add(rows)
        if rows:
            indexed.wake()
        return shown(store)

    @api.get("", summary="List vector stores")
    def listing(principal: caller, page: Page) -> dict[str, Any]:
        found, more = page.of(access.stores.page, "vector store", owner=owner_of(principal))
        counts = access.files.counts([store.id for store in found])
        return listed([store_object(store, counts[store.id]) for store in found], more)

    @api.get("/{vector_store_id}", summary="Show a vector store", responses=UNKNOWN)
    def retrieve(id: StoreId, principal: caller) -> dict[str, Any]:
        return shown(access.seen(id, principal))

    @api.post("/{vector_store_id}", summary="Change a vector store", responses=UNKNOWN)
    def update(id: StoreId, body: StoreUpdate, principal: caller) -> dict[str, Any]:
        store = access.changeable(id, principal)
        given = body.model_fields_set
        values: dict[str, Any] = {}
        if "name" in given:
            values["name"] = body.name or ""
        if "metadata" in given:
            values["metadata"] = body.metadata or {}
        if "expires_after" in given:
            access.usable(store)
            days = None if body.expires_after is None else body.expires_after.days
            values["expires_after_days"] = days
        changed = access.stores.update(store.id, **values)
        return shown(changed or access.seen(id, principal))

    @api.delete("/{vector_store_id}", summary="Delete a vector store", responses=UNKNOWN)
    def delete(id: StoreId, principal: caller) -> dict[str, Any]:
        store = access.changeable(id, principal)
        deleted = access.stores.remove(store.id)
        indexed.wake()
        return {"id": store.id, "object": "vector_store.deleted", "deleted": deleted}

    return api
