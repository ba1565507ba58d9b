"""All that is known about how an alias should answer: from people, and from its release's own data.

The attribution replay asks it, a retraining learns of it.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from gateway.store.database import Database
from gateway.store.examples import Example, Message, read_jsonl
from gateway.store.keys import Keys
from gateway.store.releases import Release
from monitoring.probes import Probe, load
from training.data import findings, manifest, poison
from training.data.checks.personal import personal
from training.data.checks.secrets import secrets
from training.data.curation import Rules, curate
from training.data.pipeline import TRAIN, VALID
from training.data.source import Progress, silent
from training.data.stored import judged

# Feedback comes days after the answer that it is about.
_LATE_S = 7 * 86_400.0
_CORRECTION = "correction:"
GOLDEN = "golden"
"""The slice of the operator's own questions; they come from their file each time anew."""


@dataclass(frozen=True, slots=True)
class Parent:
    """The data that a release was made of, where this host has it.

    Args:
        release: The release.
        train: Its training rows.
        valid: Its held-out rows.
        cutoff: When the newest of them was answered, in Unix seconds.
    """

    release: str
    train: tuple[Example, ...] = ()
    valid: tuple[Example, ...] = ()
    cutoff: float | None = None

    @classmethod
    def of(cls, release: Release, home: Path) -> "Parent":
        """Read it from the folder of the job that made the release."""
        folder = home / "jobs" / (release.job or "-") / "data"
        if not (folder / TRAIN).is_file():
            return cls(release.id)
        rows = {
            name: tuple(
                row
                for row in read_jsonl(folder / name)
                if isinstance(row, Example) and row.slice != GOLDEN
            )
            for name in (TRAIN, VALID)
            if (folder / name).is_file()
        }
        try:
            times = manifest.read(folder).time_range
        except manifest.ManifestError:
            times = None
        return cls(
            release.id, rows.get(TRAIN, ()), rows.get(VALID, ()), times[1] if times else None
        )


@dataclass(frozen=True, slots=True)
class Collected:
    """What is known about an alias.

    Args:
        new: Corrections of people: what the release gets wrong.
        good: Answers that people liked.
        parent: The release's own data, without rows whose answer has changed since.
        golden: The operator's questions with known answers.
        sources: The keys behind each row of `new` and `good`, by its `source`.
        set_aside: What was proposed and may not be learnt, with the reason.
        filters: How many rows each filter took out.
        grounded: The `source` of rows whose answer was given from documents.
    """

    new: tuple[Example, ...] = ()
    good: tuple[Example, ...] = ()
    parent: Parent = Parent("")
    golden: tuple[Probe, ...] = ()
    sources: Mapping[str, frozenset[str]] = field(default_factory=dict)
    set_aside: tuple[tuple[Example, str], ...] = ()
    filters: Mapping[str, int] = field(default_factory=dict)
    grounded: frozenset[str] = frozenset()


def collect(
    database: Database,
    alias: str,
    parent: Parent,
    rules: Rules,
    golden: Path | None = None,
    on_progress: Progress = silent,
) -> Collected:
    """Curate what people said since the release's data ends, and hold it against that data.

    Args:
        database: The store.
        alias: Whose answers count.
        parent: The data of the release in service.
        rules: What becomes a row.
        golden: The file of golden probes, where there may be one.
        on_progress: Told how far it is.

    Raises:
        StoreError: The store cannot be read.
        ProbesInvalid: The file of golden probes cannot be used.
    """
    unread: Counter[str] = Counter()
    since = None if parent.cutoff is None else parent.cutoff - _LATE_S
    curated = curate(
        judged(database, unread, model=alias, since=since, on_progress=on_progress), rules
    )
    rows = [replace(row, line=line) for line, row in enumerate(curated.examples, 1)]
    found = [*secrets(rows, on_progress), *personal(rows, on_progress)]
    private = findings.lines_to("quarantine", found)
    reasons = {finding.line: f"{finding.check}: {finding.reason}" for finding in found}
    known = (*parent.train, *parent.valid)
    checked = poison.check(
        [row for row in rows if row.line not in private], curated.sources, known, rules, on_progress
    )
    aside = [*curated.set_aside, *checked.set_aside]
    aside += [(row, reasons[row.line]) for row in rows if row.line in private]
    gone = checked.superseded
    filters = dict(unread) | curated.filters
    filters |= {
        "private": len(private),
        "known_already": checked.known_already,
        "set_aside": len(aside),
        "superseded": len(gone),
    }
    train = tuple(row for n, row in enumerate(parent.train) if n not in gone)
    valid = tuple(row for n, row in enumerate(parent.valid, len(parent.train)) if n not in gone)
    return Collected(
        new=tuple(row for row in checked.kept if row.source.startswith(_CORRECTION)),
        good=tuple(row for row in checked.kept if not row.source.startswith(_CORRECTION)),
        parent=replace(parent, train=train, valid=valid),
        golden=_golden(golden),
        sources=curated.sources,
        set_aside=tuple(aside),
        filters=dict(sorted(filters.items())),
        grounded=curated.grounded,
    )


def trusted(database: Database) -> tuple[str, ...]:
    """Return the keys of operators, whose word is enough alone; StoreError as always."""
    return tuple(key.prefix for key in Keys(database).all() if "admin" in key.scopes)


def as_rows(golden: Sequence[Probe]) -> list[Example]:
    """Return golden probes as rows: those whose answer must be exactly the expected one."""
    return [
        Example(
            (
                *(Message(str(m["role"]), str(m.get("content", ""))) for m in probe.messages),
                Message("assistant", probe.expected),
            ),
            source=f"golden:{probe.id}",
        )
        for probe in golden
        if probe.match == "exact"
    ]


def _golden(path: Path | None) -> tuple[Probe, ...]:
    try:
        return tuple(load(path)) if path is not None else ()
    except FileNotFoundError:
        return ()
