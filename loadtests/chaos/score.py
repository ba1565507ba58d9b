"""What one scenario found: `Score`, and how many answers of each kind it counted."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import StrEnum


class Verdict(StrEnum):
    """What became of one request, as its client saw it.

    `LOST` has no answer, or one that was cut without an error in OpenAI's shape. `WRONG` is an
    answer that says something untrue: other words, an empty success, a mistaken status.
    """

    GOOD = "good"
    TOLD = "told"
    LOST = "lost"
    WRONG = "wrong"


@dataclass(frozen=True, slots=True)
class Sample:
    """One request; times in monotonic seconds, `first_byte` is 0 where none came."""

    verdict: Verdict
    started: float
    ended: float
    first_byte: float = 0.0
    status: int = 0
    stream: bool = False
    request_id: str = ""
    why: str = ""


@dataclass(frozen=True)
class Score:
    """A line of the scorecard.

    Args:
        fault: What was done, in a few words.
        sent: Requests sent before, during and after the fault.
        good: Right answers.
        told: Errors that the client was told of in OpenAI's shape, and that were unavoidable.
        lost: No answer, a silent cut, or an error although another engine could have answered.
        wrong: Wrong status or content, a 500 for a client's mistake, a wrong record or charge.
        recovered_s: From the end of the fault (or from the fault, where a second engine exists)
            until the next good answer; None: there was none, or nothing had to recover.
        notes: What else was measured.
        problems: What was lost or wrong, with how often.
        skipped: Why it was not run.
    """

    fault: str
    sent: int = 0
    good: int = 0
    told: int = 0
    lost: int = 0
    wrong: int = 0
    recovered_s: float | None = None
    notes: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    skipped: str = ""

    def describe(self) -> str:
        """Return the counts with what went wrong, for a failing test."""
        counts = f"{self.sent} sent, {self.good} good, {self.told} told"
        return f"{self.fault}: {counts}, {self.lost} lost, {self.wrong} wrong: {self.problems}"


def skipped(fault: str, reason: str) -> Score:
    """Return the line of a scenario that does not apply here."""
    return Score(fault, skipped=reason)


def tally(
    fault: str,
    samples: Iterable[Sample],
    *,
    recovered_s: float | None = None,
    mistakes: Iterable[str] = (),
    notes: Iterable[str] = (),
) -> Score:
    """Count samples.

    Args:
        fault: What was done.
        samples: The requests.
        recovered_s: See `Score`.
        mistakes: Further things that were wrong, each of which counts as one.
        notes: What else was measured.
    """
    samples, mistakes = list(samples), list(mistakes)
    counts = Counter(sample.verdict for sample in samples)
    bad = (Verdict.LOST, Verdict.WRONG)
    reasons = Counter(f"{s.verdict}: {s.why}" for s in samples if s.verdict in bad)
    reasons.update(f"wrong: {mistake}" for mistake in mistakes)
    return Score(
        fault,
        sent=len(samples),
        good=counts[Verdict.GOOD],
        told=counts[Verdict.TOLD],
        lost=counts[Verdict.LOST],
        wrong=counts[Verdict.WRONG] + len(mistakes),
        recovered_s=recovered_s,
        notes=list(notes),
        problems=[f"{count} times {reason}" for reason, count in reasons.most_common()],
    )
