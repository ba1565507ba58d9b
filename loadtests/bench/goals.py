"""What Driftgate claims, each as a number and a limit that the measurements decide.

A goal is met where its numbers are there, come from runs without errors, and keep to the limit. One
that lacks a number is neither met nor missed.
"""

from collections.abc import Callable
from dataclasses import dataclass

from loadtests.bench import summary
from loadtests.bench.results import Results
from loadtests.bench.summary import Measure, Spread

OURS, TWO_WORKERS, RIVAL, PYTHON_PEER = "driftgate", "driftgate-2", "vllm-router", "litellm"
# As `driftgate serve` reaches its engines, which no rival can. It has lines of its own.
AS_SERVED = "driftgate-uds"
MEMORY_LIMIT_MB, TOKEN_LIMIT_MS, LITELLM_FACTOR = 10.0, 5.0, 30.0


@dataclass(frozen=True)
class Goal:
    """One goal and how it went.

    Args:
        claim: What is to be so.
        measured: The numbers that decide, in words.
        met: Whether it is; None where a number is missing.
    """

    claim: str
    measured: str
    met: bool | None

    @property
    def verdict(self) -> str:
        """Met, missed, or not measured."""
        return "not measured" if self.met is None else "met" if self.met else "**missed**"


ADDED = summary.added_p50_us("whole")
ADDED_ONE_CORE = summary.added_p50_us("one core")
RATE = summary.load("whole", 32, summary.rate)
STREAMS = summary.load("stream", 32, summary.rate)


def goals(results: Results) -> list[Goal]:
    """Decide every goal by the medians over the rounds."""
    return [
        _below(results, OURS),
        _below(results, AS_SERVED),
        _at_least(results, "Requests/s at 32 connections", RATE, OURS, RIVAL),
        _at_least(results, "Requests/s at 32 connections", RATE, AS_SERVED, RIVAL),
        _at_least(results, "Streams/s (35 frames) at 32 connections", STREAMS, OURS, RIVAL),
        _litellm(results),
        _memory(results),
        _tokens(results),
        _workers(results),
    ]


def _below(results: Results, one: str) -> Goal:
    claim = _claim("Added latency, p50 at 1 connection", one) + f": below {RIVAL}'s"
    ours, theirs = ADDED(results, one), ADDED(results, RIVAL)
    words = f"{_us(ours)}; {RIVAL} {_us(theirs)}"
    alone, rival_alone = ADDED_ONE_CORE(results, one), ADDED_ONE_CORE(results, RIVAL)
    if alone is not None and rival_alone is not None:
        # Not what decides, but what the scheduler cannot hide.
        words += f" (on one core: {_us(alone)}; {RIVAL} {_us(rival_alone)})"
    return _decided(claim, words, ours, theirs, lambda a, b: a < b)


def _at_least(results: Results, what: str, measure: Measure, one: str, other: str) -> Goal:
    ours, theirs = measure(results, one), measure(results, other)
    words = f"{_number(ours)}; {other} {_number(theirs)}"
    claim = _claim(what, one) + f": at least {other}'s"
    return _decided(claim, words, ours, theirs, lambda a, b: a >= b)


def _claim(what: str, system: str) -> str:
    return f"Over a Unix socket, {what[0].lower()}{what[1:]}" if system == AS_SERVED else what


def _litellm(results: Results) -> Goal:
    claim = f"LiteLLM's added latency, p50 at 1 connection: at least {LITELLM_FACTOR:g} times ours"
    ours, theirs = ADDED(results, OURS), ADDED(results, PYTHON_PEER)
    words = f"{_us(theirs)} to {_us(ours)}"
    if ours is not None and theirs is not None and ours.median > 0:
        words = f"{theirs.median / ours.median:.0f} times: {words}"
    return _decided(claim, words, ours, theirs, lambda a, b: b >= LITELLM_FACTOR * a)


def _memory(results: Results) -> Goal:
    growth = results.memory
    claim = f"Memory growth over 1,000,000 requests: below {MEMORY_LIMIT_MB:g} MB"
    if growth is None:
        return Goal(claim, "-", None)
    words = f"{growth.growth_mb:+.1f} MB over {growth.requests:,} requests"
    if growth.errors:
        return Goal(claim, f"{words}; errors {growth.errors}", False)
    met = growth.growth_mb < MEMORY_LIMIT_MB
    # A short run can miss the goal, but not meet it.
    return Goal(claim, words, None if met and growth.requests < 1_000_000 else met)


def _tokens(results: Results) -> Goal:
    claim = f"Added inter-token time, p99 over 256 streams: below {TOKEN_LIMIT_MS:g} ms"
    ours, floor = summary.token_p99_us(results, OURS), summary.token_p99_us(results, "direct")
    if ours is None:
        return Goal(claim, "-", None)
    words = f"{ours.median / 1000:.2f} ms"
    if floor is not None:
        words += f"; the probe itself {floor.median / 1000:.2f} ms"
    if ours.problem:
        return Goal(claim, f"{words}; {ours.problem}", False)
    return Goal(claim, words, ours.median < TOKEN_LIMIT_MS * 1000)


def _workers(results: Results) -> Goal:
    two, one = RATE(results, TWO_WORKERS), RATE(results, OURS)
    claim = "Requests/s at 32 connections: two workers more than one"
    words = f"{_number(two)}; one {_number(one)}"
    return _decided(claim, words, two, one, lambda a, b: a > b)


def _decided(
    claim: str,
    words: str,
    ours: Spread | None,
    theirs: Spread | None,
    met: Callable[[float, float], bool],
) -> Goal:
    if ours is None or theirs is None:
        return Goal(claim, words, None)
    if ours.problem:
        return Goal(claim, f"{words}; ours with {ours.problem}", False)
    if theirs.problem:
        return Goal(claim, f"{words}; theirs with {theirs.problem}", None)
    return Goal(claim, words, met(ours.median, theirs.median))


def _us(spread: Spread | None) -> str:
    if spread is None:
        return "-"
    return f"{spread.median:,.0f} µs" if spread.median < 1000 else f"{spread.median / 1000:.2f} ms"


def _number(spread: Spread | None) -> str:
    return "-" if spread is None else f"{spread.median:,.0f}"
