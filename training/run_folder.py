"""A run's folder: what lies where, who works in it, and what it was made of."""

import fcntl
import hashlib
import importlib.metadata
import json
import os
import platform
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_PACKAGES = ("torch", "transformers", "trl", "peft", "bitsandbytes", "accelerate", "datasets")
_LOCK_S = 10.0


class RunError(Exception):
    """A run that cannot start, go on or be read; the message says why."""


@dataclass(frozen=True, slots=True)
class RunFolder:
    """The paths in a run's folder."""

    path: Path

    @property
    def config(self) -> Path:
        """The call: base, data, validation rows."""
        return self.path / "run.json"

    @property
    def recipe(self) -> Path:
        """The recipe with every field."""
        return self.path / "recipe.yaml"

    @property
    def versions(self) -> Path:
        """Of Python and of the packages that train."""
        return self.path / "versions.json"

    @property
    def manifest(self) -> Path:
        """Digests of base and data, counts of rows and tokens."""
        return self.path / "manifest.json"

    @property
    def metrics(self) -> Path:
        """The events, one JSON object a line."""
        return self.path / "metrics.jsonl"

    @property
    def log(self) -> Path:
        """What the trainer's process printed."""
        return self.path / "train.log"

    @property
    def checkpoints(self) -> Path:
        """The trainer's checkpoints, to resume from."""
        return self.path / "checkpoints"

    @property
    def adapter(self) -> Path:
        """The adapter of the best checkpoint; all weights where the method is full."""
        return self.path / "adapter"

    @property
    def chart(self) -> Path:
        """The loss curve."""
        return self.path / "loss.png"

    @property
    def report(self) -> Path:
        """The page for people."""
        return self.path / "report.html"

    @property
    def result(self) -> Path:
        """Written last: the run is complete."""
        return self.path / "result.json"

    def last_checkpoint(self) -> Path | None:
        """Return the newest complete checkpoint; the trainer writes its state file last."""
        found = [
            path
            for path in self.checkpoints.glob("checkpoint-*")
            if path.name.removeprefix("checkpoint-").isdigit()
            and _is_json(path / "trainer_state.json")
        ]
        return max(found, key=lambda path: int(path.name.rpartition("-")[2]), default=None)

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the folder: two trainers in one folder would overwrite each other's checkpoints.

        Raises:
            RunError: Another process trains here.
        """
        with exclusive(self.path, f"another process trains in {self.path}"):
            yield


@contextmanager
def exclusive(folder: Path, refusal: str) -> Iterator[None]:
    """Hold a folder as long as this process works in it; it is let go when the process ends.

    Waits a few seconds for another one that is just ending.

    Raises:
        RunError: Another process holds it; the message is `refusal`.
    """
    deadline = time.monotonic() + _LOCK_S
    while True:
        folder.mkdir(parents=True, exist_ok=True)  # the one that is waited for may remove it
        with (folder / ".lock").open("wb") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                if time.monotonic() > deadline:
                    raise RunError(refusal) from None
                time.sleep(0.1)
                continue
            yield
            return


def write_json(path: Path, value: object) -> None:
    """Write a file whole or not at all."""
    partial = path.with_name(f".{path.name}.partial")
    partial.write_text(json.dumps(value, indent=2, ensure_ascii=False) + "\n", "utf-8")
    partial.replace(path)


def read_json(path: Path) -> dict[str, Any]:
    """Read an object that `write_json` wrote.

    Raises:
        RunError: The file is missing or is none.
    """
    try:
        value = json.loads(path.read_text("utf-8"))
    except FileNotFoundError:
        raise RunError(f"{path} is missing") from None
    except ValueError as error:
        raise RunError(f"{path} cannot be read ({error})") from error
    if not isinstance(value, dict):
        raise RunError(f"{path} holds no object")
    return value


def digests(folder: Path) -> dict[str, str]:
    """Return the SHA-256 of every file below a folder, by its path in it; hidden ones left out."""
    found = {}
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder)
        if path.is_file() and not any(part.startswith(".") for part in name.parts):
            found[str(name)] = sha256(path)
    return found


def sha256(path: Path) -> str:
    """Return the hex digest of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def versions() -> dict[str, str]:
    """Return the versions of Python and of the packages that train, as far as they are there."""
    found = {"python": platform.python_version(), "machine": platform.machine()}
    found["cores"] = str(os.cpu_count())
    for name in ("driftgate", *_PACKAGES):
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            found[name] = ""
    return found


def _is_json(path: Path) -> bool:
    try:
        json.loads(path.read_text("utf-8"))
    except (OSError, ValueError):
        return False
    return True
