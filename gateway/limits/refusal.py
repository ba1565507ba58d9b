"""The 429 of a limit that is reached: which one, and when it may be tried again."""

import math
from dataclasses import dataclass
from datetime import UTC, datetime

from gateway.errors import RateLimited
from gateway.limits.block import Block
from gateway.limits.quota import Quota
from gateway.store.ledger import DAY, MONTH, REQUESTS, SLOTS, TOKENS

_CODES = {
    REQUESTS: "rate_limit_requests",
    TOKENS: "rate_limit_tokens",
    DAY: "budget_exhausted",
    MONTH: "budget_exhausted",
    SLOTS: "concurrency_limit",
}
_NAMES = {
    REQUESTS: "requests a minute",
    TOKENS: "tokens a minute",
    DAY: "tokens a day",
    MONTH: "tokens a month",
    SLOTS: "requests at once",
}


@dataclass(frozen=True, slots=True)
class Refusal:
    """The ledger's no to a request of `need` tokens, for want of `kind`."""

    kind: str
    need: int
    window_end: float

    @classmethod
    def of(cls, quota: Quota, kind: str, need: int) -> "Refusal":
        """Return the refusal of a request in the quota's present window."""
        block = next((block for block in quota.timed if block.kind == kind), quota.slots)
        return cls(kind, need, block.end)

    def stands(self, quota: Quota) -> bool:
        """Return whether the window that was full is not over."""
        return quota.clock() < self.window_end

    def holds_for(self, tokens: int) -> bool:
        """Return whether a request of so many tokens would have been refused, too."""
        return self.kind in (REQUESTS, SLOTS) or tokens >= self.need

    def error(self, quota: Quota) -> RateLimited:
        """Return what the client sees."""
        if self.kind == SLOTS:
            message = f"This key may make {quota.slots.limit} requests at once, and does."
            return _error(message, self.kind, 1, quota)
        block = next((b for b in quota.timed if b.kind == self.kind), None)
        if block is None:
            return _error("A limit of this key is reached.", self.kind, 1, quota)
        wait = max(1, math.ceil(block.end - quota.clock()))
        of = "" if self.kind == REQUESTS else f" This request reserves {self.need}."
        message = (
            f"This key's limit of {block.limit} {_NAMES[self.kind]} is reached.{of} "
            f"It resets in {wait} s, at {_time(block.end)}."
        )
        return _error(message, self.kind, wait, quota)


def too_large(quota: Quota, block: Block, tokens: int) -> RateLimited:
    """Return the error of a request that no window of this limit can hold."""
    error = RateLimited(
        f"This request may use {tokens} tokens, prompt and answer; this key's limit is "
        f"{block.limit} {_NAMES[block.kind]}. Shorten the prompt or ask for fewer tokens.",
        code="request_too_large",
    )
    error.limits = quota.headers()
    return error


def _error(message: str, kind: str, wait: int, quota: Quota) -> RateLimited:
    error = RateLimited(message, code=_CODES[kind], retry_after=wait)
    error.limits = quota.headers()
    return error


def _time(seconds: float) -> str:
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%d %H:%M:%S} UTC"
