"""Claims on files of vector stores, for the workers that index them; see `vector_store_files`."""

import random
import time
from typing import Any

import sqlalchemy as sa

from gateway.store.database import Database, storable
from gateway.store.vector_store_files import (
    IN_PROGRESS,
    REMOVING,
    VectorStoreFile,
    files_table,
)
from gateway.store.vector_stores import living

# A claim that was not renewed for so long is up for others.
LEASE_S = 20.0
_TRIES = 4
_MAX_KEYS = 1000


class ClaimLost(Exception):
    """The file was changed, removed, cancelled or taken over: whoever works on it must stop."""


class Indexing:
    """What is to be indexed.

    Args:
        database: The store.
        lease_s: How long a claim holds without being renewed, in seconds.
    """

    def __init__(self, database: Database, lease_s: float = LEASE_S) -> None:
        self._database = database
        self._lease_s = lease_s

    def claim(self, token: str) -> VectorStoreFile | None:
        """Take a file that nobody works on, or whose worker is silent; None: none is left.

        It is the oldest of a key that is drawn by chance, so that a key with one file does not wait
        for all files of another. Where there is nothing to take, nothing is locked.

        Args:
            token: Names the claim; a new one for each.
        """
        while oldest := self._oldest():
            for seq in random.sample(oldest, min(len(oldest), _TRIES)):
                update = (
                    files_table.update()
                    .where(files_table.c.seq == seq, _free())
                    .values(
                        claim=token,
                        claimed_until=time.time() + self._lease_s,
                        attempts=files_table.c.attempts + 1,
                    )
                    .returning(*files_table.c)
                )
                with self._database.begin() as connection:
                    row = connection.execute(update).first()
                if row is not None:
                    return VectorStoreFile(**row._mapping)
        return None

    def _oldest(self) -> list[int]:
        """Return the number of the oldest free file of each key."""
        query = (
            sa.select(sa.func.min(files_table.c.seq))
            .where(_free())
            .group_by(files_table.c.key_prefix)
            .limit(_MAX_KEYS)
        )
        with self._database.begin() as connection:
            return list(connection.execute(query).scalars())

    def renew(self, file: VectorStoreFile, **values: Any) -> None:
        """Hold a claim for longer, and write fields.

        Raises:
            ClaimLost: The claim is another's, or the file is not what was claimed any more.
        """
        self._write(file, claimed_until=time.time() + self._lease_s, **values)

    def finish(self, file: VectorStoreFile, **values: Any) -> None:
        """Write how it ended and let go; ClaimLost as in `renew`."""
        self._write(file, claim=None, claimed_until=None, attempts=0, progress=None, **values)

    def release(self, file: VectorStoreFile, *, after_s: float = 0.0, counts: bool = True) -> None:
        """Let go, so that any worker may take it; a claim that is lost stays lost.

        Args:
            file: As it was claimed.
            after_s: How long it is to rest before, in seconds.
            counts: Whether the attempt counts as one that led to nothing.
        """
        until = time.time() + after_s if after_s else None
        values: dict[str, Any] = {"claim": None, "claimed_until": until}
        values |= {} if counts else {"attempts": 0}
        mine = sa.and_(files_table.c.seq == file.seq, files_table.c.claim == file.claim)
        with self._database.begin() as connection:
            unchanged = sa.and_(mine, files_table.c.revision == file.revision)
            update = files_table.update()
            if connection.execute(update.where(unchanged).values(**values)).rowcount == 0:
                # The client wants something else by now: that need not wait.
                connection.execute(update.where(mine).values(claim=None, claimed_until=None))

    def delete(self, file: VectorStoreFile) -> None:
        """Delete the row of a file whose documents are gone, unless it was added again."""
        gone = sa.and_(*_held(file), files_table.c.status == REMOVING)
        with self._database.begin() as connection:
            connection.execute(files_table.delete().where(gone))

    def _write(self, file: VectorStoreFile, **values: Any) -> None:
        update = files_table.update().where(*_held(file)).values(**storable(values))
        with self._database.begin() as connection:
            if connection.execute(update).rowcount == 0:
                raise ClaimLost(file.file_id)


def _free() -> sa.ColumnElement[bool]:
    return sa.and_(
        sa.or_(files_table.c.status == IN_PROGRESS, files_table.c.stale == sa.true()),
        sa.or_(files_table.c.claimed_until.is_(None), files_table.c.claimed_until < time.time()),
        files_table.c.vector_store_id.in_(living()),
    )


def _held(file: VectorStoreFile) -> tuple[sa.ColumnElement[bool], ...]:
    return (
        files_table.c.seq == file.seq,
        files_table.c.claim == file.claim,
        files_table.c.revision == file.revision,
    )
