"""A file of many small records, read one at a time: passages need not be in memory."""

import mmap
from collections.abc import Iterable
from pathlib import Path

import numpy as np


def write_packed(path: Path, records: Iterable[bytes]) -> int:
    """Write records one after the other, and beside them where each begins; returns how many."""
    starts = [0]
    with path.open("wb") as file:
        for record in records:
            file.write(record)
            starts.append(starts[-1] + len(record))
    np.save(_starts(path), np.array(starts, np.int64), allow_pickle=False)
    return len(starts) - 1


class Packed:
    """Records that `write_packed` has written.

    Args:
        path: The file.
    """

    def __init__(self, path: Path) -> None:
        self._starts = np.load(_starts(path), mmap_mode="r", allow_pickle=False)
        with path.open("rb") as file:
            empty = path.stat().st_size == 0  # which cannot be mapped
            self._bytes = b"" if empty else mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)

    def __len__(self) -> int:
        return len(self._starts) - 1

    def __getitem__(self, number: int) -> bytes:
        return self._bytes[int(self._starts[number]) : int(self._starts[number + 1])]


def _starts(path: Path) -> Path:
    return path.with_suffix(".starts.npy")
