"""What retrieval brings, by topic: the hold-out's answers and the feedback on them."""

from typing import Any, NamedTuple

import msgspec
import sqlalchemy as sa

from gateway.store import feedback, traffic
from gateway.store.database import Database, metadata, storable
from retrieval.benefit import Benefit

_table = sa.Table(
    "retrieval_benefits",
    metadata,
    sa.Column("topic", sa.String(250), primary_key=True),
    sa.Column("benefit", sa.JSON, nullable=False),
    sa.Column("updated_at", sa.Double, nullable=False),
)
# How far the feedback has been read: one row.
_place = sa.Table(
    "retrieval_benefit_place",
    metadata,
    sa.Column("one", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("created_at", sa.Double, nullable=False),
    sa.Column("id", sa.String(40), nullable=False),
)
# A row that is being committed by another process must not be passed by.
_SETTLED_S = 5.0


class TopicBenefit(NamedTuple):
    """The evidence of one topic, and when it last changed (Unix seconds)."""

    topic: str
    benefit: Benefit
    updated_at: float


class Benefits:
    """The evidence in the store."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def all(self) -> list[TopicBenefit]:
        """Return all topics."""
        with self._database.begin() as connection:
            rows = connection.execute(_table.select().order_by(_table.c.topic)).all()
        return [
            TopicBenefit(row.topic, msgspec.convert(row.benefit, Benefit), row.updated_at)
            for row in rows
        ]

    def count(self, now: float, limit: int = 1000) -> list[str]:
        """Take in the feedback that has come, each once; returns the topics that were switched.

        Only the first score of an answer counts, and only answers whose way was drawn by chance.

        Args:
            now: Unix seconds.
            limit: Most pieces of feedback read at once.
        """
        with self._database.begin() as connection:
            if connection.dialect.name == "postgresql":
                connection.execute(sa.text("LOCK TABLE retrieval_benefit_place IN EXCLUSIVE MODE"))
            place = connection.execute(_place.select()).first()
            after = (0.0, "") if place is None else (place.created_at, place.id)
            rows = connection.execute(_scores(after, now - _SETTLED_S, limit)).all()
            if not rows:
                return []
            switched = self._observe(connection, rows, now)
            connection.execute(_place.delete())
            last = rows[-1]
            connection.execute(
                _place.insert().values(one=1, created_at=last.created_at, id=last.id)
            )
        return switched

    def _observe(self, connection: sa.Connection, rows: Any, now: float) -> list[str]:
        known: dict[str, Benefit] = {}
        switched: list[str] = []
        for row in rows:
            notes = row.retrieval or {}
            topic = notes.get("topic")
            if not topic or not notes.get("drawn") or not row.is_first:
                continue
            if topic not in known:
                query = _table.select().where(_table.c.topic == topic)
                stored = connection.execute(query).first()
                known[topic] = (
                    Benefit() if stored is None else msgspec.convert(stored.benefit, Benefit)
                )
            grounded = notes.get("outcome") == "grounded"
            if known[topic].observe(retrieved=grounded, score=row.score):
                switched.append(topic)
        for topic, benefit in known.items():
            connection.execute(_table.delete().where(_table.c.topic == topic))
            values = {"topic": topic, "benefit": msgspec.to_builtins(benefit), "updated_at": now}
            connection.execute(_table.insert().values(**storable(values)))
        return switched


def _scores(after: tuple[float, str], before: float, limit: int) -> sa.Select[Any]:
    """Return the query for scores that came since, with what became of retrieval."""
    said, log = feedback.table, traffic.table
    earlier = said.alias()
    is_first = ~(
        sa.select(sa.literal(1))
        .select_from(earlier)
        .where(
            earlier.c.completion_id == said.c.completion_id,
            earlier.c.score.is_not(None),
            sa.tuple_(earlier.c.created_at, earlier.c.id) < sa.tuple_(said.c.created_at, said.c.id),
        )
        .exists()
    )
    here = sa.tuple_(said.c.created_at, said.c.id)
    there = sa.tuple_(sa.literal(after[0]), sa.literal(after[1]))
    return (
        sa.select(
            said.c.created_at, said.c.id, said.c.score, log.c.retrieval, is_first.label("is_first")
        )
        .select_from(said.join(log, log.c.completion_id == said.c.completion_id))
        .where(said.c.score.is_not(None), here > there, said.c.created_at < before)
        .order_by(said.c.created_at, said.c.id)
        .limit(limit)
    )
