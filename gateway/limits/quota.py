"""What one worker holds of one key's limits: reserved and settled here, without I/O.

Nothing here waits or writes: `Quota.owed` gathers what the ledger must hear, and the bookkeeper
tells it.
"""

from collections.abc import Callable
from typing import Final

from gateway.limits.block import ENDLESS, NEVER, Block, Headers, day, minute, month
from gateway.store.keys import KeyLimits
from gateway.store.ledger import DAY, MONTH, REQUESTS, SLOTS, TOKENS, Row, Taken, Want

# A block untouched for so long goes back; one that is scarce sooner, since others wait for it.
IDLE_S = 1.0
SCARCE_IDLE_S = 0.04
# Shorter than a refused request tries again for (`admission`).
SLOT_IDLE_S = 0.1
_SCARCE = 8


class Quota:
    """All blocks of one key in this worker.

    Args:
        prefix: The key.
        limits: Its limits.
        owed: Signed amounts that the ledger must yet hear, per row; outlives a change of limits.
        clock: The time in Unix seconds.
    """

    __slots__ = ("clock", "counted_at", "idle_since", "limits", "most", "owed", "prefix",
                 "requests", "sent", "shown", "slots", "smallest", "spent", "timed", "tokens",
                 "until", "windows",
                 )  # fmt: skip

    def __init__(
        self,
        prefix: str,
        limits: KeyLimits,
        owed: dict[Row, int],
        clock: Callable[[], float],
    ) -> None:
        self.prefix = prefix
        self.limits = limits
        self.owed = owed
        self.clock = clock
        self.sent: list[dict[Row, int]] = []
        self.slots = Block(SLOTS, limits.max_concurrency)
        self.requests = Block(REQUESTS, limits.requests_per_minute, minute)
        tokens = (
            Block(TOKENS, limits.tokens_per_minute, minute),
            Block(DAY, limits.tokens_per_day, day),
            Block(MONTH, limits.tokens_per_month, month),
        )
        self.tokens = tuple(block for block in tokens if block.limit is not None)
        self.timed = [b for b in (self.requests, *self.tokens) if b.limit is not None]
        self.shown = [b for b in (self.requests, *self.tokens[:1]) if b.limit is not None]
        self.smallest = min(self.tokens, key=lambda block: block.limit or 0, default=None)
        # No request may reserve more tokens than this.
        self.most = ENDLESS if self.smallest is None else self.smallest.limit or 0
        self.until = min((block.end for block in self.timed), default=NEVER)
        self.windows: tuple[Row, ...] | None = ()
        self.spent = False
        self.idle_since = 0.0
        self.counted_at = 0.0

    def reserve(self, tokens: int) -> "Grant | None":
        """Take one request of this size from the blocks; None: they do not suffice."""
        slots, requests = self.slots, self.requests
        if slots.free < 1 or requests.free < 1:
            return None
        for block in self.tokens:
            if block.free < tokens:
                return None
        return self.force(tokens)

    def force(self, tokens: int) -> "Grant":
        """Take one request from the blocks, into debt where they do not suffice."""
        for block in self.tokens:
            block.free -= tokens
        self.requests.free -= 1
        slots = self.slots
        slots.free = free = slots.free - 1
        if free < slots.low:
            slots.low = free
        self.spent = True
        return Grant(self, tokens, self.windows or ())

    def wants(self, need: int, hoped: int, requests: int, moment: float) -> list[Want]:
        """Return what the ledger must grant for one request of `need` tokens.

        Args:
            need: Tokens of the first that waits.
            hoped: Tokens of all that wait.
            requests: How many wait.
            moment: Now, in monotonic seconds.
        """
        for block in (self.slots, *self.timed):
            if block.free < 0:
                self._give(block, block.free)  # booked even if the wish is refused
        wishes = [block.want(1, requests, moment) for block in (self.slots, self.requests)]
        wishes += [block.want(need, hoped, moment) for block in self.tokens]
        return [wish for wish in wishes if wish is not None]

    def land(self, wants: list[Want], taken: Taken) -> bool:
        """Put what was granted into its blocks; returns whether all their windows still run."""
        present = True
        blocks = {} if self.windows is None else {b.kind: b for b in (self.slots, *self.timed)}
        for want in wants:
            amount = taken.granted.get(want.kind, 0)
            block = blocks.get(want.kind)
            if block is None or block.start != want.window_start:
                self.owe((want.kind, want.window_start), -amount)  # too late: it goes back
                present = False
                continue
            block.free += amount
            self.spent |= amount > 0
            block.left = taken.left[want.kind]
            block.scarce = block.left < _SCARCE * max(want.at_least, 1)
        return present

    def roll(self) -> None:
        """Begin new windows where old ones have ended."""
        now = self.clock()
        for block in self.timed:
            if block.window is None or now < block.end:
                continue
            self._give(block, block.free)
            block.start, block.end = block.window(now)
            block.left = block.limit or 0
            block.scarce = False
        self.windows = tuple((block.kind, block.start) for block in self.timed)
        self.until = min((block.end for block in self.timed), default=NEVER)

    def tidy(self, moment: float) -> bool:
        """Move debts, and what has lain idle, to `owed`; returns whether to look again soon."""
        if self.spent:
            self.spent = False
            self.idle_since = moment
        idle = moment - self.idle_since
        soon = False
        for block in self.timed:
            if block.free < 0 or idle >= (SCARCE_IDLE_S if block.scarce else IDLE_S):
                self._give(block, block.free)
            soon |= block.scarce and block.free > 0
        slots = self.slots
        if slots.limit is not None:
            # Slots come back all the time: what no request needed for a while is idle. Were the
            # while shorter, a steady load would fetch again at once what it has given back.
            if slots.free < 0:
                self._give(slots, slots.free)
            elif moment - self.counted_at >= SLOT_IDLE_S:
                self.counted_at = moment
                self._give(slots, max(0, slots.low))
                slots.low = slots.free
            soon |= slots.free > 0
        return soon

    def retire(self) -> None:
        """Give everything back; grants that are still out settle with the ledger itself."""
        for block in (self.slots, *self.timed):
            if block.limit is not None:
                self._give(block, block.free)
        self.windows = None

    def settle_late(self, windows: tuple[Row, ...], back: int, requests: int) -> None:
        """Settle a grant of windows that are over, or of limits that have changed."""
        retired = self.windows is None
        live = {} if retired else {(block.kind, block.start): block for block in self.timed}
        for row in windows:
            amount = requests if row[0] == REQUESTS else back
            block = live.get(row)
            if block is None:
                self.owe(row, -amount)
            else:
                block.free += amount
        if not retired:
            self.slots.free += 1
        elif self.slots.limit is not None:
            self.owe((SLOTS, 0), -1)

    def owe(self, row: Row, amount: int) -> None:
        """Note an amount that the ledger must add to a row."""
        total = self.owed.get(row, 0) + amount
        if total:
            self.owed[row] = total
        else:
            self.owed.pop(row, None)

    def hand_over(self) -> dict[Row, int]:
        """Return what is owed, for a trip to the ledger; `heard` must follow."""
        changes = dict(self.owed)
        self.owed.clear()
        self.sent.append(changes)
        return changes

    def heard(self, changes: dict[Row, int], booked: bool) -> None:
        """Forget what the ledger has booked; it is owed again if it has not."""
        self.sent.remove(changes)
        if not booked:
            for row, amount in changes.items():
                self.owe(row, amount)

    def unbooked(self) -> int:
        """Return the tokens that were admitted, and that the ledger has not yet confirmed."""
        debts: dict[str, int] = {block.kind: max(0, -block.free) for block in self.tokens}
        for changes in (self.owed, *self.sent):
            for (kind, _), amount in changes.items():
                if kind in (TOKENS, DAY, MONTH) and amount > 0:
                    debts[kind] = debts.get(kind, 0) + amount
        return max(debts.values(), default=0)

    def lines(self) -> bytes:
        """Return OpenAI's `x-ratelimit-*` header lines; tokens are those of the shortest window."""
        now = self.clock()
        return b"".join([block.lines(now) for block in self.shown])

    def headers(self) -> Headers:
        """Return the same as names and values."""
        now = self.clock()
        return [header for block in self.shown for header in block.headers(now)]

    def _give(self, block: Block, amount: int) -> None:
        """Return an amount of a block to the ledger; a negative one is booked."""
        if amount:
            self.owe((block.kind, block.start), -amount)
            block.free -= amount
            block.left += amount


class Grant:
    """The reservation of one request."""

    __slots__ = ("_open", "_quota", "_tokens", "_windows")

    def __init__(self, quota: Quota | None, tokens: int, windows: tuple[Row, ...]) -> None:
        self._quota = quota
        self._tokens = tokens
        self._windows = windows
        self._open = quota is not None

    def settle(self, tokens: int | None, *, refund_request: bool = False) -> None:
        """Book what was used in place of what was reserved; only the first call counts.

        Args:
            tokens: Prompt and completion; None: nothing was delivered, and nothing is charged.
            refund_request: Whether the request itself counts no more, either.
        """
        quota = self._quota
        if not self._open or quota is None:
            return
        self._open = False
        back = self._tokens - (tokens or 0)
        if self._windows is not quota.windows:
            quota.settle_late(self._windows, back, 1 if refund_request else 0)
            return
        for block in quota.tokens:
            block.free += back
        quota.slots.free += 1
        if refund_request:
            quota.requests.free += 1

    @property
    def lines(self) -> bytes:
        """The `x-ratelimit-*` header lines of the answer; empty where there are no limits."""
        return b"" if self._quota is None else self._quota.lines()


# What a key without limits gets, every time.
FREE: Final = Grant(None, 0, ())
