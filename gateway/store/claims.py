"""Claims: which process works on what, for as long as it says so.

A worker takes a claim by a token and renews it. One that is killed stops renewing, and another
takes its place. Fine-tuning jobs have claims in their own rows (`store.jobs`); these are for all
else.
"""

import time
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from gateway.store.database import Database, metadata

STALE_S = 20.0
"""A claim that was not renewed for so long is up for others."""

_table = sa.Table(
    "claims",
    metadata,
    sa.Column("id", sa.String(100), primary_key=True),
    sa.Column("token", sa.String(100), nullable=False),
    sa.Column("until", sa.Double, nullable=False),
)
_INSERT: dict[str, Any] = {"sqlite": sqlite.insert, "postgresql": postgresql.insert}


class Claims:
    """The claims in the store."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def take(self, id: str, token: str, stale_s: float = STALE_S) -> bool:
        """Take what nobody has, or whose holder is silent; returns whether `token` has it now.

        Args:
            id: What is claimed, such as `rlt-…`; the holder itself may take it again.
            token: Names the claim; a new one for each process.
            stale_s: How long it holds without being renewed, in seconds.
        """
        now = time.time()
        values = {"id": id, "token": token, "until": now + stale_s}
        with self._database.begin() as connection:
            insert = _INSERT[connection.dialect.name](_table).values(**values)
            free = (_table.c.until < now) | (_table.c.token == token)
            taken = insert.on_conflict_do_update(
                index_elements=["id"],
                set_={"token": token, "until": now + stale_s},
                where=free,
            ).returning(_table.c.id)
            return connection.execute(taken).first() is not None

    def renew(self, id: str, token: str, stale_s: float = STALE_S) -> bool:
        """Hold a claim for longer; returns False where it is another's, who may be at work."""
        update = _table.update().where(_table.c.id == id, _table.c.token == token)
        with self._database.begin() as connection:
            values = {"until": time.time() + stale_s}
            return connection.execute(update.values(**values)).rowcount == 1

    def holds(self, id: str, token: str) -> bool:
        """Return whether a claim is still `token`'s."""
        mine = sa.select(_table.c.id).where(_table.c.id == id, _table.c.token == token)
        with self._database.begin() as connection:
            return connection.execute(mine).first() is not None

    def release(self, id: str, token: str) -> None:
        """Give a claim back; a lost one stays lost."""
        with self._database.begin() as connection:
            connection.execute(_table.delete().where(_table.c.id == id, _table.c.token == token))
