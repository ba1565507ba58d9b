"""From votes to decided items: whose votes count, and what most of them say.

A rater counts once they have answered enough gold items and enough of these rightly; their earlier
votes count then, too. Who falls below that later is left out of what is not decided yet; what was
decided stays, or the evidence would be taken back by what has nothing to do with it. An item is
decided by the first votes that count, always as many, so that no item is decided sooner because of
what was said of it.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from gateway.store.comparisons import BASELINE, CANDIDATE
from gateway.store.raters import Vote

SPLIT = "split"
LEAST_GOLDS = 3
_SIGNS = {CANDIDATE: 1, BASELINE: -1}


@dataclass(slots=True)
class Record:
    """What is known of a rater: votes on items, gold items seen and right."""

    votes: int = 0
    golds: int = 0
    right: int = 0

    @property
    def accuracy(self) -> float | None:
        """Return the share of gold items that were right, or None without any."""
        return self.right / self.golds if self.golds else None


@dataclass(frozen=True, slots=True)
class Decided:
    """An item that its votes have decided.

    Attributes:
        item: Its number.
        choice: What more than half said, or `split`.
        votes: The votes that decided it.
    """

    item: int
    choice: str
    votes: tuple[Vote, ...]

    @property
    def sign(self) -> int:
        """Return 1 where the candidate won, -1 where it lost, else 0."""
        return _SIGNS.get(self.choice, 0)

    def on(self, criterion: str) -> str | None:
        """Return what most said by a criterion, or None where too few said anything."""
        said = [vote.criteria[criterion] for vote in self.votes if criterion in vote.criteria]
        return majority(said, len(self.votes)) if 2 * len(said) > len(self.votes) else None


@dataclass(slots=True)
class Consensus:
    """What votes have come to.

    Attributes:
        decided: The items that are decided, in the order in which they were.
        raters: What is known of each rater, by invite.
        by_item: All votes on each item that is not gold, in their order.
    """

    decided: list[Decided] = field(default_factory=list)
    raters: dict[str, Record] = field(default_factory=lambda: defaultdict(Record))
    by_item: dict[int, list[Vote]] = field(default_factory=lambda: defaultdict(list))


def consensus(
    votes: Iterable[Vote], golds: Mapping[int, bool], needed: int, gold_accuracy: float
) -> Consensus:
    """Fold votes, in the order of their time.

    Args:
        votes: The votes.
        golds: Of every item, whether it is gold.
        needed: Votes that decide an item.
        gold_accuracy: Share of gold items that a rater must get right.
    """
    found = Consensus()
    wanted = least_golds(golds)
    done: set[int] = set()
    mine: dict[str, list[int]] = defaultdict(list)
    for vote in votes:
        record = found.raters[vote.invite]
        touched = [vote.item]
        if golds.get(vote.item):
            counted = counts(record, wanted, gold_accuracy)
            record.golds += 1
            record.right += vote.choice == CANDIDATE
            gains = counts(record, wanted, gold_accuracy) and not counted
            touched = mine[vote.invite] if gains else []
        else:
            record.votes += 1
            found.by_item[vote.item].append(vote)
            mine[vote.invite].append(vote.item)
        for item in touched:
            good = [
                v
                for v in found.by_item[item]
                if counts(found.raters[v.invite], wanted, gold_accuracy)
            ]
            if item not in done and len(good) >= needed:
                done.add(item)
                deciding = tuple(good[:needed])
                choice = majority([v.choice for v in deciding], needed)
                found.decided.append(Decided(item, choice, deciding))
    return found


def counts(record: Record, wanted: int, gold_accuracy: float) -> bool:
    """Return whether a rater's votes count."""
    if record.golds < wanted:
        return False
    return record.accuracy is None or record.accuracy >= gold_accuracy


def least_golds(golds: Mapping[int, bool]) -> int:
    """Return how many gold items a rater must have answered."""
    return min(LEAST_GOLDS, sum(golds.values()))


def majority(said: Sequence[str], of: int) -> str:
    """Return what more than half of so many say, or `split`."""
    for choice, count in Counter(said).most_common(1):
        if 2 * count > of:
            return choice
    return SPLIT
