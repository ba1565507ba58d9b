"""Does the gateway's memory grow? A million requests, resident memory sampled on the way.

The first sample is taken after a warm-up, when pools, caches and the allocator have settled.
"""

from collections import Counter
from collections.abc import Callable

from loadtests.bench import usage, wrk
from loadtests.bench.peers import PATH, System, body
from loadtests.bench.results import MemoryGrowth
from loadtests.bench.session import started

CONNECTIONS = 32
WARM_UP = 50_000
_CHUNK_S = 10
_SETTLE_S = 30.0


def measure(system: System, requests: int, progress: Callable[[int, float], None]) -> MemoryGrowth:
    """Send `requests` requests after the warm-up and return what memory did.

    Args:
        system: Whose memory.
        requests: How many at least; wrk runs by time, so that there are some more.
        progress: Called with each sample: answers so far, resident MB.

    Raises:
        StartFailed: It does not come up.
        WrkFailed: wrk is missing, or no answer came.
    """
    errors: Counter[str] = Counter()
    samples: list[tuple[int, float]] = []
    answered = 0
    with started(system) as (target, home):
        while not samples or answered < samples[0][0] + requests:
            measured = wrk.run(
                target.url + PATH,
                target.headers,
                body(target.model),
                connections=CONNECTIONS,
                seconds=_CHUNK_S if samples else _CHUNK_S / 2,
                script=home / "wrk.lua",
            )
            answered += measured.requests
            errors.update(measured.errors)
            if samples or answered >= min(WARM_UP, requests):
                # Idle, so that a sample holds nothing that is only on its way to the store.
                samples.append((answered, usage.settled(target.pid, _SETTLE_S).rss_mb))
                progress(*samples[-1])
    return MemoryGrowth(system.name, requests, samples, dict(errors))
