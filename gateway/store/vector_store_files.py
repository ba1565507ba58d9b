"""Files of vector stores: what is to be indexed, how far it is, and which worker has claimed it.

    in_progress → completed          removing → (no row)
         ↘ failed    ↘ cancelled

A row is work while it is `in_progress`, and while documents of it are to go (`stale`). A worker
claims it (`gateway.store.indexing`), and may write only while it holds the claim and the row is
still what it claimed: every wish of a client (add again, other attributes, cancel, remove) is a new
`revision`, whose work begins when the worker of the old one has let go.
"""

import time
from collections.abc import Collection, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from gateway.store.database import Database, metadata, storable
from gateway.store.paging import page

IN_PROGRESS, COMPLETED, FAILED, CANCELLED = "in_progress", "completed", "failed", "cancelled"
STATUSES = (IN_PROGRESS, COMPLETED, FAILED, CANCELLED)
REMOVING = "removing"
files_table = sa.Table(
    "vector_store_files",
    metadata,
    sa.Column("seq", sa.Integer, primary_key=True, autoincrement=True),
    sa.Column("vector_store_id", sa.String(80), nullable=False),
    sa.Column("file_id", sa.String(40), nullable=False, index=True),
    sa.Column("key_prefix", sa.String(8)),
    sa.Column("created_at", sa.Double, nullable=False),
    sa.Column("status", sa.String(20), nullable=False, index=True),
    sa.Column("stale", sa.Boolean, nullable=False, index=True),
    sa.Column("revision", sa.Integer, nullable=False),
    sa.Column("last_error", sa.JSON(none_as_null=True)),
    sa.Column("attributes", sa.JSON, nullable=False),
    sa.Column("chunking", sa.JSON(none_as_null=True)),
    sa.Column("batch_id", sa.String(40), index=True),
    sa.Column("usage_bytes", sa.BigInteger, nullable=False),
    sa.Column("documents", sa.Integer, nullable=False),
    sa.Column("passages", sa.Integer, nullable=False),
    sa.Column("progress", sa.JSON(none_as_null=True)),
    sa.Column("attempts", sa.Integer, nullable=False),
    sa.Column("claim", sa.String(100)),
    sa.Column("claimed_until", sa.Double),
    sa.Index(
        "ix_vector_store_files_vector_store_id_file_id", "vector_store_id", "file_id", unique=True
    ),
)
_WISHES = ("key_prefix", "created_at", "status", "attributes", "chunking", "batch_id", "attempts")


@dataclass(frozen=True, slots=True)
class VectorStoreFile:
    """A file of a vector store.

    Args:
        vector_store_id: The store.
        file_id: The uploaded file.
        key_prefix: The key that added it.
        created_at: When it was added, in Unix seconds, as all times here.
        status: One of the states above.
        stale: Whether the index may hold documents of it that are to go first.
        revision: Counts the wishes of clients.
        last_error: Why it failed, or what of it could not be read: code and message.
        attributes: The client's; see `gateway.ingestion`.
        chunking: How it is cut; None: as its store says.
        batch_id: The batch that added it last.
        usage_bytes: What it takes in the index.
        documents: Documents of it that can be found.
        passages: Their passages.
        progress: How far it has been read, while it is: `read` of `total`, and their `unit`.
        attempts: How often it was claimed since it last ended or the service was away.
        claim: The token of the worker that has it.
        claimed_until: When that claim ends unless it is renewed; without a claim, when it may be
            tried again.
        seq: Its number in the order of adding.
    """

    vector_store_id: str
    file_id: str
    key_prefix: str | None
    created_at: float
    status: str = IN_PROGRESS
    stale: bool = False
    revision: int = 0
    last_error: dict[str, str] | None = None
    attributes: dict[str, str | float | bool] = field(default_factory=dict)
    chunking: dict[str, int] | None = None
    batch_id: str | None = None
    usage_bytes: int = 0
    documents: int = 0
    passages: int = 0
    progress: dict[str, Any] | None = None
    attempts: int = 0
    claim: str | None = None
    claimed_until: float | None = None
    seq: int | None = None


@dataclass(slots=True)
class FileCounts:
    """How many files are in each state, and what they take in the index."""

    in_progress: int = 0
    completed: int = 0
    failed: int = 0
    cancelled: int = 0
    usage_bytes: int = 0

    @property
    def total(self) -> int:
        """All of them."""
        return self.in_progress + self.completed + self.failed + self.cancelled


class VectorStoreFiles:
    """The files of vector stores, in the store."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def add(self, files: Sequence[VectorStoreFile]) -> None:
        """Write files to be indexed; one that is there already is indexed anew."""
        rows = [asdict(file) for file in files]
        for row in rows:
            del row["seq"]
        with self._database.begin() as connection:
            dialect = postgresql if connection.dialect.name == "postgresql" else sqlite
            insert = dialect.insert(files_table)
            fresh: dict[str, Any] = {name: insert.excluded[name] for name in _WISHES}
            insert = insert.on_conflict_do_update(
                index_elements=["vector_store_id", "file_id"], set_=fresh | _changed(stale=True)
            )
            if rows:
                connection.execute(insert, [storable(row) for row in rows])

    def get(self, store: str, file_id: str) -> VectorStoreFile | None:
        """Return a file, or None; one that is being removed is none."""
        with self._database.begin() as connection:
            query = files_table.select().where(
                _at(store, file_id), files_table.c.status != REMOVING
            )
            row = connection.execute(query).first()
        return None if row is None else VectorStoreFile(**row._mapping)

    def among(self, ids: Collection[tuple[str, str]]) -> dict[tuple[str, str], VectorStoreFile]:
        """Return those of some files (store and file) that have a row, removed ones included."""
        if not ids:
            return {}
        query = files_table.select().where(
            files_table.c.vector_store_id.in_({store for store, _ in ids}),
            files_table.c.file_id.in_({file for _, file in ids}),
        )
        with self._database.begin() as connection:
            rows = [VectorStoreFile(**row._mapping) for row in connection.execute(query)]
        return {(row.vector_store_id, row.file_id): row for row in rows}

    def page(
        self,
        store: str,
        *,
        batch: str | None = None,
        status: str | None = None,
        after: str | None = None,
        before: str | None = None,
        limit: int = 20,
        ascending: bool = False,
    ) -> tuple[list[VectorStoreFile], bool]:
        """Return files of a store in the order of their time, and whether there are more.

        Args:
            store: The store.
            batch: Only those of this batch.
            status: Only those in this state.
            after: Id of the file after which the page begins.
            before: Id of the file before which it ends.
            limit: Most files of a page.
            ascending: Oldest first.

        Raises:
            KeyError: There is no file `after` or `before`.
        """
        query = files_table.select().where(
            files_table.c.vector_store_id == store, files_table.c.status != REMOVING
        )
        if batch is not None:
            query = query.where(files_table.c.batch_id == batch)
        if status is not None:
            query = query.where(files_table.c.status == status)
        edges = [None if id is None else self._edge(store, id) for id in (after, before)]
        with self._database.begin() as connection:
            rows, more = page(
                connection,
                query,
                (files_table.c.created_at, files_table.c.seq),
                after=edges[0],
                before=edges[1],
                limit=limit,
                ascending=ascending,
            )
        return [VectorStoreFile(**row._mapping) for row in rows], more

    def counts(self, stores: Collection[str]) -> dict[str, FileCounts]:
        """Return the counts of stores."""
        return self._counts(files_table.c.vector_store_id, stores)

    def batch_counts(self, batch: str) -> FileCounts:
        """Return the counts of a batch; a file counts for the batch that added it last."""
        return self._counts(files_table.c.batch_id, [batch])[batch]

    def _counts(self, column: sa.Column[Any], ids: Collection[str]) -> dict[str, FileCounts]:
        query = (
            sa.select(
                column,
                files_table.c.status,
                sa.func.count(),
                sa.func.sum(files_table.c.usage_bytes),
            )
            .where(column.in_(list(ids)), files_table.c.status != REMOVING)
            .group_by(column, files_table.c.status)
        )
        counts = {id: FileCounts() for id in ids}
        with self._database.begin() as connection:
            for id, status, number, size in connection.execute(query):
                setattr(counts[id], status, number)
                counts[id].usage_bytes += int(size)
        return counts

    def set_attributes(
        self, store: str, file_id: str, attributes: dict[str, Any], *, stale: bool
    ) -> VectorStoreFile | None:
        """Give a file other attributes: it is indexed anew. None: there is no such file.

        Args:
            store: The store.
            file_id: The file.
            attributes: In place of those it had.
            stale: Whether its documents get other ids, so that the old ones must go first.
        """
        update = (
            files_table.update()
            .where(_at(store, file_id), files_table.c.status != REMOVING)
            .values(
                attributes=storable(attributes),
                status=sa.case(
                    (files_table.c.status == CANCELLED, CANCELLED), else_=sa.literal(IN_PROGRESS)
                ),
                attempts=0,
                **_changed(stale=sa.or_(files_table.c.stale, sa.literal(stale))),
            )
            .returning(*files_table.c)
        )
        with self._database.begin() as connection:
            row = connection.execute(update).first()
        return None if row is None else VectorStoreFile(**row._mapping)

    def remove(self, store: str, file_id: str) -> bool:
        """Remove a file from a store; returns whether it was there."""
        return self._end(_at(store, file_id), REMOVING) > 0

    def remove_everywhere(self, file_id: str) -> list[str]:
        """Remove a file from all stores; returns their ids."""
        mine = sa.and_(files_table.c.file_id == file_id, files_table.c.status != REMOVING)
        with self._database.begin() as connection:
            rows = connection.execute(sa.select(files_table.c.vector_store_id).where(mine)).all()
        self._end(mine, REMOVING)
        return [row.vector_store_id for row in rows]

    def remove_all(self, store: str) -> None:
        """Remove all files of a store that is deleted or has expired."""
        self._end(files_table.c.vector_store_id == store, REMOVING)

    def cancel(self, batch: str) -> int:
        """Cancel what is still in progress of a batch; returns how many files that were."""
        mine = sa.and_(files_table.c.batch_id == batch, files_table.c.status == IN_PROGRESS)
        return self._end(mine, CANCELLED)

    def forget(self, store: str) -> bool:
        """Delete the rows of a dropped store, unless a worker still holds one of them."""
        mine = files_table.c.vector_store_id == store
        held = sa.and_(
            mine, files_table.c.claim.is_not(None), files_table.c.claimed_until > time.time()
        )
        with self._database.begin() as connection:
            if connection.execute(sa.select(files_table.c.seq).where(held).limit(1)).first():
                return False
            connection.execute(files_table.delete().where(mine))
        return True

    def _end(self, which: sa.ColumnElement[bool], status: str) -> int:
        ended = _changed(stale=True) | {"status": status, "attempts": 0, "usage_bytes": 0}
        update = files_table.update().where(which, files_table.c.status != REMOVING).values(**ended)
        with self._database.begin() as connection:
            return connection.execute(update).rowcount

    def _edge(self, store: str, file_id: str) -> tuple[float, int]:
        file = self.get(store, file_id)
        if file is None or file.seq is None:
            raise KeyError(file_id)
        return file.created_at, file.seq


def _at(store: str, file_id: str) -> sa.ColumnElement[bool]:
    return sa.and_(files_table.c.vector_store_id == store, files_table.c.file_id == file_id)


def _changed(stale: Any) -> dict[str, Any]:
    """Return what every wish of a client writes; a claim that holds is left to its holder."""
    return {
        "revision": files_table.c.revision + 1,
        "stale": stale,
        "last_error": None,
        "progress": None,
        "claimed_until": sa.case(
            (files_table.c.claim.is_(None), sa.null()), else_=files_table.c.claimed_until
        ),
    }
