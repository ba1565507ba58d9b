"""Rollouts: a new release on its way to an alias, stage after stage, with the evidence of each.

    running ──→ promoted ──→ rolled_back      by a person, after the promotion
     │ ↑ │ ╲──→ rolled_back                   by the evidence, or a timeout
     │ │ ╰────→ aborted                       by a person, before the promotion
     ↓ │
    paused, waiting (for an approval)

At most one rollout of an alias is under way. People write what they want (`wish`, `approved_by`),
the worker that has the claim writes everything else.
"""

import secrets
import time
from collections.abc import Collection
from dataclasses import asdict, dataclass, field
from typing import Any

import sqlalchemy as sa

from gateway.store.database import Database, StoreError, metadata, storable
from gateway.store.paging import page

RUNNING, PAUSED, WAITING = "running", "paused", "waiting"
PROMOTED, ROLLED_BACK, ABORTED = "promoted", "rolled_back", "aborted"
LIVE = frozenset({RUNNING, PAUSED, WAITING})
OVER = frozenset({PROMOTED, ROLLED_BACK, ABORTED})
WISHES = frozenset({"pause", "abort"})

_table = sa.Table(
    "rollouts",
    metadata,
    sa.Column("id", sa.String(40), primary_key=True),
    sa.Column("alias", sa.String(200), nullable=False, index=True),
    sa.Column("candidate", sa.String(200), nullable=False),
    sa.Column("previous", sa.String(200), nullable=False),
    sa.Column("request", sa.String(40)),
    sa.Column("job", sa.String(40)),
    sa.Column("plan", sa.JSON, nullable=False),
    sa.Column("status", sa.String(20), nullable=False),
    sa.Column("stage", sa.String(40), nullable=False),
    sa.Column("evidence", sa.JSON, nullable=False),
    sa.Column("wish", sa.String(20)),
    sa.Column("wished_by", sa.Text),
    sa.Column("approved_by", sa.Text),
    sa.Column("reason", sa.Text),
    sa.Column("created_at", sa.Double, nullable=False),
    sa.Column("updated_at", sa.Double, nullable=False),
    sa.Column("finished_at", sa.Double),
)
# The database itself keeps a second one out, of whichever process.
_IS_LIVE = _table.c.status.in_(sorted(LIVE))
sa.Index(
    "ix_rollouts_live",
    _table.c.alias,
    unique=True,
    sqlite_where=_IS_LIVE,
    postgresql_where=_IS_LIVE,
)


class RolloutUnderWay(Exception):
    """Another rollout of the alias is not over."""


@dataclass(frozen=True, slots=True)
class Rollout:
    """A release on its way to an alias; times in Unix seconds.

    Attributes:
        id: `rlt-…`.
        alias: Where it is to be served.
        candidate: The release that is rolled out.
        previous: The release that the alias served before, and serves again after a rollback.
        request: The request to retrain that it answers (`store.retraining`), where there is one.
        job: The job that made the candidate, where there is one.
        plan: Stages, shares, limits and levels, as they were when it began (`training.rollout`).
        status: One of the states above.
        stage: Where it is: `start`, `staging`, `shadow`, `canary-<percent>`, `approval`, `promote`.
        evidence: By stage: what was measured, and what it led to.
        wish: What a person wants: `pause` or `abort`; None: that it goes on.
        wished_by: Who.
        approved_by: Who approved the promotion.
        reason: Why it ended as it did, in words.
        created_at: When it was asked for.
        updated_at: When it was last written.
        finished_at: When it was over.
    """

    id: str
    alias: str
    candidate: str
    previous: str
    plan: dict[str, Any]
    request: str | None = None
    job: str | None = None
    status: str = RUNNING
    stage: str = "start"
    evidence: dict[str, Any] = field(default_factory=dict)
    wish: str | None = None
    wished_by: str | None = None
    approved_by: str | None = None
    reason: str | None = None
    created_at: float = 0.0
    updated_at: float = 0.0
    finished_at: float | None = None


class Rollouts:
    """The rollouts in the store."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def add(self, rollout: Rollout) -> Rollout:
        """Write a new rollout; one whose id is known is returned as it is.

        Raises:
            RolloutUnderWay: The alias has one that is not over.
        """
        now = time.time()
        values = asdict(rollout) | {"created_at": now, "updated_at": now}
        try:
            with self._database.begin() as connection:
                connection.execute(_table.insert().values(**storable(values)))
        except StoreError:
            known = self.get(rollout.id)
            if known is not None:
                return known
            if self.live(rollout.alias) is None:
                raise
            raise RolloutUnderWay(rollout.alias) from None
        return Rollout(**values)

    def get(self, id: str) -> Rollout | None:
        """Return a rollout, or None."""
        with self._database.begin() as connection:
            row = connection.execute(_table.select().where(_table.c.id == id)).first()
        return None if row is None else Rollout(**row._mapping)

    def live(self, alias: str) -> Rollout | None:
        """Return the rollout of an alias that is under way, or None."""
        query = _table.select().where(_table.c.alias == alias, _IS_LIVE)
        with self._database.begin() as connection:
            row = connection.execute(query).first()
        return None if row is None else Rollout(**row._mapping)

    def all(
        self, alias: str | None = None, among: Collection[str] = LIVE | OVER, limit: int = 100
    ) -> list[Rollout]:
        """Return rollouts of an alias, or of all, in some states; the newest first."""
        query = _table.select().where(_table.c.status.in_(sorted(among)))
        if alias is not None:
            query = query.where(_table.c.alias == alias)
        query = query.order_by(_table.c.created_at.desc(), _table.c.id.desc()).limit(limit)
        with self._database.begin() as connection:
            return [Rollout(**row._mapping) for row in connection.execute(query)]

    def page(
        self, *, alias: str | None = None, after: str | None = None, limit: int = 20
    ) -> tuple[list[Rollout], bool]:
        """Return rollouts of an alias, or of all, the newest first, and whether there are more.

        Raises:
            KeyError: There is no rollout `after`.
        """
        query = _table.select()
        if alias is not None:
            query = query.where(_table.c.alias == alias)
        last = None if after is None else self.get(after)
        if after is not None and last is None:
            raise KeyError(after)
        place = None if last is None else (last.created_at, last.id)
        with self._database.begin() as connection:
            columns = (_table.c.created_at, _table.c.id)
            rows, more = page(connection, query, columns, after=place, limit=limit)
        return [Rollout(**row._mapping) for row in rows], more

    def write(self, id: str, among: Collection[str] = LIVE, **values: Any) -> bool:
        """Write fields of a rollout, if its state is one of `among`; returns whether it was."""
        values["updated_at"] = time.time()
        if values.get("status") in OVER:
            values.setdefault("finished_at", values["updated_at"])
        update = _table.update().where(_table.c.id == id, _table.c.status.in_(sorted(among)))
        with self._database.begin() as connection:
            return connection.execute(update.values(**storable(values))).rowcount == 1

    def ask(self, id: str, wish: str | None, by: str) -> bool:
        """Ask that it pauses, aborts, or (None) goes on; returns False where it is over.

        An abort that was asked for cannot be taken back.

        Raises:
            ValueError: There is no such wish.
        """
        if wish is not None and wish not in WISHES:
            raise ValueError(f"a wish is one of {', '.join(sorted(WISHES))}, not {wish!r}")
        update = _table.update().where(
            _table.c.id == id, _IS_LIVE, _table.c.wish.is_distinct_from("abort")
        )
        values = {"wish": wish, "wished_by": by, "updated_at": time.time()}
        with self._database.begin() as connection:
            return connection.execute(update.values(**values)).rowcount == 1

    def approve(self, id: str, by: str) -> bool:
        """Approve the promotion, before it is asked for or when it is.

        Returns False where somebody has approved it, or wants it aborted, or it is over.
        """
        update = _table.update().where(
            _table.c.id == id,
            _IS_LIVE,
            _table.c.approved_by.is_(None),
            _table.c.wish.is_distinct_from("abort"),
        )
        values = storable({"approved_by": by, "updated_at": time.time()})
        with self._database.begin() as connection:
            return connection.execute(update.values(**values)).rowcount == 1


def rollout_id() -> str:
    """Return a new id."""
    return f"rlt-{secrets.token_hex(12)}"
