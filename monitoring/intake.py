"""What has come since: the next window of requests, and the scores that people gave."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from gateway.store.monitoring import Monitoring, MonitorState, Place
from monitoring.requests import Request
from monitoring.windows import Conversations, cut

# Records read for each request that a window needs: later turns of conversations are left out.
_SPARE = 4
_MOST_SCORES = 5000
_MOST_COUNTED = 5000
_JUMP_S = 60.0
_LOOK_BACK_S = 3600.0
_START = (0.0, "")


@dataclass(frozen=True, slots=True)
class Taken:
    """A window, with what the state remembers after it (`detail`).

    `requests` is empty where there was none; `textless` then says how many records had no prompt.
    """

    requests: tuple[Request, ...]
    left_out: int
    textless: int
    detail: dict[str, Any]


class Intake:
    """Reads the traffic and the feedback of a release behind an alias, each once.

    Args:
        store: The monitor's part of the store.
        settle_s: Age at which a record is taken to be there, in seconds: they are written when the
            answer ends, and one that is passed by is lost to the evidence.
        clock: Unix seconds.
        every_s: Least time from the begin of a window to the next one's, in seconds. What comes
            between them is in none, so that busy traffic costs the monitor no more than one window
            in this time. Which requests these are follows from their times alone: a monitor that
            was away judges the same windows.
    """

    def __init__(
        self,
        store: Monitoring,
        settle_s: float,
        clock: Callable[[], float],
        every_s: float = 0.0,
    ) -> None:
        self._store, self._settle_s, self._clock = store, settle_s, clock
        self._every_s = every_s

    def window(self, state: MonitorState, size: int) -> Taken:
        """Return the next `size` requests that count, or none where there are not so many."""
        detail = self._after_a_jump(state)
        place = max(_place(detail, "place"), Place(detail.get("not_before", 0.0), ""))
        limit = size * _SPARE
        records = self._store.arrivals(state.alias, state.release, place, self._before(), limit)
        counted = set(detail.get("counted", ()))
        fresh = [record for record in records if record.completion_id not in counted]
        seen = Conversations(detail.get("conversations", ()))
        piece, seen = cut(fresh, seen, size)
        if len(piece.requests) < size and len(records) < limit:
            return Taken((), 0, piece.textless, dict(state.detail))
        detail |= {"place": list(piece.place or place), "conversations": seen.keys()}
        if len(piece.requests) < size:  # all these records hold too few: they are passed by
            last = records[-1]
            detail["place"] = [last.created_at, last.completion_id]
            return Taken((), len(fresh), piece.textless, detail)
        detail["not_before"] = piece.requests[0].at + self._every_s
        return Taken(piece.requests, piece.left_out, piece.textless, detail)

    def scores(self, state: MonitorState) -> tuple[list[float], list[Any]]:
        """Return the scores that came since, 0 to 1, the first of each answer, and the place."""
        place = _place(state.detail, "feedback")
        found = self._store.scores(state.alias, state.release, place, self._before(), _MOST_SCORES)
        first: dict[str, float] = {}
        for _, completion, score in found:
            first.setdefault(completion, score)
        return list(first.values()), list(found[-1][0] if found else place)

    def _before(self) -> float:
        return self._clock() - self._settle_s

    def _after_a_jump(self, state: MonitorState) -> dict[str, Any]:
        """Return the detail; where the clock was set back, an hour before now, less what counted.

        What was judged at times that are still to come is remembered, and not judged again then.
        """
        detail = dict(state.detail)
        if _place(detail, "place").at <= self._clock() + _JUMP_S:
            return detail
        begin = self._before() - _LOOK_BACK_S
        windows = self._store.windows(state.alias, state.release, after=state.windows - 200)
        judged = [id for window in windows if window.last_at > begin for id in window.requests]
        judged = judged[-_MOST_COUNTED:]
        return detail | {"place": [begin, ""], "not_before": begin, "counted": judged}


def _place(detail: Mapping[str, Any], name: str) -> Place:
    at, id = detail.get(name, _START)
    return Place(float(at), str(id))
