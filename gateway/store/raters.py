"""Who rates the items of a comparison, and what they said.

An invite is a link with a token of its own, of which only the SHA-256 is stored. It opens one
comparison and nothing else, and it can be revoked. What a rater said of an item is a row of its
own, unique: to say it twice changes nothing.
"""

import hashlib
import secrets
import time
from dataclasses import asdict, dataclass, field
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from gateway.store.comparisons import CHOICES
from gateway.store.comparisons import table as _comparisons
from gateway.store.database import Database, metadata, storable

DAY_S = 86_400.0
LONGEST_NOTE = 2000

_invites = sa.Table(
    "comparison_invites",
    metadata,
    sa.Column("id", sa.String(40), primary_key=True),
    sa.Column("comparison", sa.String(40), nullable=False, index=True),
    sa.Column("name", sa.Text, nullable=False),
    sa.Column("digest", sa.LargeBinary(32), nullable=False, unique=True, index=True),
    sa.Column("created_at", sa.Double, nullable=False),
    sa.Column("created_by", sa.Text, nullable=False),
    sa.Column("expires_at", sa.Double, nullable=False),
    sa.Column("revoked_at", sa.Double),
    sa.Column("opened_at", sa.Double),
    sa.Column("place", sa.Integer),
)
_votes = sa.Table(
    "comparison_votes",
    metadata,
    sa.Column("comparison", sa.String(40), primary_key=True),
    sa.Column("item", sa.Integer, primary_key=True),
    sa.Column("invite", sa.String(40), primary_key=True),
    sa.Column("left", sa.String(10), nullable=False),
    sa.Column("choice", sa.String(10), nullable=False),
    sa.Column("criteria", sa.JSON, nullable=False),
    sa.Column("note", sa.Text, nullable=False),
    sa.Column("at", sa.Double, nullable=False),
)
_INSERT: dict[str, Any] = {"sqlite": sqlite.insert, "postgresql": postgresql.insert}


class ComparisonClosed(Exception):
    """The comparison takes no votes any more."""


@dataclass(frozen=True, slots=True)
class Invite:
    """One person's way into one comparison; times in Unix seconds.

    Attributes:
        id: `inv-…`; public, the token is not.
        comparison: What it opens.
        name: Whose it is.
        digest: SHA-256 of the token.
        created_at: When it was made.
        created_by: By whom.
        expires_at: Until when it opens.
        revoked_at: Since when it does not.
        opened_at: When it was used first.
        place: How many had begun before; it decides on which side things are shown.
    """

    id: str
    comparison: str
    name: str
    digest: bytes = field(repr=False)
    created_at: float
    created_by: str
    expires_at: float
    revoked_at: float | None = None
    opened_at: float | None = None
    place: int | None = None

    def is_open(self, now: float) -> bool:
        """Return whether it lets somebody in."""
        return self.revoked_at is None and now < self.expires_at


@dataclass(frozen=True, slots=True)
class Vote:
    """What a rater said of an item.

    Attributes:
        comparison: Of what.
        item: Number of the item.
        invite: Who.
        left: Which release's answer was shown on the left.
        choice: Which is better, of `CHOICES`.
        criteria: The same by criterion, where something was said.
        note: In words.
        at: Unix seconds.
    """

    comparison: str
    item: int
    invite: str
    left: str
    choice: str
    criteria: dict[str, str] = field(default_factory=dict)
    note: str = ""
    at: float = field(default_factory=time.time)


class Raters:
    """Invites and votes in the store."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def invite(
        self, comparison: str, name: str, *, by: str, lasts_s: float = 14 * DAY_S
    ) -> tuple[Invite, str]:
        """Invite a person; returns the invite and its token, which is nowhere else.

        Raises:
            ValueError: The name is empty or too long, or it would not last from a minute to a year.
        """
        if not 0 < len(name.strip()) <= 100:
            raise ValueError("the name of a rater has 1 to 100 characters")
        if not 60 <= lasts_s <= 366 * DAY_S:
            raise ValueError("an invite lasts from a minute to a year")
        token, now = secrets.token_urlsafe(32), time.time()
        made = Invite(
            f"inv-{secrets.token_hex(8)}", comparison, name.strip(), _digest(token),
            now, by, now + lasts_s,
        )  # fmt: skip
        with self._database.begin() as connection:
            connection.execute(_invites.insert().values(**storable(asdict(made))))
        return made, token

    def by_token(self, token: str) -> Invite | None:
        """Return the invite of a token, open or not, or None."""
        return self._one(_invites.c.digest == _digest(token))

    def get(self, id: str) -> Invite | None:
        """Return an invite, or None."""
        return self._one(_invites.c.id == id)

    def invites(self, comparison: str) -> list[Invite]:
        """Return the invites to a comparison, the oldest first."""
        query = _invites.select().where(_invites.c.comparison == comparison)
        with self._database.begin() as connection:
            rows = connection.execute(query.order_by(_invites.c.created_at, _invites.c.id)).all()
        return [Invite(**row._mapping) for row in rows]

    def revoke(self, id: str) -> bool:
        """Revoke an invite: what was said stays; False where it was revoked already, or is none."""
        update = _invites.update().where(_invites.c.id == id, _invites.c.revoked_at.is_(None))
        with self._database.begin() as connection:
            return connection.execute(update.values(revoked_at=time.time())).rowcount == 1

    def begin(self, invite: Invite) -> Invite:
        """Note that a rater begins, which gives them their place; done again, it changes nothing.

        Raises:
            KeyError: The invite is gone.
        """
        if invite.place is None:
            count = _comparisons.update().where(_comparisons.c.id == invite.comparison)
            count = count.values(opened=_comparisons.c.opened + 1)
            mine = _invites.update().where(_invites.c.id == invite.id, _invites.c.place.is_(None))
            with self._database.begin() as connection:
                place = connection.execute(count.returning(_comparisons.c.opened)).scalar_one() - 1
                connection.execute(mine.values(place=place, opened_at=time.time()))
        found = self.get(invite.id)
        if found is None:
            raise KeyError(invite.id)
        return found

    def votes(self, comparison: str) -> tuple[list[Vote], int]:
        """Return all votes of a comparison in the order of their time, and its version then.

        Raises:
            KeyError: There is no such comparison.
        """
        query = _votes.select().where(_votes.c.comparison == comparison)
        query = query.order_by(_votes.c.at, _votes.c.invite, _votes.c.item)
        known = sa.select(_comparisons.c.version).where(_comparisons.c.id == comparison)
        with self._database.begin() as connection:
            # The version first: a vote that comes in between makes it one too low, never too high.
            version = connection.execute(known).scalar()
            rows = connection.execute(query).all()
        if version is None:
            raise KeyError(comparison)
        return [Vote(**row._mapping) for row in rows], int(version)

    def vote(self, vote: Vote) -> bool:
        """Write a vote; returns False where this rater has said something of the item already.

        Raises:
            ComparisonClosed: It takes none.
            ValueError: A choice is none of `CHOICES`.
        """
        for choice in (vote.choice, *vote.criteria.values()):
            if choice not in CHOICES:
                raise ValueError(f"a choice is one of {', '.join(CHOICES)}, not {choice!r}")
        values = storable(asdict(vote)) | {"note": storable(vote.note)[:LONGEST_NOTE]}
        with self._database.begin() as connection:
            self._turn(connection, vote.comparison)
            insert = _INSERT[connection.dialect.name](_votes).values(**values)
            added = insert.on_conflict_do_nothing().returning(_votes.c.item)
            return connection.execute(added).first() is not None

    def take_back(self, comparison: str, invite: str, item: int) -> Vote | None:
        """Take a rater's last vote back and return it; None where that was about another item.

        Raises:
            ComparisonClosed: What was said counts.
        """
        mine = (_votes.c.comparison == comparison, _votes.c.invite == invite)
        last = _votes.select().where(*mine).order_by(_votes.c.at.desc(), _votes.c.item.desc())
        with self._database.begin() as connection:
            self._turn(connection, comparison)
            row = connection.execute(last.limit(1)).first()
            if row is None or row.item != item:
                return None
            connection.execute(_votes.delete().where(*mine, _votes.c.item == item))
        return Vote(**row._mapping)

    def _turn(self, connection: sa.Connection, comparison: str) -> None:
        """Let the version grow, which keeps others out of the comparison until the commit."""
        update = _comparisons.update().where(
            _comparisons.c.id == comparison, _comparisons.c.closed_at.is_(None)
        )
        done = connection.execute(update.values(version=_comparisons.c.version + 1))
        if done.rowcount != 1:
            raise ComparisonClosed(comparison)

    def _one(self, where: sa.ColumnElement[bool]) -> Invite | None:
        with self._database.begin() as connection:
            row = connection.execute(_invites.select().where(where)).first()
        return None if row is None else Invite(**row._mapping)


def _digest(token: str) -> bytes:
    """Return the SHA-256 of a token; 256 random bits need no salt and no stretching."""
    return hashlib.sha256(token.encode("utf-8", "replace")).digest()
