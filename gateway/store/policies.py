"""Retrieval policies: what a key or an alias wants of retrieval where requests say nothing."""

import time
from dataclasses import dataclass
from typing import Any, Literal, get_args

import sqlalchemy as sa

from gateway.store.database import Database, metadata, storable

Kind = Literal["key", "alias"]
KINDS: tuple[Kind, ...] = get_args(Kind)

_table = sa.Table(
    "retrieval_policies",
    metadata,
    sa.Column("kind", sa.String(10), primary_key=True),
    sa.Column("name", sa.String(200), primary_key=True),
    sa.Column("fields", sa.JSON, nullable=False),
    sa.Column("updated_at", sa.Double, nullable=False),
)


@dataclass(frozen=True, slots=True)
class StoredPolicy:
    """The policy of a key (by its prefix) or an alias; `fields` are those of `retrieval`."""

    kind: Kind
    name: str
    fields: dict[str, Any]
    updated_at: float


class Policies:
    """The policies in the store."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def put(self, kind: Kind, name: str, fields: dict[str, Any]) -> StoredPolicy:
        """Set a policy in place of the one that was there."""
        policy = StoredPolicy(kind, name, fields, time.time())
        with self._database.begin() as connection:
            connection.execute(_at(kind, name))
            values = {"kind": kind, "name": name, "fields": fields, "updated_at": policy.updated_at}
            connection.execute(_table.insert().values(**storable(values)))
        return policy

    def remove(self, kind: Kind, name: str) -> bool:
        """Remove a policy; returns whether there was one."""
        with self._database.begin() as connection:
            return connection.execute(_at(kind, name)).rowcount > 0

    def all(self) -> list[StoredPolicy]:
        """Return all policies."""
        with self._database.begin() as connection:
            rows = connection.execute(_table.select().order_by(_table.c.kind, _table.c.name)).all()
        return [StoredPolicy(**row._mapping) for row in rows]


def _at(kind: str, name: str) -> sa.Delete:
    return _table.delete().where(_table.c.kind == kind, _table.c.name == name)
