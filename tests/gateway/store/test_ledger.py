import importlib.util
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from gateway.store.database import Database, StoreError
from gateway.store.ledger import (
    DAY,
    REQUESTS,
    SLOTS,
    TOKENS,
    Lease,
    Ledger,
    Taken,
    Want,
    open_ledger,
)
from gateway.store.ledger_redis import RedisLedger

AnyLedger = Ledger | RedisLedger
_KEY = "0123abcd"
_A = Lease("a", 1000.0, 1010.0)
_B = Lease("b", 1000.0, 1010.0)


@pytest.fixture(
    params=[
        "sqlite",
        pytest.param("postgresql", marks=pytest.mark.services),
        pytest.param("redis", marks=pytest.mark.services),
    ]
)
def ledger(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[AnyLedger]:
    """A ledger of each kind, empty."""
    if request.param == "redis":
        in_redis = RedisLedger(request.getfixturevalue("redis_url"))
        yield in_redis
        in_redis.close()
        return
    url = f"sqlite:///{tmp_path / 'x.db'}"
    if request.param == "postgresql":
        url = request.getfixturevalue("postgres_url")
    database = Database(url)
    database.migrate()
    yield Ledger(database)
    database.close()


def _tokens(at_least: int, up_to: int = 0, limit: int = 100, start: int = 960) -> Want:
    return Want(TOKENS, start, limit, at_least, up_to or at_least)


def _slot(at_least: int, limit: int = 4) -> Want:
    return Want(SLOTS, 0, limit, at_least, at_least)


def test_a_take_is_granted_up_to_an_eighth_of_what_is_left(ledger: AnyLedger) -> None:
    assert ledger.take(_KEY, [_tokens(2, 50)], {}, _A) == Taken({TOKENS: 12}, {TOKENS: 88}, ())
    assert ledger.take(_KEY, [_tokens(2, 5)], {}, _A).granted == {TOKENS: 5}
    assert ledger.take(_KEY, [_tokens(40, 50)], {}, _A).granted == {TOKENS: 40}
    assert ledger.take(_KEY, [_tokens(43, 50)], {}, _A).granted == {TOKENS: 43}
    assert ledger.take(_KEY, [_tokens(1)], {}, _A) == Taken({}, {TOKENS: 0}, (TOKENS,))
    assert ledger.used(_KEY) == {(TOKENS, 960): 100}


def test_windows_and_keys_are_apart(ledger: AnyLedger) -> None:
    for start in (960, 1020):
        assert ledger.take(_KEY, [_tokens(100, start=start)], {}, _A).granted == {TOKENS: 100}
    assert ledger.take("ffffffff", [_tokens(100)], {}, _A).granted == {TOKENS: 100}


def test_all_kinds_or_none(ledger: AnyLedger) -> None:
    requests = Want(REQUESTS, 960, 10, 1, 1)
    taken = ledger.take(_KEY, [_slot(1), requests, _tokens(101)], {}, _A)
    assert taken == Taken({}, {SLOTS: 4, REQUESTS: 10, TOKENS: 100}, (TOKENS,))
    assert sum(ledger.used(_KEY).values()) == 0
    assert ledger.held(_KEY, 1000.0) == 0
    taken = ledger.take(_KEY, [_slot(1), requests, _tokens(100)], {}, _A)
    assert taken.left == {SLOTS: 3, REQUESTS: 9, TOKENS: 0}


def test_changes_are_booked_first_and_whatever_is_refused(ledger: AnyLedger) -> None:
    ledger.take(_KEY, [_tokens(100)], {}, _A)
    assert ledger.take(_KEY, [_tokens(30)], {(TOKENS, 960): -30}, _A).granted == {TOKENS: 30}
    refused = ledger.take(_KEY, [_tokens(1)], {(TOKENS, 960): 25, (DAY, 0): 7}, _A)
    assert refused == Taken({}, {TOKENS: -25}, (TOKENS,))
    assert ledger.used(_KEY) == {(TOKENS, 960): 125, (DAY, 0): 7}


def test_booking_goes_beyond_a_limit_and_never_below_nothing(ledger: AnyLedger) -> None:
    ledger.book({_KEY: {(TOKENS, 960): 500, (DAY, 0): 20}, "ffffffff": {(DAY, 0): 3}}, _A)
    ledger.book({_KEY: {(TOKENS, 960): -900, (DAY, 0): -5}}, _A)
    assert ledger.used(_KEY) == {(TOKENS, 960): 0, (DAY, 0): 15}
    assert ledger.used("ffffffff") == {(DAY, 0): 3}


def test_slots_are_shared_by_holders(ledger: AnyLedger) -> None:
    assert ledger.take(_KEY, [_slot(3)], {}, _A).left == {SLOTS: 1}
    assert ledger.take(_KEY, [_slot(2)], {}, _B).refused == (SLOTS,)
    assert ledger.take(_KEY, [_slot(1)], {}, _B).left == {SLOTS: 0}
    ledger.book({_KEY: {(SLOTS, 0): -2}}, _A)
    assert ledger.held(_KEY, 1000.0) == 2
    ledger.book({_KEY: {(SLOTS, 0): 4}}, _A)
    assert ledger.held(_KEY, 1000.0) == 6
    ledger.leave("a")
    assert ledger.held(_KEY, 1000.0) == 1


def test_slots_of_a_holder_that_is_not_heard_of_again_stop_counting(ledger: AnyLedger) -> None:
    ledger.take(_KEY, [_slot(4)], {}, _A)
    later = Lease("b", 1009.0, 1019.0)
    assert ledger.take(_KEY, [_slot(1)], {}, later).refused == (SLOTS,)
    ledger.extend(Lease("a", 1009.0, 1012.0))
    later = Lease("b", 1011.0, 1021.0)
    assert ledger.take(_KEY, [_slot(1)], {}, later).refused == (SLOTS,)
    later = Lease("b", 1012.0, 1022.0)
    assert ledger.take(_KEY, [_slot(4)], {}, later).granted == {SLOTS: 4}
    # It was only slow: what it holds counts again.
    ledger.extend(Lease("a", 1013.0, 1023.0))
    assert ledger.held(_KEY, 1013.0) == 8


def test_old_windows_are_purged(database: Database) -> None:
    ledger = Ledger(database)
    ledger.take(_KEY, [_slot(1), _tokens(1), Want(DAY, 0, 9, 1, 1)], {}, _A)
    ledger.purge(960 + 3600)
    assert set(ledger.used(_KEY)) == {(TOKENS, 960), (DAY, 0)}
    ledger.purge(960 + 3601)
    assert set(ledger.used(_KEY)) == {(DAY, 0)}
    ledger.extend(Lease("a", 1000.0, 1e9))
    assert ledger.held(_KEY, 1e9 - 1) == 1
    ledger.purge(400 * 86400 + 1)
    assert ledger.used(_KEY) == {}


def test_takes_at_once_never_exceed_the_limit(ledger: AnyLedger) -> None:
    threads, limit = 4, 1000
    barrier = threading.Barrier(threads)

    def take(number: int) -> int:
        barrier.wait(10)
        lease, taken = Lease(str(number), 1000.0, 1010.0), 0
        # Rows in different orders: a deadlock would be a StoreError.
        other = {(DAY, number % 2): 1, (REQUESTS, 960): 1, (SLOTS, 0): 0}
        for _ in range(30):
            wants = [_tokens(7, 40, limit), Want(REQUESTS, 960 + number, 10**6, 1, 1)]
            taken += ledger.take(_KEY, wants, other, lease).granted.get(TOKENS, 0)
        return taken

    with ThreadPoolExecutor(threads) as pool:
        total = sum(pool.map(take, range(threads)))
    assert limit - 7 < total <= limit
    used = ledger.used(_KEY)
    assert used[TOKENS, 960] == total
    assert used[DAY, 0] + used[DAY, 1] == threads * 30


def test_a_ledger_without_tables_is_a_store_error(url: str) -> None:
    database = Database(url)
    ledger = Ledger(database)
    with pytest.raises(StoreError):
        ledger.take(_KEY, [_tokens(1)], {}, _A)
    ledger.book({}, _A)  # the store answers
    database.close()


def test_without_a_url_the_ledger_is_the_stores(database: Database) -> None:
    assert isinstance(open_ledger("", database), Ledger)


def test_a_url_of_redis_without_its_package_says_what_to_install(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "redis", None)
    with pytest.raises(StoreError, match=r"driftgate\[redis\]"):
        open_ledger("redis://localhost", database)


@pytest.mark.skipif(importlib.util.find_spec("redis") is None, reason="needs the package redis")
def test_a_redis_that_is_away_is_a_store_error(tmp_path: Path, database: Database) -> None:
    ledger = open_ledger(f"unix://{tmp_path}/none", database)
    for call in (
        lambda: ledger.take(_KEY, [_tokens(1)], {}, _A),
        lambda: ledger.book({}, _A),
        lambda: ledger.book({_KEY: {(SLOTS, 0): 1}}, _A),
        lambda: ledger.leave("a"),
    ):
        with pytest.raises(StoreError, match="Redis"):
            call()
    with pytest.raises(StoreError, match="URL"):
        open_ledger("nonsense://x", database)
