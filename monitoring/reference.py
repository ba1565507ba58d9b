"""The reference of a release: what is usual, frozen once it is complete.

    references/<alias and release>/
      vectors.npy     unit vectors of the prompts, float32, shape (n, d)
      rows.jsonl      one row a line: id, prompt, answer and descriptors
      manifest.json   where it came from, and the digests of the two

A reference that does not match its digests is refused, never made anew in silence: the evidence
since then was gathered against it.
"""

import hashlib
import json
import math
import os
import shutil
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

Vectors = npt.NDArray[np.float32]
LEAST_ROWS = 100
_FORM = 1


class ReferenceUnusable(Exception):
    """A reference is damaged, of another form, or too small; the message names the file."""


@dataclass(frozen=True, slots=True)
class Row:
    """One request of the reference; a descriptor that is not known is missing."""

    id: str
    prompt: str
    answer: str | None
    numbers: Mapping[str, float]
    language: str = ""


@dataclass(frozen=True, slots=True)
class Reference:
    """Rows and their vectors, in one order; `source` says where they came from."""

    rows: tuple[Row, ...]
    vectors: Vectors
    source: str
    created_at: float

    def numbers(self, name: str) -> npt.NDArray[np.float64]:
        """Return a descriptor of all rows; NaN where it is not known."""
        return np.asarray([row.numbers.get(name, math.nan) for row in self.rows], np.float64)

    def mean(self, name: str) -> float | None:
        """Return the mean of a descriptor over the rows that have it."""
        known = self.numbers(name)
        known = known[np.isfinite(known)]
        return float(known.mean()) if known.size else None


def made(rows: Sequence[Row], vectors: Vectors, source: str) -> Reference:
    """Return a reference.

    Raises:
        ReferenceUnusable: There are too few rows, or a vector is no vector.
    """
    if len(rows) < LEAST_ROWS:
        raise ReferenceUnusable(f"{len(rows)} rows are too few for a reference: {LEAST_ROWS}")
    if vectors.shape[0] != len(rows) or vectors.ndim != 2 or not np.isfinite(vectors).all():
        raise ReferenceUnusable("each row of a reference needs a vector of finite numbers")
    return Reference(tuple(rows), vectors, source, time.time())


def save(reference: Reference, folder: Path) -> None:
    """Write a reference in one step; one that is there stays as it is.

    Raises:
        FileExistsError: There is one already.
        OSError: It cannot be written.
    """
    folder.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    new = Path(tempfile.mkdtemp(prefix=".new-", dir=folder.parent))
    try:
        np.save(new / "vectors.npy", reference.vectors, allow_pickle=False)
        lines = "".join(
            json.dumps(_as_dict(row), ensure_ascii=False) + "\n" for row in reference.rows
        )
        (new / "rows.jsonl").write_text(lines, encoding="utf-8")
        manifest = {
            "form": _FORM, "source": reference.source, "created_at": reference.created_at,
            "rows": len(reference.rows), "digests": _digests(new),
        }  # fmt: skip
        (new / "manifest.json").write_text(json.dumps(manifest, indent=1))
        try:
            os.rename(new, folder)
        except OSError as error:
            if folder.exists():
                raise FileExistsError(f"{folder} is there already") from error
            raise
    finally:
        shutil.rmtree(new, ignore_errors=True)


def load(folder: Path) -> Reference | None:
    """Read a reference; None where there is none.

    Raises:
        ReferenceUnusable: It is damaged.
    """
    try:
        manifest = json.loads((folder / "manifest.json").read_bytes())
        if manifest["form"] != _FORM:
            raise ReferenceUnusable(f"{folder}: form {manifest['form']} is not known")
        if manifest["digests"] != _digests(folder):
            raise ReferenceUnusable(f"{folder}: a file is not what was frozen")
        vectors = np.load(folder / "vectors.npy", allow_pickle=False)
        text = (folder / "rows.jsonl").read_text(encoding="utf-8")
        rows = tuple(Row(**json.loads(line)) for line in text.split("\n") if line)
    except FileNotFoundError:
        if folder.exists():
            raise ReferenceUnusable(f"{folder}: a file is missing") from None
        return None
    except (ValueError, KeyError, TypeError, OSError) as error:
        raise ReferenceUnusable(f"{folder}: {error}") from error
    if len(rows) != len(vectors):
        raise ReferenceUnusable(f"{folder}: {len(rows)} rows and {len(vectors)} vectors")
    return Reference(rows, vectors, str(manifest["source"]), float(manifest["created_at"]))


def _as_dict(row: Row) -> dict[str, Any]:
    return {
        "id": row.id, "prompt": row.prompt, "answer": row.answer,
        "numbers": dict(row.numbers), "language": row.language,
    }  # fmt: skip


def _digests(folder: Path) -> dict[str, str]:
    return {
        name: hashlib.sha256((folder / name).read_bytes()).hexdigest()
        for name in ("vectors.npy", "rows.jsonl")
    }
