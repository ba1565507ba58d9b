"""API keys: only their SHA-256 is stored, beside a public prefix by which they are named."""

import hashlib
import re
import secrets
import time
from collections.abc import Iterable
from dataclasses import dataclass, replace

import sqlalchemy as sa

from gateway.store.database import Database, metadata

SCOPES = frozenset({"inference", "feedback", "admin"})
# dg-<prefix>-<secret>: the secret is 256 random bits in base64url, without padding.
PATTERN = re.compile(rb"dg-([0-9a-f]{8})-([A-Za-z0-9_-]{43})")

_table = sa.Table(
    "keys",
    metadata,
    sa.Column("prefix", sa.String(8), primary_key=True),
    sa.Column("digest", sa.LargeBinary(32), nullable=False),
    sa.Column("name", sa.Text, nullable=False),
    sa.Column("scopes", sa.JSON, nullable=False),
    sa.Column("created_at", sa.Double, nullable=False),
    sa.Column("revoked_at", sa.Double),
)


@dataclass(frozen=True, slots=True)
class ApiKey:
    """A key as it is stored; times are Unix seconds."""

    prefix: str
    digest: bytes
    name: str
    scopes: frozenset[str]
    created_at: float
    revoked_at: float | None


class Keys:
    """The keys in the store."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def create(self, name: str, scopes: Iterable[str]) -> tuple[ApiKey, str]:
        """Make a key; returns its record and its text, which is nowhere else.

        Raises:
            ValueError: A scope is unknown, or there is none.
        """
        wanted = frozenset(scopes)
        if not wanted or wanted - SCOPES:
            unknown = ", ".join(sorted(wanted - SCOPES)) or "none"
            raise ValueError(f"scopes are {', '.join(sorted(SCOPES))}; got {unknown}")
        prefix, secret = secrets.token_hex(4), secrets.token_urlsafe(32)
        key = ApiKey(prefix, digest(secret.encode()), name, wanted, time.time(), None)
        with self._database.begin() as connection:
            connection.execute(
                _table.insert().values(
                    prefix=key.prefix,
                    digest=key.digest,
                    name=key.name,
                    scopes=sorted(key.scopes),
                    created_at=key.created_at,
                )
            )
        return key, f"dg-{prefix}-{secret}"

    def all(self) -> list[ApiKey]:
        """Return every key ever made, revoked ones included, oldest first."""
        with self._database.begin() as connection:
            rows = connection.execute(_table.select().order_by(_table.c.created_at)).all()
        return [_record(row) for row in rows]

    def revoke(self, prefix: str) -> ApiKey:
        """Revoke a key for good; KeyError if there is none with this prefix."""
        with self._database.begin() as connection:
            row = connection.execute(_table.select().where(_table.c.prefix == prefix)).first()
            if row is None:
                raise KeyError(prefix)
            key = _record(row)
            if key.revoked_at is not None:
                return key
            key = replace(key, revoked_at=time.time())
            connection.execute(
                _table.update().where(_table.c.prefix == prefix).values(revoked_at=key.revoked_at)
            )
        return key


def digest(secret: bytes) -> bytes:
    """Return the SHA-256 of a key's secret part; 256 random bits need no salt and no stretching."""
    return hashlib.sha256(secret).digest()


def _record(row: sa.Row[tuple[object, ...]]) -> ApiKey:
    fields = dict(row._mapping)
    return ApiKey(**{**fields, "scopes": frozenset(fields["scopes"])})
