"""The traffic log as a rollout reads it: by the end of requests, and mirrored ones in pairs."""

from collections.abc import Callable

from gateway.store.database import Database
from gateway.store.traffic import Traffic, TrafficRecord

Make = Callable[..., TrafficRecord]


def test_requests_come_in_the_order_in_which_they_ended(database: Database, record: Make) -> None:
    log = Traffic(database)
    log.add(
        [
            record("slow", created_at=100.0, duration_s=50.0),
            record("quick", created_at=110.0, duration_s=1.0, release="m-2"),
            record("same", created_at=110.5, duration_s=0.5),
            record("early", created_at=99.0, duration_s=30.0),
            record("late", created_at=160.0, duration_s=1.0),
            record("other", created_at=110.0, duration_s=1.0, alias="staging"),
            record("third", created_at=110.0, duration_s=1.0, release="m-3"),
            record("copy", created_at=110.0, duration_s=1.0, shadow_of="quick"),
        ]
    )

    def ended(after: tuple[float, str], limit: int = 10) -> list[str]:
        found = log.ended(
            "production", ["m-1", "m-2"], begun=100.0, after=after, before=161.0, limit=limit
        )
        return [each.completion_id for each in found]

    assert ended((100.0, "")) == ["quick", "same", "slow"]
    assert ended((100.0, ""), limit=1) == ["quick"]
    assert ended((111.0, "quick")) == ["same", "slow"]
    assert ended((150.0, "slow")) == []


def test_mirrored_requests_come_with_what_they_repeat(database: Database, record: Make) -> None:
    log = Traffic(database)
    log.add([record("a", created_at=10.0), record("b", created_at=11.0)])
    log.add(
        [
            record("copy-b", created_at=12.0, release="m-2", shadow_of="b"),
            record("copy-a", created_at=10.5, release="m-2", shadow_of="a"),
            record("copy-gone", created_at=10.6, release="m-2", shadow_of="gone"),
            record("copy-other", created_at=10.7, release="m-3", shadow_of="a"),
            record("copy-early", created_at=1.0, release="m-2", shadow_of="a"),
        ]
    )
    found = log.mirrored("production", "m-2", 5.0, 10)
    assert [(copy.completion_id, first.completion_id) for copy, first in found] == [
        ("copy-a", "a"),
        ("copy-b", "b"),
    ]
    assert log.mirrored("production", "m-9", 5.0, 10) == []


def test_a_copy_of_a_deleted_request_takes_nobodys_place(database: Database, record: Make) -> None:
    log = Traffic(database)
    log.add([record("a", created_at=10.0)])
    for number in range(3):
        log.add([record(f"c{number}", created_at=9.0, release="m-2", shadow_of="gone")])
    log.add([record("copy-a", created_at=10.5, release="m-2", shadow_of="a")])
    found = log.mirrored("production", "m-2", 5.0, 2)
    assert [copy.completion_id for copy, _ in found] == ["copy-a"]


def test_conversations_between_two_times(database: Database, record: Make) -> None:
    log = Traffic(database)
    log.add(
        [
            record("a", created_at=10.0, conversation="k1"),
            record("b", created_at=11.0, conversation="k1"),
            record("c", created_at=11.0, conversation=None),
            record("d", created_at=20.0, conversation="k2"),
            record("e", created_at=11.0, conversation="k3", alias="staging"),
        ]
    )
    assert log.conversations("production", 10.0, 20.0) == {"k1"}
