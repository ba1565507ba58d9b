"""What `driftgate index` works on: the store, the gateway's files and the retrieval service."""

import contextlib
import time
from collections.abc import AsyncIterator, Collection
from dataclasses import dataclass

from gateway.settings import Settings
from gateway.store.database import Database
from gateway.store.files import Files
from gateway.store.keys import Keys
from gateway.store.vector_store_files import FileCounts, VectorStoreFiles
from gateway.store.vector_stores import VectorStore, VectorStores, vector_store_id
from retrieval.client import RetrievalClient

_PAGE = 1000


class StoreProblem(Exception):
    """There is no such vector store, or it cannot be told which is meant."""


@dataclass(frozen=True, slots=True)
class Opened:
    """What commands work on."""

    database: Database
    uploads: Files
    client: RetrievalClient

    def stores(self) -> list[VectorStore]:
        """Return all vector stores, the newest first."""
        found: list[VectorStore] = []
        after, more = None, True
        while more:
            page, more = VectorStores(self.database).page(after=after, limit=_PAGE)
            found += page
            after = page[-1].id if page else None
        return found

    def chosen(self, named: str | None, key: str | None) -> list[VectorStore]:
        """Return one vector store, or all where none is named; errors as of `store`."""
        return self.stores() if named is None else [self.store(named, key)]

    def store(self, named: str, key: str | None, *, create: bool = False) -> VectorStore:
        """Return the vector store of an id or a name.

        Args:
            named: Its id or its name.
            key: Whose it is, by the key's prefix; of a name, None means the operator's.
            create: Whether a name that there is not yet is given to a new store.

        Raises:
            StoreProblem: There is none, there are several, or it has expired.
        """
        if key is not None and all(each.prefix != key for each in Keys(self.database).all()):
            raise StoreProblem(f"There is no key {key}. `driftgate keys list` shows them.")
        found = VectorStores(self.database).get(named)
        if found is not None and key not in (None, found.key_prefix):
            raise StoreProblem(f"{named} is not of the key {key}.")
        if found is None:
            found = self._named(named, key)
        if found is None:
            if not create or named.startswith("vs_"):
                whose = f" of the key {key}" if key else ""
                raise StoreProblem(f"There is no vector store {named}{whose}.")
            if not named.strip() or len(named) > 256 or not named.isprintable():
                raise StoreProblem("A name is 1 to 256 printable characters.")
            return VectorStores(self.database).add(
                VectorStore(vector_store_id(), key, time.time(), named)
            )
        if found.expired():
            raise StoreProblem(f"The vector store {named} has expired; make a new one.")
        return found

    def files(self, store: str) -> dict[str, str]:
        """Return the files of a vector store, by id, with their names."""
        found: dict[str, str] = {}
        after, more = None, True
        while more:
            page, more = VectorStoreFiles(self.database).page(store, after=after, limit=_PAGE)
            for row in page:
                upload = self.uploads.get(row.file_id)
                found[row.file_id] = "" if upload is None else upload.filename
            after = page[-1].file_id if page else None
        return found

    def counts(self, stores: Collection[str]) -> dict[str, FileCounts]:
        """Return how many files vector stores have."""
        return VectorStoreFiles(self.database).counts(stores)

    def _named(self, name: str, key: str | None) -> VectorStore | None:
        found = [each for each in self.stores() if each.name == name and each.key_prefix == key]
        found = [each for each in found if not each.expired()] or found
        if len(found) > 1:
            ids = ", ".join(each.id for each in found)
            raise StoreProblem(f"Several vector stores are called {name}: {ids}. Name one by id.")
        return found[0] if found else None


@contextlib.asynccontextmanager
async def opened(settings: Settings) -> AsyncIterator[Opened]:
    """Open what commands work on while the block runs.

    Raises:
        StoreError: The store cannot be opened.
    """
    database = Database(settings.resolved_database_url())
    client = RetrievalClient(settings.retrieval_socket())
    try:
        database.migrate()
        yield Opened(database, Files(database, settings.files_dir()), client)
    finally:
        await client.close()
        database.close()
