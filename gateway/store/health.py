"""The health of aliases: written by whoever watches them, read by every worker."""

import time
from dataclasses import asdict, dataclass, replace
from typing import Any

import sqlalchemy as sa

from gateway.store.database import Database, metadata, storable

STATES = ("HEALTHY", "WARN", "DEGRADED", "RETRAINING", "CANARY")
UNDER_WAY = frozenset({"RETRAINING", "CANARY"})
"""States in which something is done about the one before, which still holds for requests."""

_table = sa.Table(
    "alias_health",
    metadata,
    sa.Column("alias", sa.String(200), primary_key=True),
    sa.Column("state", sa.String(20), nullable=False),
    sa.Column("evidence", sa.JSON, nullable=False),
    sa.Column("since", sa.Double, nullable=False),
)
_transitions = sa.Table(
    "health_transitions",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("alias", sa.String(200), nullable=False, index=True),
    sa.Column("before", sa.String(20), nullable=False),
    sa.Column("after", sa.String(20), nullable=False),
    sa.Column("evidence", sa.JSON, nullable=False),
    sa.Column("at", sa.Double, nullable=False),
)


@dataclass(frozen=True, slots=True)
class AliasHealth:
    """The state of an alias, since when (Unix seconds), and what speaks for it.

    The evidence names the `release` that it is about. In the states `UNDER_WAY` it has `was`, the
    state before, with its release and topics.
    """

    alias: str
    state: str
    evidence: dict[str, Any]
    since: float

    @property
    def acting(self) -> str:
        """The state that requests are answered by: a retraining alone makes nothing better."""
        if self.state not in UNDER_WAY:
            return self.state
        was = self.evidence.get("was")
        return was if was in STATES and was not in UNDER_WAY else "HEALTHY"


@dataclass(frozen=True, slots=True)
class Transition:
    """A change of an alias's state: from which to which, when (Unix seconds), and why."""

    alias: str
    before: str
    after: str
    evidence: dict[str, Any]
    at: float


class Healths:
    """The health of aliases in the store; an alias without a row is HEALTHY."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def put(self, alias: str, state: str, evidence: dict[str, Any]) -> AliasHealth:
        """Write the state of an alias; a state that it was not in is a transition.

        Raises:
            ValueError: There is no such state.
        """
        if state not in STATES:
            raise ValueError(f"a state is one of {', '.join(STATES)}, not {state!r}")
        with self._database.begin() as connection:
            return write(connection, AliasHealth(alias, state, evidence, time.time()))

    def get(self, alias: str) -> AliasHealth | None:
        """Return the state of an alias, or None where nobody has written one."""
        with self._database.begin() as connection:
            row = connection.execute(_table.select().where(_table.c.alias == alias)).first()
        return None if row is None else AliasHealth(**row._mapping)

    def all(self) -> list[AliasHealth]:
        """Return the aliases that have a row."""
        with self._database.begin() as connection:
            rows = connection.execute(_table.select().order_by(_table.c.alias)).all()
        return [AliasHealth(**row._mapping) for row in rows]

    def settled(self, alias: str) -> AliasHealth:
        """Return the last state of an alias that was not one `UNDER_WAY`."""
        known = self.get(alias)
        if known is not None and known.state not in UNDER_WAY:
            return known
        changed = _transitions.select().where(
            _transitions.c.alias == alias, _transitions.c.after.not_in(sorted(UNDER_WAY))
        )
        with self._database.begin() as connection:
            row = connection.execute(changed.order_by(_transitions.c.id.desc()).limit(1)).first()
        if row is None:
            return AliasHealth(alias, "HEALTHY", {}, 0.0)
        return AliasHealth(alias, row.after, row.evidence, row.at)

    def transitions(self, alias: str | None = None, limit: int = 100) -> list[Transition]:
        """Return the latest changes, of one alias or of all, the newest first."""
        query = _transitions.select().order_by(_transitions.c.id.desc()).limit(limit)
        if alias is not None:
            query = query.where(_transitions.c.alias == alias)
        with self._database.begin() as connection:
            rows = connection.execute(query).all()
        return [Transition(r.alias, r.before, r.after, r.evidence, r.at) for r in rows]


def write(connection: sa.Connection, health: AliasHealth) -> AliasHealth:
    """Write a state inside a transaction; returns it, with the time since when it holds."""
    query = _table.select().where(_table.c.alias == health.alias)
    row = connection.execute(query).first()
    known = None if row is None else AliasHealth(**row._mapping)
    before = "HEALTHY" if known is None else known.state
    if health.state in UNDER_WAY and known is not None:
        carried = {"was": known.acting, "topics": known.evidence.get("topics", [])}
        carried |= {n: known.evidence[n] for n in ("release", "drifted") if n in known.evidence}
        health = replace(health, evidence=carried | health.evidence)
    if before == health.state and known is not None:
        health = AliasHealth(health.alias, health.state, health.evidence, known.since)
    if before != health.state:
        change = Transition(health.alias, before, health.state, health.evidence, health.since)
        connection.execute(_transitions.insert().values(**storable(asdict(change))))
    connection.execute(_table.delete().where(_table.c.alias == health.alias))
    connection.execute(_table.insert().values(**storable(asdict(health))))
    return health
