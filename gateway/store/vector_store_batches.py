"""Batches of files that were added to a vector store at once."""

import secrets
import time
from dataclasses import asdict, dataclass

import sqlalchemy as sa

from gateway.store.database import Database, metadata

_table = sa.Table(
    "vector_store_file_batches",
    metadata,
    sa.Column("id", sa.String(40), primary_key=True),
    sa.Column("vector_store_id", sa.String(80), nullable=False, index=True),
    sa.Column("created_at", sa.Double, nullable=False),
    sa.Column("cancelled_at", sa.Double),
)


@dataclass(frozen=True, slots=True)
class FileBatch:
    """A batch, `vsfb_…`; its files name it. Times in Unix seconds."""

    id: str
    vector_store_id: str
    created_at: float
    cancelled_at: float | None = None


class FileBatches:
    """The batches in the store."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def add(self, batch: FileBatch) -> FileBatch:
        """Write a new batch."""
        with self._database.begin() as connection:
            connection.execute(_table.insert().values(**asdict(batch)))
        return batch

    def get(self, store: str, id: str) -> FileBatch | None:
        """Return a batch of a store, or None."""
        query = _table.select().where(_table.c.id == id, _table.c.vector_store_id == store)
        with self._database.begin() as connection:
            row = connection.execute(query).first()
        return None if row is None else FileBatch(**row._mapping)

    def cancel(self, id: str) -> None:
        """Note that a batch was cancelled."""
        with self._database.begin() as connection:
            cancelled = _table.update().where(_table.c.id == id, _table.c.cancelled_at.is_(None))
            connection.execute(cancelled.values(cancelled_at=time.time()))

    def forget(self, store: str) -> None:
        """Delete the batches of a store that is gone."""
        with self._database.begin() as connection:
            connection.execute(_table.delete().where(_table.c.vector_store_id == store))


def batch_id() -> str:
    """Return a new id."""
    return f"vsfb_{secrets.token_hex(12)}"
