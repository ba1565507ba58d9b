"""What a check has to say: which row, what is wrong with it, and what should become of it."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

from gateway.store.examples import RowError

Severity = Literal["error", "warning", "info"]
# keep: nothing happens by itself. drop: left out. quarantine: set aside in a file, for people.
Action = Literal["keep", "drop", "quarantine"]
SEVERITIES: tuple[Severity, ...] = ("error", "warning", "info")
SCHEMA = "schema"
_SHOWN = 20


@dataclass(frozen=True, slots=True)
class Finding:
    """One remark of a check.

    Args:
        line: Line of the row in its file, from 1; 0 where the whole file is meant.
        check: Which check found it.
        severity: `error` must be mended, `warning` should be looked at, `info` is good to know.
        reason: What is wrong, as a sentence for people; it never repeats a secret.
        action: What curation and training do with the row.
        file: Name of the file, where it is not the one that is checked.
    """

    line: int
    check: str
    severity: Severity
    reason: str
    action: Action = "keep"
    file: str = ""

    @property
    def forbids(self) -> bool:
        """Whether it forbids training: a row that cannot be read, or the whole file is wrong.

        Other errors concern rows that are left out or set aside, so the rest can be trained on.
        """
        return self.severity == "error" and (self.line == 0 or self.check == SCHEMA)

    def __str__(self) -> str:
        place = f"line {self.line}: " if self.line else ""
        return f"{self.file + ', ' if self.file else ''}{place}{self.reason} ({self.check})"

    def as_dict(self) -> dict[str, Any]:
        """Return the finding as JSON takes it."""
        return asdict(self)


class DataRejected(ValueError):
    """The data may not be trained on; `findings` are the errors that forbid it."""

    def __init__(self, findings: Sequence[Finding]) -> None:
        self.findings = tuple(findings)
        shown = [str(finding) for finding in self.findings[:_SHOWN]]
        if len(self.findings) > _SHOWN:
            shown.append(f"… and {len(self.findings) - _SHOWN:,} more")
        super().__init__("\n".join(shown))


def of_row_error(error: RowError, file: str = "") -> Finding:
    """Return the finding about a row that cannot be used at all."""
    return Finding(error.line, SCHEMA, "error", error.reason, "drop", file)


def ordered(findings: Iterable[Finding]) -> tuple[Finding, ...]:
    """Return findings by severity, then file, line and check."""
    rank = {severity: n for n, severity in enumerate(SEVERITIES)}
    return tuple(sorted(findings, key=lambda f: (rank[f.severity], f.file, f.line, f.check)))


def lines_to(action: Action, findings: Iterable[Finding]) -> set[int]:
    """Return the lines of the checked file that an action is meant for."""
    return {f.line for f in findings if f.action == action and f.line and not f.file}


def counts(findings: Iterable[Finding]) -> dict[str, int]:
    """Return how many findings each check has, by name."""
    return dict(sorted(Counter(finding.check for finding in findings).items()))
