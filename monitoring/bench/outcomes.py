"""What each run gave, a line of JSON each: what was run is not run again."""

import hashlib
import os
from pathlib import Path
from typing import NamedTuple

import msgspec

OURS = "driftgate"
_CODE = (
    "monitoring/novelty.py",
    "monitoring/evidence/bets.py",
    "monitoring/evidence/conformal.py",
    "monitoring/evidence/detector.py",
    "monitoring/evidence/combining.py",
)
_ROOT = Path(__file__).parents[2]


class Key(NamedTuple):
    """What was run: method, scenario, requests in a window, windows of it, number of the run."""

    method: str
    scenario: str
    size: int
    seed: int


class Outcome(msgspec.Struct, frozen=True):
    """One run.

    Attributes:
        method: `driftgate`, or the name of a peer.
        scenario: Its name.
        size: Requests in a window.
        seed: Number of the run.
        onset: First window after the change.
        traces: Evidence by signal after each window (log10), or a peer's statistic as `statistic`.
        cpu_ms: CPU per window, median; embedding apart.
        code: Digest of the detector's code, for ours.
        harm: Window of the harm alarm.
        loss: Mean loss before and after the onset.
    """

    method: str
    scenario: str
    size: int
    seed: int
    onset: int
    traces: dict[str, list[float]]
    cpu_ms: float
    code: str = ""
    harm: int | None = None
    loss: tuple[float, float] | None = None

    @property
    def key(self) -> Key:
        return Key(self.method, self.scenario, self.size, self.seed)


class Outcomes:
    """The runs in a file that only grows.

    Runs of a detector whose code has changed since are left out, and so run again.

    Args:
        path: Where they are.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self.code = code_digest()
        self.found: dict[Key, Outcome] = {}
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.exists():
            for line in path.read_bytes().split(b"\n"):
                # The last line of a run that was killed may be half a line.
                try:
                    outcome = msgspec.json.decode(line, type=Outcome)
                except msgspec.MsgspecError:
                    continue
                if outcome.method != OURS or outcome.code == self.code:
                    self.found[outcome.key] = outcome

    def add(self, outcome: Outcome) -> None:
        """Keep a run, on disk before this returns."""
        with self._path.open("ab") as file:
            file.write(b"\n" + msgspec.json.encode(outcome))
            file.flush()
            os.fsync(file.fileno())
        self.found[outcome.key] = outcome

    def of(self, method: str, scenario: str, size: int | None = None) -> list[Outcome]:
        """Return the runs of a method in a scenario, by number."""
        found = [
            each for each in self.found.values()
            if (each.method, each.scenario) == (method, scenario) and size in (None, each.size)
        ]  # fmt: skip
        return sorted(found, key=lambda each: each.seed)


def code_digest() -> str:
    """Return a digest of the code that decides what the detector finds."""
    digest = hashlib.sha256()
    for name in _CODE:
        digest.update((_ROOT / name).read_bytes())
    return digest.hexdigest()[:12]
