"""When an open request may be taken up."""

from dataclasses import replace
from typing import Any

import pytest

from gateway.store.retraining import CLOSED, OPEN, TAKEN, RetrainingRequest
from gateway.store.rollouts import Rollout
from training.loop import LoopSettings
from training.pacing import wait

NOW = 1_000_000_000.0
_HOUR, _DAY = 3600.0, 86_400.0
SETTINGS = LoopSettings.of(
    {"cool_down_s": _DAY, "back_off_s": _HOUR, "longest_back_off_s": 4 * _HOUR,
     "most_per_30_days": 3}
)  # fmt: skip
ASKED = RetrainingRequest("rtr-now", "production", "m-1", "harm", "act", {}, OPEN, NOW)


def ended(outcome: str, ago: float, number: int = 0) -> RetrainingRequest:
    return replace(
        ASKED, id=f"rtr-{outcome}-{number}", status=CLOSED, outcome=outcome, closed_at=NOW - ago
    )


def until(*history: RetrainingRequest, **fields: Any) -> float | None:
    """Return for how long the request must still wait, in seconds."""
    found = wait(replace(ASKED, **fields), SETTINGS, [ASKED, *history], None, NOW)
    return None if found is None or found.until is None else found.until - NOW


def test_the_first_one_goes_at_once() -> None:
    assert wait(ASKED, SETTINGS, [ASKED], None, NOW) is None


def test_a_promotion_is_followed_by_a_cool_down() -> None:
    assert until(ended("promoted", _HOUR)) == pytest.approx(_DAY - _HOUR)
    assert until(ended("promoted", _DAY)) is None


@pytest.mark.parametrize(
    ("failures", "pause"), [(1, _HOUR), (2, 2 * _HOUR), (3, 4 * _HOUR), (9, 4 * _HOUR)]
)
def test_what_led_to_nothing_backs_off_twice_as_long_each_time(failures: int, pause: float) -> None:
    history = [ended("put_off", 60.0 * (n + 1), n) for n in range(failures)]
    assert until(*history) == pytest.approx(pause - 60)


def test_a_promotion_ends_the_back_off_and_a_cancellation_does_not_count() -> None:
    settled = ended("promoted", 2 * _DAY)
    failures = [ended("neither", 3 * _DAY, n) for n in range(5)]
    assert until(settled, *failures) is None
    assert until(ended("cancelled", 1.0), settled) is None


def test_a_training_that_failed_also_cools_down() -> None:
    assert until(ended("rejected", 0.0)) == pytest.approx(_DAY)
    assert until(ended("index", 0.0)) == pytest.approx(_HOUR)


def test_the_budget_of_30_days() -> None:
    days = [2.0, 10.0, 20.0]
    history = [ended("promoted", day * _DAY, n) for n, day in enumerate(days)]
    assert until(*history) == pytest.approx(10 * _DAY)
    assert until(*history[:2]) is None


def test_a_person_passes_all_but_what_is_under_way() -> None:
    history = [ended("promoted", 0.0, n) for n in range(9)]
    assert until(*history, source="person") is None
    taken = replace(ASKED, id="rtr-other", status=TAKEN)
    person = replace(ASKED, source="person")
    found = wait(person, SETTINGS, [person, taken], None, NOW)
    assert found is not None
    assert "rtr-other is under way" in found.told()
    rollout = Rollout("rlt-1", "production", "m-2", "m-1", {})
    found = wait(person, None, [person], rollout, NOW)
    assert found is not None
    assert found.told() == "Waits: the rollout rlt-1 is under way."


def test_only_a_person_retrains_an_alias_without_a_loop_or_by_a_source_left_out() -> None:
    assert wait(replace(ASKED, source="person"), None, [], None, NOW) is None
    found = wait(ASKED, None, [], None, NOW)
    assert found is not None
    assert "no loop" in found.told()
    few = LoopSettings.of({"sources": ["schedule"]})
    found = wait(ASKED, few, [], None, NOW)
    assert found is not None
    assert "`act` may not" in found.told()


def test_it_is_told_until_when() -> None:
    found = wait(ASKED, SETTINGS, [ended("promoted", 0.0)], None, NOW)
    assert found is not None
    assert found.told().startswith("Waits until 2001-09-10 01:46 UTC: the last retraining")
