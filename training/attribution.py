"""Which part is at fault: a replay through the gateway, with and without documents.

Questions with known answers, half of them about what drifted, are asked of the release in service
with retrieval off and on, and of the release that it was made from where that is served as well.
Retrieval alone brings the answers back to their usual level: the index is to be updated, or
retrieval switched on; or, where documents are meant as a bridge, a release is to learn what they
say. It does not, and there are rows to learn from: train. Else: neither.

The tests are the exact paired ones of `training.evaluation.paired`, and exact limits of a rate
(Clopper and Pearson, "The use of confidence or fiducial limits", 1934).
"""

import random
import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Literal, Protocol

from gateway.store.examples import Example
from training.asking import Asked, Question, Retrieval
from training.data.collecting import Collected, as_rows
from training.data.texts import canonical_json, normalised
from training.evaluation.metrics.exact import matches
from training.evaluation.paired import p_greater, pairs
from training.loop import Replay

Verdict = Literal["index", "train", "neither"]
Slice = Literal["new", "old"]
_CONCURRENCY = 4
# Fewer cases of what drifted show nothing.
_FEWEST = 12
# The gateway's marks of a citation are not part of what is said.
_MARK = re.compile(r"\s*\[\d+\]")


class Asks(Protocol):
    """What asks: `training.asking.GatewayAsker`."""

    def ask_many(self, questions: Sequence[Question], concurrency: int = 4) -> list[Asked]:
        """Return what became of each question, in their order."""
        ...


@dataclass(frozen=True, slots=True)
class Case:
    """A question with a known answer, about what drifted (`new`) or not (`old`)."""

    row: Example
    slice: Slice

    def right(self, answer: str) -> bool:
        """Return whether an answer says what is known; JSON must be equal, a text may be in it."""
        said = _MARK.sub("", answer)
        if matches(said, self.row.answer):
            return True
        if canonical_json(self.row.answer) is not None:
            return False
        return f" {normalised(self.row.answer)} " in f" {normalised(said)} "


@dataclass(frozen=True, slots=True)
class Cell:
    """One cell of the table: how many answers on a slice were right.

    Args:
        release: What was asked.
        role: `serving` or `base`.
        retrieval: `off` or `on`.
        slice: `new` or `old`.
        n: Answers.
        right: How many of them were right.
        failed: Questions without an answer.
        low, high: One-sided limits of the rate, at the replay's alpha each.
    """

    release: str
    role: str
    retrieval: str
    slice: str
    n: int
    right: int
    failed: int
    low: float
    high: float

    @property
    def rate(self) -> float:
        """Return the share of right answers; 0 where there is none."""
        return self.right / self.n if self.n else 0.0


@dataclass(frozen=True, slots=True)
class Attribution:
    """What the replay showed.

    Args:
        verdict: What is to be done.
        reason: Why, for people.
        conclusive: Whether the tests say so; else it is the more careful guess.
        table: Each release, with retrieval off and on, on each slice.
        left_out: What was not asked, and what else is to be known of the choice of questions.
        reference: The usual level: the share of right answers to what did not drift.
        p_retrieval: Exact p-value of "documents do not help" on what drifted.
        cases: Questions by slice.
    """

    verdict: Verdict
    reason: str
    conclusive: bool
    table: tuple[Cell, ...] = ()
    left_out: tuple[str, ...] = ()
    reference: float | None = None
    p_retrieval: float | None = None
    cases: dict[str, int] = field(default_factory=dict)

    def as_dict(self) -> dict[str, Any]:
        """Return it as JSON has it."""
        return asdict(self)


def cases(collected: Collected, most: int, seed: int) -> list[Case]:
    """Choose the questions: half of what drifted, half of what was known before, as far as known.

    Known before are golden probes, then the release's own held-out rows, then liked answers.

    Of what drifted, a correction of an answer that was given from documents is a question that they
    do not answer, and those that they answer are not corrected: it is asked only where there are
    fewer than `_FEWEST` corrections of answers that were given without, such as those held out.
    """
    chance = random.Random(seed)  # noqa: S311 - no secret
    plain = [row for row in collected.new if row.source not in collected.grounded]
    chosen_for_failing = [row for row in collected.new if row.source in collected.grounded]
    golden = as_rows(collected.golden)
    rest = list(collected.parent.valid) or list(collected.good)
    half = most // 2
    new = chance.sample(plain, min(len(plain), half))
    missing = min(half, _FEWEST) - len(new)
    if missing > 0:
        new += chance.sample(chosen_for_failing, min(len(chosen_for_failing), missing))
    old = golden[:half]
    old += chance.sample(rest, min(len(rest), half - len(old)))
    return [*(Case(row, "new") for row in new), *(Case(row, "old") for row in old)]


def attribute(
    asker: Asks,
    asked: Sequence[Case],
    settings: Replay,
    *,
    serving: str,
    base: str | None,
    documents: bool,
    rows: int,
    least_rows: int,
    harmed: bool,
    forced: bool = False,
    left_out: Sequence[str] = (),
) -> Attribution:
    """Ask, and decide.

    Args:
        asker: Asks through the gateway.
        asked: The questions.
        settings: Margin and alpha.
        serving: The release in service.
        base: What it was made from, where that is served as well; None: it is left out.
        documents: Whether the alias has documents to answer from.
        rows: Rows that could be learnt.
        least_rows: How many there must be.
        harmed: Whether the monitor has shown that the answers got worse.
        forced: Whether somebody wants a new release whatever is at fault.
        left_out: What is not asked, for the record.
    """
    arms: list[tuple[str, str, Retrieval]] = [("serving", serving, "off")]
    if documents:
        arms.append(("serving", serving, "always"))
    if base is not None:
        arms.append(("base", base, "off"))
        if documents:
            arms.append(("base", base, "always"))
    said: _Said = {
        (role, retrieval): _ask(asker, asked, release, retrieval, settings)
        for role, release, retrieval in arms
    }
    table = tuple(
        _cell(release, role, retrieval, name, asked, said[role, retrieval], settings.alpha)
        for role, release, retrieval in arms
        for name in ("new", "old")
    )
    verdict, reason, conclusive, reference, p = _decide(
        asked, said, table, settings, rows >= least_rows, harmed
    )
    if verdict == "train" and rows < least_rows:
        verdict = "neither"
        reason += f" But there are {rows} rows to learn from, and {least_rows} are needed."
    elif forced and verdict != "train" and rows >= least_rows:
        reason += " It is trained all the same, as was asked."
        verdict = "train"
    elif verdict == "index" and settings.documents == "bridge" and rows >= least_rows:
        reason += " They are a bridge here: a release is to know it by itself."
        verdict = "train"
    counts = {name: sum(case.slice == name for case in asked) for name in ("new", "old")}
    return Attribution(verdict, reason, conclusive, table, tuple(left_out), reference, p, counts)


_Said = dict[tuple[str, str], list[bool | None]]


def _decide(
    asked: Sequence[Case],
    said: _Said,
    table: Sequence[Cell],
    settings: Replay,
    enough: bool,
    harmed: bool,
) -> tuple[Verdict, str, bool, float | None, float | None]:
    """Return verdict, reason, whether it is conclusive, the usual level, and documents' p-value."""
    cells = {(cell.role, cell.retrieval, cell.slice): cell for cell in table}
    plain, usual = cells["serving", "off", "new"], cells["serving", "off", "old"]
    grounded = cells.get(("serving", "on", "new"))
    if not plain.n:
        told = "no question was answered" if plain.failed else "no case is known to replay"
        if harmed and enough:
            return "train", f"Harm was shown, but {told}.", False, None, None
        return "neither", f"It cannot be told: {told}.", False, None, None
    # Without cases of old, a model is expected to be right.
    level = usual.rate if usual.n else 1.0
    wanted = level - settings.margin
    # The usual level is itself only measured: below its lower limit counts as shown to be worse.
    surely = (usual.low if usual.n else 1.0) - settings.margin
    shown = f"{plain.rate:.0%} right on what drifted, {level:.0%} usual"
    if plain.low >= wanted:
        return "neither", f"Nothing is worse: {shown}.", True, level, None
    worse = plain.high < surely
    p = _p(asked, said)
    if grounded is not None and grounded.n and p is not None:
        shown += f", {grounded.rate:.0%} with documents"
        if p <= settings.alpha and grounded.low >= wanted:
            return "index", f"Documents bring it back: {shown}.", True, level, p
        if p <= settings.alpha and grounded.rate >= wanted:
            # Its limit does not say so, but its best guess does, and an index is updated faster
            # than a model is trained.
            return "index", f"Documents seem to bring it back: {shown}.", False, level, p
        if worse and grounded.high < surely:
            return "train", f"Documents do not bring it back: {shown}.", True, level, p
    elif worse:
        return "train", f"It got worse, and there are no documents: {shown}.", True, level, p
    if worse or harmed:
        why = "it is worse" if worse else "harm was shown by the monitor"
        return (
            "train",
            f"Documents do not surely bring it back, and {why}: {shown}.",
            False,
            level,
            p,
        )
    more = "more cases are needed to tell"
    return "neither", f"It is not shown that it got worse ({more}): {shown}.", False, level, p


def _p(asked: Sequence[Case], said: _Said) -> float | None:
    """Return the exact p-value of "documents do not help on what drifted"."""
    grounded = said.get(("serving", "always"))
    if grounded is None:
        return None
    both = [
        (with_, without)
        for case, with_, without in zip(asked, grounded, said["serving", "off"], strict=True)
        if case.slice == "new" and with_ is not None and without is not None
    ]
    if not both:
        return None
    return p_greater(pairs([w for w, _ in both], [o for _, o in both]), 0.0)


def _ask(
    asker: Asks, asked: Sequence[Case], release: str, retrieval: Retrieval, settings: Replay
) -> list[bool | None]:
    """Return for each case whether the answer was right; None where there was none."""
    questions = [
        Question(
            release,
            [message.as_dict() for message in case.row.prompt],
            retrieval,
            settings.max_tokens,
        )
        for case in asked
    ]
    answers = asker.ask_many(questions, _CONCURRENCY)
    return [
        None if answer.error is not None else case.right(answer.text)
        for case, answer in zip(asked, answers, strict=True)
    ]


def _cell(
    release: str,
    role: str,
    retrieval: Retrieval,
    name: str,
    asked: Sequence[Case],
    said: Sequence[bool | None],
    alpha: float,
) -> Cell:
    found = [was for case, was in zip(asked, said, strict=True) if case.slice == name]
    answered = [was for was in found if was is not None]
    right = sum(answered)
    low, high = limits(right, len(answered), alpha)
    on = "on" if retrieval == "always" else "off"
    return Cell(
        release, role, on, name, len(answered), right, len(found) - len(answered), low, high
    )


def limits(right: int, n: int, alpha: float) -> tuple[float, float]:
    """Return the exact one-sided limits of a rate, each at level alpha; 0 and 1 without cases."""
    from scipy import special

    low = float(special.betaincinv(right, n - right + 1, alpha)) if right else 0.0
    high = float(special.betainccinv(right + 1, n - right, alpha)) if right < n else 1.0
    return low, high
