"""The ledger: what each key has used of its limits in each window, shared by all workers.

Workers lease blocks of a limit here and admit from them without I/O, so `used` counts what is
leased, and never passes the limit but for what is booked after the fact. All of a key's rows are
locked together, in one order, before any is read: takes are exact, and never deadlock.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from gateway.store.database import Database, metadata

# What is limited. A row is a key, one of these and the start of its window in Unix seconds; SLOTS
# (requests at once) has no window: its start is 0.
REQUESTS, TOKENS, DAY, MONTH, SLOTS = "requests", "tokens", "tokens_day", "tokens_month", "slots"
Row = tuple[str, int]
# For the books: minutes are of no use soon, days and months say what a key has used.
_KEEP_MINUTES_S = 3600
_KEEP_BUDGETS_S = 400 * 86400
_KEEP_HOLDERS_S = 3600
# A lease takes at most this part of what is left, so that the last of a limit is spread thin.
SHARE = 8

_ledger = sa.Table(
    "ledger",
    metadata,
    sa.Column("key_prefix", sa.String(8), primary_key=True),
    sa.Column("kind", sa.String(20), primary_key=True),
    sa.Column("window_start", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("used", sa.BigInteger, nullable=False),
)
_slots = sa.Table(
    "ledger_slots",
    metadata,
    sa.Column("key_prefix", sa.String(8), primary_key=True),
    sa.Column("holder", sa.String(100), primary_key=True),
    sa.Column("held", sa.BigInteger, nullable=False),
    sa.Column("expires_at", sa.Double, nullable=False),
)
_INSERT: dict[str, Any] = {"sqlite": sqlite.insert, "postgresql": postgresql.insert}


@dataclass(frozen=True, slots=True)
class Want:
    """A wish for a block: at least what is needed, up to what would save later trips."""

    kind: str
    window_start: int
    limit: int
    at_least: int
    up_to: int


@dataclass(frozen=True, slots=True)
class Lease:
    """Who takes, and how long its slots count if it is not heard of again; Unix seconds."""

    holder: str
    now: float
    until: float


@dataclass(frozen=True, slots=True)
class Taken:
    """What was granted per kind (nothing where a kind is `refused`) and what is left of each."""

    granted: dict[str, int]
    left: dict[str, int]
    refused: tuple[str, ...]


class LedgerStore(Protocol):
    """Where the ledger is kept. Every call is atomic; one that fails raises StoreError."""

    def take(
        self, key: str, wants: Sequence[Want], changes: Mapping[Row, int], lease: Lease
    ) -> Taken:
        """Book `changes`, then take a block of every kind wanted, or of none."""

    def book(self, changes: Mapping[str, Mapping[Row, int]], lease: Lease) -> None:
        """Add signed amounts to rows of keys: give blocks back, or book beyond any limit."""

    def extend(self, lease: Lease) -> None:
        """Let the holder's slots count until the lease's end."""

    def leave(self, holder: str) -> None:
        """Give all slots of a holder back."""

    def purge(self, now: float) -> None:
        """Forget old windows and holders long gone."""

    def close(self) -> None:
        """Close what the ledger itself has opened."""


def offer(want: Want, left: int) -> int | None:
    """Return how much of `left` a wish gets; None: less is left than it needs."""
    if left < want.at_least:
        return None
    return min(want.up_to, max(want.at_least, left // SHARE))


class Ledger:
    """The ledger in the gateway's own store."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def take(
        self, key: str, wants: Sequence[Want], changes: Mapping[Row, int], lease: Lease
    ) -> Taken:
        """Book `changes`, then take a block of every kind wanted, or of none."""
        rows = {(want.kind, want.window_start) for want in wants} | changes.keys()
        with self._database.begin() as connection:
            books = _Books(connection, key, rows, lease)
            books.add(changes)
            lefts = {want.kind: want.limit - books.used(want) for want in wants}
            offers = {want.kind: offer(want, lefts[want.kind]) for want in wants}
            refused = tuple(kind for kind, amount in offers.items() if amount is None)
            granted = {} if refused else {kind: amount or 0 for kind, amount in offers.items()}
            books.add(
                {(w.kind, w.window_start): granted[w.kind] for w in wants if w.kind in granted}
            )
            books.write()
        left = {kind: amount - granted.get(kind, 0) for kind, amount in lefts.items()}
        return Taken(granted, left, refused)

    def book(self, changes: Mapping[str, Mapping[Row, int]], lease: Lease) -> None:
        """Add signed amounts to rows of keys: give blocks back, or book beyond any limit."""
        if not changes:
            self._database.ping()
            return
        with self._database.begin() as connection:
            for key in sorted(changes):
                books = _Books(connection, key, changes[key].keys(), lease)
                books.add(changes[key])
                books.write()

    def extend(self, lease: Lease) -> None:
        """Let the holder's slots count until the lease's end."""
        with self._database.begin() as connection:
            connection.execute(
                _slots.update()
                .where(_slots.c.holder == lease.holder)
                .values(expires_at=lease.until)
            )

    def leave(self, holder: str) -> None:
        """Give all slots of a holder back."""
        with self._database.begin() as connection:
            connection.execute(_slots.delete().where(_slots.c.holder == holder))

    def purge(self, now: float) -> None:
        """Forget old windows and holders long gone."""
        start, minute = _ledger.c.window_start, _ledger.c.kind.in_((REQUESTS, TOKENS))
        budget = _ledger.c.kind.in_((DAY, MONTH))
        with self._database.begin() as connection:
            for of, kept in ((minute, _KEEP_MINUTES_S), (budget, _KEEP_BUDGETS_S)):
                connection.execute(_ledger.delete().where(of, start < int(now - kept)))
            gone = _slots.c.expires_at < now - _KEEP_HOLDERS_S
            connection.execute(_slots.delete().where(gone))

    def used(self, key: str) -> dict[Row, int]:
        """Return what is used, leases included, of each of a key's windows."""
        query = sa.select(_ledger).where(_ledger.c.key_prefix == key, _ledger.c.kind != SLOTS)
        with self._database.begin() as connection:
            rows = connection.execute(query).all()
        return {(row.kind, row.window_start): row.used for row in rows}

    def held(self, key: str, now: float) -> int:
        """Return how many slots of a key are held by holders that are alive."""
        with self._database.begin() as connection:
            return sum(_holders(connection, key, now).values())

    def close(self) -> None:
        """Do nothing: the database is another's to close."""


def open_ledger(url: str, database: Database) -> LedgerStore:
    """Return the ledger at a URL (`redis://…`, `unix://…`); without one, that of the database.

    Raises:
        StoreError: The URL is not understood, or the package `redis` is missing.
    """
    if not url:
        return Ledger(database)
    from gateway.store.ledger_redis import RedisLedger

    return RedisLedger(url)


class _Books:
    """The rows of one key within a transaction: locked when made, written at the end."""

    def __init__(
        self, connection: sa.Connection, key: str, rows: Iterable[Row], lease: Lease
    ) -> None:
        self._connection = connection
        self._key = key
        self._lease = lease
        self._insert = _INSERT[connection.dialect.name]
        fresh = [
            {"key_prefix": key, "kind": kind, "window_start": start, "used": 0}
            for kind, start in sorted(rows)
        ]
        self._used: dict[Row, int] = {}
        if fresh:
            # The first statement writes: SQLite takes its lock before anything is read, and
            # PostgreSQL locks each row in this order.
            lock = self._insert(_ledger).values(fresh)
            lock = lock.on_conflict_do_update(
                index_elements=["key_prefix", "kind", "window_start"],
                set_={"used": _ledger.c.used},
            )
            found = connection.execute(lock.returning(_ledger))
            self._used = {(row.kind, row.window_start): row.used for row in found}
        self._before = dict(self._used)
        self._mine = self._others = self._mine_before = 0
        if (SLOTS, 0) in self._used:
            holders = _holders(connection, key, lease.now, lease.holder)
            self._mine = self._mine_before = holders.pop(lease.holder, 0)
            self._others = sum(holders.values())

    def used(self, want: Want) -> int:
        if want.kind == SLOTS:
            return self._others + self._mine
        return self._used[want.kind, want.window_start]

    def add(self, changes: Mapping[Row, int]) -> None:
        for row, amount in changes.items():
            if row[0] == SLOTS:
                self._mine = max(0, self._mine + amount)
            else:
                self._used[row] = max(0, self._used[row] + amount)

    def write(self) -> None:
        changed = [
            {"of": kind, "start": start, "now_used": used}
            for (kind, start), used in self._used.items()
            if self._before[kind, start] != used
        ]
        if changed:
            self._connection.execute(_SET.where(_ledger.c.key_prefix == self._key), changed)
        if self._mine != self._mine_before:
            mine = self._insert(_slots).values(
                key_prefix=self._key,
                holder=self._lease.holder,
                held=self._mine,
                expires_at=self._lease.until,
            )
            mine = mine.on_conflict_do_update(
                index_elements=["key_prefix", "holder"],
                set_={"held": mine.excluded.held, "expires_at": mine.excluded.expires_at},
            )
            self._connection.execute(mine)


_SET = (
    _ledger.update()
    .where(_ledger.c.kind == sa.bindparam("of"), _ledger.c.window_start == sa.bindparam("start"))
    .values(used=sa.bindparam("now_used"))
)


def _holders(
    connection: sa.Connection, key: str, now: float, always: str | None = None
) -> dict[str, int]:
    """Return the slots of each holder whose lease runs, and of the one that asks in any case."""
    alive = sa.or_(_slots.c.expires_at > now, _slots.c.holder == always)
    query = sa.select(_slots.c.holder, _slots.c.held).where(_slots.c.key_prefix == key, alive)
    return {row.holder: row.held for row in connection.execute(query)}
