"""Looks for requests in the traffic log: by what they named, how they ended, what they say."""

import json
from dataclasses import dataclass

import sqlalchemy as sa

from gateway.store import feedback
from gateway.store.database import Database
from gateway.store.traffic import TrafficRecord, table

# A text is looked for among so many of the latest requests; the log has no index of words.
MOST_READ = 20_000
RATED = ("any", "corrected", "good", "bad", "none")


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is looked for; what is empty does not count.

    Attributes:
        text: In what was asked or answered, whatever the case of its letters.
        alias: What the request named.
        release: What answered.
        outcome: done, error, truncated or cancelled.
        key: Prefix of the key.
        rated: One of `RATED`: `corrected`, scored `good` (from 0.5) or `bad`, or not rated at all.
        slower_than_s: It took longer, in seconds.
        before: Time and id of the request after which the page begins.
    """

    text: str = ""
    alias: str = ""
    release: str = ""
    outcome: str = ""
    key: str = ""
    rated: str = "any"
    slower_than_s: float | None = None
    before: tuple[float, str] | None = None


class TrafficSearch:
    """Searches the traffic log.

    Args:
        database: The store.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    def find(self, wanted: Wanted, limit: int = 50) -> tuple[list[TrafficRecord], bool]:
        """Return matching requests, the newest first, and whether there are more of them.

        Mirrored requests are left out: nobody saw their answers.
        """
        log = table
        query = sa.select(table).where(table.c.shadow_of.is_(None))
        here = sa.tuple_(log.c.created_at, log.c.completion_id)
        if wanted.before is not None:
            query = query.where(here < sa.tuple_(*(sa.literal(each) for each in wanted.before)))
        for column, value in (
            (log.c.alias, wanted.alias),
            (log.c.release, wanted.release),
            (log.c.outcome, wanted.outcome),
            (log.c.key_prefix, wanted.key),
        ):
            if value:
                query = query.where(column == value)
        if wanted.slower_than_s is not None:
            query = query.where(log.c.duration_s > wanted.slower_than_s)
        query = query.where(*_rated(wanted.rated))
        order = (log.c.created_at.desc(), log.c.completion_id.desc())
        if wanted.text:
            recent = query.order_by(*order).limit(MOST_READ).subquery()
            query = sa.select(recent).where(_says(recent, wanted.text))
            order = (recent.c.created_at.desc(), recent.c.completion_id.desc())
        with self._database.begin() as connection:
            rows = connection.execute(query.order_by(*order).limit(limit + 1)).all()
        return [TrafficRecord(**row._mapping) for row in rows[:limit]], len(rows) > limit

    def names(self) -> tuple[list[str], list[str]]:
        """Return the aliases and the releases in the log."""
        with self._database.begin() as connection:
            pairs = connection.execute(sa.select(table.c.alias, table.c.release).distinct()).all()
        return sorted({row.alias for row in pairs}), sorted({row.release for row in pairs})

    def mirror_of(self, completion_id: str) -> list[TrafficRecord]:
        """Return what a request was answered by in shadow mode."""
        query = table.select().where(table.c.shadow_of == completion_id).limit(5)
        with self._database.begin() as connection:
            return [TrafficRecord(**row._mapping) for row in connection.execute(query)]


def _rated(rated: str) -> list[sa.ColumnElement[bool]]:
    said = feedback.table
    mine = sa.select(sa.literal(1)).where(said.c.completion_id == table.c.completion_id)
    chosen = {
        "corrected": mine.where(said.c.correction.is_not(None)).exists(),
        "good": mine.where(said.c.score >= 0.5).exists(),
        "bad": mine.where(said.c.score < 0.5).exists(),
        "none": ~mine.exists(),
    }.get(rated)
    return [] if chosen is None else [chosen]


def _says(rows: sa.Subquery, text: str) -> sa.ColumnElement[bool]:
    """Match a text as JSON has it: SQLAlchemy escapes what is not ASCII."""
    pattern = json.dumps(text)[1:-1]
    return sa.or_(
        *(
            sa.cast(column, sa.Text).icontains(pattern, autoescape=True)
            for column in (rows.c.messages, rows.c.answer)
        )
    )
