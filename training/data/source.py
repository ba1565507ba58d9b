"""Reads training rows from JSON Lines or Parquet, whichever of the three forms they have."""

from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from gateway.store.examples import Example, RowError, from_row, read_jsonl

JSONL_SUFFIXES = (".jsonl", ".ndjson", ".json")
PARQUET_SUFFIXES = (".parquet", ".pq")
_BATCH = 1000

# Called with what is being done, how much of it is done, and of how much.
Progress = Callable[[str, int, int], None]


class SourceError(ValueError):
    """A file that cannot be read as training rows; the message names it."""


def silent(stage: str, done: int, total: int) -> None:
    """Show no progress."""


def rows(path: Path) -> Iterator[Example | RowError]:
    """Read a file row by row; a row that cannot be used is its error.

    The line of a Parquet row is its number, from 1.

    Raises:
        SourceError: There is no such file, it is empty, or has neither of the two formats.
    """
    if not path.is_file():
        raise SourceError(f"{path}: there is no such file")
    suffix = path.suffix.lower()
    if suffix in PARQUET_SUFFIXES:
        return _parquet(path)
    if suffix not in JSONL_SUFFIXES:
        known = ", ".join((*JSONL_SUFFIXES, *PARQUET_SUFFIXES))
        raise SourceError(f"{path}: rows are read from {known}, not from {suffix or 'no suffix'}")
    _check_is_lines(path)
    return read_jsonl(path)


def load(path: Path, on_progress: Progress = silent) -> tuple[list[Example], list[RowError]]:
    """Read a whole file; returns the usable rows and the errors of the others.

    Raises:
        SourceError: As `rows`.
    """
    examples: list[Example] = []
    errors: list[RowError] = []
    for number, row in enumerate(rows(path), 1):
        if isinstance(row, RowError):
            errors.append(row)
        else:
            examples.append(row)
        if number % _BATCH == 0:
            on_progress("reading", number, 0)
    if not examples and not errors:
        raise SourceError(f"{path}: the file has no rows")
    on_progress("reading", len(examples) + len(errors), len(examples) + len(errors))
    return examples, errors


def _check_is_lines(path: Path) -> None:
    with path.open("rb") as file:
        start = file.read(4096)
    if not start:
        raise SourceError(f"{path}: the file is empty")
    if start.lstrip()[:1] == b"[":
        raise SourceError(
            f"{path}: this is one JSON array; rows must be one JSON object a line "
            f"(`jq -c '.[]' {path.name}` makes them)"
        )
    if start[:2] in (b"\xff\xfe", b"\xfe\xff"):
        raise SourceError(f"{path}: the file is in UTF-16; save it in UTF-8")


def _parquet(path: Path) -> Iterator[Example | RowError]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    line = 0
    try:
        with pq.ParquetFile(path) as file:
            for batch in file.iter_batches(batch_size=_BATCH):
                for row in batch.to_pylist():
                    line += 1
                    try:
                        yield from_row(_plain(row), line)
                    except RowError as error:
                        yield error
    except (pa.ArrowException, OSError) as error:
        raise SourceError(f"{path}: this is no Parquet file that can be read ({error})") from error


def _plain(row: dict[str, Any]) -> dict[str, Any]:
    """Drop columns without a value, which JSON would not have, and turn times into seconds."""
    return {name: _seconds(value) for name, value in row.items() if value is not None}


def _seconds(value: Any) -> Any:
    if not isinstance(value, datetime):
        return value
    # Parquet's times without a zone are read as UTC, not as this machine's.
    return (value if value.tzinfo else value.replace(tzinfo=UTC)).timestamp()
