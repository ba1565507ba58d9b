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
from gateway.store.paging import page

OPEN, TAKEN, CLOSED = "open", "taken", "closed"
# Who asks: an alert of Prometheus, the monitor itself on harm or on drift, a timetable, a person.
SOURCES = frozenset({"alert", "act", "warn", "schedule", "person"})
# Promoted, or not; only the index is to be updated; training would not help; put off for now
# (cool-down, budget, too few rows); could not be done; taken back by a person.
OUTCOMES = frozenset(
    {"promoted", "rolled_back", "rejected", "index", "neither", "put_off", "failed", "cancelled"}
)

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
    sa.Column("step", sa.String(20)),
    sa.Column("attribution", sa.JSON(none_as_null=True)),
    sa.Column("rows", sa.Integer),
    sa.Column("job", sa.String(40)),
    sa.Column("rollout", sa.String(40)),
    sa.Column("outcome", sa.String(20)),
    sa.Column("told", sa.Text),
    sa.Column("closed_at", sa.Double),
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
        step: What is being done once it is taken: `attribute`, `curate`, `train`, `roll_out`.
        attribution: Which part is at fault, and what speaks for it (`training.attribution`).
        rows: Curated rows that it trains on.
        job: The job that trains.
        rollout: The rollout of what it made.
        outcome: One of `OUTCOMES`, once it is closed.
        told: The outcome in words; of an open one, why it waits.
        closed_at: When it was closed.
    """

    id: str
    alias: str
    release: str
    reason: str
    source: str
    evidence: dict[str, Any]
    status: str
    created_at: float
    step: str | None = None
    attribution: dict[str, Any] | None = None
    rows: int | None = None
    job: str | None = None
    rollout: str | None = None
    outcome: str | None = None
    told: str | None = None
    closed_at: float | None = None


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

    def page(
        self,
        *,
        alias: str | None = None,
        status: str | None = None,
        after: str | None = None,
        limit: int = 20,
    ) -> tuple[list[RetrainingRequest], bool]:
        """Return requests, the newest first, and whether there are more.

        Raises:
            KeyError: There is no request `after`.
        """
        query = _table.select()
        if alias is not None:
            query = query.where(_table.c.alias == alias)
        if status is not None:
            query = query.where(_table.c.status == status)
        last = None if after is None else self.get(after)
        if after is not None and last is None:
            raise KeyError(after)
        place = None if last is None else (last.created_at, last.id)
        with self._database.begin() as connection:
            columns = (_table.c.created_at, _table.c.id)
            rows, more = page(connection, query, columns, after=place, limit=limit)
        return [RetrainingRequest(**row._mapping) for row in rows], more

    def wait(self, id: str, told: str) -> bool:
        """Write why an open request is not taken up yet, and until when; False if it is none."""
        return self._move(id, OPEN, (OPEN,), told=told)

    def take(self, id: str) -> bool:
        """Take an open request up; returns False where another was first."""
        return self._move(id, TAKEN, (OPEN,), told=None)

    def note(self, id: str, **values: Any) -> bool:
        """Write how far a taken request is: `step`, `attribution`, `rows`, `job`, `rollout`.

        Returns False where it is not taken, or not any more.
        """
        return self._move(id, TAKEN, (TAKEN,), **values)

    def close(self, id: str, outcome: str | None = None, told: str | None = None) -> bool:
        """Close a request; returns False where it was closed already or there is none.

        Raises:
            ValueError: There is no such outcome.
        """
        if outcome is not None and outcome not in OUTCOMES:
            raise ValueError(f"an outcome is one of {', '.join(sorted(OUTCOMES))}, not {outcome!r}")
        values = {"outcome": outcome, "told": told, "closed_at": time.time(), "step": None}
        return self._move(id, CLOSED, (OPEN, TAKEN), **values)

    def _move(self, id: str, status: str, among: tuple[str, ...], **values: Any) -> bool:
        moved = _table.update().where(_table.c.id == id, _table.c.status.in_(among))
        with self._database.begin() as connection:
            return connection.execute(moved.values(status=status, **storable(values))).rowcount == 1


def _id(cause: str | None) -> str:
    if cause is None:
        return f"rtr-{secrets.token_hex(12)}"
    return f"rtr-{hashlib.sha256(cause.encode()).hexdigest()[:24]}"
