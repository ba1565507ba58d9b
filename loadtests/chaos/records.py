"""What Driftgate wrote down about requests, held against what their clients saw."""

import asyncio
import time
from collections.abc import Sequence

from gateway.store.ledger import Ledger
from gateway.store.traffic import Traffic, TrafficRecord
from loadtests.chaos.score import Sample, Verdict
from loadtests.chaos.targets import Running

_WITHIN_S = 20.0


async def mistakes(
    running: Running, samples: Sequence[Sample], within_s: float = _WITHIN_S
) -> list[str]:
    """Return a line for each record that is missing or says what its client did not see.

    A request that no engine was ready for was not routed, and has no record.
    """
    if running.database is None:
        return []
    traffic = Traffic(running.database)
    deadline = time.monotonic() + within_s
    known = [s for s in samples if s.request_id and s.verdict in (Verdict.GOOD, Verdict.TOLD)]
    wrong: list[str] = []
    for sample in known:
        record = await asyncio.to_thread(traffic.get, f"chatcmpl-{sample.request_id}")
        while record is None and _must_be(sample) and time.monotonic() < deadline:
            await asyncio.sleep(0.05)
            record = await asyncio.to_thread(traffic.get, f"chatcmpl-{sample.request_id}")
        line = _mistake(sample, record)
        if line:
            wrong.append(line)
    return wrong


def _must_be(sample: Sample) -> bool:
    return sample.status == 200


def _mistake(sample: Sample, record: TrafficRecord | None) -> str:
    if record is None:
        return "a record is missing" if _must_be(sample) else ""
    seen = (record.outcome, record.status)
    if sample.verdict is Verdict.GOOD:
        expected = [("done", 200)]
    elif sample.status == 200:
        expected = [("truncated", 200), ("error", 200)]
    else:
        expected = [("error", sample.status)]
    return "" if seen in expected else f"a record says {seen}, its client saw {expected[0]}"


async def slots_free(running: Running, key_prefix: str, within_s: float = 5.0) -> int:
    """Wait until no slot of a key is held; returns how many still are."""
    ledger = Ledger(running.store())
    deadline = time.monotonic() + within_s
    while True:
        held = await asyncio.to_thread(ledger.held, key_prefix, time.time())
        if not held or time.monotonic() > deadline:
            return held
        await asyncio.sleep(0.05)
