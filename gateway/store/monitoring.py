"""What the monitor knows: a state per release behind an alias, and its windows with their evidence.

A window, the state after it and the health that follows are written in one transaction, so that a
monitor that is killed neither loses evidence nor counts it twice.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any, NamedTuple

import sqlalchemy as sa

from gateway.store import feedback, health, traffic
from gateway.store.database import Database, StoreError, metadata, storable
from gateway.store.traffic import TrafficRecord

_states = sa.Table(
    "monitor_states",
    metadata,
    sa.Column("alias", sa.String(200), primary_key=True),
    sa.Column("release", sa.String(200), primary_key=True),
    sa.Column("stage", sa.String(20), nullable=False),
    sa.Column("windows", sa.Integer, nullable=False),
    sa.Column("requests", sa.Integer, nullable=False),
    sa.Column("left_out", sa.Integer, nullable=False),
    sa.Column("reference_rows", sa.Integer, nullable=False),
    sa.Column("reference_needed", sa.Integer, nullable=False),
    sa.Column("last_window_at", sa.Double),
    sa.Column("signals", sa.JSON, nullable=False),
    sa.Column("descriptors", sa.JSON, nullable=False),
    sa.Column("topics", sa.JSON, nullable=False),
    sa.Column("report", sa.Text),
    sa.Column("detail", sa.JSON, nullable=False),
    sa.Column("version", sa.Integer, nullable=False),
    sa.Column("updated_at", sa.Double, nullable=False),
)
_windows = sa.Table(
    "monitor_windows",
    metadata,
    sa.Column("alias", sa.String(200), primary_key=True),
    sa.Column("release", sa.String(200), primary_key=True),
    sa.Column("number", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("first_at", sa.Double, nullable=False),
    sa.Column("last_at", sa.Double, nullable=False),
    sa.Column("requests", sa.JSON, nullable=False),
    sa.Column("inputs", sa.JSON, nullable=False),
    sa.Column("evidence", sa.JSON, nullable=False),
    sa.Column("created_at", sa.Double, nullable=False),
)


class ChangedMeanwhile(StoreError):
    """Another monitor has written this state since it was read."""


@dataclass(frozen=True, slots=True)
class MonitorState:
    """What the monitor knows of a release behind an alias; times in Unix seconds.

    Attributes:
        alias: The alias.
        release: The release.
        stage: `no_reference` while the reference is collected, `watching`, or `no_text` where the
            traffic log holds no prompts.
        windows: Windows judged so far.
        requests: Requests in them.
        left_out: Requests that were in none: a later turn of a conversation, or no prompt.
        reference_rows: Rows of the reference so far.
        reference_needed: Rows that it needs.
        last_window_at: When the last window was judged.
        signals: By name: `kind` (drift or harm), `evidence`, `threshold`, and of harm the `mean`
            loss, its `limit` and `count`.
        descriptors: By name: the mean `now`, in the last window, and in the `reference`.
        topics: Each with `id`, `label`, `share`, `reference_share`, `loss` and `examples`.
        report: Path of the last report below the folder of reports.
        detail: What the monitor needs to go on.
        version: Raised by one with each writing.
        updated_at: When it was written.
    """

    alias: str
    release: str
    stage: str = "no_reference"
    windows: int = 0
    requests: int = 0
    left_out: int = 0
    reference_rows: int = 0
    reference_needed: int = 0
    last_window_at: float | None = None
    signals: dict[str, dict[str, Any]] = field(default_factory=dict)
    descriptors: dict[str, dict[str, float | None]] = field(default_factory=dict)
    topics: list[dict[str, Any]] = field(default_factory=list)
    report: str | None = None
    detail: dict[str, Any] = field(default_factory=dict)
    version: int = 0
    updated_at: float = 0.0


@dataclass(frozen=True, slots=True)
class StoredWindow:
    """A judged window: its requests by id, what the tests were given, and the evidence after it."""

    alias: str
    release: str
    number: int
    first_at: float
    last_at: float
    requests: list[str]
    inputs: dict[str, Any]
    evidence: dict[str, float]
    created_at: float


class Place(NamedTuple):
    """How far a log has been read: the time and the id of the last row."""

    at: float
    id: str


class Monitoring:
    """The monitor's part of the store, and its views of traffic and feedback."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def states(self) -> list[MonitorState]:
        """Return the state of each release behind each alias."""
        query = _states.select().order_by(_states.c.alias, _states.c.release)
        with self._database.begin() as connection:
            return [MonitorState(**row._mapping) for row in connection.execute(query)]

    def state(self, alias: str, release: str) -> MonitorState | None:
        """Return one state, or None."""
        query = _states.select().where(_states.c.alias == alias, _states.c.release == release)
        with self._database.begin() as connection:
            row = connection.execute(query).first()
        return None if row is None else MonitorState(**row._mapping)

    def write(
        self,
        state: MonitorState,
        windows: Sequence[StoredWindow] = (),
        alias_health: health.AliasHealth | None = None,
    ) -> MonitorState:
        """Write a state with the windows that led to it, and the health that follows, all at once.

        Raises:
            ChangedMeanwhile: It is not the state that was read.
        """
        written = replace(state, version=state.version + 1)
        one = sa.and_(_states.c.alias == state.alias, _states.c.release == state.release)
        with self._database.begin() as connection:
            if state.version == 0:
                known = connection.execute(_states.select().where(one)).first()
                if known is not None:
                    raise ChangedMeanwhile(f"{state.alias}: another monitor has begun")
                connection.execute(_states.insert().values(**storable(asdict(written))))
            else:
                done = connection.execute(
                    _states.update()
                    .where(one, _states.c.version == state.version)
                    .values(**storable(asdict(written)))
                )
                if done.rowcount != 1:
                    raise ChangedMeanwhile(f"{state.alias}: another monitor has written")
            for window in windows:
                connection.execute(_windows.insert().values(**storable(asdict(window))))
            if alias_health is not None:
                health.write(connection, alias_health)
        return written

    def windows(
        self, alias: str, release: str, *, after: int = -1, limit: int = 1000
    ) -> list[StoredWindow]:
        """Return windows in their order, those with a number above `after`."""
        query = (
            _windows.select()
            .where(
                _windows.c.alias == alias,
                _windows.c.release == release,
                _windows.c.number > after,
            )
            .order_by(_windows.c.number)
            .limit(limit)
        )
        with self._database.begin() as connection:
            return [StoredWindow(**row._mapping) for row in connection.execute(query)]

    def last_requests(self, alias: str, release: str, most: int) -> list[str]:
        """Return the ids of the requests that were judged last, in their order."""
        query = (
            sa.select(_windows.c.requests)
            .where(_windows.c.alias == alias, _windows.c.release == release)
            .order_by(_windows.c.number.desc())
            .limit(100)
        )
        found: list[str] = []
        with self._database.begin() as connection:
            for ids in connection.scalars(query):
                if len(found) >= most:
                    break
                found = [*ids, *found]
        return found[-most:]

    def purge(self, before: float) -> int:
        """Delete windows judged before a time (Unix seconds); returns how many."""
        with self._database.begin() as connection:
            return connection.execute(
                _windows.delete().where(_windows.c.created_at < before)
            ).rowcount

    def arrivals(
        self, alias: str, release: str, after: Place, before: float, limit: int
    ) -> list[TrafficRecord]:
        """Return requests that began after a place and before a time, in their order."""
        log = traffic.table
        query = (
            log.select()
            .where(
                log.c.alias == alias,
                log.c.release == release,
                log.c.shadow_of.is_(None),
                log.c.created_at >= after.at,
                sa.tuple_(log.c.created_at, log.c.completion_id)
                > sa.tuple_(sa.literal(after.at), sa.literal(after.id)),
                log.c.created_at < before,
            )
            .order_by(log.c.created_at, log.c.completion_id)
            .limit(limit)
        )
        with self._database.begin() as connection:
            return [TrafficRecord(**row._mapping) for row in connection.execute(query)]

    def requests(self, ids: Sequence[str]) -> list[TrafficRecord]:
        """Return the records with these ids that are still in the log, in no order."""
        query = traffic.table.select().where(traffic.table.c.completion_id.in_(ids))
        with self._database.begin() as connection:
            return [TrafficRecord(**row._mapping) for row in connection.execute(query)]

    def scores(
        self, alias: str, release: str, after: Place, before: float, limit: int
    ) -> list[tuple[Place, str, float]]:
        """Return pieces of feedback with a score, in their order: place, completion, score."""
        said, log = feedback.table, traffic.table
        query = (
            sa.select(said.c.created_at, said.c.id, said.c.completion_id, said.c.score)
            .select_from(said.join(log, log.c.completion_id == said.c.completion_id))
            .where(
                log.c.alias == alias,
                log.c.release == release,
                said.c.score.is_not(None),
                sa.tuple_(said.c.created_at, said.c.id)
                > sa.tuple_(sa.literal(after.at), sa.literal(after.id)),
                said.c.created_at < before,
            )
            .order_by(said.c.created_at, said.c.id)
            .limit(limit)
        )
        with self._database.begin() as connection:
            return [(Place(r[0], r[1]), r[2], r[3]) for r in connection.execute(query)]
