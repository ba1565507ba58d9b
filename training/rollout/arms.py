"""Which requests of the canary count, and with which chance each went to the candidate."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from gateway.store.releases import AliasMove
from gateway.store.traffic import TrafficRecord
from monitoring.requests import PROBE

_SYSTEM = frozenset({"system", "developer"})
REMEMBERED_S = 3600.0
"""How long the gateway remembers which release a conversation began on."""


@dataclass(frozen=True, slots=True)
class Segment:
    """A time in which the alias had one share for the candidate; Unix seconds."""

    begin: float
    end: float
    share: float


def segments(moves: Sequence[AliasMove], candidate: str, now: float) -> list[Segment]:
    """Return the times in which both releases were live, from the moves that a rollout made.

    Args:
        moves: The rollout's, the oldest first.
        candidate: Its candidate.
        now: When the last of them ends, for now.
    """
    found = []
    ends = [*(move.at for move in moves[1:]), now]
    for move, end in zip(moves, ends, strict=False):  # of no moves there is one end too many
        live = {target.release: target.weight for target in move.after if target.mode == "live"}
        total = sum(live.values())
        share = live.get(candidate, 0.0) / total if total else 0.0
        if 0 < share < 1:
            found.append(Segment(move.at, end, share))
    return found


class Draws:
    """Tells which requests were drawn by chance; a conversation's later turns were not.

    The gateway draws a release for the first request of a conversation and stays with it, so one
    request of each counts, and none of a conversation that had begun before the canary. Many people
    may open with the same words: a first turn is always drawn.

    Args:
        known: Keys of the conversations that the gateway remembers from before.
    """

    def __init__(self, known: Iterable[str] = ()) -> None:
        self._known = set(known)

    def is_drawn(self, record: TrafficRecord) -> bool:
        """Return whether a request's release was drawn by chance, and note its conversation."""
        key = record.conversation
        is_known = key is not None and key in self._known
        if key is not None:
            self._known.add(key)
        if PROBE in (record.metadata or {}):
            return False
        return not (is_known and _is_later(record))


def _is_later(record: TrafficRecord) -> bool:
    """Return whether the gateway takes a request for a later turn, as `gateway.conversations`."""
    if "conversation" in (record.metadata or {}):
        return True
    if not isinstance(record.messages, list):  # the log holds no texts: to be on the safe side
        return True
    roles = [each.get("role") for each in record.messages if isinstance(each, dict)]
    first = next((at for at, role in enumerate(roles) if role not in _SYSTEM), len(roles))
    return first < len(roles) - 1
