"""Vector stores: whose they are, and how long they last. Their index is the retrieval service's.

A store's id is the name of its collection there. One that is deleted is gone for clients at once;
its row stays, out of sight, until the collection is dropped as well (`gateway.ingestion`). One that
has expired stays visible without its contents.
"""

import secrets
import time
from collections.abc import Collection
from dataclasses import asdict, dataclass, replace
from typing import Any

import sqlalchemy as sa

from gateway.store.database import Database, metadata, storable
from gateway.store.paging import page

DAY_S = 24 * 3600.0
# Activity is written so often at most: a busy store must not cost a write for each search.
_ACTIVE_S = 1.0

_table = sa.Table(
    "vector_stores",
    metadata,
    sa.Column("id", sa.String(80), primary_key=True),
    sa.Column("key_prefix", sa.String(8), index=True),
    sa.Column("created_at", sa.Double, nullable=False),
    sa.Column("name", sa.Text, nullable=False),
    sa.Column("description", sa.Text),
    sa.Column("metadata", sa.JSON, nullable=False),
    sa.Column("chunking", sa.JSON(none_as_null=True)),
    sa.Column("expires_after_days", sa.Integer),
    sa.Column("last_active_at", sa.Double, nullable=False),
    sa.Column("expires_at", sa.Double),
    sa.Column("removed_at", sa.Double),
    sa.Column("dropped_at", sa.Double),
)


@dataclass(frozen=True, slots=True)
class VectorStore:
    """A vector store.

    Args:
        id: `vs_…`, also the name of its collection in the retrieval service.
        key_prefix: Whose it is; None: the operator's, which every key may search.
        created_at: Unix seconds, as all times here.
        name: For people.
        description: For people.
        metadata: The client's.
        chunking: How files are cut that do not say it themselves: `max_chunk_size_tokens` and
            `chunk_overlap_tokens`; None: Driftgate's default.
        expires_after_days: Days without a search after which it expires; None: it stays.
        last_active_at: When it was last searched or changed.
        expires_at: When it expires, unless it is searched before.
        removed_at: When it was deleted.
        dropped_at: When the contents of an expired store were dropped.
    """

    id: str
    key_prefix: str | None
    created_at: float
    name: str = ""
    description: str | None = None
    metadata: dict[str, str] | None = None
    chunking: dict[str, int] | None = None
    expires_after_days: int | None = None
    last_active_at: float = 0.0
    expires_at: float | None = None
    removed_at: float | None = None
    dropped_at: float | None = None

    def expired(self, now: float | None = None) -> bool:
        """Return whether it has expired."""
        now = time.time() if now is None else now
        return self.expires_at is not None and self.expires_at <= now


class VectorStores:
    """The vector stores in the store."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def add(self, store: VectorStore) -> VectorStore:
        """Write a new store, active from its creation."""
        store = replace(
            store,
            metadata=store.metadata or {},
            last_active_at=store.created_at,
            expires_at=_expiry(store.created_at, store.expires_after_days),
        )
        with self._database.begin() as connection:
            connection.execute(_table.insert().values(**storable(asdict(store))))
        return store

    def get(self, id: str) -> VectorStore | None:
        """Return a store, or None; a deleted one is none."""
        with self._database.begin() as connection:
            query = _table.select().where(_table.c.id == id, _table.c.removed_at.is_(None))
            row = connection.execute(query).first()
        return None if row is None else VectorStore(**row._mapping)

    def page(
        self,
        *,
        owner: str | None = None,
        after: str | None = None,
        before: str | None = None,
        limit: int = 20,
        ascending: bool = False,
    ) -> tuple[list[VectorStore], bool]:
        """Return stores in the order of their time, and whether there are more.

        Args:
            owner: Only those of this key (its prefix) and the operator's; None: all.
            after: The store after which the page begins.
            before: The store before which it ends.
            limit: Most stores of a page.
            ascending: Oldest first.

        Raises:
            KeyError: There is no store `after` or `before`.
        """
        query = _table.select().where(_table.c.removed_at.is_(None))
        if owner is not None:
            query = query.where(_visible(owner))
        edges = [None if id is None else self._edge(id, owner) for id in (after, before)]
        with self._database.begin() as connection:
            rows, more = page(
                connection,
                query,
                (_table.c.created_at, _table.c.id),
                after=edges[0],
                before=edges[1],
                limit=limit,
                ascending=ascending,
            )
        return [VectorStore(**row._mapping) for row in rows], more

    def owned(self, key_prefix: str | None) -> int:
        """Return how many stores a key has."""
        query = sa.select(sa.func.count()).where(
            _table.c.removed_at.is_(None), _table.c.key_prefix.is_not_distinct_from(key_prefix)
        )
        with self._database.begin() as connection:
            return int(connection.execute(query).scalar_one())

    def update(self, id: str, **values: Any) -> VectorStore | None:
        """Change `name`, `description`, `metadata` or `expires_after_days`; None: no such store.

        To change a store is to use it: it counts as active now.
        """
        now = time.time()
        with self._database.begin() as connection:
            where = sa.and_(_table.c.id == id, _table.c.removed_at.is_(None))
            row = connection.execute(_table.select().where(where)).first()
            if row is None:
                return None
            store = VectorStore(**row._mapping)
            if not store.expired(now):
                days = values.get("expires_after_days", store.expires_after_days)
                values |= {"last_active_at": now, "expires_at": _expiry(now, days)}
            store = replace(store, **values)
            if values:
                connection.execute(_table.update().where(where).values(**storable(values)))
        return store

    def touch(self, ids: Collection[str]) -> None:
        """Note that stores are in use now; writes at most once a second for each."""
        now = time.time()
        seconds = sa.cast(_table.c.expires_after_days, sa.Double) * DAY_S
        update = (
            _table.update()
            .where(
                _table.c.id.in_(list(ids)),
                _table.c.last_active_at < now - _ACTIVE_S,
                sa.or_(_table.c.expires_at.is_(None), _table.c.expires_at > now),
            )
            .values(last_active_at=now, expires_at=now + seconds)
        )
        with self._database.begin() as connection:
            connection.execute(update)

    def remove(self, id: str) -> bool:
        """Delete a store; returns whether there was one. What it held is dropped afterwards."""
        update = _table.update().where(_table.c.id == id, _table.c.removed_at.is_(None))
        with self._database.begin() as connection:
            return connection.execute(update.values(removed_at=time.time())).rowcount > 0

    def to_drop(self, limit: int = 100) -> list[VectorStore]:
        """Return stores that were deleted or have expired and whose collection is still there."""
        ended = sa.or_(
            _table.c.removed_at.is_not(None),
            sa.and_(_table.c.expires_at <= time.time(), _table.c.dropped_at.is_(None)),
        )
        with self._database.begin() as connection:
            rows = connection.execute(_table.select().where(ended).limit(limit)).all()
        return [VectorStore(**row._mapping) for row in rows]

    def dropped(self, id: str) -> None:
        """Note that the collection is gone: a deleted store is forgotten, an expired one stays."""
        with self._database.begin() as connection:
            connection.execute(
                _table.delete().where(_table.c.id == id, _table.c.removed_at.is_not(None))
            )
            connection.execute(
                _table.update().where(_table.c.id == id).values(dropped_at=time.time())
            )

    def owners(self) -> dict[str, str | None]:
        """Return whose each store is that can be searched now; None: the operator's."""
        query = sa.select(_table.c.id, _table.c.key_prefix).where(_is_living())
        with self._database.begin() as connection:
            return {row.id: row.key_prefix for row in connection.execute(query)}

    def _edge(self, id: str, owner: str | None) -> tuple[float, str]:
        store = self.get(id)
        if store is None or (owner is not None and store.key_prefix not in (None, owner)):
            raise KeyError(id)
        return store.created_at, store.id


def living() -> sa.Select[tuple[str]]:
    """Return a query of the ids of stores that can be searched now."""
    return sa.select(_table.c.id).where(_is_living())


def vector_store_id() -> str:
    """Return a new id."""
    return f"vs_{secrets.token_hex(12)}"


def _is_living() -> sa.ColumnElement[bool]:
    return sa.and_(
        _table.c.removed_at.is_(None),
        sa.or_(_table.c.expires_at.is_(None), _table.c.expires_at > time.time()),
    )


def _visible(owner: str) -> sa.ColumnElement[bool]:
    return sa.or_(_table.c.key_prefix == owner, _table.c.key_prefix.is_(None))


def _expiry(active: float, days: int | None) -> float | None:
    return None if days is None else active + days * DAY_S
