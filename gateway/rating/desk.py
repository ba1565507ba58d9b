"""The desk of a rater: what lies on it next, and what is done with what they say.

Whatever a rater is shown or says goes by the place in their own order. Which item that is, whose
answer is on which side and whether the better one is known stays on this side of the desk.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from gateway.comparing.assigning import Place, open_places, order
from gateway.comparing.consensus import consensus
from gateway.comparing.standing import INCONCLUSIVE, standing
from gateway.store.comparisons import BOTH_BAD, TIE, Comparison, Comparisons
from gateway.store.database import Database
from gateway.store.raters import ComparisonClosed, Invite, Raters, Vote

LEFT, RIGHT = "left", "right"
SAID = (LEFT, RIGHT, TIE, BOTH_BAD)


class NoSuchPlace(Exception):
    """What a rater sent is about no item of theirs, or says nothing that can be said."""


@dataclass(frozen=True, slots=True)
class Sheet:
    """One item as a rater sees it.

    Attributes:
        place: Where it is in their order.
        turns: The conversation: who speaks, and what is said.
        left: The answer on the left.
        right: The answer on the right.
        done: Items that they have voted on.
        total: Items that they will have voted on at the end.
        last: The place of their last vote, which can be taken back.
    """

    place: int
    turns: list[tuple[str, str]]
    left: str
    right: str
    done: int
    total: int
    last: int | None


@dataclass(frozen=True, slots=True)
class Done:
    """Nothing is left for a rater: how many they did, and the place of their last vote."""

    done: int
    last: int | None


class Desk:
    """Shows items to raters and takes what they say."""

    def __init__(self, database: Database) -> None:
        self._comparisons = Comparisons(database)
        self._raters = Raters(database)

    def look(
        self, comparison: Comparison, invite: Invite, wanted: int | None = None
    ) -> Sheet | Done:
        """Return what a rater sees next.

        Args:
            comparison: Theirs.
            invite: They; they have begun.
            wanted: A place that they want to see again; it is shown where they have no vote on it.
        """
        golds = self._comparisons.golds(comparison.id)
        places = order(comparison, invite, golds)
        votes, _ = self._raters.votes(comparison.id)
        mine = {vote.item: vote for vote in votes if vote.invite == invite.id}
        at = {place.item: index for index, place in enumerate(places)}
        last = max(mine.values(), key=lambda vote: vote.at, default=None)
        last_place = None if last is None else at[last.item]
        found = consensus(votes, golds, comparison.raters, comparison.gold_accuracy)
        given = {item: len(said) for item, said in found.by_item.items()}
        left = open_places(places, golds, mine, given, {item.item for item in found.decided})
        if wanted is not None and 0 <= wanted < len(places) and places[wanted].item not in mine:
            left = [wanted, *(index for index in left if index != wanted)]
        if not left:
            return Done(len(mine), last_place)
        shown = self._comparisons.item(comparison.id, places[left[0]].item)
        assert shown is not None  # noqa: S101 - items are never deleted
        return Sheet(
            left[0],
            [(str(turn.get("role", "")), text_of(turn)) for turn in shown.messages],
            getattr(shown, places[left[0]].left),
            getattr(shown, places[left[0]].right),
            len(mine),
            len(mine) + len(left),
            last_place,
        )

    def say(
        self,
        comparison: Comparison,
        invite: Invite,
        place: int,
        said: str,
        criteria: Mapping[str, str],
        note: str,
    ) -> bool:
        """Take what a rater says of an item; said twice, the first time counts (False).

        Args:
            comparison: Theirs.
            invite: They; they have begun.
            place: Where the item is in their order.
            said: One of `SAID`.
            criteria: The same by criterion; others than the comparison's are left out.
            note: In words.

        Raises:
            ComparisonClosed: It takes no votes.
            NoSuchPlace: There is no such place, or nothing like that can be said.
        """
        shown = self._place(comparison, invite, place)
        vote = Vote(
            comparison.id,
            shown.item,
            invite.id,
            shown.left,
            _choice(shown, said),
            {n: _choice(shown, criteria[n]) for n in comparison.criteria if criteria.get(n)},
            note.strip(),
        )
        is_new = self._raters.vote(vote)
        if is_new:
            self.reckon(comparison.id)
        return is_new

    def take_back(self, comparison: Comparison, invite: Invite, place: int) -> bool:
        """Take a rater's last vote back; False where that was about another place.

        Raises:
            ComparisonClosed: What was said counts.
            NoSuchPlace: There is no such place.
        """
        shown = self._place(comparison, invite, place)
        taken = self._raters.take_back(comparison.id, invite.id, shown.item)
        if taken is not None:
            self.reckon(comparison.id)
        return taken is not None

    def reckon(self, id: str) -> dict[str, Any]:
        """Write what the votes show into the comparison, and close it where it may stop early.

        Raises:
            KeyError: There is no such comparison.
        """
        golds = self._comparisons.golds(id)
        while True:
            votes, version = self._raters.votes(id)
            comparison = self._comparisons.get(id)
            if comparison is None:
                raise KeyError(id)
            found = standing(comparison, golds, votes)
            if self._comparisons.conclude(id, version, found):
                break
        if comparison.stops_early and found["verdict"] != INCONCLUSIVE:
            self._comparisons.close(id, by="", why=found["reason"])
        return found

    def _place(self, comparison: Comparison, invite: Invite, place: int) -> Place:
        if comparison.closed_at is not None:
            raise ComparisonClosed(comparison.id)
        places = order(comparison, invite, self._comparisons.golds(comparison.id))
        if not 0 <= place < len(places):
            raise NoSuchPlace(f"there is no item {place}")
        return places[place]


def _choice(shown: Place, said: str) -> str:
    """Return a choice as it is stored, of one that a rater made between two sides."""
    if said not in SAID:
        raise NoSuchPlace(f"a choice is one of {', '.join(SAID)}, not {said!r}")
    return {LEFT: shown.left, RIGHT: shown.right}.get(said, said)


def text_of(turn: Mapping[str, Any]) -> str:
    """Return what a turn says; of what is no text, what it is."""
    content = turn.get("content")
    parts = content if isinstance(content, list) else [content]
    found = []
    for part in parts:
        if isinstance(part, str):
            found.append(part)
        elif isinstance(part, dict):
            text = part.get("text")
            found.append(text if isinstance(text, str) else f"[{part.get('type', 'something')}]")
    if not found and turn.get("tool_calls"):
        found.append("[calls a tool]")
    return "\n".join(found)
