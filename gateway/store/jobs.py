"""Fine-tuning jobs: what is to be trained, how far it is, and which worker has claimed it.

    validating_files → queued → running → succeeded
           │             ▲ │        │  ↘ failed
           └── paused ───┘ └────────┴──→ cancelled

A worker claims a job by a token, renews the claim every second or so, and may write to the job only
while it holds the claim and the job is not over. So a worker that was thought dead and comes back
changes nothing, and a job that is cancelled stays cancelled.
"""

import secrets
import time
from collections.abc import Collection
from dataclasses import asdict, dataclass, replace
from typing import Any

import sqlalchemy as sa

from gateway.store.database import Database, metadata, storable

VALIDATING, QUEUED, RUNNING, PAUSED = "validating_files", "queued", "running", "paused"
SUCCEEDED, FAILED, CANCELLED = "succeeded", "failed", "cancelled"
# A worker works on jobs in these states.
LIVE = frozenset({VALIDATING, QUEUED, RUNNING})
OVER = frozenset({SUCCEEDED, FAILED, CANCELLED})
# A claim that was not renewed for so long is up for others.
STALE_S = 20.0

_table = sa.Table(
    "jobs",
    metadata,
    sa.Column("id", sa.String(40), primary_key=True),
    sa.Column("key_prefix", sa.String(8), index=True),
    sa.Column("created_at", sa.Double, nullable=False),
    sa.Column("model", sa.Text, nullable=False),
    sa.Column("base_release", sa.String(200), nullable=False),
    sa.Column("training_file", sa.String(40), nullable=False),
    sa.Column("validation_file", sa.String(40)),
    sa.Column("hyperparameters", sa.JSON, nullable=False),
    sa.Column("seed", sa.BigInteger, nullable=False),
    sa.Column("suffix", sa.String(64)),
    sa.Column("metadata", sa.JSON, nullable=False),
    sa.Column("recipe", sa.String(200)),
    sa.Column("overrides", sa.JSON, nullable=False),
    sa.Column("alias", sa.String(200)),
    sa.Column("status", sa.String(20), nullable=False, index=True),
    sa.Column("step", sa.String(40)),
    sa.Column("error", sa.JSON(none_as_null=True)),
    sa.Column("fine_tuned_model", sa.String(200)),
    sa.Column("trained_tokens", sa.BigInteger),
    sa.Column("estimated_finish", sa.Double),
    sa.Column("finished_at", sa.Double),
    sa.Column("result_files", sa.JSON, nullable=False),
    sa.Column("attempts", sa.Integer, nullable=False),
    sa.Column("claim", sa.String(100)),
    sa.Column("claimed_until", sa.Double),
)


class ClaimLost(Exception):
    """The job was cancelled, paused or taken over: whoever worked on it must stop."""


@dataclass(frozen=True, slots=True)
class Job:
    """A fine-tuning job.

    Args:
        id: `ftjob-…`.
        key_prefix: Whose it is.
        created_at: Unix seconds, as all times here.
        model: The base as it was asked for, an alias or a release.
        base_release: The release that this was then.
        training_file: Id of the uploaded rows.
        validation_file: Id of the rows to validate with.
        hyperparameters: OpenAI's, `auto` left out: n_epochs, batch_size, learning_rate_multiplier.
        seed: Seed of the data's split and of the training.
        suffix: Becomes part of the new release's name.
        metadata: The client's.
        recipe: Name of the training recipe; None: the worker chooses one that fits its machine.
        overrides: Values in place of the recipe's.
        alias: What is pointed at the new release; None: nothing.
        status: One of the states above.
        step: What is being done, while it is.
        error: Why it failed: code, message and param.
        fine_tuned_model: The new release.
        trained_tokens: Tokens that were trained on, all epochs together.
        estimated_finish: When the training should end.
        finished_at: When it succeeded, failed or was cancelled.
        result_files: Ids of files that tell about the training.
        attempts: How often it was claimed since it last made progress.
        claim: The token of the worker that has it.
        claimed_until: When that claim ends unless it is renewed.
    """

    id: str
    key_prefix: str | None
    created_at: float
    model: str
    base_release: str
    training_file: str
    validation_file: str | None
    hyperparameters: dict[str, Any]
    seed: int
    suffix: str | None
    metadata: dict[str, str]
    recipe: str | None
    overrides: dict[str, Any]
    alias: str | None
    status: str = VALIDATING
    step: str | None = None
    error: dict[str, Any] | None = None
    fine_tuned_model: str | None = None
    trained_tokens: int | None = None
    estimated_finish: float | None = None
    finished_at: float | None = None
    result_files: tuple[str, ...] = ()
    attempts: int = 0
    claim: str | None = None
    claimed_until: float | None = None


class Jobs:
    """The jobs in the store."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def add(self, job: Job) -> Job:
        """Write a new job."""
        with self._database.begin() as connection:
            values = asdict(job) | {"result_files": list(job.result_files)}
            connection.execute(_table.insert().values(**storable(values)))
        return job

    def get(self, id: str) -> Job | None:
        """Return a job, or None."""
        with self._database.begin() as connection:
            row = connection.execute(_table.select().where(_table.c.id == id)).first()
        return None if row is None else _job(row)

    def page(
        self, *, owner: str | None = None, after: str | None = None, limit: int = 20
    ) -> tuple[list[Job], bool]:
        """Return jobs, newest first, and whether there are more.

        Args:
            owner: Only those of this key (its prefix); None: of all.
            after: The job after which the page begins.
            limit: Most jobs of a page.

        Raises:
            KeyError: There is no job `after`.
        """
        query = _table.select()
        if owner is not None:
            query = query.where(_table.c.key_prefix == owner)
        if after is not None:
            last = self.get(after)
            if last is None or (owner is not None and last.key_prefix != owner):
                raise KeyError(after)
            here = sa.tuple_(_table.c.created_at, _table.c.id)
            query = query.where(here < sa.tuple_(last.created_at, last.id))
        query = query.order_by(_table.c.created_at.desc(), _table.c.id.desc()).limit(limit + 1)
        with self._database.begin() as connection:
            rows = connection.execute(query).all()
        return [_job(row) for row in rows[:limit]], len(rows) > limit

    def waiting(self) -> int:
        """Return how many jobs are live."""
        query = sa.select(sa.func.count()).where(_table.c.status.in_(LIVE))
        with self._database.begin() as connection:
            return int(connection.execute(query).scalar_one())

    def move(self, id: str, status: str, among: Collection[str]) -> bool:
        """Change a job's state and end its claim, if its state is one of `among`.

        Returns:
            Whether it was changed: of two that try at once, one succeeds.
        """
        values: dict[str, Any] = {"status": status, "claim": None, "claimed_until": None}
        values |= {"step": None, "estimated_finish": None, "attempts": 0}
        if status in OVER:
            values["finished_at"] = time.time()
        update = _table.update().where(_table.c.id == id, _table.c.status.in_(among))
        with self._database.begin() as connection:
            return connection.execute(update.values(**values)).rowcount > 0

    def claim(self, token: str, stale_s: float = STALE_S) -> Job | None:
        """Take the oldest live job that nobody has, or whose worker is silent; None: there is none.

        Args:
            token: Names the claim; a new one for each.
            stale_s: How long the claim holds without being renewed, in seconds.
        """
        now = time.time()
        free = sa.or_(_table.c.claimed_until.is_(None), _table.c.claimed_until < now)
        oldest = (
            sa.select(_table.c.id)
            .where(_table.c.status.in_(LIVE), free)
            .order_by(_table.c.created_at, _table.c.id)
            .limit(1)
            .with_for_update(skip_locked=True)  # left out by SQLite, which has one writer
            .scalar_subquery()
        )
        update = (
            _table.update()
            .where(_table.c.id == oldest, free)
            .values(claim=token, claimed_until=now + stale_s, attempts=_table.c.attempts + 1)
            .returning(*_table.c)
        )
        with self._database.begin() as connection:
            row = connection.execute(update).first()
        return None if row is None else _job(row)

    def renew(self, id: str, token: str, stale_s: float = STALE_S) -> None:
        """Hold a claim for longer; ClaimLost if it does not hold any more."""
        self.write(id, token, claimed_until=time.time() + stale_s)

    def release(self, id: str, token: str, *, crashed: bool = False) -> None:
        """Give a claim back, so that any worker may go on at once; a lost one stays lost.

        Args:
            id: The job.
            token: The claim.
            crashed: Whether the attempt counts as one that led to nothing.
        """
        values: dict[str, Any] = {"claim": None, "claimed_until": None}
        values |= {} if crashed else {"attempts": 0}
        update = _table.update().where(_table.c.id == id, _table.c.claim == token)
        with self._database.begin() as connection:
            connection.execute(update.values(**values))

    def write(self, id: str, token: str, **values: Any) -> None:
        """Write fields of a job, for the holder of its claim.

        Raises:
            ClaimLost: The claim is another's, or the job is not live any more.
        """
        with self._database.begin() as connection:
            held(connection, id, token)
            connection.execute(_table.update().where(_table.c.id == id).values(**storable(values)))

    def finish(self, id: str, token: str, status: str, **values: Any) -> None:
        """Write how a job ended, for the holder of its claim; ClaimLost as in `write`."""
        over = {"status": status, "finished_at": time.time(), "step": None, "claim": None}
        over |= {"claimed_until": None, "estimated_finish": None}
        self.write(id, token, **over, **values)


def held(connection: sa.Connection, id: str, token: str) -> None:
    """Lock the job's row for the transaction; ClaimLost unless it is live and `token` has it."""
    mine = sa.and_(_table.c.id == id, _table.c.claim == token, _table.c.status.in_(LIVE))
    # An update, not a select: it takes the lock on both databases.
    update = _table.update().where(mine).values(claim=token)
    if connection.execute(update).rowcount == 0:
        raise ClaimLost(id)


def job_id() -> str:
    """Return a new id."""
    return f"ftjob-{secrets.token_hex(12)}"


def _job(row: sa.Row[Any]) -> Job:
    job = Job(**row._mapping)
    return replace(job, result_files=tuple(job.result_files))
