"""The connection to the store: SQLite in WAL mode, or PostgreSQL; and its migrations."""

import contextlib
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy.exc import SQLAlchemyError

metadata = sa.MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s_%(referred_table_name)s",
        "pk": "pk_%(table_name)s",
    }
)
_MIGRATIONS = Path(__file__).parent / "migrations"
_BUSY_MS = 5000
# Serialises migrations of several hosts in PostgreSQL (pg_advisory_lock); any constant will do.
_MIGRATION_LOCK = 7_236_811


class StoreError(Exception):
    """The store cannot be reached, is locked, or refuses the operation."""


class Database:
    """One store, shared by threads.

    Args:
        url: A SQLAlchemy URL. The folder of a SQLite file is created, for this user alone.

    Raises:
        StoreError: The URL is not understood, or the folder cannot be made.
    """

    def __init__(self, url: str) -> None:
        try:
            self._url = sa.make_url(url)
            self._sqlite = self._url.get_backend_name() == "sqlite"
            if self._sqlite and self._url.database:
                Path(self._url.database).parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            options: dict[str, Any] = {} if self._sqlite else {"connect_args": _POSTGRES}
            self.engine = sa.create_engine(self._url, pool_pre_ping=not self._sqlite, **options)
        except (SQLAlchemyError, OSError, ImportError, ValueError) as error:
            raise StoreError(f"{_safe(url)}: {error}") from error
        if self._sqlite:
            sa.event.listen(self.engine, "connect", _configure_sqlite)

    @contextlib.contextmanager
    def begin(self) -> Iterator[sa.Connection]:
        """Return a connection in a transaction; driver errors leave as StoreError."""
        try:
            with self.engine.begin() as connection:
                yield connection
        except SQLAlchemyError as error:
            raise StoreError(_reason(error)) from error

    def ping(self) -> None:
        """Raise StoreError unless the store answers."""
        with self.begin() as connection:
            connection.execute(sa.select(1))

    def migrate(self) -> None:
        """Bring the schema up to date. Several processes may call it at once."""
        from alembic import command
        from alembic.config import Config
        from alembic.util.exc import CommandError

        config = Config()
        config.set_main_option("script_location", str(_MIGRATIONS).replace("%", "%%"))
        try:
            with self._migration_lock(), self.engine.begin() as connection:
                if not self._sqlite:
                    lock = sa.func.pg_advisory_xact_lock(_MIGRATION_LOCK)
                    connection.execute(sa.select(lock))
                config.attributes["connection"] = connection
                command.upgrade(config, "head")
        except (SQLAlchemyError, CommandError, OSError) as error:
            raise StoreError(f"{_safe(str(self._url))}: {_reason(error)}") from error

    def revision(self) -> tuple[str | None, str | None]:
        """Return the revision of the schema, and the newest that there is.

        Raises:
            StoreError: The store cannot be reached.
        """
        from alembic.migration import MigrationContext
        from alembic.script import ScriptDirectory

        with self.begin() as connection:
            present = MigrationContext.configure(connection).get_current_revision()
        return present, ScriptDirectory(str(_MIGRATIONS)).get_current_head()

    def close(self) -> None:
        """Close all connections."""
        self.engine.dispose()

    @contextlib.contextmanager
    def _migration_lock(self) -> Iterator[None]:
        if not (self._sqlite and self._url.database and self._url.database != ":memory:"):
            yield
            return
        # SQLite begins a transaction at the first write, too late to keep two migrations apart.
        lock = os.open(f"{self._url.database}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield
        finally:
            os.close(lock)


_POSTGRES = {"connect_timeout": 5, "application_name": "driftgate"}


def _configure_sqlite(connection: Any, _: Any) -> None:
    cursor = connection.cursor()
    for pragma in (
        "journal_mode = WAL",
        "synchronous = NORMAL",
        f"busy_timeout = {_BUSY_MS}",
        "foreign_keys = ON",
    ):
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()


def _reason(error: Exception) -> str:
    """Return the driver's own words, without SQL and parameters (they may hold texts)."""
    cause = getattr(error, "orig", None) or error
    return f"{type(cause).__name__}: {cause}".strip().splitlines()[0]


def storable(value: Any) -> Any:
    r"""Replace NUL, which PostgreSQL has in no text, by U+FFFD; lone surrogates by `?`."""
    if isinstance(value, str):
        if value.isascii() and "\x00" not in value:
            return value
        return value.replace("\x00", "\ufffd").encode("utf-8", "replace").decode()
    if isinstance(value, dict):
        return {storable(k): storable(v) for k, v in value.items()}
    if isinstance(value, list):
        return [storable(v) for v in value]
    return value


def _safe(url: str) -> str:
    """Return the URL without its password."""
    try:
        return sa.make_url(url).render_as_string(hide_password=True)
    except (SQLAlchemyError, ValueError):
        return "the database URL"
