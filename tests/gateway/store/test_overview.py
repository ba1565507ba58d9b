import time
from collections.abc import Callable

from gateway.store.database import Database
from gateway.store.keys import KeyLimits, Keys
from gateway.store.ledger import DAY, MONTH, TOKENS, Lease, Ledger
from gateway.store.overview import Budget, KeyUse, Overview
from gateway.store.releases import Release, Releases, Target
from gateway.store.traffic import Traffic, TrafficRecord

# 15 March 2026, 12:00 UTC.
_NOON = 1_773_576_000.0
_DAY = 1_773_532_800
_MONTH = 1_772_323_200


def test_jobs_are_counted_in_every_state_even_when_there_is_none(database: Database) -> None:
    counts = Overview(database).jobs()
    assert set(counts.values()) == {0}
    assert {"queued", "running", "failed", "succeeded"} <= set(counts)


def test_targets_say_when_the_alias_was_moved(
    database: Database, release: Callable[..., Release]
) -> None:
    releases = Releases(database)
    for id in ("m-1", "m-2"):
        releases.register(release(id))
    releases.point("production", [Target("m-1", 0.9, "live"), Target("m-2", 0.1, "shadow")])
    first, second = Overview(database).targets()
    assert first[:4] == ("production", "m-1", 0.9, "live")
    assert second[:4] == ("production", "m-2", 0.1, "shadow")
    assert first.changed_at == second.changed_at
    assert abs(first.changed_at - time.time()) < 60


def test_budgets_are_those_of_the_day_and_the_month(database: Database) -> None:
    keys = Keys(database)
    both, _ = keys.create("both", ["inference"], KeyLimits(tokens_per_day=100, tokens_per_month=9))
    keys.create("none", ["inference"], KeyLimits(tokens_per_minute=5))
    gone, _ = keys.create("gone", ["inference"], KeyLimits(tokens_per_day=5))
    keys.revoke(gone.prefix)
    yesterday, last_month = _DAY - 86_400, _MONTH - 28 * 86_400
    used = {
        (DAY, _DAY): 40, (DAY, yesterday): 99, (MONTH, _MONTH): 3, (MONTH, last_month): 8,
        (TOKENS, _DAY): 7,
    }  # fmt: skip
    Ledger(database).book({both.prefix: used}, Lease("test", _NOON, _NOON + 60))
    assert Overview(database).budgets(_NOON) == [
        Budget(both.prefix, "both", "day", 40, 100),
        Budget(both.prefix, "both", "month", 3, 9),
    ]
    assert Overview(database).key_names() == {
        key.prefix: key.name for key in keys.all() if key.revoked_at is None
    }


def test_use_is_counted_by_key_between_two_times(
    database: Database, record: Callable[..., TrafficRecord]
) -> None:
    Traffic(database).add(
        [
            record("at the first", created_at=10.0),
            record("a", created_at=10.5),
            record("b", created_at=20.0, prompt_tokens=None, completion_tokens=None),
            record("open", created_at=15.0, key_prefix=None),
            record("after", created_at=20.5),
            record("shadow-1", created_at=15.0, shadow_of="open"),  # no key pays for it
        ]
    )
    found = Overview(database).key_use(10.0, 20.0)
    assert sorted(found, key=lambda use: use.key or "") == [
        KeyUse(None, 1, 3, 2),
        KeyUse("0123abcd", 2, 3, 2),
    ]
    assert Overview(database).key_use(30.0, 40.0) == []
