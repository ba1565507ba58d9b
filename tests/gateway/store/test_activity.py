from collections.abc import Callable

from gateway.store.activity import Activity, Step
from gateway.store.database import Database
from gateway.store.traffic import Traffic, TrafficRecord

_Make = Callable[..., TrafficRecord]


def test_requests_are_counted_by_steps_of_time(database: Database, record: _Make) -> None:
    Traffic(database).add(
        [
            record("a", created_at=100.0, duration_s=1.0, ttft_s=0.2),
            record("b", created_at=109.9, duration_s=3.0, ttft_s=None),
            record("c", created_at=110.0, duration_s=2.0, ttft_s=0.4, outcome="error"),
            record("d", created_at=129.99, duration_s=5.0, ttft_s=0.6, outcome="cancelled"),
            record("too late", created_at=130.0),
            record("too early", created_at=99.9),
            record("mirrored", created_at=105.0, shadow_of="a"),
            record("other", created_at=105.0, alias="staging"),
        ]
    )
    pace = Activity(database).pace(100.0, 130.0, 3, "production")
    assert pace.steps == (Step(2, 0, 1.0, 3.0), Step(1, 1, 2.0, 2.0), Step(1, 0, 5.0, 5.0))
    assert (pace.requests, pace.failed) == (4, 1)
    assert (pace.median_s, pace.p95_s, pace.first_token_s) == (2.0, 5.0, 0.4)
    assert Activity(database).pace(100.0, 130.0, 3).requests == 5


def test_where_nothing_was_asked_there_are_no_times(database: Database) -> None:
    pace = Activity(database).pace(0.0, 10.0, 2)
    assert pace.steps == (Step(0, 0, None, None),) * 2
    assert (pace.requests, pace.p95_s, pace.first_token_s) == (0, None, None)
