"""Whether a release's files are what was registered: SHA-256 of each, streamed, remembered."""

import hashlib
import os
import threading
from collections.abc import Callable, Mapping
from pathlib import Path

# Written beside a model's files to describe them; they are read by people and by Driftgate.
BESIDE = frozenset({"driftgate.json", "release.json", "README.md"})
_CHUNK_BYTES = 2**20

Told = Callable[[int], None]
Stopped = Callable[[], bool]


class Interrupted(Exception):
    """The work was stopped before it was done."""


class FileDigests:
    """Computes digests of files, and remembers them while size and time of a file stay.

    A file that is changed and given its old size and time (in nanoseconds) back is not noticed by
    a process that knows it; a new process reads it anew. Safe for several threads.
    """

    def __init__(self) -> None:
        self._known: dict[tuple[str, int, int, int], str] = {}
        self._lock = threading.Lock()

    def of(self, path: Path, told: Told | None = None, stopped: Stopped | None = None) -> str:
        """Return the SHA-256 of a file, in hex.

        Args:
            path: The file.
            told: Called with the bytes that were read, as it goes on.
            stopped: Asked at each MiB whether to go on.

        Raises:
            Interrupted: `stopped` said so.
            OSError: It cannot be read.
        """
        with path.open("rb", buffering=0) as file:
            before = _identity(path, os.fstat(file.fileno()))
            known = self._known.get(before)
            if known is not None:
                if told is not None:
                    told(before[2])
                return known
            hashed, buffer = hashlib.sha256(), memoryview(bytearray(_CHUNK_BYTES))
            while count := file.readinto(buffer):
                hashed.update(buffer[:count])
                if told is not None:
                    told(count)
                if stopped is not None and stopped():
                    raise Interrupted(path)
            after = _identity(path, os.fstat(file.fileno()))
        found = hashed.hexdigest()
        if after == before:
            with self._lock:
                self._known[before] = found
        return found


def differences(
    folder: Path,
    digests: Mapping[str, str],
    files: FileDigests,
    told: Told | None = None,
    stopped: Stopped | None = None,
) -> list[str]:
    """Return in what a folder differs from the digests of its files, a line for each file.

    Hidden files, and those that describe a model (`BESIDE`), may be there without a digest.

    Args:
        folder: The release's folder.
        digests: SHA-256 by path in the folder.
        files: What computes them.
        told: Called with the bytes that were read.
        stopped: Asked whether to go on; Interrupted is raised where not.
    """
    found = []
    for name, expected in sorted(digests.items()):
        if Path(name).is_absolute() or ".." in Path(name).parts:
            found.append(f"{name}: is no name of a file in the folder")
            continue
        try:
            actual = files.of(folder / name, told, stopped)
        except FileNotFoundError:
            found.append(f"{name}: missing")
        except OSError as error:
            found.append(f"{name}: cannot be read ({error.strerror})")
        else:
            if actual != expected:
                found.append(f"{name}: changed (SHA-256 {actual[:16]}…, not {expected[:16]}…)")
    return found + [f"{name}: added" for name in _names(folder) if name not in digests]


def size(folder: Path, digests: Mapping[str, str]) -> int:
    """Return the bytes of the files that are there."""
    return sum(path.stat().st_size for name in digests if (path := folder / name).is_file())


def _names(folder: Path) -> list[str]:
    names = []
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder)
        hidden = any(part.startswith(".") for part in name.parts)
        if path.is_file() and not hidden and str(name) not in BESIDE:
            names.append(str(name))
    return names


def _identity(path: Path, found: os.stat_result) -> tuple[str, int, int, int]:
    return str(path), found.st_ino, found.st_size, found.st_mtime_ns
