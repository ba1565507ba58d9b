"""Rewrites a file of any form as conversations; what cannot be used is kept aside, not lost."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import msgspec

from gateway.store.examples import Example, Message, RowError, write_jsonl
from training.data import source


@dataclass(frozen=True, slots=True)
class Converted:
    """How many rows were written, where, and the errors of the others."""

    rows: int
    out: Path
    rejected: Path | None
    errors: tuple[RowError, ...]


def convert(
    path: Path, out: Path, *, system: str = "", on_progress: source.Progress = source.silent
) -> Converted:
    """Write a file's rows in the `messages` form.

    Rows that cannot be used go to `<out without suffix>.rejected.jsonl`, each as its line, the
    error and, of JSON Lines, the line itself. A file of an earlier run is replaced, or deleted
    where there is nothing to reject.

    Args:
        path: JSON Lines or Parquet, in any of the three forms.
        out: The JSON Lines file to write; it appears whole.
        system: A system turn for every row that has none.
        on_progress: Told how many rows are done.

    Raises:
        SourceError: The file cannot be read as rows at all, or `out` is the file itself.
    """
    if out.resolve() == path.resolve():
        raise source.SourceError(f"{out}: this is the file that is read; name another one")
    errors: list[RowError] = []

    def usable() -> Iterator[Example]:
        for number, row in enumerate(source.rows(path), 1):
            if number % 1000 == 0:
                on_progress("converting", number, 0)
            if isinstance(row, RowError):
                errors.append(row)
            else:
                yield with_system(row, system)

    rows = write_jsonl(out, usable())
    if not rows and not errors:
        out.unlink()
        raise source.SourceError(f"{path}: the file has no rows")
    rejected = out.with_name(f"{out.stem}.rejected.jsonl")
    if errors:
        _write_rejected(rejected, path, errors)
    else:
        rejected.unlink(missing_ok=True)
    return Converted(rows, out, rejected if errors else None, tuple(errors))


def with_system(example: Example, system: str) -> Example:
    """Return the example with a system turn in front, unless it has one or there is none."""
    if not system or example.messages[0].role in ("system", "developer"):
        return example
    return replace(example, messages=(Message("system", system), *example.messages))


def _write_rejected(out: Path, path: Path, errors: list[RowError]) -> None:
    lines: dict[int, str] = {}
    if path.suffix.lower() in source.JSONL_SUFFIXES:
        wanted = {error.line for error in errors}
        with path.open("rb") as file:
            for line, raw in enumerate(file, 1):
                if line in wanted:
                    lines[line] = raw.rstrip(b"\r\n").decode("utf-8", "replace")
    partial = out.with_name(f".{out.name}.partial")
    with partial.open("wb") as target:
        for error in errors:
            row = {"line": error.line, "code": error.code, "reason": error.reason}
            if error.line in lines:
                row["row"] = lines[error.line]
            target.write(msgspec.json.encode(row) + b"\n")
    partial.replace(out)
