"""Streams change when and as they say, and hold nothing twice."""

import functools

import numpy as np
import pytest

from monitoring.bench.material import Material
from monitoring.bench.smooth import Smooth
from monitoring.bench.streams import SCENARIOS, Scenario, stream
from tests.monitoring.bench.made import known

_made = functools.partial(stream, before=200, after=400, reference=800)


@pytest.fixture(scope="module")
def material() -> Material:
    return known()


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda each: each.name)
def test_a_stream_changes_at_its_onset_and_not_before(
    material: Material, scenario: Scenario
) -> None:
    found = _made(material, scenario, 50, 1)
    assert (found.live.shape, found.onset) == ((12, 50), 4)
    before, after = found.changed[:4].mean(), found.changed[4:].mean()
    if scenario.kind == "null":
        assert not found.changed.any()
    elif scenario.kind == "shares":
        assert after == pytest.approx(scenario.share * before, rel=0.5)
    else:
        assert before == 0
        assert after == pytest.approx(scenario.share, abs=0.05)


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda each: each.name)
def test_no_question_comes_twice(material: Material, scenario: Scenario) -> None:
    found = _made(material, scenario, 50, 2)
    places = np.concatenate([found.reference, found.live.ravel()])
    # An altered form is the question that it was made of.
    for forms in material.altered.values():
        origin = dict(zip(forms[forms >= 0].tolist(), np.flatnonzero(forms >= 0), strict=True))
        places = np.asarray([origin.get(int(place), place) for place in places])
    assert len(np.unique(places)) == len(places)
    assert len(found.reference) == 800


def test_the_same_seed_gives_the_same_stream_and_another_one_another(material: Material) -> None:
    scenario = SCENARIOS[3]
    first, again, other = (_made(material, scenario, 50, seed) for seed in (1, 1, 2))
    assert (first.live == again.live).all()
    assert not (first.live == other.live).all()


def test_a_new_topic_is_of_intents_that_the_reference_lacks(material: Material) -> None:
    found = _made(material, SCENARIOS[4], 50, 5)
    new = material.intents[found.live[found.changed]]
    assert len(np.unique(new)) > 1
    assert not np.isin(new, material.intents[found.reference]).any()
    assert not np.isin(new, material.intents[found.live[~found.changed]]).any()


def test_more_questions_than_there_are_is_an_error(material: Material) -> None:
    with pytest.raises(ValueError, match="a stream needs"):
        stream(material, SCENARIOS[0], 50, 1, before=2000, after=2000, reference=800)


def test_smooth_material_is_new_and_lies_where_the_questions_lie(material: Material) -> None:
    drawn, found = Smooth(material).null(20, 50, 1)
    assert found.live.shape == (20, 50)
    assert len(np.unique(drawn.vectors, axis=0)) == len(drawn.vectors)
    assert np.linalg.norm(drawn.vectors, axis=1) == pytest.approx(1, abs=1e-5)
    real = material.vectors[: material.plain]
    assert np.abs(real.mean(axis=0) - drawn.vectors.mean(axis=0)).max() < 0.02
    assert (drawn.vectors[:500] @ real.T).max(axis=1).min() > 0.4
