from collections.abc import Callable

import pytest

from gateway.store import traffic_search
from gateway.store.database import Database
from gateway.store.feedback import Feedback, FeedbackLog
from gateway.store.traffic import Traffic, TrafficRecord
from gateway.store.traffic_search import TrafficSearch, Wanted

_Make = Callable[..., TrafficRecord]


@pytest.fixture
def search(database: Database, record: _Make) -> TrafficSearch:
    said = {"choices": [{"message": {"content": "100% <b>sure</b>_"}}]}
    asked = [{"role": "user", "content": 'a "quoted" Straße'}]
    Traffic(database).add(
        [
            record("a", created_at=1.0),
            record("b", created_at=2.0, answer=said, outcome="error", duration_s=9.0),
            record("c", created_at=3.0, messages=asked, alias="staging", release="m-2"),
            record("d", created_at=3.0, key_prefix=None, messages="plain prompt"),
            record("e", created_at=4.0, shadow_of="a"),
        ]
    )
    log = FeedbackLog(database)
    log.add(Feedback("1", "a", None, 5.0, 0.0, None, None, None, {}))
    log.add(Feedback("2", "b", None, 5.0, 1.0, None, "better", None, {}))
    return TrafficSearch(database)


@pytest.mark.parametrize(
    ("wanted", "found"),
    [
        (Wanted(), "dcba"),
        (Wanted(text="100% <B>sure"), "b"),
        (Wanted(text="%"), "b"),
        (Wanted(text="_"), "b"),
        (Wanted(text='"quoted" Straße'), "c"),
        (Wanted(text="PLAIN"), "d"),
        (Wanted(text="nowhere"), ""),
        (Wanted(alias="staging"), "c"),
        (Wanted(release="m-1"), "dba"),
        (Wanted(outcome="error"), "b"),
        (Wanted(key="0123abcd"), "cba"),
        (Wanted(slower_than_s=1.0), "b"),
        (Wanted(rated="corrected"), "b"),
        (Wanted(rated="good"), "b"),
        (Wanted(rated="bad"), "a"),
        (Wanted(rated="none"), "dc"),
        (Wanted(before=(3.0, "d")), "cba"),
        (Wanted(before=(3.0, "c"), alias="production"), "ba"),
    ],
)
def test_requests_are_found(search: TrafficSearch, wanted: Wanted, found: str) -> None:
    records, more = search.find(wanted)
    assert "".join(each.completion_id for each in records) == found
    assert not more


def test_a_page_ends(search: TrafficSearch) -> None:
    records, more = search.find(Wanted(), limit=3)
    assert [each.completion_id for each in records] == ["d", "c", "b"]
    assert more


def test_what_is_rare_is_looked_for_among_the_latest(
    search: TrafficSearch, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(traffic_search, "MOST_READ", 2)
    assert search.find(Wanted(outcome="error"))[0] == []


def test_a_mirrored_request_is_found_from_the_first(search: TrafficSearch) -> None:
    assert [each.completion_id for each in search.mirror_of("a")] == ["e"]
    assert search.mirror_of("b") == []
