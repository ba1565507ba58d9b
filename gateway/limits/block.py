"""One limit in one worker: the part of its present window that is leased from the ledger.

A limit per minute, UTC day or UTC month is counted in fixed windows: one never admits more than
the limit, and its end can be told to a client.
"""

import math
from collections.abc import Callable
from datetime import UTC, datetime

from gateway.store.ledger import Want

Headers = list[tuple[bytes, bytes]]
Window = Callable[[float], tuple[int, float]]
# Free of any limit: nothing ever counts down from here to 0.
ENDLESS = 1 << 62
NEVER = math.inf
# Refilled again within this time, a block was too small.
_QUICK_S = 2.0
# The first block is for so many requests.
_FIRST = 4


def minute(now: float) -> tuple[int, float]:
    """Return where the minute of a Unix time begins and ends."""
    start = int(now // 60) * 60
    return start, start + 60.0


def day(now: float) -> tuple[int, float]:
    """Return where the UTC day of a Unix time begins and ends."""
    start = int(now // 86400) * 86400
    return start, start + 86400.0


def month(now: float) -> tuple[int, float]:
    """Return where the UTC month of a Unix time begins and ends."""
    first = datetime.fromtimestamp(now, UTC).replace(day=1, hour=0, minute=0, second=0)
    first = first.replace(microsecond=0)
    following = first.replace(year=first.year + first.month // 12, month=first.month % 12 + 1)
    return int(first.timestamp()), following.timestamp()


class Block:
    """What is leased of one limit, and what the ledger had left when it was last asked.

    `free` is what is leased and not used; below 0 it is a debt that the ledger has yet to hear of.

    Args:
        kind: The ledger's name of the limit.
        limit: The limit; None: there is none.
        window: Tells where its windows begin and end; None: it has none (slots).
    """

    __slots__ = ("_before", "_reset_line", "_reset_s", "end", "free", "kind", "left", "limit",
                 "low", "scarce", "size", "start", "taken_at", "window",
                 )  # fmt: skip

    def __init__(self, kind: str, limit: int | None, window: Window | None = None) -> None:
        self.kind = kind
        self.limit = limit
        self.window = window
        self.left = limit or 0
        self.free = self.low = 0 if limit is not None else ENDLESS
        self.start = 0
        self.end: float = NEVER if limit is None or window is None else 0.0
        self.size = 0
        self.taken_at = -NEVER
        self.scarce = False
        # What stays the same of the header lines of each answer.
        self._before = b"x-ratelimit-limit-%b: %d\r\nx-ratelimit-remaining-%b: " % (
            self._unit, limit or 0, self._unit,
        )  # fmt: skip
        self._reset_line = b""
        self._reset_s = -1

    def want(self, need: int, hoped: int, moment: float) -> Want | None:
        """Return the wish for what is missing: `need` at least, `hoped` and some more at best."""
        short = need - self.free
        if self.limit is None or short <= 0:
            return None
        quick = moment - self.taken_at < _QUICK_S
        wished = self.size * 2 if quick else self.size // 2 or need * _FIRST
        self.size = max(need, min(self.limit, wished))
        self.taken_at = moment
        up_to = max(short, hoped - self.free, self.size)
        return Want(self.kind, self.start, self.limit, short, up_to)

    def lines(self, now: float) -> bytes:
        """Return OpenAI's three header lines of a limit per window; now in Unix seconds."""
        seconds = math.ceil(self.end - now)
        if seconds != self._reset_s:
            self._reset_s = seconds
            self._reset_line = b"x-ratelimit-reset-%b: %b\r\n" % (self._unit, duration(seconds))
        return b"%b%d\r\n%b" % (self._before, self._remaining, self._reset_line)

    def headers(self, now: float) -> Headers:
        """Return the same as names and values."""
        return [
            (b"x-ratelimit-limit-" + self._unit, b"%d" % (self.limit or 0)),
            (b"x-ratelimit-remaining-" + self._unit, b"%d" % self._remaining),
            (b"x-ratelimit-reset-" + self._unit, duration(self.end - now)),
        ]

    @property
    def _unit(self) -> bytes:
        return self.kind.partition("_")[0].encode()

    @property
    def _remaining(self) -> int:
        return min(self.limit or 0, max(0, self.left + self.free))


def duration(seconds: float) -> bytes:
    """Return a time as OpenAI writes it: `12s`, `6m0s`, `13h5m2s`."""
    whole = max(0, math.ceil(seconds))
    if whole < 60:
        return b"%ds" % whole
    minutes, rest = divmod(whole, 60)
    hours, minutes = divmod(minutes, 60)
    return b"%dh%dm%ds" % (hours, minutes, rest) if hours else b"%dm%ds" % (minutes, rest)
