import random

import msgspec
import pytest

from retrieval.benefit import ALPHA_HARM, STAKES, Benefit


def _run(benefit: Benefit, grounded: float, plain: float, requests: int, seed: int) -> int | None:
    """Return after how many requests `off` changed first."""
    chance = random.Random(seed)
    for number in range(requests):
        retrieved = chance.random() < 0.8
        score = float(chance.random() < (grounded if retrieved else plain))
        if benefit.observe(retrieved=retrieved, score=score):
            return number + 1
    return None


@pytest.mark.slow
@pytest.mark.parametrize("level", [0.1, 0.5, 0.9])
def test_it_seldom_switches_off_where_nothing_is_harmed(level: float) -> None:
    """Without harm, at most alpha of the topics are ever switched off, looked at every time."""
    runs = 400
    alarms = sum(_run(Benefit(), level, level, 1500, seed) is not None for seed in range(runs))
    assert alarms <= runs * ALPHA_HARM + 3 * (runs * ALPHA_HARM) ** 0.5


def test_it_never_switches_off_where_retrieval_helps() -> None:
    assert all(_run(Benefit(), 0.8, 0.6, 1500, seed) is None for seed in range(50))


def test_it_switches_off_where_retrieval_harms() -> None:
    found = [_run(Benefit(), 0.4, 0.7, 3000, seed) for seed in range(50)]
    assert all(found)
    assert sorted(number for number in found if number)[25] < 1200


def test_it_switches_on_again_where_retrieval_helps_again() -> None:
    benefit = Benefit()
    assert _run(benefit, 0.3, 0.8, 3000, 1)
    assert benefit.off
    assert benefit.pairs == 0
    assert benefit.harm == [0.0] * len(STAKES)
    assert _run(benefit, 0.9, 0.4, 3000, 2)
    assert not benefit.off


def test_evidence_grows_with_each_pair_and_not_before() -> None:
    benefit = Benefit()
    benefit.observe(retrieved=True, score=0.0)
    assert benefit.pairs == 0
    assert benefit.evidence_of_harm == 1.0
    benefit.observe(retrieved=False, score=1.0)
    assert benefit.pairs == 1
    assert benefit.evidence_of_harm > 1.0 > benefit.evidence_of_help
    assert benefit.difference == -1.0


def test_several_that_wait_are_paired_as_their_mean() -> None:
    benefit = Benefit()
    for score in (1.0, 0.0):
        benefit.observe(retrieved=True, score=score)
    benefit.observe(retrieved=False, score=0.5)
    assert benefit.pairs == 1
    assert benefit.evidence_of_harm == benefit.evidence_of_help == 1.0


def test_it_can_be_stored_and_gone_on_with() -> None:
    benefit = Benefit()
    _run(benefit, 0.5, 0.6, 100, 3)
    again = msgspec.json.decode(msgspec.json.encode(benefit), type=Benefit)
    assert again == benefit


@pytest.mark.parametrize("score", [-0.1, 1.1, float("nan")])
def test_a_score_is_a_share(score: float) -> None:
    with pytest.raises(ValueError, match="between 0 and 1"):
        Benefit().observe(retrieved=True, score=score)
