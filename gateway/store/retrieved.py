"""What became of retrieval in the requests of a release, and what people said of the answers."""

from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from gateway.store import feedback, traffic
from gateway.store.database import Database


@dataclass(frozen=True, slots=True)
class Retrieved:
    """One request that could have been answered from documents.

    Attributes:
        completion_id: Of its answer.
        notes: What was done and why (the record's `retrieval`).
        score: The first that its answer was given, 0 to 1, or None.
    """

    completion_id: str
    notes: dict[str, Any]
    score: float | None


class RetrievalLog:
    """Reads the traffic log for what became of retrieval."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def latest(self, alias: str, release: str, limit: int) -> list[Retrieved]:
        """Return the latest requests of an alias that a release answered, newest first.

        Those without retrieval, mirrored ones, and those that did not end well are left out.
        """
        log, said = traffic.table, feedback.table
        score = (
            sa.select(said.c.score)
            .where(said.c.completion_id == log.c.completion_id, said.c.score.is_not(None))
            .order_by(said.c.created_at, said.c.id)
            .limit(1)
            .scalar_subquery()
        )
        query = (
            sa.select(log.c.completion_id, log.c.retrieval, score.label("score"))
            .where(
                log.c.alias == alias,
                log.c.release == release,
                log.c.retrieval.is_not(sa.null()),
                log.c.shadow_of.is_(None),
                log.c.outcome == "done",
            )
            .order_by(log.c.created_at.desc(), log.c.completion_id)
            .limit(limit)
        )
        with self._database.begin() as connection:
            return [Retrieved(*row) for row in connection.execute(query)]
