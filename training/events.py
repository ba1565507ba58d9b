"""What a running training tells: one JSON object a line of metrics.jsonl, read while it grows.

The file is both the record of the run and the channel from the trainer's process: whoever started
it follows the file, and one who comes later reads the same.
"""

import json
import os
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, Literal

Kind = Literal["started", "step", "eval", "checkpoint", "warning", "finished"]


@dataclass(frozen=True, slots=True)
class Event:
    """One thing that happened.

    Args:
        kind: What it is.
        step: Optimiser steps done.
        total: Steps planned.
        time: Unix seconds.
        epoch: Passes over the rows so far.
        loss: Mean loss of the trained tokens since the last entry (`step`).
        eval_loss: Mean loss over the validation rows (`eval`).
        learning_rate: In use (`step`).
        grad_norm: Norm of the last gradient before it was clipped (`step`).
        tokens_per_s: Tokens read a second since the last entry, validations left out (`step`).
        memory: Highest memory so far in bytes: resident on a CPU, allocated on a GPU.
        eta_s: Seconds left, if all planned steps are made.
        checkpoint: Folder of the checkpoint (`checkpoint`).
        message: For people.
    """

    kind: Kind
    step: int
    total: int
    time: float
    epoch: float | None = None
    loss: float | None = None
    eval_loss: float | None = None
    learning_rate: float | None = None
    grad_norm: float | None = None
    tokens_per_s: float | None = None
    memory: int | None = None
    eta_s: float | None = None
    checkpoint: str | None = None
    message: str = ""


class EventLog:
    """Appends events to a metrics.jsonl; each is there at once and whole."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def add(self, kind: Kind, step: int, total: int, **rest: Any) -> None:
        """Append an event of this moment."""
        event = Event(kind, step, total, round(time.time(), 3), **rest)
        shown = {k: v for k, v in asdict(event).items() if v is not None and v != ""}
        with self._path.open("ab") as file:
            file.write(json.dumps(shown).encode() + b"\n")

    def rewind(self, step: int) -> None:
        """Drop what came after `step`: a resumed run makes those steps again."""
        if not self._path.exists():
            return
        kept = [event for event in read(self._path) if event.step <= step]
        partial = self._path.with_suffix(".partial")
        with partial.open("wb") as file:
            for event in kept:
                shown = {k: v for k, v in asdict(event).items() if v is not None and v != ""}
                file.write(json.dumps(shown).encode() + b"\n")
        partial.replace(self._path)


def read(path: Path) -> list[Event]:
    """Return the events of a file; a last line that is cut off (a crash) is left out."""
    return list(Follower(path).new()) if path.exists() else []


class Follower:
    """Reads the events that are appended to a file, each once.

    Args:
        path: The metrics.jsonl; it may not exist yet.
        skip: Whether the events that are there already are passed over.
    """

    def __init__(self, path: Path, *, skip: bool = False) -> None:
        self._path = path
        self._inode = 0
        self._offset = 0
        if skip:
            for _ in self.new():
                pass

    def new(self) -> Iterator[Event]:
        """Return the events since the last call."""
        try:
            file = self._path.open("rb")
        except FileNotFoundError:
            return
        with file:
            found = os.fstat(file.fileno())
            if found.st_ino != self._inode and self._inode:
                # The file was replaced by `rewind`: a part of what was read, nothing new.
                self._offset = found.st_size
            self._inode = found.st_ino
            file.seek(self._offset)
            for line in file:
                if not line.endswith(b"\n"):
                    break
                self._offset += len(line)
                yield _event(line)


def _event(line: bytes) -> Event:
    raw: dict[str, Any] = json.loads(line)
    known = {field.name for field in fields(Event)}
    return Event(**{key: value for key, value in raw.items() if key in known})
