import json
from typing import Any

import pytest

from training.rollout.plan import PlanInvalid, RolloutPlan


def test_a_plan_without_fields_has_defaults_and_comes_back_from_json() -> None:
    plan = RolloutPlan.of({})
    assert plan.shares == (0.01, 0.05, 0.25)
    assert plan.stages() == (
        "start", "staging", "shadow", "canary-1", "canary-5", "canary-25", "approval", "promote",
    )  # fmt: skip
    assert RolloutPlan.of(json.loads(json.dumps(plan.fields()))) == plan


def test_shares_name_their_stages_and_no_shadow_is_no_stage() -> None:
    plan = RolloutPlan.of({"shares": [0.005, 0.125], "shadow_share": 0.0})
    assert plan.stages()[2:4] == ("canary-0.5", "canary-12.5")


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"shadow": 1}, "`shadow`: there is no such field"),
        ({"margin": "0.03"}, "`margin`"),
        ({"margin": 0.0}, "`margin`"),
        ({"shares": []}, "`shares`"),
        ({"shares": [0.5, 0.1]}, "`shares`.*above the one before"),
        ({"shares": [0.1, 1.0]}, "`shares.1`"),
        ({"stage_requests": 0}, "`stage_requests`"),
        ({"stage_requests": 2.5}, "`stage_requests`"),
        ({"approval": "nobody"}, "`approval`"),
        ({"questions": [""]}, "`questions.0`"),
        ({"tolerance": 0.03}, "`tolerance`: must be below `margin`"),
    ],
)
def test_a_wrong_field_is_named(fields: dict[str, Any], words: str) -> None:
    with pytest.raises(PlanInvalid, match=words):
        RolloutPlan.of(fields)
