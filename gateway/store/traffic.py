"""The traffic log: one record per routed request."""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from operator import attrgetter
from typing import Any

import sqlalchemy as sa

from gateway.store.database import Database, metadata, storable
from gateway.store.feedback import of_completions

_JSON = sa.JSON(none_as_null=True)
table = sa.Table(
    "traffic",
    metadata,
    sa.Column("completion_id", sa.String(200), primary_key=True),
    sa.Column("created_at", sa.Double, nullable=False),
    sa.Column("operation", sa.String(20), nullable=False),
    sa.Column("key_prefix", sa.String(8)),
    sa.Column("alias", sa.String(200), nullable=False),
    sa.Column("release", sa.String(200), nullable=False),
    sa.Column("index_generation", sa.Text),
    sa.Column("messages", _JSON),
    sa.Column("parameters", _JSON),
    sa.Column("answer", _JSON),
    sa.Column("finish_reason", sa.Text),
    sa.Column("prompt_tokens", sa.Integer),
    sa.Column("completion_tokens", sa.Integer),
    sa.Column("ttft_s", sa.Double),
    sa.Column("duration_s", sa.Double, nullable=False),
    sa.Column("logprob_mean", sa.Double),
    sa.Column("logprob_tail", sa.Double),
    sa.Column("retrieval", _JSON),
    sa.Column("outcome", sa.String(20), nullable=False),
    sa.Column("status", sa.Integer, nullable=False),
    sa.Column("metadata", sa.JSON, nullable=False),
    sa.Column("system_fingerprint", sa.Text),
    sa.Column("conversation", sa.Text),
    sa.Column("shadow_of", sa.Text),
    sa.Index(None, "created_at", "completion_id"),
    sa.Index(None, "alias", "release", "created_at"),
)


@dataclass(frozen=True, slots=True)
class TrafficRecord:
    """One request and its answer; times in seconds, `created_at` in Unix seconds.

    Texts (`messages`, `parameters`, `answer`, `metadata`) are None or empty where the settings or
    the request keep them out of the log. `outcome` is done, error, truncated or cancelled.
    `shadow_of` is the completion that a mirrored request repeats: nobody saw its answer.
    """

    completion_id: str
    created_at: float
    operation: str
    key_prefix: str | None
    alias: str
    release: str
    index_generation: str | None
    messages: list[Any] | str | None
    parameters: dict[str, Any] | None
    answer: dict[str, Any] | None
    finish_reason: str | None
    prompt_tokens: int | None
    completion_tokens: int | None
    ttft_s: float | None
    duration_s: float
    logprob_mean: float | None
    logprob_tail: float | None
    retrieval: dict[str, Any] | None
    outcome: str
    status: int
    metadata: dict[str, str]
    system_fingerprint: str | None
    conversation: str | None
    shadow_of: str | None = None


_LONGEST_S = 3600.0  # of a request
_NAMES = [field.name for field in fields(TrafficRecord)]
_values = attrgetter(*_NAMES)


def _row(record: TrafficRecord) -> dict[str, Any]:
    # `dataclasses.asdict` copies every message and answer deeply: half of the recorder's time.
    return dict(zip(_NAMES, _values(record), strict=True))


class Traffic:
    """The traffic log in the store."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def add(self, records: Sequence[TrafficRecord]) -> None:
        """Write records in one transaction; one whose id is known is left out."""
        # Backwards, so that the first of an id stays.
        by_id = {record.completion_id: record for record in reversed(records)}
        if not by_id:
            return
        with self._database.begin() as connection:
            query = sa.select(table.c.completion_id).where(table.c.completion_id.in_(by_id))
            for known in connection.scalars(query).all():
                del by_id[known]
            if by_id:
                rows = [storable(_row(record)) for record in reversed(by_id.values())]
                connection.execute(table.insert(), rows)

    def get(self, completion_id: str) -> TrafficRecord | None:
        """Return a record, or None."""
        with self._database.begin() as connection:
            row = connection.execute(_one(completion_id)).first()
        return None if row is None else TrafficRecord(**row._mapping)

    def page(
        self,
        *,
        after: str | None = None,
        limit: int = 20,
        ascending: bool = True,
        model: str | None = None,
        metadata: dict[str, str] | None = None,
        operation: str = "chat",
    ) -> tuple[list[TrafficRecord], bool]:
        """Return stored answers in the order of their time, and whether there are more.

        Args:
            after: The record after which the page begins.
            limit: Most records of a page.
            ascending: Oldest first.
            model: Only those of this alias or release.
            metadata: Only those that carry all of these pairs.
            operation: chat, completion or response.

        Raises:
            KeyError: There is no record `after`.
        """
        columns = (table.c.created_at, table.c.completion_id)
        query = table.select().where(
            table.c.answer.is_not(sa.null()),
            table.c.operation == operation,
            table.c.shadow_of.is_(None),
        )
        if model is not None:
            query = query.where(sa.or_(table.c.alias == model, table.c.release == model))
        with self._database.begin() as connection:
            each = _EACH[connection.dialect.name]
            for name, value in storable(metadata or {}).items():
                query = query.where(_carries(each, name, value))
            if after is not None:
                last = connection.execute(_one(after)).first()
                if last is None:
                    raise KeyError(after)
                here, there = sa.tuple_(*columns), sa.tuple_(last.created_at, last.completion_id)
                query = query.where(here > there if ascending else here < there)
            order = [column.asc() if ascending else column.desc() for column in columns]
            rows = connection.execute(query.order_by(*order).limit(limit + 1)).all()
        return [TrafficRecord(**row._mapping) for row in rows[:limit]], len(rows) > limit

    def ended(
        self,
        alias: str,
        releases: Sequence[str],
        *,
        begun: float,
        after: tuple[float, str],
        before: float,
        limit: int,
    ) -> list[TrafficRecord]:
        """Return requests in the order in which they ended; mirrored ones are left out.

        Args:
            alias: What they named.
            releases: What answered.
            begun: When they began at the earliest.
            after: End and id of the last one that was read, or an end without an id.
            before: Only those that ended before.
            limit: Most of them.
        """
        end = table.c.created_at + table.c.duration_s
        query = table.select().where(
            table.c.alias == alias,
            table.c.release.in_(releases),
            table.c.shadow_of.is_(None),
            # The index knows beginnings only.
            table.c.created_at >= max(begun, after[0] - _LONGEST_S),
            sa.tuple_(end, table.c.completion_id)
            > sa.tuple_(sa.literal(after[0]), sa.literal(after[1])),
            end < before,
        )
        query = query.order_by(end, table.c.completion_id).limit(limit)
        with self._database.begin() as connection:
            return [TrafficRecord(**row._mapping) for row in connection.execute(query)]

    def mirrored(
        self, alias: str, release: str, since: float, limit: int
    ) -> list[tuple[TrafficRecord, TrafficRecord]]:
        """Return mirrored requests with what they repeat, the oldest first.

        Args:
            alias: What the requests named.
            release: What they were mirrored to.
            since: When they were mirrored at the earliest.
            limit: Most of them.
        """
        first = table.alias()
        query = (
            sa.select(table.c.completion_id, first.c.completion_id)
            .join(first, first.c.completion_id == table.c.shadow_of)
            .where(
                table.c.alias == alias,
                table.c.release == release,
                table.c.created_at >= since,
            )
            .order_by(table.c.created_at, table.c.completion_id)
            .limit(limit)
        )
        with self._database.begin() as connection:
            pairs = [tuple(row) for row in connection.execute(query)]
            ids = {id for pair in pairs for id in pair}
            both = table.select().where(table.c.completion_id.in_(ids))
            found = {r.completion_id: TrafficRecord(**r._mapping) for r in connection.execute(both)}
        return [(found[copy], found[of]) for copy, of in pairs]

    def conversations(self, alias: str, since: float, before: float) -> set[str]:
        """Return the keys of the conversations that had a request of an alias between two times."""
        query = (
            sa.select(table.c.conversation)
            .distinct()
            .where(
                table.c.alias == alias,
                table.c.created_at >= since,
                table.c.created_at < before,
                table.c.conversation.is_not(None),
            )
        )
        with self._database.begin() as connection:
            return set(connection.scalars(query))

    def set_metadata(self, completion_id: str, pairs: dict[str, str]) -> TrafficRecord | None:
        """Replace a record's metadata; None if there is no such record."""
        with self._database.begin() as connection:
            connection.execute(
                table.update()
                .where(table.c.completion_id == completion_id)
                .values(metadata=storable(pairs))
            )
            row = connection.execute(_one(completion_id)).first()
        return None if row is None else TrafficRecord(**row._mapping)

    def delete(self, completion_id: str) -> bool:
        """Delete a record and its feedback; returns whether there was one."""
        return self._delete([completion_id]) > 0

    def purge(self, before: float, limit: int = 1000) -> int:
        """Delete up to `limit` records older than `before` (Unix seconds); returns how many."""
        with self._database.begin() as connection:
            query = (
                sa.select(table.c.completion_id)
                .where(table.c.created_at < before)
                .order_by(table.c.created_at)
                .limit(limit)
            )
            old = list(connection.scalars(query))
        return self._delete(old) if old else 0

    def _delete(self, ids: Sequence[str]) -> int:
        with self._database.begin() as connection:
            connection.execute(of_completions(ids))
            done = connection.execute(table.delete().where(table.c.completion_id.in_(ids)))
        return done.rowcount


# Not a JSON path: SQLite's have no way to quote every name.
_EACH = {"sqlite": "json_each", "postgresql": "json_each_text"}


def _carries(each: str, name: str, value: str) -> sa.ColumnElement[bool]:
    pair = getattr(sa.func, each)(table.c.metadata).table_valued("key", "value")
    found = sa.select(sa.literal(1)).select_from(pair)
    return found.where(pair.c.key == name, pair.c.value == value).correlate(table).exists()


def _one(completion_id: str) -> sa.Select[Any]:
    return table.select().where(table.c.completion_id == completion_id)
