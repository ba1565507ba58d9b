"""The dependence ledger: per topic, how often an alias needed its documents before and after.

A release that was trained on what its documents say should need them less. A request *needed*
retrieval where the gate gave a reason: news, a question unlike the training, an unsure answer, the
alias's health. It *used* it where the answer quotes a passage or a passage says what the answer
says. Who asks for retrieval always says nothing about need; such requests count as used only.

A topic may leave the index where requests to the new release show two things, and not by luck: its
need is at most `MOST_NEEDED`, and of its plain answers that somebody scored at least `LEAST_RIGHT`
are right (the hold-out gives such answers by chance). Limits are exact (Clopper and Pearson, "The
use of confidence or fiducial limits illustrated in the case of the binomial", Biometrika 26, 1934),
at 95 % over all topics together. That nobody scored a plain answer is a reason to keep the
documents, and the ledger says how many scores are missing.
"""

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from gateway.store.database import Database
from gateway.store.retrieved import RetrievalLog, Retrieved

MOST_NEEDED = 0.05
LEAST_RIGHT = 0.8
LEVEL = 0.95
MOST_REQUESTS = 20_000
MOST_TOPICS, MOST_DOCUMENTS = 50, 20
OTHER = "(no document)"
_GIVEN = frozenset({"off", "always"})  # a policy's wish, no reason of the request's
_REASONS = frozenset({"freshness", "distribution", "uncertainty", "health"})
_PLAIN = frozenset({"plain", "held_out", "switched_off"})
_RIGHT = 0.5


@dataclass(frozen=True, slots=True)
class Share:
    """How many of how many, and between which limits the true share lies."""

    count: int
    of: int
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Use:
    """How a release dealt with a topic.

    Attributes:
        requests: All of them.
        needed: Those with a reason to retrieve, of those that decided by reasons.
        used: Those whose answer rests on a passage.
        right: Scored plain answers that were right.
        reasons: How often each reason spoke.
    """

    requests: int
    needed: Share
    used: Share
    right: Share
    reasons: dict[str, int]


@dataclass(frozen=True, slots=True)
class Entry:
    """One topic of the ledger.

    Attributes:
        topic: The collection, and the documents' `topic` where they have one.
        before: Under the release before.
        after: Under the one that took its place.
        verdict: `may leave`, `needed`, `unproven`, or `-` where there is nothing that could leave.
        why: The verdict in words.
        documents: Those that answers rested on before, and how often, where the topic may leave.
    """

    topic: str
    before: Use
    after: Use
    verdict: str
    why: str
    documents: dict[str, int]


def ledger(database: Database, alias: str, before: str, after: str) -> list[Entry]:
    """Return the ledger of an alias over a promotion, the topics with most requests first.

    Args:
        database: The store.
        alias: What requests named.
        before: The release that answered before.
        after: The one that took its place.

    Raises:
        StoreError: The store is away.
    """
    log = RetrievalLog(database)
    old = _by_topic(log.latest(alias, before, MOST_REQUESTS))
    new = _by_topic(log.latest(alias, after, MOST_REQUESTS))
    sizes = Counter({topic: len(rows) for topic, rows in old.items()})
    sizes.update({topic: len(rows) for topic, rows in new.items()})
    topics = [topic for topic, _ in sizes.most_common(MOST_TOPICS)]
    level = 1 - (1 - LEVEL) / max(len(topics), 1)
    return [_entry(topic, old.get(topic, []), new.get(topic, []), level) for topic in topics]


def dependence(database: Database, alias: str, before: str, after: str) -> dict[str, Any]:
    """Return the ledger as JSON that is small enough for a rollout's evidence.

    Raises:
        StoreError: The store is away.
    """
    entries = ledger(database, alias, before, after)
    return {
        "alias": alias,
        "before": before,
        "after": after,
        "most_needed": MOST_NEEDED,
        "least_right": LEAST_RIGHT,
        "may_leave": [each.topic for each in entries if each.verdict == "may leave"],
        "topics": [asdict(each) for each in entries],
    }


def _by_topic(rows: Iterable[Retrieved]) -> dict[str, list[Retrieved]]:
    found: dict[str, list[Retrieved]] = {}
    for row in rows:
        if row.notes.get("outcome") != "failed":  # that says nothing about the question
            found.setdefault(str(row.notes.get("topic") or OTHER), []).append(row)
    return found


def _entry(topic: str, old: Sequence[Retrieved], new: Sequence[Retrieved], level: float) -> Entry:
    before, after = _use(old, level), _use(new, level)
    verdict, why = _verdict(after, level)
    if topic == OTHER:
        verdict, why = "-", "nothing that could leave"
    documents: Counter[str] = Counter()
    if verdict == "may leave":
        for row in (*old, *new):
            if _is_used(row.notes):
                documents.update({_document(each) for each in row.notes.get("passages", ())})
    return Entry(topic, before, after, verdict, why, dict(documents.most_common(MOST_DOCUMENTS)))


def _use(rows: Sequence[Retrieved], level: float) -> Use:
    deciding = [row for row in rows if row.notes.get("reason") not in _GIVEN]
    plain = [r.score for r in rows if r.score is not None and r.notes.get("outcome") in _PLAIN]
    return Use(
        requests=len(rows),
        needed=share(sum(_is_needed(row.notes) for row in deciding), len(deciding), level),
        used=share(sum(_is_used(row.notes) for row in rows), len(rows), level),
        right=share(sum(score >= _RIGHT for score in plain), len(plain), level),
        reasons=dict(Counter(str(row.notes.get("reason", "none")) for row in rows).most_common()),
    )


def _verdict(after: Use, level: float) -> tuple[str, str]:
    """Return whether the documents of a topic may leave the index, and why."""
    needed, right = after.needed, after.right
    if needed.low > MOST_NEEDED:
        return "needed", f"{needed.count} of {needed.of} requests had a reason to retrieve"
    if right.of and right.high < LEAST_RIGHT:
        return "needed", f"{right.count} of {right.of} scored answers without it were right"
    if needed.high > MOST_NEEDED:
        more = max(1, _enough(MOST_NEEDED, level) - needed.of)
        return "unproven", f"{more:,} more requests could show that it is not needed"
    if right.low < LEAST_RIGHT:
        more = max(1, _enough(1 - LEAST_RIGHT, level) - right.of)
        return "unproven", f"{more:,} more scores could show that answers without it are right"
    return (
        "may leave",
        f"needed by {needed.count} of {needed.of}, right without it {right.count} of {right.of}",
    )


def share(count: int, of: int, level: float = LEVEL) -> Share:
    """Return a share with its exact two-sided limits; 0 to 1 where there is nothing to count."""
    from scipy.stats import beta

    tail = (1 - level) / 2
    low = float(beta.ppf(tail, count, of - count + 1)) if count else 0.0
    high = float(beta.ppf(1 - tail, count + 1, of - count)) if count < of else 1.0
    return Share(count, of, low, high)


def _enough(most: float, level: float) -> int:
    """Return how many cases without a single failure show that the share of failures is small."""
    return math.ceil(math.log((1 - level) / 2) / math.log(1 - most))


def _is_needed(notes: Mapping[str, Any]) -> bool:
    return notes.get("reason") in _REASONS


def _is_used(notes: Mapping[str, Any]) -> bool:
    return bool(notes.get("supported") or notes.get("quoted"))


def _document(passage: Mapping[str, Any]) -> str:
    return f"{passage.get('collection')}/{passage.get('document')}"
