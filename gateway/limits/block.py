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

    __slots__ = ("end", "free", "kind", "left", "limit", "limit_header", "low", "remaining_name",
                 "reset_header", "reset_s", "scarce", "size", "start", "taken_at", "window",
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
        unit = kind.partition("_")[0].encode()
        self.limit_header = (b"x-ratelimit-limit-" + unit, b"%d" % (limit or 0))
        self.remaining_name = b"x-ratelimit-remaining-" + unit
        self.reset_header = (b"x-ratelimit-reset-" + unit, b"0s")
        self.reset_s = 0

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

    def show(self, now: float, headers: Headers) -> None:
        """Append OpenAI's three headers of a limit per window; now in Unix seconds."""
        seconds = math.ceil(self.end - now)
        if seconds != self.reset_s:
            self.reset_s = seconds
            self.reset_header = (self.reset_header[0], duration(seconds))
        remaining = min(self.limit or 0, max(0, self.left + self.free))
        headers += (
            self.limit_header,
            (self.remaining_name, b"%d" % remaining),
            self.reset_header,
        )


def duration(seconds: float) -> bytes:
    """Return a time as OpenAI writes it: `12s`, `6m0s`, `13h5m2s`."""
    whole = max(0, math.ceil(seconds))
    if whole < 60:
        return b"%ds" % whole
    minutes, rest = divmod(whole, 60)
    hours, minutes = divmod(minutes, 60)
    return b"%dh%dm%ds" % (hours, minutes, rest) if hours else b"%dm%ds" % (minutes, rest)
