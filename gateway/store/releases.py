"""Releases, which never change, and aliases, which point at them."""

import hashlib
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import sqlalchemy as sa

from gateway.store.database import Database, StoreError, metadata, storable

MODES = frozenset({"live", "shadow"})
PREVIOUS = "previous"
"""The alias that keeps the release before a promotion warm: its conversations stay on it."""

_releases = sa.Table(
    "releases",
    metadata,
    sa.Column("id", sa.String(200), primary_key=True),
    sa.Column("model", sa.Text, nullable=False),
    sa.Column("revision", sa.Text, nullable=False),
    sa.Column("path", sa.Text, nullable=False),
    sa.Column("digests", sa.JSON, nullable=False),
    sa.Column("created_at", sa.Double, nullable=False),
    sa.Column("source", sa.Text, nullable=False),
    sa.Column("base_release", sa.String(200)),
    sa.Column("dataset", sa.Text),
    sa.Column("adapter_path", sa.Text),
    sa.Column("recipe", sa.JSON(none_as_null=True)),
    sa.Column("evaluation", sa.JSON(none_as_null=True)),
    sa.Column("trigger", sa.Text),
    sa.Column("job", sa.Text),
)
_aliases = sa.Table(
    "aliases",
    metadata,
    sa.Column("name", sa.String(200), primary_key=True),
    sa.Column("release", sa.String(200), sa.ForeignKey("releases.id"), primary_key=True),
    sa.Column("weight", sa.Double, nullable=False),
    sa.Column("mode", sa.String(10), nullable=False),
    sa.Column("updated_at", sa.Double, nullable=False),
)
_moves = sa.Table(
    "alias_moves",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("alias", sa.String(200), nullable=False, index=True),
    sa.Column("before", sa.JSON, nullable=False),
    sa.Column("after", sa.JSON, nullable=False),
    sa.Column("by", sa.Text, nullable=False),
    sa.Column("why", sa.Text, nullable=False),
    sa.Column("at", sa.Double, nullable=False),
)


@dataclass(frozen=True, slots=True)
class Release:
    """A merged model that can be served, and where it came from. Immutable.

    Args:
        id: See `release_id`.
        model: The name of the model that it is or was made from.
        revision: The exact version of that model at its source.
        path: Folder of the safetensors on this system.
        digests: SHA-256 of each file, by its name.
        created_at: Unix seconds.
        source: Where the files came from.
        base_release: The release that it was trained from, its parent.
        dataset: Hash of the data set's manifest.
        adapter_path: Folder of the adapter before merging.
        recipe: The resolved training configuration.
        evaluation: The evaluation's summary.
        trigger: What started the training.
        job: The job that made it.
    """

    id: str
    model: str
    revision: str
    path: str
    digests: dict[str, str]
    created_at: float
    source: str = ""
    base_release: str | None = None
    dataset: str | None = None
    adapter_path: str | None = None
    recipe: dict[str, Any] | None = None
    evaluation: dict[str, Any] | None = None
    trigger: str | None = None
    job: str | None = None


@dataclass(frozen=True, slots=True)
class Target:
    """One of the releases behind an alias: its share of the traffic, and live or shadow."""

    release: str
    weight: float
    mode: str


@dataclass(frozen=True, slots=True)
class AliasMove:
    """An alias that was pointed elsewhere: from what to what, by whom, why, when (Unix seconds)."""

    alias: str
    before: tuple[Target, ...]
    after: tuple[Target, ...]
    by: str
    why: str
    at: float


class MovedMeanwhile(Exception):
    """An alias does not point where whoever moves it believes that it does."""


class Releases:
    """The releases and aliases in the store."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def register(self, release: Release) -> Release:
        """Add a release; one that is known stays as it is and is returned."""
        known = self.get(release.id)
        if known is not None:
            return known
        try:
            with self._database.begin() as connection:
                connection.execute(_releases.insert().values(**asdict(release)))
        except StoreError:
            known = self.get(release.id)  # another process may have been first
            if known is None:
                raise
            return known
        return release

    def get(self, id: str) -> Release | None:
        """Return a release, or None."""
        with self._database.begin() as connection:
            row = connection.execute(_releases.select().where(_releases.c.id == id)).first()
        return None if row is None else Release(**row._mapping)

    def all(self) -> list[Release]:
        """Return all releases, oldest first."""
        with self._database.begin() as connection:
            query = _releases.select().order_by(_releases.c.created_at, _releases.c.id)
            rows = connection.execute(query).all()
        return [Release(**row._mapping) for row in rows]

    def point(
        self,
        alias: str,
        targets: Sequence[Target],
        *,
        by: str = "",
        why: str = "",
        expected: Sequence[Target] | None = None,
    ) -> None:
        """Point an alias at releases, all at once, and note the move where it is one.

        Args:
            alias: The alias.
            targets: What it points at from now on.
            by: Who does it: a key's name, a rollout, a job.
            why: Why, for people.
            expected: What it must point at until then; None: anything.

        Raises:
            KeyError: A release is not registered.
            MovedMeanwhile: It does not point at what was expected; nothing was changed.
            ValueError: The name, a weight or a mode is wrong, or no target is live.
        """
        _check(alias, targets)
        with self._database.begin() as connection:
            if connection.dialect.name == "postgresql":
                # Two at once would each miss the other's rows, and leave both. Readers go on.
                connection.execute(sa.text("LOCK TABLE aliases IN SHARE ROW EXCLUSIVE MODE"))
            wanted = [target.release for target in targets]
            query = sa.select(_releases.c.id).where(_releases.c.id.in_(wanted))
            known = set(connection.scalars(query))
            for id in wanted:
                if id not in known:
                    raise KeyError(id)
            before = _taken(connection, alias, expected)
            now = time.time()
            after = _rows(targets)
            connection.execute(
                _aliases.insert(), [{"name": alias, "updated_at": now, **row} for row in after]
            )
            if before != after:
                move = {"alias": alias, "before": before, "after": after, "by": by, "why": why}
                connection.execute(_moves.insert().values(**storable(move), at=now))

    def drop(
        self,
        alias: str,
        *,
        by: str = "",
        why: str = "",
        expected: Sequence[Target] | None = None,
    ) -> bool:
        """Remove an alias, so that its releases need no engines; returns whether there was one.

        Raises:
            MovedMeanwhile: It does not point at what was expected; nothing was changed.
        """
        with self._database.begin() as connection:
            before = _taken(connection, alias, expected)
            if not before:
                return False
            move = {"alias": alias, "before": before, "after": [], "by": by, "why": why}
            connection.execute(_moves.insert().values(**storable(move), at=time.time()))
        return True

    def moves(self, alias: str | None = None, limit: int = 100) -> list[AliasMove]:
        """Return the latest moves of an alias, or of all, the newest first."""
        query = _moves.select().order_by(_moves.c.id.desc()).limit(limit)
        if alias is not None:
            query = query.where(_moves.c.alias == alias)
        with self._database.begin() as connection:
            rows = connection.execute(query).all()
        return [
            AliasMove(
                row.alias,
                tuple(Target(**target) for target in row.before),
                tuple(Target(**target) for target in row.after),
                row.by,
                row.why,
                row.at,
            )
            for row in rows
        ]

    def aliases(self) -> dict[str, tuple[Target, ...]]:
        """Return the targets of each alias."""
        with self._database.begin() as connection:
            query = _aliases.select().order_by(_aliases.c.name, _aliases.c.release)
            rows = connection.execute(query).all()
        found: dict[str, tuple[Target, ...]] = {}
        for row in rows:
            target = Target(row.release, row.weight, row.mode)
            found[row.name] = (*found.get(row.name, ()), target)
        return found


def leading(targets: Sequence[Target]) -> str | None:
    """Return the release that gets most of the live traffic; None where no target is live."""
    live = [target for target in targets if target.mode == "live"]
    return max(live, key=lambda target: target.weight).release if live else None


def release_id(model: str, digests: dict[str, str]) -> str:
    """Return the id of the release with these files: the model's name and 8 hex digits of them."""
    lines = "\n".join(f"{name} {digest}" for name, digest in sorted(digests.items()))
    return f"{model}-{hashlib.sha256(lines.encode()).hexdigest()[:8]}"


def _taken(
    connection: sa.Connection, alias: str, expected: Sequence[Target] | None
) -> list[dict[str, Any]]:
    """Delete an alias's targets and return them.

    A deletion, not a look before it: it takes the lock that keeps others from moving the alias.
    """
    columns = (_aliases.c.release, _aliases.c.weight, _aliases.c.mode)
    deleted = _aliases.delete().where(_aliases.c.name == alias).returning(*columns)
    found = [dict(row._mapping) for row in connection.execute(deleted)]
    found.sort(key=lambda row: str(row["release"]))
    if expected is not None and found != _rows(expected):
        raise MovedMeanwhile(alias)
    return found


def _rows(targets: Sequence[Target]) -> list[dict[str, Any]]:
    return [asdict(target) for target in sorted(targets, key=lambda t: t.release)]


def _check(alias: str, targets: Sequence[Target]) -> None:
    if not alias or len(alias) > 200 or not alias.isprintable():
        raise ValueError(f"an alias is 1 to 200 printable characters, not {alias!r}")
    for target in targets:
        if target.mode not in MODES:
            raise ValueError(f"a mode is live or shadow, not {target.mode!r}")
        if not 0 <= target.weight <= 1:
            raise ValueError(f"a weight is between 0 and 1, not {target.weight}")
    if len({target.release for target in targets}) < len(targets):
        raise ValueError("a release is named twice")
    if not any(target.mode == "live" and target.weight > 0 for target in targets):
        raise ValueError("no release would get live traffic")
