"""What people said answers should have been, beside what was asked, for who resolves disputes."""

from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from gateway.store import feedback, traffic
from gateway.store.database import Database
from gateway.store.feedback import Feedback


@dataclass(frozen=True, slots=True)
class Correction:
    """A correction, the alias of the request, and what was asked and answered there."""

    said: Feedback
    alias: str
    messages: list[Any] | str | None
    answer: dict[str, Any] | None


class Corrections:
    """The corrections in the store.

    Args:
        database: The store.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    def latest(self, limit: int) -> list[Correction]:
        """Return the latest corrections whose request is still in the log, the newest first."""
        said, log = feedback.table, traffic.table
        query = (
            sa.select(said, log.c.alias, log.c.messages, log.c.answer)
            .join(log, log.c.completion_id == said.c.completion_id)
            .where(said.c.correction.is_not(None))
            .order_by(said.c.created_at.desc(), said.c.id)
            .limit(limit)
        )
        with self._database.begin() as connection:
            rows = connection.execute(query).all()
        found = []
        for row in rows:
            values = dict(row._mapping)
            around = (values.pop("alias"), values.pop("messages"), values.pop("answer"))
            found.append(Correction(Feedback(**values), *around))
        return found

    def counts(self) -> tuple[int, int, int]:
        """Return how many corrections there are, how many good scores, how many bad ones."""
        said = feedback.table

        def number(condition: sa.ColumnElement[bool]) -> sa.ColumnElement[int]:
            return sa.func.coalesce(sa.func.sum(sa.case((condition, 1), else_=0)), 0)

        query = sa.select(
            number(said.c.correction.is_not(None)), number(said.c.score >= 0.5),
            number(said.c.score < 0.5),
        )  # fmt: skip
        with self._database.begin() as connection:
            corrected, good, bad = connection.execute(query).one()
        return int(corrected), int(good), int(bad)

    def withdraw(self, id: str) -> bool:
        """Delete one piece of feedback; returns whether it was there."""
        with self._database.begin() as connection:
            gone = connection.execute(feedback.table.delete().where(feedback.table.c.id == id))
        return gone.rowcount > 0
