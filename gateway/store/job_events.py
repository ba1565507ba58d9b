"""What happens in fine-tuning jobs: events for people and programs, checkpoints, live workers."""

import secrets
import time
from dataclasses import asdict, dataclass
from typing import Any

import sqlalchemy as sa

from gateway.store.database import Database, metadata, storable
from gateway.store.jobs import STALE_S, held

_events = sa.Table(
    "job_events",
    metadata,
    sa.Column("seq", sa.Integer, primary_key=True, autoincrement=True),
    sa.Column("id", sa.String(40), nullable=False, unique=True),
    sa.Column("job", sa.String(40), nullable=False, index=True),
    sa.Column("created_at", sa.Double, nullable=False),
    sa.Column("level", sa.String(10), nullable=False),
    sa.Column("type", sa.String(10), nullable=False),
    sa.Column("message", sa.Text, nullable=False),
    sa.Column("data", sa.JSON(none_as_null=True)),
)
_checkpoints = sa.Table(
    "job_checkpoints",
    metadata,
    sa.Column("id", sa.String(40), primary_key=True),
    sa.Column("job", sa.String(40), nullable=False, index=True),
    sa.Column("created_at", sa.Double, nullable=False),
    sa.Column("step_number", sa.Integer, nullable=False),
    sa.Column("path", sa.Text, nullable=False),
    sa.Column("metrics", sa.JSON, nullable=False),
)
_workers = sa.Table(
    "workers",
    metadata,
    sa.Column("id", sa.String(100), primary_key=True),
    sa.Column("started_at", sa.Double, nullable=False),
    sa.Column("seen_at", sa.Double, nullable=False),
    sa.Column("job", sa.String(40)),
)


@dataclass(frozen=True, slots=True)
class JobEvent:
    """Something that happened: `level` info, warn or error; `type` message or metrics."""

    id: str
    job: str
    created_at: float
    level: str
    type: str
    message: str
    data: dict[str, Any] | None


@dataclass(frozen=True, slots=True)
class JobCheckpoint:
    """A state of the adapter during training, with its losses."""

    id: str
    job: str
    created_at: float
    step_number: int
    path: str
    metrics: dict[str, Any]


@dataclass(frozen=True, slots=True)
class LiveWorker:
    """A worker that has been heard of lately, and the job that it has."""

    id: str
    started_at: float
    seen_at: float
    job: str | None


class JobEvents:
    """The events, checkpoints and workers in the store."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def add(
        self,
        job: str,
        message: str,
        *,
        level: str = "info",
        data: dict[str, Any] | None = None,
        claim: str | None = None,
    ) -> None:
        """Write an event; with `data` it is one of metrics.

        Raises:
            ClaimLost: `claim` is given and does not hold any more.
        """
        event = JobEvent(
            f"ftevent-{secrets.token_hex(12)}",
            job,
            time.time(),
            level,
            "message" if data is None else "metrics",
            message,
            data,
        )
        with self._database.begin() as connection:
            if claim is not None:
                held(connection, job, claim)
            connection.execute(_events.insert().values(**storable(asdict(event))))

    def page(
        self, job: str, *, after: str | None = None, limit: int = 20, ascending: bool = False
    ) -> tuple[list[JobEvent], bool]:
        """Return events of a job, newest first, and whether there are more.

        Raises:
            KeyError: The job has no event `after`.
        """
        seq = _events.c.seq
        query = _events.select().where(_events.c.job == job)
        with self._database.begin() as connection:
            if after is not None:
                known = sa.select(seq).where(_events.c.job == job, _events.c.id == after)
                last = connection.execute(known).scalar()
                if last is None:
                    raise KeyError(after)
                query = query.where(seq > last if ascending else seq < last)
            query = query.order_by(seq.asc() if ascending else seq.desc()).limit(limit + 1)
            rows = connection.execute(query).all()
        events = [JobEvent(**{k: v for k, v in row._mapping.items() if k != "seq"}) for row in rows]
        return events[:limit], len(rows) > limit

    def add_checkpoint(
        self, job: str, claim: str, step_number: int, path: str, metrics: dict[str, Any]
    ) -> None:
        """Write a checkpoint, in place of one of the same step; ClaimLost as in `add`."""
        checkpoint = JobCheckpoint(
            f"ftckpt-{secrets.token_hex(12)}", job, time.time(), step_number, path, metrics
        )
        same = sa.and_(_checkpoints.c.job == job, _checkpoints.c.step_number == step_number)
        with self._database.begin() as connection:
            held(connection, job, claim)
            connection.execute(_checkpoints.delete().where(same))
            connection.execute(_checkpoints.insert().values(**storable(asdict(checkpoint))))

    def checkpoints(
        self, job: str, *, after: str | None = None, limit: int = 10
    ) -> tuple[list[JobCheckpoint], bool]:
        """Return checkpoints of a job, newest first, and whether there are more.

        Raises:
            KeyError: The job has no checkpoint `after`.
        """
        step = _checkpoints.c.step_number
        query = _checkpoints.select().where(_checkpoints.c.job == job)
        with self._database.begin() as connection:
            if after is not None:
                known = sa.select(step).where(_checkpoints.c.job == job, _checkpoints.c.id == after)
                last = connection.execute(known).scalar()
                if last is None:
                    raise KeyError(after)
                query = query.where(step < last)
            rows = connection.execute(query.order_by(step.desc()).limit(limit + 1)).all()
        return [JobCheckpoint(**row._mapping) for row in rows[:limit]], len(rows) > limit

    def seen(self, worker: LiveWorker) -> None:
        """Write that a worker lives; rows of those long silent go."""
        silent = _workers.c.seen_at < worker.seen_at - 60 * STALE_S
        with self._database.begin() as connection:
            gone = sa.or_(_workers.c.id == worker.id, silent)
            connection.execute(_workers.delete().where(gone))
            connection.execute(_workers.insert().values(**storable(asdict(worker))))

    def gone(self, worker: str) -> None:
        """Write that a worker has ended."""
        with self._database.begin() as connection:
            connection.execute(_workers.delete().where(_workers.c.id == worker))

    def workers(self) -> list[LiveWorker]:
        """Return the workers that have been heard of lately."""
        query = _workers.select().where(_workers.c.seen_at > time.time() - STALE_S)
        with self._database.begin() as connection:
            rows = connection.execute(query.order_by(_workers.c.started_at)).all()
        return [LiveWorker(**row._mapping) for row in rows]
