"""Settings of a loop: strict, with errors that name the field; timetables."""

from typing import Any

import pytest

from gateway.store.loops import StoredLoop
from training.loop import LoopInvalid, LoopSettings
from training.timetable import Timetable, TimetableInvalid

_SUNDAY = 1_700_967_600.0  # 2023-11-26 03:00 UTC


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ({"approvall": "auto"}, "`approvall`: there is no such setting"),
        ({"gates": {"humans": "x"}}, "`gates.humans`: there is no such setting"),
        ({"least_rows": "5"}, "`least_rows`: Input should be a valid integer"),
        ({"approval": "yes"}, "`approval`: Input should be 'auto', 'human' or 'comparison'"),
        ({"sources": ["act", "whim"]}, "`sources.1`: Input should be"),
        ({"schedule": "0 3 * *"}, "`schedule`: a timetable has five fields"),
        ({"schedule": "61 * * * *"}, "`schedule`: '61 * * * *' is no timetable"),
        ({"margins": {"old": 2.0}}, "`margins.old`"),
        ({"rollout": {"shares": [0.5, 0.1]}}, "`rollout`: `shares`"),
        ({"rollout": {"sharez": [0.5]}}, "`rollout`: `sharez`: there is no such field"),
        ({"replay": 1.0}, "`replay`"),
    ],
)
def test_wrong_settings_are_named(fields: dict[str, Any], told: str) -> None:
    with pytest.raises(LoopInvalid) as raised:
        LoopSettings.of(fields)
    assert told in str(raised.value)


def test_settings_go_through_the_store(tmp_path: Any) -> None:
    given = {"approval": "auto", "sources": ["act"], "margins": {"old": 0.05}}
    settings = LoopSettings.stored(StoredLoop("production", given, 1.0))
    assert LoopSettings.of(settings.fields()) == settings
    assert settings.sources == ("act",)
    assert LoopSettings.stored(None) == LoopSettings()


def test_the_loops_approval_holds_where_the_plan_names_none() -> None:
    assert LoopSettings().plan().approval == "human"
    assert LoopSettings.of({"approval": "auto"}).plan().approval == "auto"
    both = {"approval": "auto", "rollout": {"approval": "human", "warm_s": 5.0}}
    plan = LoopSettings.of(both).plan()
    assert (plan.approval, plan.warm_s) == ("human", 5.0)


def test_required_gates_have_the_names_of_the_evaluations() -> None:
    gates = {"capability": True, "latency_p95_s": 2.0, "hallucination": "t.jsonl"}
    assert LoopSettings.of({"gates": gates}).gates.required() == (
        "capability", "hallucination", "latency",
    )  # fmt: skip
    assert LoopSettings().gates.required() == ()


def test_a_timetable_is_of_utc_and_counts_its_own_minute() -> None:
    weekly = Timetable("0 3 * * 0")
    assert weekly.last(_SUNDAY) == _SUNDAY
    assert weekly.last(_SUNDAY - 1) == _SUNDAY - 7 * 86_400
    assert weekly.next(_SUNDAY) == _SUNDAY + 7 * 86_400


@pytest.mark.parametrize("text", ["", "* * * * * *", "0 0 31 2 *", "@daily", "a b c d e"])
def test_what_is_no_timetable_is_told(text: str) -> None:
    with pytest.raises(TimetableInvalid):
        Timetable(text)
