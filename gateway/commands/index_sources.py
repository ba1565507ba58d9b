"""The files of this host that are to be indexed: found, named and copied."""

import hashlib
import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from retrieval.loaders import FORMATS

_ENDINGS = frozenset(ending for endings in FORMATS.values() for ending in endings)
_COPIED_BYTES = 2**20


@dataclass(frozen=True, slots=True)
class Source:
    """A file of this host, and what it is called in the store."""

    path: Path
    name: str


def sources(paths: Iterable[Path]) -> list[Source]:
    """Return the files at paths: what is named, and of folders what can be read and is not hidden.

    A file is called by its name, one of a folder by its path from the folder's own parent.

    Raises:
        FileNotFoundError: There is nothing at a path.
        ValueError: A path is neither a file nor a folder, or two files have one name.
    """
    found: dict[Path, Source] = {}
    for given in paths:
        path = Path(os.path.abspath(given))  # links are followed when they are read, not named
        if path.is_dir():
            for folder, folders, names in os.walk(path):
                folders[:] = sorted(name for name in folders if not name.startswith("."))
                for name in sorted(names):
                    file = Path(folder) / name
                    readable = file.suffix.lower() in _ENDINGS and not name.startswith(".")
                    if readable and file.is_file():
                        found[file] = Source(file, str(file.relative_to(path.parent)))
        elif path.is_file():
            found.setdefault(path, Source(path, path.name))
        elif path.exists():
            raise ValueError(f"{given} is neither a file nor a folder.")
        else:
            raise FileNotFoundError(f"There is no {given}.")
    called: dict[str, Path] = {}
    for source in found.values():
        other = called.setdefault(source.name, source.path)
        if other != source.path:
            raise ValueError(
                f"{other} and {source.path} would both be called {source.name}; add the folder "
                "above them."
            )
    return list(found.values())


def copied(path: Path, target: Path) -> tuple[int, str]:
    """Copy a file; returns its size and SHA-256."""
    digest, size = hashlib.sha256(), 0
    descriptor = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with path.open("rb") as source, os.fdopen(descriptor, "wb") as copy:
        while block := source.read(_COPIED_BYTES):
            digest.update(block)
            copy.write(block)
            size += len(block)
    return size, digest.hexdigest()
