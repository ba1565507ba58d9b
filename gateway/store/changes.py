"""Tells for next to nothing whether a store was written to."""

import contextlib
import threading

import sqlalchemy as sa
from sqlalchemy.exc import SQLAlchemyError

from gateway.store.database import Database


class Changes:
    """Whether anybody else has written to a store since the last look.

    SQLite counts what other connections commit (`PRAGMA data_version`,
    https://www.sqlite.org/pragma.html#pragma_data_version), so this holds one that never writes.
    PostgreSQL has nothing like it: there it may always be so.

    Args:
        database: The store.
    """

    def __init__(self, database: Database) -> None:
        self._engine = database.engine
        self._connection: sa.Connection | None = None
        self._version: int | None = None
        # Closed by whoever stops, while a thread may still be looking.
        self._lock = threading.RLock()

    def any(self) -> bool:
        """Return whether there may be any; True where that cannot be told."""
        if self._engine.dialect.name != "sqlite":
            return True
        with self._lock:
            try:
                if self._connection is None:
                    # Without a transaction, which would show the same version for ever.
                    self._connection = self._engine.connect().execution_options(
                        isolation_level="AUTOCOMMIT"
                    )
                version = self._connection.exec_driver_sql("PRAGMA data_version").scalar()
            except SQLAlchemyError:
                self.close()
                return True
            known, self._version = self._version, version
            return version != known

    def close(self) -> None:
        """Give the connection back."""
        with self._lock:
            if self._connection is not None:
                with contextlib.suppress(SQLAlchemyError):
                    self._connection.close()
            self._connection, self._version = None, None
