"""A recommendation from measured systems: base, base+retrieval, fine-tuned, fine-tuned+retrieval.

The schema, as `driftgate evaluate --system …` writes it, is a list (or an object with such a list
as `systems`) of

    {"system": "base", "score": 0.41, "low": 0.34, "high": 0.48, "level": 0.95, "n": 200,
     "latency_p95_s": 1.2}

with scores in [0, 1]; times may be missing or null. An `evaluation.json` with answers to the same
cases is read too, and then compared case by case, which decides with fewer of them.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

# Cheapest to run and to keep first: of systems that are not told apart the first is taken.
SYSTEMS = ("base", "base+retrieval", "fine-tuned", "fine-tuned+retrieval")
_MAX_BYTES = 512 * 2**20


class MeasuredError(ValueError):
    """A result that cannot be read; the message names the file and the field."""


@dataclass(frozen=True, slots=True)
class System:
    """A system and its score.

    Args:
        name: One of `SYSTEMS`.
        score: Mean score of a case, in [0, 1].
        low: Lower end of its interval.
        high: Upper end.
        level: The interval's two-sided level.
        n: Number of cases.
        latency_p95_s: 95th percentile of the time of an answer, or None.
        right: Whether each case was right, by its id; empty where only the score is known.
    """

    name: str
    score: float
    low: float
    high: float
    level: float
    n: int
    latency_p95_s: float | None
    right: Mapping[str, bool]


def read_measured(path: Path) -> list[System]:
    """Read the systems of a result, cheapest first.

    Raises:
        MeasuredError: It is not such a result.
    """
    try:
        if path.stat().st_size > _MAX_BYTES:
            raise MeasuredError(f"{path} is larger than {_MAX_BYTES >> 20} MiB")
        data = json.loads(path.read_bytes())
    except OSError as error:
        raise MeasuredError(f"{path} cannot be read ({error.strerror})") from error
    except MeasuredError:
        raise
    except (ValueError, RecursionError) as error:
        raise MeasuredError(f"{path} is not JSON ({error})") from error
    if isinstance(data, dict) and "scores" in data:
        rows: object = _of_evaluation(data, path)
    else:
        rows = data.get("systems") if isinstance(data, dict) else data
    if not isinstance(rows, list) or not rows:
        raise MeasuredError(f"{path} must hold a list of systems")
    found = [_system(row, f"{path}, system {n}") for n, row in enumerate(rows, 1)]
    names = [system.name for system in found]
    if len(set(names)) < len(names):
        raise MeasuredError(f"{path} has a system twice: {', '.join(names)}")
    return sorted(found, key=lambda system: SYSTEMS.index(system.name))


def _of_evaluation(data: dict[str, Any], path: Path) -> list[dict[str, Any]]:
    """Return the systems of an `evaluation.json` in the schema, with outcomes by case."""
    try:
        outcomes: dict[str, dict[str, bool]] = {}
        for case in data.get("cases", ()):
            for said in case["said"] if case["part"] == "test" else ():
                if isinstance(said["right"], bool):
                    outcomes.setdefault(said["system"], {})[case["id"]] = said["right"]
        latency = {row["name"]: row.get("latency_p95_s") for row in data["systems"]}
        return [
            {
                "system": score["system"],
                "score": score["interval"]["value"],
                **{name: score["interval"][name] for name in ("low", "high", "level", "n")},
                "latency_p95_s": (latency.get(score["system"]) or {}).get("value"),
                "right": outcomes.get(score["system"], {}),
            }
            for score in data["scores"]
            if (score["part"], score["slice"], score["metric"]) == ("test", "all", "right")
        ]
    except (KeyError, TypeError, AttributeError) as error:
        raise MeasuredError(f"{path} is no evaluation ({type(error).__name__}: {error})") from error


def _system(row: object, origin: str) -> System:
    if not isinstance(row, dict):
        raise MeasuredError(f"{origin} must be an object")
    name = str(row.get("system", "")).lower().replace("_", "-").replace(" ", "")
    if name not in SYSTEMS:
        raise MeasuredError(
            f"{origin}: `system` is {row.get('system')!r}, not one of {', '.join(SYSTEMS)}"
        )
    score, low, high = (_number(row, field, origin, 0, 1) for field in ("score", "low", "high"))
    if not low <= score <= high:
        raise MeasuredError(f"{origin}: `score` {score} is not between `low` and `high`")
    level = _number({"level": 0.95, **row}, "level", origin, 0.5, 0.9999)
    n = _number(row, "n", origin, 1, 1e9)
    time = row.get("latency_p95_s")
    latency = None if time is None else _number(row, "latency_p95_s", origin, 0, 1e6)
    return System(name, score, low, high, level, int(n), latency, row.get("right") or {})


def _number(row: Mapping[str, Any], field: str, origin: str, low: float, high: float) -> float:
    value = row.get(field)
    if isinstance(value, bool) or not isinstance(value, int | float) or not low <= value <= high:
        raise MeasuredError(f"{origin}: `{field}` must be from {low:g} to {high:g}, not {value!r}")
    return float(value)
