import random
import re
from collections.abc import Sequence
from pathlib import Path

import pytest

from gateway.comparing.evidence import SIGNS, SignTest, expected_items, limits

_MARGIN, _ALPHA = 0.2, 0.05


def _run(chance: random.Random, weights: Sequence[float], items: int) -> SignTest:
    test = SignTest(_MARGIN, _ALPHA)
    for sign in chance.choices(SIGNS, weights, k=items):
        test.observe(sign)
    return test


@pytest.mark.parametrize(
    ("weights", "kinds"),
    [
        # Worse by exactly the margin: it neither passes nor fails.
        ((0.45, 0.30, 0.25), ({"better", "not_worse"}, {"worse"})),
        ((0.35, 0.30, 0.35), ({"better"},)),  # as good
        ((0.50, 0.00, 0.50), ({"better"},)),  # as good, and nobody calls it a tie
    ],
)
def test_looked_at_after_each_item_it_is_seldom_wrong(
    weights: Sequence[float], kinds: Sequence[set[str]]
) -> None:
    chance, runs = random.Random(8), 250
    found = [_run(chance, weights, 100).shown for _ in range(runs)]
    for wrong in kinds:
        # 250 runs of a true 5 % stay below 9.5 % but in one of a thousand cases.
        assert sum(shown in wrong for shown in found) / runs <= _ALPHA + 0.045


@pytest.mark.parametrize(
    ("weights", "right"),
    [
        ((0.15, 0.20, 0.65), {"better", "not_worse"}),
        ((0.70, 0.20, 0.10), {"worse"}),
        ((0.20, 0.60, 0.20), {"not_worse"}),
    ],
)
def test_what_is_so_is_found(weights: Sequence[float], right: set[str]) -> None:
    chance = random.Random(9)
    found = [_run(chance, weights, 250).shown for _ in range(40)]
    assert sum(shown in right for shown in found) >= 34


def test_better_is_never_shown_before_not_worse() -> None:
    chance = random.Random(10)
    for _ in range(20):
        for better, not_worse, _ in _run(chance, (0.2, 0.3, 0.5), 60).curve:
            assert better <= not_worse


def test_what_was_shown_stays_shown() -> None:
    test = SignTest(_MARGIN, _ALPHA)
    for _ in range(30):
        test.observe(1)
    shown, at = test.shown, test.at
    assert shown in ("better", "not_worse")
    assert at is not None
    assert at < 10
    for _ in range(200):
        test.observe(-1)
    assert (test.shown, test.at) == (shown, at)
    assert test.curve[-1][0] < test.curve[29][0]


def test_each_limit_holds_at_all_times_together() -> None:
    chance, runs, above, below = random.Random(11), 120, 0, 0
    for _ in range(runs):
        test = _run(chance, (0.3, 0.3, 0.4), 100)
        assert -1 <= test.limits.low <= test.limits.high <= 1
        above += test.limits.low > 0.1
        below += test.limits.high < 0.1
    # The limits only close in, so the last ones have left the mean out if any have.
    assert max(above, below) / runs <= _ALPHA + 0.06


def test_the_limits_say_what_the_verdict_says() -> None:
    chance, seen = random.Random(13), 0
    for _ in range(30):
        test = _run(chance, (0.25, 0.2, 0.55), 80)
        if test.shown == "not_worse":
            seen += 1
            assert test.limits.low >= -_MARGIN - 1e-3
        elif test.shown == "better":
            assert test.limits.low >= -1e-3
        elif test.shown is None:
            assert test.limits.low <= -_MARGIN
    assert seen > 10


def test_limits_of_nothing_say_nothing_and_close_in_with_more() -> None:
    assert (limits({}, 0.05).low, limits({}, 0.05).high) == (-1.0, 1.0)
    narrow = [limits({1: n, 0: n, -1: n}, 0.05) for n in (10, 100, 1000)]
    assert narrow[0].high > narrow[1].high > narrow[2].high > 0
    assert narrow[2].high == pytest.approx(-narrow[2].low, abs=0.001)
    assert narrow[2].high < 0.08


def test_what_is_still_missing_is_about_what_it_takes() -> None:
    test = SignTest(_MARGIN, _ALPHA)
    assert test.missing() is None
    guesses = []
    for n in range(2000):
        test.observe((1, 0, -1, 0, 1, -1)[n % 6])
        if test.shown is not None:
            break
        guesses.append(test.missing())
    assert test.shown == "not_worse"
    taken = len(guesses) - 29
    assert guesses[29] == pytest.approx(taken, rel=0.2)
    assert guesses[-1] in (1, 2, 3)


def test_a_better_candidate_takes_fewer_items() -> None:
    better, good = expected_items(0.4, 0.2, 0.15, 0.05), expected_items(0.0, 0.4, 0.15, 0.05)
    assert better is not None
    assert good is not None
    assert better < 30 < 200 < good < 300
    assert expected_items(-0.15, 0.4, 0.15, 0.05) is None
    with pytest.raises(ValueError):
        expected_items(0.5, 0.8, 0.15, 0.05)


def test_the_table_of_the_guide_is_computed() -> None:
    guide = (Path(__file__).parents[3] / "docs" / "comparison.md").read_text("utf-8")
    rows = re.findall(r"^\| (\d+) points(?: \(default\))? \| (.+) \|$", guide, re.MULTILINE)
    assert [int(row[0]) for row in rows] == [10, 15, 20]
    for margin, told in rows:
        truths = ((0.4, 0.2), (0.2, 0.4), (0.0, 0.4), (0.0, 0.6))
        found = [expected_items(*truth, int(margin) / 100, 0.05) for truth in truths]
        assert [int(each) for each in told.split(" | ")] == found
