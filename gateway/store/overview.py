"""What is shown of the store beside its nouns' own queries: jobs, aliases, budgets, use by keys."""

import datetime
from collections import Counter
from typing import NamedTuple

import sqlalchemy as sa

from gateway.store import (  # noqa: F401 - their tables
    jobs,
    keys,
    ledger,
    releases,
    rollouts,
    traffic,
)
from gateway.store.database import Database, metadata

STATUSES = (
    jobs.VALIDATING, jobs.QUEUED, jobs.RUNNING, jobs.PAUSED,
    jobs.SUCCEEDED, jobs.FAILED, jobs.CANCELLED,
)  # fmt: skip


class AliasTarget(NamedTuple):
    """A release behind an alias, and when the alias was last moved (Unix seconds)."""

    alias: str
    release: str
    weight: float
    mode: str
    changed_at: float


class LastRollout(NamedTuple):
    """The newest rollout of an alias, and when it was over (Unix seconds), if it is."""

    alias: str
    candidate: str
    stage: str
    status: str
    finished_at: float | None


class Budget(NamedTuple):
    """What a key has used of a budget, `day` or `month`, and how much it may."""

    key: str
    name: str
    budget: str
    used: int
    limit: int


class KeyUse(NamedTuple):
    """Requests and tokens of a key; `key` is None for requests that needed none."""

    key: str | None
    requests: int
    input_tokens: int
    output_tokens: int


class Overview:
    """Counts over the store, each of a bounded number of rows.

    Args:
        database: The store.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    def jobs(self) -> dict[str, int]:
        """Return how many jobs are in each state, all states included."""
        table = metadata.tables["jobs"]
        query = sa.select(table.c.status, sa.func.count()).group_by(table.c.status)
        with self._database.begin() as connection:
            found = Counter({row[0]: row[1] for row in connection.execute(query)})
        return {status: found[status] for status in STATUSES}

    def targets(self) -> list[AliasTarget]:
        """Return the releases behind each alias."""
        table = metadata.tables["aliases"]
        query = table.select().order_by(table.c.name, table.c.release)
        with self._database.begin() as connection:
            rows = connection.execute(query).all()
        return [AliasTarget(r.name, r.release, r.weight, r.mode, r.updated_at) for r in rows]

    def rollouts(self) -> list[LastRollout]:
        """Return the newest rollout of each alias."""
        table = metadata.tables["rollouts"]
        columns = (
            table.c.alias, table.c.candidate, table.c.stage, table.c.status, table.c.finished_at
        )  # fmt: skip
        newest = (
            sa.select(table.c.alias, sa.func.max(table.c.created_at).label("at"))
            .group_by(table.c.alias)
            .subquery()
        )
        same = sa.and_(newest.c.alias == table.c.alias, newest.c.at == table.c.created_at)
        query = sa.select(*columns).join(newest, same).order_by(table.c.alias, table.c.id)
        with self._database.begin() as connection:
            found = {row.alias: LastRollout(*row) for row in connection.execute(query)}
        return list(found.values())

    def key_names(self) -> dict[str, str]:
        """Return the names of the keys that are not revoked, by prefix."""
        table = metadata.tables["keys"]
        query = sa.select(table.c.prefix, table.c.name).where(table.c.revoked_at.is_(None))
        with self._database.begin() as connection:
            return {row.prefix: row.name for row in connection.execute(query)}

    def budgets(self, now: float) -> list[Budget]:
        """Return the budgets of the keys that have one, in the day and the month of `now`.

        Used is what is leased, too; see `gateway.store.ledger`. Where the ledger is kept in Redis,
        nothing of it is here.
        """
        table, used = metadata.tables["keys"], metadata.tables["ledger"]
        today = datetime.datetime.fromtimestamp(now, datetime.UTC).replace(
            hour=0, minute=0, second=0, microsecond=0
        )
        starts = {
            ledger.DAY: int(today.timestamp()),
            ledger.MONTH: int(today.replace(day=1).timestamp()),
        }
        limited = sa.or_(table.c.tokens_per_day.is_not(None), table.c.tokens_per_month.is_not(None))
        windows = [
            sa.and_(used.c.kind == kind, used.c.window_start == start)
            for kind, start in starts.items()
        ]
        with self._database.begin() as connection:
            limits = connection.execute(
                table.select().where(table.c.revoked_at.is_(None), limited).order_by(table.c.prefix)
            ).all()
            rows = connection.execute(
                used.select().where(
                    used.c.key_prefix.in_([row.prefix for row in limits]), sa.or_(*windows)
                )
            ).all()
        amounts = {(row.key_prefix, row.kind): row.used for row in rows}
        return [
            Budget(row.prefix, row.name, budget, amounts.get((row.prefix, kind), 0), limit)
            for row in limits
            for budget, kind, limit in (
                ("day", ledger.DAY, row.tokens_per_day),
                ("month", ledger.MONTH, row.tokens_per_month),
            )
            if limit is not None
        ]

    def key_use(self, after: float, before: float) -> list[KeyUse]:
        """Return what each key used in requests that began after one time, up to another."""
        log = traffic.table
        query = (
            sa.select(
                log.c.key_prefix,
                sa.func.count(),
                sa.func.coalesce(sa.func.sum(log.c.prompt_tokens), 0),
                sa.func.coalesce(sa.func.sum(log.c.completion_tokens), 0),
            )
            .where(log.c.created_at > after, log.c.created_at <= before, log.c.shadow_of.is_(None))
            .group_by(log.c.key_prefix)
        )
        with self._database.begin() as connection:
            return [KeyUse(*row) for row in connection.execute(query)]
