"""The manifest of a data set: what is in it, where it came from, and proof that it is unchanged."""

import hashlib
import json
import platform
import time
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from gateway.store.examples import Example

NAME = "manifest.json"
_PACKAGES = ("driftgate", "transformers", "datasketch", "detect-secrets", "py3langid")
_CHUNK = 2**20


class ManifestError(ValueError):
    """A manifest that cannot be read; the message names the file and what is wrong with it."""


@dataclass(frozen=True, slots=True)
class FileRecord:
    """A file: its name relative to the manifest's folder, its SHA-256 and its rows."""

    name: str
    sha256: str
    rows: int


@dataclass(frozen=True, slots=True)
class Manifest:
    """What a data set was made of, and how.

    Args:
        files: The files of the data set.
        inputs: The files that it was made of, if any; their names are paths.
        filters: How many rows each filter took out, or kept, by name.
        settings: What the filters were told.
        time_range: First and last `created_at` of the rows, in Unix seconds, where they have one.
        tokenizer: Digest of the tokenizer's files that rows were measured with, or empty.
        template: Digest of its chat template, or empty.
        versions: Versions of Python and of the packages that judged the rows.
        created_at: When it was made, in Unix seconds.
    """

    files: tuple[FileRecord, ...]
    inputs: tuple[FileRecord, ...] = ()
    filters: Mapping[str, int] = field(default_factory=dict)
    settings: Mapping[str, Any] = field(default_factory=dict)
    time_range: tuple[float, float] | None = None
    tokenizer: str = ""
    template: str = ""
    versions: Mapping[str, str] = field(default_factory=lambda: versions())
    created_at: float = field(default_factory=time.time)

    def digest(self) -> str:
        """Return the SHA-256 that names the data set; the time of making it is not part of it."""
        fields = asdict(self)
        del fields["created_at"]
        return hashlib.sha256(json.dumps(fields, sort_keys=True).encode()).hexdigest()

    def write(self, folder: Path) -> Path:
        """Write `manifest.json` into a folder, atomically, and return its path."""
        path = folder / NAME
        partial = folder / f".{NAME}.partial"
        document = {"digest": self.digest(), **asdict(self)}
        partial.write_text(json.dumps(document, indent=2, ensure_ascii=False) + "\n", "utf-8")
        partial.replace(path)
        return path

    def verify(self, folder: Path) -> list[str]:
        """Compare the files with what was recorded; returns what is wrong, naming each file."""
        problems = []
        for known in self.files:
            path = folder / known.name
            if not path.is_file():
                problems.append(f"{path}: the file is missing")
            elif sha256(path) != known.sha256:
                problems.append(f"{path}: the file has changed since the manifest was written")
        return problems


def read(folder: Path) -> Manifest:
    """Read the manifest of a folder.

    Raises:
        ManifestError: There is none, it is none, or it was edited.
    """
    path = folder / NAME
    try:
        fields = json.loads(path.read_text("utf-8"))
        digest = fields.pop("digest")
        fields["files"] = tuple(FileRecord(**record) for record in fields["files"])
        fields["inputs"] = tuple(FileRecord(**record) for record in fields["inputs"])
        if fields["time_range"] is not None:
            first, last = fields["time_range"]
            fields["time_range"] = (first, last)
        manifest = Manifest(**fields)
    except FileNotFoundError as error:
        raise ManifestError(f"{path}: there is no such file") from error
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise ManifestError(f"{path}: this is no manifest ({error})") from error
    if manifest.digest() != digest:
        raise ManifestError(f"{path}: the manifest was edited after it was written")
    return manifest


def record(path: Path, rows: int, name: str | None = None) -> FileRecord:
    """Return the record of a file; its name is that of the file, unless another is given."""
    return FileRecord(path.name if name is None else name, sha256(path), rows)


def sha256(path: Path) -> str:
    """Return the SHA-256 of a file."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            digest.update(chunk)
    return digest.hexdigest()


def time_range(examples: Iterable[Example]) -> tuple[float, float] | None:
    """Return the first and the last time of rows, in Unix seconds, or None where none has one."""
    times = [e.created_at for e in examples if e.created_at is not None]
    return (min(times), max(times)) if times else None


def versions() -> dict[str, str]:
    """Return the versions of Python and of the packages that judge rows."""
    found = {"python": platform.python_version()}
    for name in _PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found
