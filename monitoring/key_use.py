"""What each key has used since the monitor started, counted without reading the log again."""

from collections.abc import Iterable

from gateway.store.overview import KeyUse, Overview

# A record is written when its request has ended. So the last two minutes are counted anew each
# time, and what is older once. One that comes later than that (an answer that took longer, a spool
# that waited for the store) is missed: these are counters to watch; the books are the ledger.
_SETTLED_S = 120.0


class RunningUse:
    """Counts requests and tokens by key.

    Args:
        overview: Reads the log.
        since: What began before this time does not count, in Unix seconds.
    """

    def __init__(self, overview: Overview, since: float) -> None:
        self._overview = overview
        self._settled_at = since
        self._settled: dict[str | None, KeyUse] = {}
        self._shown: dict[str | None, KeyUse] = {}

    def read(self, now: float, keys: Iterable[str]) -> list[KeyUse]:
        """Return what was used up to `now` by these keys and by all others that were met.

        Counts never fall, even where records are deleted meanwhile.
        """
        settled_at = max(self._settled_at, now - _SETTLED_S)
        if settled_at > self._settled_at:
            old = self._overview.key_use(self._settled_at, settled_at)
            self._settled = _sum(self._settled, old)
            self._settled_at = settled_at
        fresh = _sum(self._settled, self._overview.key_use(settled_at, now))
        for key in {*keys, *fresh, *self._shown}:
            nothing = KeyUse(key, 0, 0, 0)
            before, after = self._shown.get(key, nothing), fresh.get(key, nothing)
            self._shown[key] = KeyUse(key, *map(max, before[1:], after[1:]))
        return sorted(self._shown.values(), key=lambda use: use.key or "")


def _sum(known: dict[str | None, KeyUse], more: Iterable[KeyUse]) -> dict[str | None, KeyUse]:
    total = dict(known)
    for use in more:
        before = total.get(use.key, KeyUse(use.key, 0, 0, 0))
        total[use.key] = KeyUse(
            use.key,
            before.requests + use.requests,
            before.input_tokens + use.input_tokens,
            before.output_tokens + use.output_tokens,
        )
    return total
