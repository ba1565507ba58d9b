"""The engines of all hosts, as their launchers report them."""

from dataclasses import asdict, dataclass
from enum import StrEnum

import sqlalchemy as sa

from gateway.store.database import Database, metadata, storable

_table = sa.Table(
    "engines",
    metadata,
    sa.Column("host", sa.String(255), primary_key=True),
    sa.Column("slot", sa.String(20), primary_key=True),
    sa.Column("release", sa.String(200), nullable=False),
    sa.Column("address", sa.Text, nullable=False),
    sa.Column("state", sa.String(20), nullable=False),
    sa.Column("pid", sa.BigInteger),
    sa.Column("restarts", sa.Integer, nullable=False),
    sa.Column("error", sa.Text),
    sa.Column("updated_at", sa.Double, nullable=False),
)


class EngineState(StrEnum):
    """Where an engine is in its life; only a ready one gets requests."""

    STARTING = "starting"
    READY = "ready"
    RESTARTING = "restarting"
    STOPPING = "stopping"
    FAILED = "failed"
    # Another engine of the release is about to take this host's only slot: requests wait for it.
    SWAPPING = "swapping"


@dataclass(frozen=True, slots=True)
class Engine:
    """One engine: `slot` of `host` serves `release` at `address` (unix:PATH, http://HOST:PORT)."""

    slot: str
    host: str
    release: str
    address: str
    state: EngineState
    pid: int | None
    restarts: int
    error: str | None
    updated_at: float


class Engines:
    """The engines in the store."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def put(self, engine: Engine) -> None:
        """Write an engine's row, over the one of its host and slot."""
        with self._database.begin() as connection:
            connection.execute(_at(engine.host, engine.slot))
            connection.execute(_table.insert().values(**storable(asdict(engine))))

    def remove(self, host: str, slot: str) -> None:
        """Remove an engine's row, if there is one."""
        with self._database.begin() as connection:
            connection.execute(_at(host, slot))

    def all(self) -> list[Engine]:
        """Return the engines of all hosts."""
        with self._database.begin() as connection:
            query = _table.select().order_by(_table.c.host, _table.c.slot)
            rows = connection.execute(query).all()
        return [Engine(**{**row._mapping, "state": EngineState(row.state)}) for row in rows]


def _at(host: str, slot: str) -> sa.Delete:
    return _table.delete().where(_table.c.host == host, _table.c.slot == slot)
