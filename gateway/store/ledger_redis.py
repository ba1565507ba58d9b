"""The ledger in Redis: every operation is one Lua script, which Redis runs alone.

Keys are `driftgate:{PREFIX}:…`: what a script touches has one hash tag, and so one node of a
cluster. Windows expire by themselves. Redis without persistence forgets budgets when it restarts.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from gateway.store.database import StoreError
from gateway.store.ledger import (
    DAY,
    MONTH,
    REQUESTS,
    SHARE,
    SLOTS,
    TOKENS,
    Lease,
    Row,
    Taken,
    Want,
)

_TIMEOUT_S = 2.0
# How long a row is kept from its last change on, in seconds: a little longer than its window.
_KEEP_S = {REQUESTS: 7200, TOKENS: 7200, DAY: 400 * 86400, MONTH: 400 * 86400, SLOTS: 7200}

# KEYS: the slots' hash (holder → "held expires_at"), then one counter per row.
# ARGV: holder, now, until, SHARE, number of changes, number of wishes; then per change: index of
# its key, amount, seconds to keep; then per wish: index of its key, limit, at_least, up_to,
# seconds to keep. Index 1 are the slots.
_TAKE = """
local holder, now, until_, share = ARGV[1], tonumber(ARGV[2]), ARGV[3], tonumber(ARGV[4])
local at = 7
local function mine()
  local text = redis.call('HGET', KEYS[1], holder)
  return text and tonumber(string.match(text, '^(%-?%d+) ')) or 0
end
local function used(index)
  if index > 1 then return tonumber(redis.call('GET', KEYS[index]) or '0') end
  local total, all = 0, redis.call('HGETALL', KEYS[1])
  for i = 1, #all, 2 do
    local held, expires = string.match(all[i + 1], '^(%-?%d+) (.+)$')
    if all[i] == holder or tonumber(expires) > now then total = total + tonumber(held) end
  end
  return total
end
local function add(index, amount, keep)
  if index == 1 then
    local held = math.max(0, mine() + amount)
    if held == 0 then redis.call('HDEL', KEYS[1], holder)
    else redis.call('HSET', KEYS[1], holder, string.format('%d', held) .. ' ' .. until_) end
  else
    local total = math.max(0, used(index) + amount)
    redis.call('SET', KEYS[index], string.format('%.0f', total))
  end
  redis.call('EXPIRE', KEYS[index], keep)
end
for _ = 1, tonumber(ARGV[5]) do
  add(tonumber(ARGV[at]), tonumber(ARGV[at + 1]), tonumber(ARGV[at + 2]))
  at = at + 3
end
local wishes, refused, answer = at, false, {}
for n = 1, tonumber(ARGV[6]) do
  local left = tonumber(ARGV[at + 1]) - used(tonumber(ARGV[at]))
  local at_least, up_to = tonumber(ARGV[at + 2]), tonumber(ARGV[at + 3])
  local amount = math.min(up_to, math.max(at_least, math.floor(left / share)))
  if left < at_least then amount, refused = -1, true end
  answer[n] = {left, amount}
  at = at + 5
end
for n, pair in ipairs(answer) do
  if not refused then
    add(tonumber(ARGV[wishes]), pair[2], tonumber(ARGV[wishes + 4]))
    pair[1] = pair[1] - pair[2]
  end
  wishes = wishes + 5
end
return answer
"""
# KEYS: slots' hashes. ARGV: holder, until ('' to leave).
_EXTEND = """
for _, key in ipairs(KEYS) do
  local text = redis.call('HGET', key, ARGV[1])
  if text and ARGV[2] == '' then redis.call('HDEL', key, ARGV[1])
  elseif text then
    redis.call('HSET', key, ARGV[1], string.match(text, '^(%-?%d+)') .. ' ' .. ARGV[2])
    redis.call('EXPIRE', key, 7200)
  end
end
"""


class RedisLedger:
    """The ledger in a Redis server.

    Args:
        url: `redis://HOST:PORT/DB`, `rediss://…` or `unix:///PATH`.

    Raises:
        StoreError: The URL is not understood, or the package `redis` is missing.
    """

    def __init__(self, url: str) -> None:
        try:
            import redis
            from redis.backoff import NoBackoff
            from redis.retry import Retry
        except ImportError as error:
            raise StoreError(
                "a ledger in Redis needs the package `redis`: pip install 'driftgate[redis]'"
            ) from error
        self._errors = redis.RedisError
        try:
            self._redis: Any = redis.Redis.from_url(
                url,
                socket_timeout=_TIMEOUT_S,
                socket_connect_timeout=_TIMEOUT_S,
                # A script whose answer is lost may have run: again would be twice.
                retry=Retry(NoBackoff(), 0),
            )
        except ValueError as error:
            raise StoreError(f"the ledger's URL: {error}") from error
        self._take = self._redis.register_script(_TAKE)
        self._extend = self._redis.register_script(_EXTEND)
        # Keys of which this process holds slots, for `extend` and `leave`.
        self._held: set[str] = set()

    def take(
        self, key: str, wants: Sequence[Want], changes: Mapping[Row, int], lease: Lease
    ) -> Taken:
        """Book `changes`, then take a block of every kind wanted, or of none."""
        answer = self._run(key, wants, changes, lease, self._redis)
        pairs = {want.kind: pair for want, pair in zip(wants, answer, strict=True)}
        refused = tuple(kind for kind, (_, amount) in pairs.items() if amount < 0)
        granted = {} if refused else {kind: amount for kind, (_, amount) in pairs.items()}
        return Taken(granted, {kind: left for kind, (left, _) in pairs.items()}, refused)

    def book(self, changes: Mapping[str, Mapping[Row, int]], lease: Lease) -> None:
        """Add signed amounts to rows of keys: give blocks back, or book beyond any limit."""
        try:
            if not changes:
                self._redis.ping()
                return
            pipe = self._redis.pipeline(transaction=True)
            for key, rows in changes.items():
                self._run(key, (), rows, lease, pipe)
            pipe.execute()
        except self._errors as error:
            raise StoreError(f"Redis: {error}") from error

    def extend(self, lease: Lease) -> None:
        """Let the holder's slots count until the lease's end."""
        self._each_slot(lease.holder, repr(lease.until))

    def leave(self, holder: str) -> None:
        """Give all slots of a holder back."""
        self._each_slot(holder, "")

    def purge(self, now: float) -> None:
        """Do nothing: Redis forgets by itself."""

    def used(self, key: str) -> dict[Row, int]:
        """Return what is used, leases included, of each of a key's windows."""
        try:
            names = list(self._redis.scan_iter(match=_name(key, "*:*")))
            values = self._redis.mget(names) if names else []
        except self._errors as error:
            raise StoreError(f"Redis: {error}") from error
        rows = [name.decode().rsplit(":", 2)[1:] for name in names]
        found = zip(rows, values, strict=True)
        return {(kind, int(start)): int(value) for (kind, start), value in found if value}

    def held(self, key: str, now: float) -> int:
        """Return how many slots of a key are held by holders that are alive."""
        try:
            holders = self._redis.hvals(_name(key, SLOTS))
        except self._errors as error:
            raise StoreError(f"Redis: {error}") from error
        pairs = [text.split() for text in holders]
        return sum(int(held) for held, expires in pairs if float(expires) > now)

    def close(self) -> None:
        """Close the connections."""
        self._redis.close()

    def _run(
        self,
        key: str,
        wants: Sequence[Want],
        changes: Mapping[Row, int],
        lease: Lease,
        client: Any,
    ) -> Any:
        rows = list({(want.kind, want.window_start): None for want in wants} | dict(changes))
        timed = [row for row in rows if row[0] != SLOTS]
        names = [_name(key, SLOTS), *(_name(key, f"{kind}:{start}") for kind, start in timed)]
        index = {row: number for number, row in enumerate(timed, 2)} | {(SLOTS, 0): 1}
        arguments: list[Any] = [lease.holder, repr(lease.now), repr(lease.until), SHARE]
        arguments += [len(changes), len(wants)]
        for row, amount in changes.items():
            arguments += [index[row], amount, _KEEP_S[row[0]]]
        for want in wants:
            arguments += [index[want.kind, want.window_start], want.limit, want.at_least]
            arguments += [want.up_to, _KEEP_S[want.kind]]
        if (SLOTS, 0) in rows:
            self._held.add(names[0])
        try:
            return self._take(keys=names, args=arguments, client=client)
        except self._errors as error:
            raise StoreError(f"Redis: {error}") from error

    def _each_slot(self, holder: str, until: str) -> None:
        try:
            for name in sorted(self._held):
                self._extend(keys=[name], args=[holder, until])
        except self._errors as error:
            raise StoreError(f"Redis: {error}") from error


def _name(key: str, what: str) -> str:
    return f"driftgate:{{{key}}}:{what}"
