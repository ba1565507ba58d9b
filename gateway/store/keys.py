"""API keys: only their SHA-256 is stored, beside a public prefix by which they are named."""

import hashlib
import re
import secrets
import time
from collections.abc import Iterable
from dataclasses import asdict, dataclass, fields, replace

import sqlalchemy as sa

from gateway.store.database import Database, metadata

SCOPES = frozenset({"inference", "feedback", "training", "view", "admin"})
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
    sa.Column("requests_per_minute", sa.BigInteger),
    sa.Column("tokens_per_minute", sa.BigInteger),
    sa.Column("max_concurrency", sa.BigInteger),
    sa.Column("tokens_per_day", sa.BigInteger),
    sa.Column("tokens_per_month", sa.BigInteger),
)
LARGEST_LIMIT = 10**15


@dataclass(frozen=True, slots=True)
class KeyLimits:
    """What a key may use, prompts and answers together; None: no limit. Days and months are UTC."""

    requests_per_minute: int | None = None
    tokens_per_minute: int | None = None
    max_concurrency: int | None = None
    tokens_per_day: int | None = None
    tokens_per_month: int | None = None


NO_LIMITS = KeyLimits()


@dataclass(frozen=True, slots=True)
class ApiKey:
    """A key as it is stored; times are Unix seconds."""

    prefix: str
    digest: bytes
    name: str
    scopes: frozenset[str]
    created_at: float
    revoked_at: float | None
    limits: KeyLimits = NO_LIMITS


class Keys:
    """The keys in the store."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def create(
        self, name: str, scopes: Iterable[str], limits: KeyLimits = NO_LIMITS
    ) -> tuple[ApiKey, str]:
        """Make a key; returns its record and its text, which is nowhere else.

        Raises:
            ValueError: A scope is unknown, or there is none; or a limit is below 1.
        """
        _check(limits)
        wanted = frozenset(scopes)
        if not wanted or wanted - SCOPES:
            unknown = ", ".join(sorted(wanted - SCOPES)) or "none"
            raise ValueError(f"scopes are {', '.join(sorted(SCOPES))}; got {unknown}")
        prefix, secret = secrets.token_hex(4), secrets.token_urlsafe(32)
        key = ApiKey(prefix, digest(secret.encode()), name, wanted, time.time(), None, limits)
        with self._database.begin() as connection:
            connection.execute(
                _table.insert().values(
                    prefix=key.prefix,
                    digest=key.digest,
                    name=key.name,
                    scopes=sorted(key.scopes),
                    created_at=key.created_at,
                    **asdict(limits),
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
            key = _one(connection, prefix)
            if key.revoked_at is not None:
                return key
            key = replace(key, revoked_at=time.time())
            connection.execute(
                _table.update().where(_table.c.prefix == prefix).values(revoked_at=key.revoked_at)
            )
        return key

    def limit(self, prefix: str, limits: KeyLimits) -> ApiKey:
        """Give a key these limits in place of those it has.

        Raises:
            KeyError: There is no key with this prefix.
            ValueError: A limit is below 1.
        """
        _check(limits)
        with self._database.begin() as connection:
            key = replace(_one(connection, prefix), limits=limits)
            connection.execute(
                _table.update().where(_table.c.prefix == prefix).values(**asdict(limits))
            )
        return key


def digest(secret: bytes) -> bytes:
    """Return the SHA-256 of a key's secret part; 256 random bits need no salt and no stretching."""
    return hashlib.sha256(secret).digest()


def _check(limits: KeyLimits) -> None:
    for name, value in asdict(limits).items():
        if value is not None and not 1 <= value <= LARGEST_LIMIT:
            raise ValueError(f"{name} is from 1 to {LARGEST_LIMIT}, or none; got {value}")


def _one(connection: sa.Connection, prefix: str) -> ApiKey:
    row = connection.execute(_table.select().where(_table.c.prefix == prefix)).first()
    if row is None:
        raise KeyError(prefix)
    return _record(row)


def _record(row: sa.Row[tuple[object, ...]]) -> ApiKey:
    values = dict(row._mapping)
    limits = KeyLimits(**{field.name: values.pop(field.name) for field in fields(KeyLimits)})
    return ApiKey(**{**values, "scopes": frozenset(values["scopes"])}, limits=limits)
