"""Vectors of texts, each embedded once: a cache that only grows and can be resumed at any time."""

import hashlib
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from retrieval.embedder import Embedder, Vectors

_TOGETHER = 1024
_DIGEST = 16


class VectorCache:
    """Vectors of one embedder, by text.

    Args:
        folder: Where they are kept.
        embedder: What makes them.
    """

    def __init__(self, folder: Path, embedder: Embedder) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._embedder = embedder
        self._keys = folder / f"{embedder.id}.keys"
        self._vectors = folder / f"{embedder.id}.f4"
        self._rows: dict[bytes, int] = {}
        self._width = 4 * embedder.dimensions
        for path in (self._keys, self._vectors):
            path.touch()
        # A run that was ended while it wrote leaves half a block.
        rows = min(
            self._keys.stat().st_size // _DIGEST, self._vectors.stat().st_size // self._width
        )
        for path, width in ((self._keys, _DIGEST), (self._vectors, self._width)):
            with path.open("r+b") as file:
                file.truncate(rows * width)
        keys = self._keys.read_bytes()
        for row in range(rows):
            self._rows[keys[row * _DIGEST : (row + 1) * _DIGEST]] = row

    def missing(self, texts: Sequence[str]) -> list[str]:
        """Return the texts that were not embedded yet, each once."""
        return [text for text in dict.fromkeys(texts) if _digest(text) not in self._rows]

    def add(self, texts: Sequence[str], what: str, until: float = float("inf")) -> None:
        """Embed what is missing, with progress, at most until `time.monotonic()` is `until`."""
        left = self.missing(texts)
        began, total = time.monotonic(), len(left)
        for start in range(0, total, _TOGETHER):
            if time.monotonic() > until:
                return
            block = left[start : start + _TOGETHER]
            vectors, _ = self._embedder.embed(block)
            with self._vectors.open("ab") as file:
                file.write(np.ascontiguousarray(vectors, "<f4").data)
            with self._keys.open("ab") as file:
                file.write(b"".join(map(_digest, block)))
            for text in block:
                self._rows[_digest(text)] = len(self._rows)
            done = start + len(block)
            rate = done / (time.monotonic() - began)
            print(f"[{(total - done) / rate / 60:4.1f} min left] embedding {what}: "
                  f"{done:,} of {total:,}, {rate:.0f}/s", file=sys.stderr, flush=True)  # fmt: skip

    def of(self, texts: Sequence[str], what: str) -> Vectors:
        """Return the vectors of texts, shape (texts, dimensions); embeds what is missing."""
        self.add(texts, what)
        if not texts:
            return np.zeros((0, self._embedder.dimensions), np.float32)
        stored = np.memmap(self._vectors, "<f4", "r").reshape(-1, self._embedder.dimensions)
        return np.asarray(stored[[self._rows[_digest(text)] for text in texts]], np.float32)


def _digest(text: str) -> bytes:
    return hashlib.blake2b(text.encode(), digest_size=_DIGEST).digest()


def perturbed(texts: Sequence[str], vectors: Vectors, count: int) -> tuple[list[str], Vectors]:
    """Return copies of texts with words shuffled, and their vectors with noise of half the length.

    They fill a collection up to a size that real texts do not have.
    """
    random = np.random.default_rng(4)
    rows = random.integers(0, len(texts), max(count, 0))
    copies = []
    for number, row in enumerate(rows.tolist()):
        words = texts[row].split()
        random.shuffle(words)
        copies.append(f"{' '.join(words)} {number}")
    dimensions = vectors.shape[1]
    noise = random.standard_normal((len(rows), dimensions), np.float32)
    noisy = vectors[rows] + noise * np.float32(0.5 / np.sqrt(dimensions))
    noisy /= np.linalg.norm(noisy, axis=1, keepdims=True)
    return copies, np.asarray(noisy, np.float32)
