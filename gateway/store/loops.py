"""How the loop of an alias is closed: when to retrain, how, and who lets the result be served."""

import time
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from gateway.store.database import Database, metadata, storable

_table = sa.Table(
    "loops",
    metadata,
    sa.Column("alias", sa.String(200), primary_key=True),
    sa.Column("fields", sa.JSON, nullable=False),
    sa.Column("updated_at", sa.Double, nullable=False),
)


@dataclass(frozen=True, slots=True)
class StoredLoop:
    """The settings of an alias's loop; `fields` are those of `training.loop.LoopSettings`."""

    alias: str
    fields: dict[str, Any]
    updated_at: float


class Loops:
    """The settings in the store; an alias without a row is retrained by nobody but a person."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def put(self, alias: str, fields: dict[str, Any]) -> StoredLoop:
        """Set them in place of those that were there."""
        stored = StoredLoop(alias, fields, time.time())
        with self._database.begin() as connection:
            connection.execute(_table.delete().where(_table.c.alias == alias))
            values = {"alias": alias, "fields": fields, "updated_at": stored.updated_at}
            connection.execute(_table.insert().values(**storable(values)))
        return stored

    def get(self, alias: str) -> StoredLoop | None:
        """Return the settings of an alias, or None."""
        with self._database.begin() as connection:
            row = connection.execute(_table.select().where(_table.c.alias == alias)).first()
        return None if row is None else StoredLoop(**row._mapping)

    def all(self) -> list[StoredLoop]:
        """Return all of them."""
        with self._database.begin() as connection:
            rows = connection.execute(_table.select().order_by(_table.c.alias)).all()
        return [StoredLoop(**row._mapping) for row in rows]

    def remove(self, alias: str) -> bool:
        """Forget an alias's settings; returns whether there were any."""
        with self._database.begin() as connection:
            return connection.execute(_table.delete().where(_table.c.alias == alias)).rowcount > 0
