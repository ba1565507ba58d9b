"""Which vector stores a caller may see, search and change.

A key sees its own stores and the operator's; another key's is as unknown as one that never was. It
changes its own only. A key with `admin` sees and changes all.
"""

import time
from collections.abc import Sequence

from gateway.api.access import owner_of
from gateway.api.files import known as known_file
from gateway.api.vector_store_shapes import FileRequest, sizes
from gateway.auth import Principal
from gateway.errors import InvalidRequest, NotFound, PermissionDenied
from gateway.store.database import Database
from gateway.store.files import Files
from gateway.store.vector_store_batches import FileBatches
from gateway.store.vector_store_files import VectorStoreFile, VectorStoreFiles
from gateway.store.vector_stores import VectorStore, VectorStores

PURPOSES = ("assistants", "user_data")
# As OpenAI's; a store of more is slow to list and to rebuild.
MAX_FILES = 10_000


class StoreAccess:
    """The vector stores, as callers see them.

    Args:
        database: Where they are.
        uploads: The files that may be added.
    """

    def __init__(self, database: Database, uploads: Files) -> None:
        self.stores = VectorStores(database)
        self.files = VectorStoreFiles(database)
        self.batches = FileBatches(database)
        self.uploads = uploads

    def seen(self, id: str, principal: Principal) -> VectorStore:
        """Return a store that the caller may see.

        Raises:
            NotFound: There is none.
        """
        store = self.stores.get(id)
        owner = owner_of(principal)
        if store is None or (owner is not None and store.key_prefix not in (None, owner)):
            raise NotFound(
                f"There is no vector store `{id}`.",
                code="vector_store_not_found",
                param="vector_store_id",
            )
        return store

    def changeable(self, id: str, principal: Principal) -> VectorStore:
        """Return a store that the caller may change.

        Raises:
            NotFound: There is none.
            PermissionDenied: It is the operator's.
        """
        store = self.seen(id, principal)
        if store.key_prefix != principal.key_prefix and "admin" not in principal.scopes:
            raise PermissionDenied(
                f"`{id}` is the operator's: every key may search it, and only one with the scope "
                "`admin` may change it.",
                code="insufficient_scope",
                param="vector_store_id",
            )
        return store

    def usable(self, store: VectorStore) -> VectorStore:
        """Return the store; InvalidRequest where it has expired."""
        if store.expired():
            raise InvalidRequest(
                f"The vector store `{store.id}` has expired; make a new one.",
                code="vector_store_expired",
                param="vector_store_id",
            )
        return store

    def file(self, store: VectorStore, file_id: str) -> VectorStoreFile:
        """Return a file of a store; NotFound where it has no such file."""
        found = self.files.get(store.id, file_id)
        if found is None:
            raise NotFound(
                f"`{store.id}` has no file `{file_id}`.",
                code="vector_store_file_not_found",
                param="file_id",
            )
        return found

    def rows(
        self,
        store: VectorStore,
        wanted: Sequence[tuple[str, FileRequest]],
        principal: Principal,
        batch: str | None = None,
    ) -> list[VectorStoreFile]:
        """Return files as they are to be added to a store, once all of them are checked.

        Args:
            store: The store.
            wanted: Each file with the name of the field that names it.
            principal: Who adds them.
            batch: The batch that they belong to.

        Raises:
            InvalidRequest: One is unknown, named twice, of another purpose, or too many.
        """
        named: set[str] = set()
        rows = []
        for param, file in wanted:
            self._check(param, file.file_id, principal)
            if file.file_id in named:
                raise InvalidRequest(
                    f"`{file.file_id}` is named twice.", code="duplicate_file", param=param
                )
            named.add(file.file_id)
            rows.append(
                VectorStoreFile(
                    vector_store_id=store.id,
                    file_id=file.file_id,
                    key_prefix=principal.key_prefix,
                    created_at=time.time(),
                    attributes=file.attributes or {},
                    chunking=sizes(file.chunking_strategy),
                    batch_id=batch,
                )
            )
        if self.files.counts([store.id])[store.id].total + len(rows) > MAX_FILES:
            raise InvalidRequest(
                f"A vector store holds at most {MAX_FILES} files.",
                code="too_many_files",
                param=wanted[0][0] if wanted else None,
            )
        return rows

    def _check(self, param: str, id: str, principal: Principal) -> None:
        try:
            file = known_file(self.uploads, id, principal)
        except NotFound as error:
            raise InvalidRequest(error.message, code="file_not_found", param=param) from error
        if file.purpose not in PURPOSES:
            raise InvalidRequest(
                f"`{id}` was uploaded for `{file.purpose}`; a vector store takes files of the "
                f"purpose {' or '.join(f'`{purpose}`' for purpose in PURPOSES)}.",
                code="invalid_file_purpose",
                param=param,
            )
