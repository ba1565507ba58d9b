"""One thing that was looked at, and what was found."""

from dataclasses import dataclass
from typing import Literal

State = Literal["ok", "warn", "fail"]


@dataclass(frozen=True, slots=True)
class Finding:
    """What was found of `name`.

    Attributes:
        name: What was looked at.
        state: `fail` where Driftgate cannot serve like this, `warn` where a part is missing.
        found: What was seen.
        todo: What to do about it; empty where all is well.
    """

    name: str
    state: State
    found: str
    todo: str = ""


def ok(name: str, found: str) -> Finding:
    """Return that all is well."""
    return Finding(name, "ok", found)


def warn(name: str, found: str, todo: str) -> Finding:
    """Return that a part is missing or slow."""
    return Finding(name, "warn", found, todo)


def fail(name: str, found: str, todo: str) -> Finding:
    """Return that it cannot work like this."""
    return Finding(name, "fail", found, todo)
