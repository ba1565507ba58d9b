"""Looks for requests in the traffic log: by what they named, how they ended, what they say."""

import json
from dataclasses import dataclass

import sqlalchemy as sa

from gateway.store import feedback
from gateway.store.database import Database
from gateway.store.traffic import TrafficRecord, table

# Among so many of the latest requests (of an alias, a release) it looks for all else: the log has
# no index of words, outcomes or durations.
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
        columns = table.c
        where: list[sa.ColumnElement[bool]] = [columns.shadow_of.is_(None)]
        if wanted.before is not None:
            here = sa.tuple_(columns.created_at, columns.completion_id)
            where.append(here < sa.tuple_(*(sa.literal(each) for each in wanted.before)))
        if wanted.alias:
            where.append(columns.alias == wanted.alias)
        if wanted.release:
            where.append(columns.release == wanted.release)
        newest = (columns.created_at.desc(), columns.completion_id.desc())
        read = sa.select(table).where(*where).order_by(*newest).limit(MOST_READ).subquery()
        query = sa.select(read).where(*_conditions(read, wanted))
        query = query.order_by(read.c.created_at.desc(), read.c.completion_id.desc())
        with self._database.begin() as connection:
            rows = connection.execute(query.limit(limit + 1)).all()
        return [TrafficRecord(**row._mapping) for row in rows[:limit]], len(rows) > limit

    def mirror_of(self, completion_id: str) -> list[TrafficRecord]:
        """Return what a request was answered by in shadow mode."""
        query = table.select().where(table.c.shadow_of == completion_id).limit(5)
        with self._database.begin() as connection:
            return [TrafficRecord(**row._mapping) for row in connection.execute(query)]


def _conditions(rows: sa.Subquery, wanted: Wanted) -> list[sa.ColumnElement[bool]]:
    found: list[sa.ColumnElement[bool]] = []
    if wanted.outcome:
        found.append(rows.c.outcome == wanted.outcome)
    if wanted.key:
        found.append(rows.c.key_prefix == wanted.key)
    if wanted.slower_than_s is not None:
        found.append(rows.c.duration_s > wanted.slower_than_s)
    if wanted.text:
        found.append(_says(rows, wanted.text))
    said = feedback.table
    mine = sa.select(sa.literal(1)).where(said.c.completion_id == rows.c.completion_id)
    rated = {
        "corrected": mine.where(said.c.correction.is_not(None)).exists(),
        "good": mine.where(said.c.score >= 0.5).exists(),
        "bad": mine.where(said.c.score < 0.5).exists(),
        "none": ~mine.exists(),
    }.get(wanted.rated)
    return found if rated is None else [*found, rated]


def _says(rows: sa.Subquery, text: str) -> sa.ColumnElement[bool]:
    """Match a text as JSON has it: SQLAlchemy escapes what is not ASCII."""
    pattern = json.dumps(text)[1:-1]
    return sa.or_(
        *(
            sa.cast(column, sa.Text).icontains(pattern, autoescape=True)
            for column in (rows.c.messages, rows.c.answer)
        )
    )
