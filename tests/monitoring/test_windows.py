"""Windows: one request of a conversation, in order, and each once."""

import itertools
import shutil
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest

from gateway.store.database import Database
from gateway.store.feedback import Feedback, FeedbackLog
from gateway.store.monitoring import Monitoring, MonitorState, StoredWindow
from gateway.store.traffic import Traffic, TrafficRecord
from monitoring.intake import Intake
from monitoring.windows import Conversations, cut


def record(id: str, at: float = 1.0, **values: Any) -> TrafficRecord:
    every: dict[str, Any] = {field.name: None for field in fields(TrafficRecord)}
    every |= {
        "completion_id": id, "created_at": at, "operation": "chat", "alias": "m", "release": "r",
        "duration_s": 1.0, "outcome": "done", "status": 200, "metadata": {},
        "messages": [{"role": "user", "content": id}],
    }  # fmt: skip
    return TrafficRecord(**every | values)


@pytest.fixture
def database(empty_store: Path, tmp_path: Path) -> Iterator[Database]:
    shutil.copy(empty_store, tmp_path / "x.db")
    database = Database(f"sqlite:///{tmp_path / 'x.db'}")
    yield database
    database.close()


def test_the_first_request_of_a_conversation_counts() -> None:
    turns = [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]
    records = [
        record("first", conversation="k"),
        record("later", conversation="k", messages=[*turns, {"role": "user", "content": "c"}]),
        record("another person with the same words", conversation="k"),
        record("probe", metadata={"driftgate_probe": "1"}),
        record("named", conversation="n", metadata={"conversation": "7"}),
        record("named again", conversation="n", metadata={"conversation": "7"}),
        record("nothing to read", messages=None),
        record("last"),
        record("beyond"),
    ]
    piece, seen = cut(records, Conversations(), 4)
    assert [request.id for request in piece.requests] == [
        "first", "another person with the same words", "named", "last",
    ]  # fmt: skip
    assert (piece.left_out, piece.textless) == (3, 1)
    assert piece.place is not None
    assert piece.place.id == "last"
    assert seen.keys() == ["k", "n"]
    assert cut(records, Conversations(), 6)[0].place is None


def test_conversations_are_bounded_and_forget_the_oldest() -> None:
    seen = Conversations()
    assert all(seen.is_new(str(number)) for number in range(3000))
    assert len(seen.keys()) == 2000
    assert seen.is_new("0")
    assert not seen.is_new("2999")


def test_windows_follow_each_other_and_wait_until_they_are_full(database: Database) -> None:
    Traffic(database).add([record(f"{n:02}", float(n)) for n in range(25)])
    store = Monitoring(database)
    intake = Intake(store, 5.0, lambda: 27.0)  # those from 22 on may not all be there
    state = MonitorState("m", "r")
    windows = []
    for _ in itertools.count():
        taken = intake.window(state, 10)
        if not taken.requests:
            break
        windows.append([request.id for request in taken.requests])
        state = MonitorState("m", "r", detail=taken.detail)
    assert windows == [[f"{n:02}" for n in range(10)], [f"{n:02}" for n in range(10, 20)]]
    assert intake.window(state, 10).detail == state.detail
    late = Intake(store, 5.0, lambda: 40.0).window(state, 5)
    assert [request.id for request in late.requests] == ["20", "21", "22", "23", "24"]


def test_busy_traffic_is_sampled_and_slow_traffic_is_judged_whole(database: Database) -> None:
    Traffic(database).add([record(f"a{n:03}", 100.0 + n / 10) for n in range(300)])  # 30 s of it
    Traffic(database).add([record(f"b{n:03}", 140.0 + n * 2) for n in range(30)])  # 60 s of it
    intake = Intake(Monitoring(database), 0.0, lambda: 500.0, every_s=12.0)
    state, windows = MonitorState("m", "r"), []
    while (taken := intake.window(state, 10)).requests:
        windows.append([taken.requests[0].id, taken.requests[-1].id])
        state = MonitorState("m", "r", detail=taken.detail)
    assert windows == [
        ["a000", "a009"], ["a120", "a129"], ["a240", "a249"],  # begin 12 s apart
        ["b000", "b009"], ["b010", "b019"], ["b020", "b029"],  # last 20 s each, without a gap
    ]  # fmt: skip


def test_records_that_hold_no_window_are_passed_by(database: Database) -> None:
    Traffic(database).add([record(f"{n:03}", float(n), messages=None) for n in range(100)])
    Traffic(database).add([record(f"{n:03}", float(n)) for n in range(100, 110)])
    intake = Intake(Monitoring(database), 0.0, lambda: 1000.0)
    state, left_out = MonitorState("m", "r"), 0
    for _ in range(10):
        taken = intake.window(state, 10)
        left_out += taken.left_out
        state = MonitorState("m", "r", detail=taken.detail)
        if taken.requests:
            break
    assert [request.id for request in taken.requests] == [f"{n:03}" for n in range(100, 110)]
    assert left_out == 100


def test_a_clock_that_was_set_back_loses_and_repeats_nothing(database: Database) -> None:
    store = Monitoring(database)
    Traffic(database).add([record(f"a{n}", 5000.0 + n) for n in range(10)])
    first = Intake(store, 0.0, lambda: 6000.0).window(MonitorState("m", "r"), 10)
    judged = [request.id for request in first.requests]
    state = MonitorState("m", "r", windows=1, detail=first.detail)
    store.write(state, [StoredWindow("m", "r", 0, 5000.0, 5009.0, judged, {}, {}, 6000.0)])
    Traffic(database).add([record(f"b{n}", 1001.0 + n) for n in range(10)])
    assert not Intake(store, 0.0, lambda: 1005.0).window(state, 10).requests  # five so far
    second = Intake(store, 0.0, lambda: 1500.0).window(state, 10)
    assert [request.id for request in second.requests] == [f"b{n}" for n in range(10)]
    state = MonitorState("m", "r", windows=2, detail=second.detail)
    # When it is that late again, those from before the jump are not judged once more.
    Traffic(database).add([record("c", 5500.0)])
    for _ in range(10):
        third = Intake(store, 0.0, lambda: 7000.0).window(state, 1)
        state = MonitorState("m", "r", windows=2, detail=third.detail)
        if third.requests:
            break
    assert [request.id for request in third.requests] == ["c"]


def test_the_first_score_of_an_answer_counts_once(database: Database) -> None:
    Traffic(database).add([record("a", 1.0), record("b", 2.0)])
    for number, (completion, score) in enumerate([("a", 1.0), ("a", 0.0), ("b", 0.25)]):
        said = Feedback(f"f{number}", completion, None, 5.0 + number, score, None, None, None, {})
        FeedbackLog(database).add(said)
    intake = Intake(Monitoring(database), 1.0, lambda: 20.0)
    scores, place = intake.scores(MonitorState("m", "r"))
    assert scores == [1.0, 0.25]
    again, same = intake.scores(MonitorState("m", "r", detail={"feedback": place}))
    assert (again, same) == ([], place)
