"""The monitor's own evidence on streams."""

import math

import pytest

from monitoring.bench.material import Material
from monitoring.bench.plan import LONG, Plan, Runner
from monitoring.bench.streams import SCENARIOS, stream
from monitoring.bench.summary import alarm
from monitoring.bench.watched import losses, watch
from tests.monitoring.bench.made import known


@pytest.fixture(scope="module")
def material() -> Material:
    return known()


def test_a_new_topic_raises_the_evidence_after_its_onset(material: Material) -> None:
    made = stream(material, SCENARIOS[4], 50, 1, before=300, after=500, reference=700)
    found = watch(material, made, 1)
    assert set(found.evidence) == {"far", "crowded", "length", "language", "all"}
    assert {len(trace) for trace in found.evidence.values()} == {16}
    first = alarm(found.evidence["all"], math.log10(1000))
    assert first is not None
    assert 6 <= first < 16
    assert found.cpu_ms > 0


def test_no_change_gives_no_evidence(material: Material) -> None:
    made = stream(material, SCENARIOS[0], 50, 1, before=300, after=500, reference=900)
    found = watch(material, made, 1)
    assert max(found.evidence["all"]) < math.log10(50)
    assert found.harm is None


def test_a_classifier_is_wrong_about_what_the_reference_lacks(material: Material) -> None:
    made = stream(material, SCENARIOS[4], 50, 1, before=300, after=500, reference=700)
    wrong = losses(material, made)
    assert wrong[made.changed].mean() == 1
    assert wrong[~made.changed].mean() < 0.05


def test_the_plan_starts_with_one_of_each(material: Material) -> None:
    keys = list(Plan(runs=2, nulls=3, peers=0).keys({}))
    assert len(keys) == 2 * (len(SCENARIOS) - 1) + 2 * 3
    assert [key.scenario for key in keys[: len(SCENARIOS) + 1]] == [
        *[each.name for each in SCENARIOS], LONG.name,
    ]  # fmt: skip
    assert len(set(keys)) == len(keys)
    assert Runner(material, {}, "")
