import time
from collections.abc import Callable
from dataclasses import replace

import pytest
import sqlalchemy as sa

from gateway.store.database import Database
from gateway.store.feedback import Feedback, FeedbackLog
from gateway.store.traffic import Traffic, TrafficRecord

Make = Callable[..., TrafficRecord]


def _ids(traffic: Traffic, limit: int, ascending: bool = True) -> list[str]:
    """Walk through all pages."""
    found: list[str] = []
    after = None
    while True:
        records, more = traffic.page(after=after, limit=limit, ascending=ascending)
        found += [record.completion_id for record in records]
        assert len(records) <= limit
        assert records or not more
        if not more:
            return found
        after = found[-1]


def test_a_record_comes_back_as_it_went_in(database: Database, record: Make) -> None:
    full = record(
        "c1",
        index_generation="g7",
        logprob_tail=-3.25,
        retrieval={"passages": [1, 2]},
        metadata={"user": "ä"},
        system_fingerprint="vllm-x",
        conversation="conv",
    )
    bare = record(
        "c2",
        key_prefix=None,
        messages=None,
        parameters=None,
        answer=None,
        finish_reason=None,
        prompt_tokens=None,
        completion_tokens=None,
        ttft_s=None,
        logprob_mean=None,
    )
    text = record("c3", operation="completion", messages="Once upon a time")
    traffic = Traffic(database)
    traffic.add([full, bare, text])
    assert [traffic.get(id) for id in ("c1", "c2", "c3")] == [full, bare, text]
    assert traffic.get("c4") is None


def test_a_duplicate_is_ignored(database: Database, record: Make) -> None:
    traffic = Traffic(database)
    traffic.add([record("c1", status=200)])
    traffic.add([record("c1", status=500), record("c2", status=200), record("c2", status=500)])
    statuses = [found.status for id in ("c1", "c2") if (found := traffic.get(id))]
    assert statuses == [200, 200]


def test_a_thousand_records_are_one_fast_transaction(database: Database, record: Make) -> None:
    commits: list[int] = []
    sa.event.listen(database.engine, "commit", lambda _: commits.append(1))
    started = time.perf_counter()
    Traffic(database).add([record(f"c{i}") for i in range(1000)])
    assert time.perf_counter() - started < 3.0  # 0.1 s alone; the machine may be busy
    assert len(commits) == 1
    assert len(_ids(Traffic(database), 400)) == 1000


def test_nothing_to_add_is_nothing(database: Database) -> None:
    Traffic(database).add([])


@pytest.mark.parametrize("text", ["a\x00b", "a\ud800b", "\\u0000", "🙂" * 1000])
def test_any_text_can_be_written(database: Database, record: Make, text: str) -> None:
    traffic = Traffic(database)
    message = [{"role": "user", "content": text, text: None}]
    traffic.add([record("c1", messages=message, metadata={text: text}), record("c2")])
    assert traffic.get("c1") is not None
    traffic.set_metadata("c2", {"k": text})
    assert traffic.page(metadata={"other": "x"}) == ([], False)


@pytest.mark.parametrize("ascending", [True, False])
@pytest.mark.parametrize("limit", [1, 2, 3, 7, 8])
def test_pages_cover_equal_times_once(
    database: Database, record: Make, limit: int, ascending: bool
) -> None:
    traffic = Traffic(database)
    moments = {"f": 1.0, "b": 1.0, "a": 2.0, "d": 2.0, "c": 2.0, "e": 2.0000001, "g": 3.0}
    traffic.add([record(id, created_at=at) for id, at in moments.items()])
    expected = sorted(moments, key=lambda id: (moments[id], id), reverse=not ascending)
    assert _ids(traffic, limit, ascending) == expected


def test_paging_goes_on_while_records_arrive(database: Database, record: Make) -> None:
    traffic = Traffic(database)
    traffic.add([record("b"), record("d")])
    first, more = traffic.page(limit=1)
    traffic.add([record("a"), record("c")])
    rest, _ = traffic.page(after=first[-1].completion_id)
    assert more
    assert [found.completion_id for found in rest] == ["c", "d"]


def test_an_unknown_cursor_is_a_key_error(database: Database) -> None:
    with pytest.raises(KeyError, match="nope"):
        Traffic(database).page(after="nope")


def test_filters(database: Database, record: Make) -> None:
    traffic = Traffic(database)
    traffic.add(
        [
            record("c1", metadata={"a": "1", "b": "2"}),
            record("c2", alias="candidate", release="m-2", metadata={"a": "1"}),
            record("c3", operation="response"),
            record("c4", answer=None),
        ]
    )

    def ids(**filters: object) -> list[str]:
        records, _ = traffic.page(**filters)  # type: ignore[arg-type]
        return [found.completion_id for found in records]

    assert ids() == ["c1", "c2"]
    assert ids(model="candidate") == ids(model="m-2") == ["c2"]
    assert ids(model="production") == ids(model="m-1") == ["c1"]
    assert ids(operation="response") == ["c3"]
    assert ids(metadata={"a": "1"}) == ["c1", "c2"]
    assert ids(metadata={"a": "1", "b": "2"}) == ["c1"]
    assert ids(metadata={"a": "2"}) == ids(metadata={"absent": "1"}) == []


@pytest.mark.parametrize("name", ['a"b', "a.b", "a'b", "$", "0", "", "a]b[", "é", "a\\b"])
def test_metadata_of_any_name_is_found(database: Database, record: Make, name: str) -> None:
    traffic = Traffic(database)
    traffic.add([record("c1", metadata={name: "v", "n": "5"}), record("c2", metadata={"n": "6"})])
    records, _ = traffic.page(metadata={name: "v", "n": "5"})
    assert [found.completion_id for found in records] == ["c1"]


def test_metadata_is_replaced(database: Database, record: Make) -> None:
    traffic = Traffic(database)
    first = record("c1", metadata={"a": "1"})
    traffic.add([first])
    assert traffic.set_metadata("c1", {"b": "2"}) == replace(first, metadata={"b": "2"})
    assert traffic.set_metadata("nope", {"b": "2"}) is None


def test_delete_and_purge_take_the_feedback_along(database: Database, record: Make) -> None:
    traffic, log = Traffic(database), FeedbackLog(database)
    traffic.add([record(f"c{i}", created_at=float(i)) for i in range(6)])
    for i in range(6):
        log.add(Feedback(f"f{i}", f"c{i}", None, 9.0, 1.0, None, None, None, {}))
    assert traffic.delete("c5") is True
    assert traffic.delete("c5") is False
    assert log.of("c5") == []
    assert traffic.purge(before=4.0, limit=3) == 3
    assert _ids(traffic, 10) == ["c3", "c4"]
    assert traffic.purge(before=4.0, limit=3) == 1
    assert traffic.purge(before=4.0) == 0
    assert _ids(traffic, 10) == ["c4"]
    assert [len(log.of(f"c{i}")) for i in range(6)] == [0, 0, 0, 0, 1, 0]
