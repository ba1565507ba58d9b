"""Two worker processes admit against one ledger: what may never happen, and what must."""

import asyncio
import json
import multiprocessing
import random
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from gateway.admission import Admission
from gateway.auth import Principal
from gateway.errors import RateLimited
from gateway.store.database import Database
from gateway.store.keys import KeyLimits
from gateway.store.ledger import DAY, REQUESTS, TOKENS, Ledger
from gateway.store.ledger_redis import RedisLedger

_KEY = "0123abcd"
_LIMITS = KeyLimits(
    requests_per_minute=400, tokens_per_minute=60_000, max_concurrency=7, tokens_per_day=10**6
)
_WORKERS, _CLIENTS, _RUN_S = 2, 8, 5.0
_LARGEST = 400
# The ledger's clock runs faster: a minute is this long.
_MINUTE_S = 1.5


def _work(url: str, began: float, seed: int, path: str) -> None:
    with _open(url) as ledger:
        asyncio.run(_clients(ledger, began, seed, Path(path)))


@contextmanager
def _open(url: str) -> Iterator[Ledger | RedisLedger]:
    if url.startswith("unix:"):
        redis = RedisLedger(url)
        yield redis
        redis.close()
        return
    database = Database(url)
    database.migrate()
    yield Ledger(database)
    database.close()


async def _clients(ledger: Ledger | RedisLedger, began: float, seed: int, path: Path) -> None:
    def clock() -> float:
        # Within one day, from a minute's start.
        return 1_800_000_000 // 86400 * 86400 + (time.monotonic() - began) * 60 / _MINUTE_S

    admission = Admission(ledger, clock=clock, lease_s=600)
    running = asyncio.create_task(admission.run())
    chance = random.Random(seed)
    # Read anew, as the ring of keys does.
    who = Principal(_KEY, frozenset(), _LIMITS)
    log: list[dict[str, Any]] = []

    async def client() -> None:
        while time.monotonic() < began + _RUN_S:
            size = chance.randrange(1, _LARGEST)
            try:
                grant = admission.admit(who, size) or await admission.ask(who, size)
            except RateLimited:
                await asyncio.sleep(0.01)
                continue
            start = time.monotonic()
            window = dict(grant._windows)[TOKENS]
            await asyncio.sleep(chance.random() * 0.004)
            used = chance.choice([size, size, size // 2, size + chance.randrange(9), None])
            refund = used is None and chance.random() < 0.5
            log.append(
                {
                    "start": start, "end": time.monotonic(), "window": window,
                    "used": used or 0, "over": max(0, (used or 0) - size), "counts": not refund,
                }
            )  # fmt: skip
            grant.settle(used, refund_request=refund)

    await asyncio.gather(*[client() for _ in range(_CLIENTS)])
    running.cancel()
    await admission.close()
    path.write_text(json.dumps(log))


@pytest.mark.chaos
@pytest.mark.parametrize(
    "kind",
    [
        "sqlite",
        pytest.param("postgres", marks=pytest.mark.services),
        pytest.param("redis", marks=pytest.mark.services),
    ],
)
def test_two_processes_use_a_limit_up_and_never_exceed_it(
    kind: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    url = f"sqlite:///{tmp_path / 'x.db'}"
    if kind != "sqlite":
        url = request.getfixturevalue(f"{kind}_url")
    with _open(url):
        pass
    spawn = multiprocessing.get_context("spawn")
    began = time.monotonic() + 1.0
    paths = [tmp_path / f"{number}.json" for number in range(_WORKERS)]
    processes = [
        spawn.Process(target=_work, args=(url, began, number, str(path)))
        for number, path in enumerate(paths)
    ]
    for process in processes:
        process.start()
    for process in processes:
        process.join(60)
    assert [process.exitcode for process in processes] == [0] * _WORKERS
    logs = [json.loads(path.read_text()) for path in paths]
    assert all(logs)
    served = [entry for log in logs for entry in log]

    tokens, over, requests = Counter[int](), Counter[int](), Counter[int]()
    for entry in served:
        tokens[entry["window"]] += entry["used"]
        over[entry["window"]] += entry["over"]
        requests[entry["window"]] += entry["counts"]
    windows = sorted(tokens)
    assert len(windows) >= 3
    for window in windows:
        # What a request uses beyond its reservation is nobody's to refuse.
        assert tokens[window] <= (_LIMITS.tokens_per_minute or 0) + over[window]
        assert requests[window] <= (_LIMITS.requests_per_minute or 0)
    for window in windows[1:-1]:
        assert (
            tokens[window] >= 0.95 * (_LIMITS.tokens_per_minute or 0)
            or requests[window] >= 0.95 * (_LIMITS.requests_per_minute or 0)
        )  # fmt: skip

    edges = [(entry["start"], 1) for entry in served] + [(entry["end"], -1) for entry in served]
    at_once = most = 0
    for _, step in sorted(edges):
        at_once += step
        most = max(most, at_once)
    assert most == _LIMITS.max_concurrency

    with _open(url) as ledger:
        rows = ledger.used(_KEY)
        assert ledger.held(_KEY, 0.0) == 0
    assert {start: used for (of, start), used in rows.items() if of == TOKENS and used} == tokens
    assert {start: n for (of, start), n in rows.items() if of == REQUESTS and n} == {
        window: count for window, count in requests.items() if count
    }
    assert sum(used for (of, _), used in rows.items() if of == DAY) == tokens.total()
