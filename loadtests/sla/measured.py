"""What a run measured, read from the samples that its users wrote."""

import json
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
_FIGURES = {"TTFT": "ttft_ms", "inter-token": "inter_token_ms"}
_SEARCH = "documents search"


@dataclass
class _Column:
    at: list[float] = field(default_factory=list)
    value: list[float] = field(default_factory=list)


@dataclass(frozen=True)
class Series:
    """Measurements of one kind.

    Attributes:
        at: Seconds since the start of the run, of each.
        value: Milliseconds of each; of users, how many.
    """

    at: Floats
    value: Floats

    def percentile(self, name: str) -> float | None:
        """Return `p50`, `p95`, …; None where nothing was measured."""
        if not len(self.value):
            return None
        return float(np.percentile(self.value, float(name.removeprefix("p"))))


@dataclass(frozen=True)
class Request:
    """What became of the requests of one name."""

    answered: int
    failed: int
    refused: int


@dataclass(frozen=True)
class Measured:
    """A run.

    Attributes:
        figures: By figure of the agreement (`ttft_ms`), all measurements; failures have no times.
        requests: By name, what became of them.
        errors: How often each message of a failure came.
        ended: Seconds since the start at which each request was answered or failed.
        users: How many there were.
    """

    figures: Mapping[str, Series]
    requests: Mapping[str, Request]
    errors: Mapping[str, int]
    ended: Floats
    failed_at: Floats
    refused_at: Floats
    users: Series
    seconds: float

    @property
    def count(self) -> int:
        """Requests that were answered or failed; refused ones are counted apart."""
        return sum(each.answered + each.failed for each in self.requests.values())

    @property
    def failed(self) -> int:
        """Requests that failed."""
        return sum(each.failed for each in self.requests.values())

    @property
    def refused(self) -> int:
        """Requests above a key's limit, as was to be expected."""
        return sum(each.refused for each in self.requests.values())

    def growth(self) -> float | None:
        """Return the median total of the last third over that of the first."""
        total = self.figures["total_ms"]
        first = total.value[total.at < self.seconds / 3]
        last = total.value[total.at >= self.seconds * 2 / 3]
        if not len(first) or not len(last):
            return None
        return float(np.median(last) / np.median(first))


def read(path: Path) -> Measured:
    """Return what the file of samples holds; a line that was cut off by a kill is left out."""
    with path.open(encoding="utf-8") as lines:
        return gather(_rows(lines))


def gather(rows: Iterable[Sequence[object]]) -> Measured:
    """Return what rows `[unix time, kind, name, milliseconds, error]` come to."""
    columns: defaultdict[str, _Column] = defaultdict(_Column)
    counts: defaultdict[str, list[int]] = defaultdict(lambda: [0, 0, 0])
    errors: defaultdict[str, int] = defaultdict(int)
    start: float | None = None
    for row in rows:
        at, kind, name, value, error = row
        assert isinstance(at, float | int)
        assert isinstance(value, float | int)
        start = float(at) if start is None else start
        if kind == "total":
            counts[str(name)][1 if error else 0] += 1
            _add(columns["ended"], at - start, 0.0)
            if error:
                errors[str(error)] += 1
                _add(columns["failed"], at - start, 0.0)
            else:
                figure = "search_ms" if name == _SEARCH else "total_ms"
                _add(columns[figure], at - start, value)
        elif kind == "refused":
            counts[str(name)][2] += 1
            _add(columns["refused"], at - start, 0.0)
        else:
            _add(columns[_FIGURES.get(str(kind), "users")], at - start, value)
    series = {name: _series(column) for name, column in columns.items()}
    none = _series(_Column())
    lasts = [float(each.at[-1]) for each in series.values()]
    return Measured(
        figures={
            name: series.get(name, none)
            for name in ("ttft_ms", "inter_token_ms", "total_ms", "search_ms")
        },
        requests={name: Request(*each) for name, each in sorted(counts.items())},
        errors=dict(sorted(errors.items(), key=lambda item: -item[1])),
        ended=series.get("ended", none).at,
        failed_at=series.get("failed", none).at,
        refused_at=series.get("refused", none).at,
        users=series.get("users", none),
        seconds=max(lasts, default=0.0),
    )


def _rows(lines: Iterable[str]) -> Iterable[Sequence[object]]:
    for line in lines:
        if line.endswith("\n"):
            row: list[object] = json.loads(line)
            yield row


def _add(column: _Column, at: float, value: float) -> None:
    column.at.append(at)
    column.value.append(float(value))


def _series(column: _Column) -> Series:
    return Series(np.array(column.at, dtype=np.float64), np.array(column.value, dtype=np.float64))
