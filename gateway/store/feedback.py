"""Feedback: what people and applications say of an answer."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass

import sqlalchemy as sa

from gateway.store.database import Database, metadata, storable

table = sa.Table(
    "feedback",
    metadata,
    sa.Column("id", sa.String(40), primary_key=True),
    sa.Column("completion_id", sa.String(200), nullable=False, index=True),
    sa.Column("key_prefix", sa.String(8)),
    sa.Column("created_at", sa.Double, nullable=False),
    sa.Column("score", sa.Double),
    sa.Column("label", sa.Text),
    sa.Column("correction", sa.Text),
    sa.Column("comment", sa.Text),
    sa.Column("metadata", sa.JSON, nullable=False),
)


@dataclass(frozen=True, slots=True)
class Feedback:
    """A score from 0 to 1, a label or a correction, tied to a completion."""

    id: str
    completion_id: str
    key_prefix: str | None
    created_at: float
    score: float | None
    label: str | None
    correction: str | None
    comment: str | None
    metadata: dict[str, str]


class FeedbackLog:
    """The feedback in the store."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def add(self, feedback: Feedback) -> None:
        """Write one piece of feedback."""
        with self._database.begin() as connection:
            connection.execute(table.insert().values(**storable(asdict(feedback))))

    def of(self, completion_id: str) -> list[Feedback]:
        """Return the feedback on a completion, oldest first."""
        query = table.select().where(table.c.completion_id == completion_id)
        with self._database.begin() as connection:
            rows = connection.execute(query.order_by(table.c.created_at, table.c.id)).all()
        return [Feedback(**row._mapping) for row in rows]


def of_completions(ids: Sequence[str]) -> sa.Delete:
    """Return the statement that deletes the feedback on these completions."""
    return table.delete().where(table.c.completion_id.in_(ids))
