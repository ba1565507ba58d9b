"""Requests to retrain what an alias serves: at most one of an alias is open, whoever asks.

open → taken → closed
  └──────────────↗
"""

import hashlib
import secrets
import time
from dataclasses import asdict, dataclass
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from gateway.store.database import Database, metadata, storable

OPEN, TAKEN, CLOSED = "open", "taken", "closed"
# Who asks: an alert of Prometheus, the monitor itself on harm or on drift, a timetable, a person.
SOURCES = frozenset({"alert", "act", "warn", "schedule", "person"})

_table = sa.Table(
    "retraining_requests",
    metadata,
    sa.Column("id", sa.String(40), primary_key=True),
    sa.Column("alias", sa.String(200), nullable=False, index=True),
    sa.Column("release", sa.String(200), nullable=False),
    sa.Column("reason", sa.Text, nullable=False),
    sa.Column("source", sa.String(20), nullable=False),
    sa.Column("evidence", sa.JSON, nullable=False),
    sa.Column("status", sa.String(20), nullable=False),
    sa.Column("created_at", sa.Double, nullable=False),
)
# The database itself keeps a second one out, of whichever process.
_IS_OPEN = _table.c.status == OPEN
sa.Index(
    "ix_retraining_requests_open",
    _table.c.alias,
    unique=True,
    sqlite_where=_IS_OPEN,
    postgresql_where=_IS_OPEN,
)
_INSERT: dict[str, Any] = {"sqlite": sqlite.insert, "postgresql": postgresql.insert}


@dataclass(frozen=True, slots=True)
class RetrainingRequest:
    """A wish that an alias gets a new release.

    Attributes:
        id: `rtr-…`; of a cause that has a name always the same.
        alias: What is to be served by a new release.
        release: The release that is to be replaced.
        reason: Why, for people.
        source: One of `SOURCES`.
        evidence: What speaks for it.
        status: `open`, `taken` by whoever retrains, or `closed`.
        created_at: Unix seconds.
    """

    id: str
    alias: str
    release: str
    reason: str
    source: str
    evidence: dict[str, Any]
    status: str
    created_at: float


class Retraining:
    """The requests in the store."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def open(
        self,
        alias: str,
        release: str,
        reason: str,
        source: str,
        evidence: dict[str, Any],
        cause: str | None = None,
    ) -> tuple[RetrainingRequest, bool]:
        """Ask for a retraining; returns the request, and whether it is new.

        Args:
            alias: The alias.
            release: The release behind it that is to be replaced.
            reason: Why, for people.
            source: One of `SOURCES`.
            evidence: What speaks for it.
            cause: Names the one event that this is about. It asks once, however often it is told
                of: when that request was taken or closed, it is returned as it is.

        Raises:
            ValueError: There is no such source.
        """
        if source not in SOURCES:
            raise ValueError(f"a source is one of {', '.join(sorted(SOURCES))}, not {source!r}")
        wanted = RetrainingRequest(
            _id(cause), alias, release, reason, source, evidence, OPEN, time.time()
        )
        with self._database.begin() as connection:
            insert = _INSERT[connection.dialect.name](_table).values(**storable(asdict(wanted)))
            added = insert.on_conflict_do_nothing().returning(_table.c.id)
            if connection.execute(added).first() is not None:
                return wanted, True
            # The same cause before any other that is open.
            query = (
                _table.select()
                .where((_table.c.id == wanted.id) | ((_table.c.alias == alias) & _IS_OPEN))
                .order_by((_table.c.id == wanted.id).desc())
            )
            row = connection.execute(query).first()
        if row is None:  # it was taken in between
            return self.open(alias, release, reason, source, evidence, cause)
        return RetrainingRequest(**row._mapping), False

    def get(self, id: str) -> RetrainingRequest | None:
        """Return a request, or None."""
        with self._database.begin() as connection:
            row = connection.execute(_table.select().where(_table.c.id == id)).first()
        return None if row is None else RetrainingRequest(**row._mapping)

    def all(
        self, alias: str | None = None, status: str | None = None, limit: int = 100
    ) -> list[RetrainingRequest]:
        """Return requests of an alias and a status, or of all; the newest first."""
        query = _table.select().order_by(_table.c.created_at.desc(), _table.c.id).limit(limit)
        if alias is not None:
            query = query.where(_table.c.alias == alias)
        if status is not None:
            query = query.where(_table.c.status == status)
        with self._database.begin() as connection:
            return [RetrainingRequest(**row._mapping) for row in connection.execute(query)]

    def take(self, id: str) -> bool:
        """Take an open request up; returns False where another was first."""
        return self._move(id, TAKEN, (OPEN,))

    def close(self, id: str) -> bool:
        """Close a request; returns False where it was closed already or there is none."""
        return self._move(id, CLOSED, (OPEN, TAKEN))

    def _move(self, id: str, status: str, among: tuple[str, ...]) -> bool:
        moved = _table.update().where(_table.c.id == id, _table.c.status.in_(among))
        with self._database.begin() as connection:
            return connection.execute(moved.values(status=status)).rowcount == 1


def _id(cause: str | None) -> str:
    if cause is None:
        return f"rtr-{secrets.token_hex(12)}"
    return f"rtr-{hashlib.sha256(cause.encode()).hexdigest()[:24]}"
