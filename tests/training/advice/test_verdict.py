import random

import pytest

from training.advice.measured import System
from training.advice.verdict import judge
from training.evaluation.intervals import wilson


def _system(name: str, right: int, n: int, latency: float | None = None) -> System:
    found = wilson(right, n)
    return System(name, found.value, found.low, found.high, 0.95, n, latency, {})


def _cases(name: str, outcomes: list[bool]) -> System:
    found = wilson(sum(outcomes), len(outcomes))
    by_id = {str(n): right for n, right in enumerate(outcomes)}
    return System(name, found.value, found.low, found.high, 0.95, found.n, None, by_id)


def test_the_dearer_system_is_taken_where_it_is_shown_to_be_better() -> None:
    verdict = judge([_system("base", 10, 200), _system("fine-tuned", 147, 200)], 0.03)
    assert verdict is not None
    assert verdict.take.name == "fine-tuned"
    assert not verdict.open
    (difference,) = verdict.differences
    assert difference.low < difference.value < difference.high
    assert difference.missing == 0


def test_the_cheaper_one_is_taken_and_the_open_question_told() -> None:
    verdict = judge([_system("base", 100, 200), _system("fine-tuned", 108, 200)], 0.03)
    assert verdict is not None
    assert verdict.take.name == "base"
    (difference,) = verdict.open
    assert difference.missing > 0
    # With that many more cases of the same kind it is decided.
    n = 200 + difference.missing
    again = judge([_system("base", n // 2, n), _system("fine-tuned", round(n * 0.54), n)], 0.03)
    assert again is not None
    assert not again.open


def test_a_gain_that_is_too_small_is_not_taken() -> None:
    many = 400_000
    verdict = judge([_system("base", 200_000, many), _system("fine-tuned", 204_000, many)], 0.03)
    assert verdict is not None
    assert verdict.take.name == "base"
    assert not verdict.open


def test_the_same_cases_decide_with_fewer_of_them() -> None:
    base = [n % 2 == 0 for n in range(200)]
    tuned = [right or n % 20 == 1 for n, right in enumerate(base)]  # 10 gains and no loss
    paired = judge([_cases("base", base), _cases("fine-tuned", tuned)], 0.01)
    apart = judge([_system("base", 100, 200), _system("fine-tuned", sum(tuned), 200)], 0.01)
    assert paired is not None
    assert apart is not None
    assert paired.take.name == "fine-tuned"
    assert apart.take.name == "base"


def test_what_is_too_slow_is_left_out() -> None:
    systems = [_system("base", 10, 200, 1.0), _system("fine-tuned", 147, 200, 3.0)]
    verdict = judge(systems, 0.03, latency_p95_s=2.0)
    assert verdict is not None
    assert verdict.take.name == "base"
    assert [system.name for system in verdict.too_slow] == ["fine-tuned"]
    assert judge(systems, 0.03, latency_p95_s=0.5) is None


@pytest.mark.parametrize("n", [100, 400])
def test_equal_systems_are_called_different_in_at_most_5_percent_of_runs(n: int) -> None:
    draw = random.Random(4)
    names = ("base", "base+retrieval", "fine-tuned", "fine-tuned+retrieval")
    runs, wrong, covered = 400, 0, 0
    for _ in range(runs):
        systems = [_system(name, sum(draw.random() < 0.6 for _ in range(n)), n) for name in names]
        verdict = judge(systems, 0.001)
        assert verdict is not None
        wrong += verdict.take.name != "base"
        covered += all(d.low <= 0 <= d.high for d in verdict.differences)
    assert wrong / runs <= 0.05
    assert covered / runs >= 0.93


def test_a_better_system_is_found() -> None:
    draw = random.Random(5)
    found = 0
    for _ in range(100):
        base, tuned = (sum(draw.random() < p for _ in range(200)) for p in (0.4, 0.6))
        verdict = judge([_system("base", base, 200), _system("fine-tuned", tuned, 200)], 0.03)
        found += verdict is not None and verdict.take.name == "fine-tuned"
    assert found >= 95
