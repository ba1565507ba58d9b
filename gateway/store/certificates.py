"""Certificates of releases: signed statements of where a release came from and what was shown."""

import time
from dataclasses import asdict, dataclass
from typing import Any

import sqlalchemy as sa

from gateway.store.database import Database, metadata, storable

_table = sa.Table(
    "certificates",
    metadata,
    sa.Column("release", sa.String(200), primary_key=True),
    sa.Column("statement", sa.JSON, nullable=False),
    sa.Column("key_id", sa.String(64), nullable=False),
    sa.Column("signature", sa.Text, nullable=False),
    sa.Column("created_at", sa.Double, nullable=False),
)


@dataclass(frozen=True, slots=True)
class Certificate:
    """A signed statement about a release.

    Attributes:
        release: The release.
        statement: What is said of it, see `training.certificate`.
        key_id: Names the key: the start of its public half's SHA-256, in hex.
        signature: Ed25519 over the canonical JSON of the statement (RFC 8032), base64.
        created_at: Unix seconds.
    """

    release: str
    statement: dict[str, Any]
    key_id: str
    signature: str
    created_at: float = 0.0


class Certificates:
    """The certificates in the store: one of a release, the newest."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def put(self, certificate: Certificate) -> Certificate:
        """Write a certificate in place of an earlier one of the same release."""
        values = asdict(certificate) | {"created_at": time.time()}
        with self._database.begin() as connection:
            mine = _table.c.release == certificate.release
            connection.execute(_table.delete().where(mine))
            connection.execute(_table.insert().values(**storable(values)))
        return Certificate(**values)

    def get(self, release: str) -> Certificate | None:
        """Return the certificate of a release, or None."""
        with self._database.begin() as connection:
            row = connection.execute(_table.select().where(_table.c.release == release)).first()
        return None if row is None else Certificate(**row._mapping)

    def all(self) -> list[Certificate]:
        """Return all certificates, by release."""
        with self._database.begin() as connection:
            rows = connection.execute(_table.select().order_by(_table.c.release)).all()
        return [Certificate(**row._mapping) for row in rows]
