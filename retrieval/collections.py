"""A folder of collections: opened when first used, made, dropped."""

import os
import re
import secrets
import shutil
import threading
from pathlib import Path

from retrieval.collection import Collection, locked
from retrieval.durable import sync_folder

_NAME = re.compile(r"[A-Za-z0-9_-]{1,80}")
_DROPPED = ".dropped-"


class Collections:
    """The collections of a folder. Several threads may use it.

    Args:
        folder: The folder; made if missing.
        embedder_id: The id of the embedder of all vectors.
        dimensions: Length of a vector.
    """

    def __init__(self, folder: Path, embedder_id: str, dimensions: int) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._folder, self._embedder, self._dimensions = folder, embedder_id, dimensions
        self._open: dict[str, Collection] = {}
        self._lock = threading.Lock()
        for leftover in folder.glob(_DROPPED + "*"):
            shutil.rmtree(leftover, ignore_errors=True)

    def open(self, name: str, *, create: bool = False) -> Collection:
        """Return a collection; the same object as long as it is open.

        Raises:
            ValueError: No name for a collection.
            KeyError: There is none of that name, and none is to be made.
            IndexMismatch: Another embedder made it.
            IndexBusy: Another process writes it.
            CorruptIndex: It is damaged beyond its last good generation.
        """
        if not _NAME.fullmatch(name):
            raise ValueError(f"a collection's name is 1 to 80 of A-Z a-z 0-9 _ -, not {name!r}")
        found = self._open.get(name)
        if found is not None:  # without the lock, which whoever opens a large one holds for long
            return found
        with self._lock:
            found = self._open.get(name)
            if found is not None:
                return found
            folder = self._folder / name
            if not folder.is_dir():
                if not create:
                    raise KeyError(name)
                folder.mkdir()
                sync_folder(self._folder)
            collection = Collection(folder, self._embedder, self._dimensions)
            self._open[name] = collection
            return collection

    def drop(self, name: str) -> None:
        """Delete a collection, if there is one. IndexBusy where another process writes it."""
        if not _NAME.fullmatch(name) or not (self._folder / name).is_dir():
            return
        with self._lock:
            collection = self._open.pop(name, None)
            if collection is not None:
                collection.close()
            lock = locked(self._folder / name)  # a damaged one can be dropped too
            away = self._folder / f"{_DROPPED}{name}-{secrets.token_hex(4)}"
            (self._folder / name).rename(away)
            sync_folder(self._folder)
            os.close(lock)
        shutil.rmtree(away, ignore_errors=True)

    def names(self) -> list[str]:
        """Return the names of all collections."""
        folders = (path for path in self._folder.iterdir() if path.is_dir())
        return sorted(path.name for path in folders if _NAME.fullmatch(path.name))

    def close(self) -> None:
        """Close all that are open."""
        with self._lock:
            for collection in self._open.values():
                collection.close()
            self._open.clear()
