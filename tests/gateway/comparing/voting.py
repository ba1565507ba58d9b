"""Comparisons and votes for tests, without a store."""

from gateway.store.comparisons import CANDIDATE, Comparison
from gateway.store.raters import Invite, Vote

LETTERS = {"c": "candidate", "b": "baseline", "t": "tie", "x": "both_bad"}


def comparison(**values: object) -> Comparison:
    """Return a comparison of m-1 and m-2."""
    known: dict[str, object] = {"name": "Bank", "baseline": "m-1", "candidate": "m-2"}
    return Comparison(**known | {"seed": "s", "items": 100} | values)  # type: ignore[arg-type]


def invite(id: str, place: int = 0) -> Invite:
    """Return the invite of a rater who has begun."""
    return Invite(id, "cmp-1", id, b"", 0.0, "ada", 1e12, None, 1.0, place)


def votes(*lines: str) -> list[Vote]:
    """Return votes in their order, each `rater item letter`, such as `ada 3 c`."""
    found = []
    for at, line in enumerate(lines):
        rater, item, letter = line.split()
        found.append(Vote("cmp-1", int(item), rater, CANDIDATE, LETTERS[letter], at=float(at)))
    return found
