"""Uploaded files: a row in the store, the bytes in a folder that gateway and workers share."""

import contextlib
import os
import secrets
import time
from dataclasses import asdict, dataclass
from pathlib import Path

import sqlalchemy as sa

from gateway.store.database import Database, metadata, storable

_PARTIAL = ".upload-"
_PARTIAL_AGE_S = 24 * 3600.0

_table = sa.Table(
    "files",
    metadata,
    sa.Column("id", sa.String(40), primary_key=True),
    sa.Column("key_prefix", sa.String(8), index=True),
    sa.Column("created_at", sa.Double, nullable=False),
    sa.Column("filename", sa.Text, nullable=False),
    sa.Column("purpose", sa.String(40), nullable=False),
    sa.Column("bytes", sa.BigInteger, nullable=False),
    sa.Column("sha256", sa.String(64), nullable=False),
    sa.Column("rows", sa.BigInteger),
)


@dataclass(frozen=True, slots=True)
class StoredFile:
    """A file and who owns it; `rows` are its training rows, where they were counted."""

    id: str
    key_prefix: str | None
    created_at: float
    filename: str
    purpose: str
    bytes: int
    sha256: str
    rows: int | None = None


class Files:
    """The files in the store.

    Args:
        database: Where their rows are.
        folder: Where their bytes are, each under its id; created for this user alone.
    """

    def __init__(self, database: Database, folder: Path) -> None:
        self._database = database
        self._folder = folder

    def partial(self) -> Path:
        """Return a new path, in the folder, for bytes that are on their way.

        Raises:
            OSError: The folder cannot be made.
        """
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        for left in self._folder.glob(f"{_PARTIAL}*"):  # of a gateway that was killed
            with contextlib.suppress(FileNotFoundError):
                if time.time() - left.stat().st_mtime > _PARTIAL_AGE_S:
                    left.unlink()
        return self._folder / f"{_PARTIAL}{secrets.token_hex(8)}"

    def add(self, file: StoredFile, partial: Path) -> StoredFile:
        """Take over the bytes of `partial` and write the row; neither without the other.

        Raises:
            OSError: The bytes cannot be moved.
            StoreError: The row cannot be written.
        """
        target = self.path(file.id)
        with partial.open("rb") as opened:
            os.fsync(opened.fileno())
        partial.replace(target)
        try:
            with self._database.begin() as connection:
                connection.execute(_table.insert().values(**storable(asdict(file))))
        except BaseException:
            target.unlink(missing_ok=True)
            raise
        return file

    def path(self, id: str) -> Path:
        """Return where the bytes of a file are."""
        return self._folder / id

    def get(self, id: str) -> StoredFile | None:
        """Return a file's row, or None."""
        with self._database.begin() as connection:
            row = connection.execute(_table.select().where(_table.c.id == id)).first()
        return None if row is None else StoredFile(**row._mapping)

    def page(
        self,
        *,
        owner: str | None = None,
        purpose: str | None = None,
        after: str | None = None,
        limit: int = 10_000,
        ascending: bool = False,
    ) -> tuple[list[StoredFile], bool]:
        """Return files in the order of their time, and whether there are more.

        Args:
            owner: Only those of this key (its prefix); None: of all.
            purpose: Only those of this purpose.
            after: The file after which the page begins.
            limit: Most files of a page.
            ascending: Oldest first.

        Raises:
            KeyError: There is no file `after`.
        """
        query = _table.select()
        if owner is not None:
            query = query.where(_table.c.key_prefix == owner)
        if purpose is not None:
            query = query.where(_table.c.purpose == purpose)
        columns = (_table.c.created_at, _table.c.id)
        if after is not None:
            last = self.get(after)
            if last is None or (owner is not None and last.key_prefix != owner):
                raise KeyError(after)
            here, there = sa.tuple_(*columns), sa.tuple_(last.created_at, last.id)
            query = query.where(here > there if ascending else here < there)
        order = [column.asc() if ascending else column.desc() for column in columns]
        with self._database.begin() as connection:
            rows = connection.execute(query.order_by(*order).limit(limit + 1)).all()
        return [StoredFile(**row._mapping) for row in rows[:limit]], len(rows) > limit

    def delete(self, id: str) -> bool:
        """Delete a file, its bytes included; returns whether there was one."""
        with self._database.begin() as connection:
            deleted = connection.execute(_table.delete().where(_table.c.id == id)).rowcount > 0
        if deleted:
            self.path(id).unlink(missing_ok=True)
        return deleted


def file_id() -> str:
    """Return a new id."""
    return f"file-{secrets.token_hex(12)}"
