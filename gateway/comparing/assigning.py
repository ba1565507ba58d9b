"""Who sees which item when, and on which side each answer is.

All of it is drawn from the comparison's seed, so that nothing is kept and nothing can be learnt
from it: the seed never leaves the store. Of two raters who begin one after the other each sees an
item the other way round; each sees about half of the items with the candidate on the left. Every
rater has an order of their own, in which some gold items come early: before these nobody knows
whether their votes count.
"""

import random
from collections.abc import Collection, Container, Mapping
from dataclasses import dataclass

from gateway.comparing.consensus import least_golds
from gateway.store.comparisons import BASELINE, CANDIDATE, Comparison
from gateway.store.raters import Invite


@dataclass(frozen=True, slots=True)
class Place:
    """An item in a rater's order; `left` and `right` say whose answer is on which side."""

    item: int
    left: str

    @property
    def right(self) -> str:
        """Return whose answer is on the right."""
        return BASELINE if self.left == CANDIDATE else CANDIDATE


def order(comparison: Comparison, invite: Invite, golds: Mapping[int, bool]) -> list[Place]:
    """Return the order in which a rater who has begun sees the items, always the same.

    Args:
        comparison: The comparison.
        invite: The rater; it has a place.
        golds: Of every item, whether it is gold.
    """
    drawn = _chance(f"{comparison.seed}/{invite.id}")
    sides = _sides(comparison, golds)
    known = [item for item, gold in golds.items() if gold]
    rest = [item for item, gold in golds.items() if not gold]
    drawn.shuffle(known)
    drawn.shuffle(rest)
    first = least_golds(golds)
    # Among as many others, so that the first items are not known to be the gold ones.
    early = known[:first] + rest[:first]
    late = known[first:] + rest[first:]
    drawn.shuffle(early)
    drawn.shuffle(late)
    turned = (invite.place or 0) % 2
    return [
        Place(item, CANDIDATE if (sides[item] + turned) % 2 else BASELINE)
        for item in (*early, *late)
    ]


def open_places(
    places: list[Place],
    golds: Mapping[int, bool],
    voted: Collection[int],
    given: Mapping[int, int],
    full: Container[int],
) -> list[int]:
    """Return where in a rater's order there is something to do, what comes next first.

    Items that others have begun come before those that nobody has seen, or each rater would begin
    many and all together decide few. Gold items come when it is their turn.

    Args:
        places: The order.
        golds: Of every item, whether it is gold.
        voted: Items that the rater has voted on.
        given: How many votes an item has.
        full: Items that have votes enough.
    """
    left = [index for index, place in enumerate(places) if place.item not in voted]
    known = [index for index in left if golds[places[index].item]]
    rest = [
        index for index in left if not golds[places[index].item] and places[index].item not in full
    ]
    rest.sort(key=lambda index: (-given.get(places[index].item, 0), index))
    due = [index for index in known if index <= len(voted)]
    return [*due, *rest, *known[len(due) :]]


def _sides(comparison: Comparison, golds: Mapping[int, bool]) -> dict[int, int]:
    """Return for each item a 0 or a 1, of each as many."""
    drawn = _chance(f"{comparison.seed}/sides")
    coins = [number % 2 for number in range(len(golds))]
    drawn.shuffle(coins)
    return dict(zip(golds, coins, strict=True))


def _chance(seed: str) -> random.Random:
    return random.Random(seed)  # noqa: S311 - the seed is the secret
