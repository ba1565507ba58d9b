"""Every fault of `loadtests/chaos` against Driftgate: nothing lost, nothing wrong."""

import os
from typing import TYPE_CHECKING

import pytest

from loadtests.chaos import scenarios
from loadtests.chaos.scenarios import Scenario
from loadtests.chaos.scenarios_fuzz import fuzz
from loadtests.chaos.score import Score

if TYPE_CHECKING:
    from .conftest import Kept

pytestmark = pytest.mark.chaos

# Without a fault of Driftgate's they recover within this time, in seconds.
_RECOVERY_S = 5.0
_SEED = 1
_FEW = 2000


def _passes(score: Score) -> None:
    if score.skipped:
        if os.environ.get("CI"):
            pytest.fail(score.skipped)
        pytest.skip(score.skipped)
    assert (score.lost, score.wrong) == (0, 0), score.describe()
    assert score.good > 0, score.describe()
    if score.recovered_s is not None:
        assert score.recovered_s < _RECOVERY_S


def _parameters() -> list[object]:
    found: list[object] = []
    for scenario in scenarios.ALL:
        if scenario is not fuzz:
            found.append(pytest.param(scenario, id=scenarios.name(scenario)))
    return found


@pytest.mark.parametrize("scenario", _parameters())
async def test_nothing_is_lost_or_wrong(scenario: Scenario, driftgate: "Kept") -> None:
    _passes(await scenario(driftgate))


async def test_no_request_crashes_the_gateway(driftgate: "Kept") -> None:
    _passes(await fuzz(driftgate, _FEW, _SEED))
