"""The health of aliases: written by whoever watches them, read by every worker."""

import time
from dataclasses import asdict, dataclass
from typing import Any

import sqlalchemy as sa

from gateway.store.database import Database, metadata, storable

STATES = ("HEALTHY", "WARN", "DEGRADED", "RETRAINING", "CANARY")

_table = sa.Table(
    "alias_health",
    metadata,
    sa.Column("alias", sa.String(200), primary_key=True),
    sa.Column("state", sa.String(20), nullable=False),
    sa.Column("evidence", sa.JSON, nullable=False),
    sa.Column("since", sa.Double, nullable=False),
)


@dataclass(frozen=True, slots=True)
class AliasHealth:
    """The state of an alias, since when (Unix seconds), and what speaks for it."""

    alias: str
    state: str
    evidence: dict[str, Any]
    since: float


class Healths:
    """The health of aliases in the store; an alias without a row is HEALTHY."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def put(self, alias: str, state: str, evidence: dict[str, Any]) -> AliasHealth:
        """Write the state of an alias.

        Raises:
            ValueError: There is no such state.
        """
        if state not in STATES:
            raise ValueError(f"a state is one of {', '.join(STATES)}, not {state!r}")
        health = AliasHealth(alias, state, evidence, time.time())
        with self._database.begin() as connection:
            connection.execute(_table.delete().where(_table.c.alias == alias))
            connection.execute(_table.insert().values(**storable(asdict(health))))
        return health

    def all(self) -> list[AliasHealth]:
        """Return the aliases that have a row."""
        with self._database.begin() as connection:
            rows = connection.execute(_table.select().order_by(_table.c.alias)).all()
        return [AliasHealth(**row._mapping) for row in rows]
