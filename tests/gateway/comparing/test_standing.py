import json
import random
from typing import Any

import pytest

from gateway.comparing.standing import standing
from gateway.store.comparisons import BASELINE, CANDIDATE, TIE, Comparison
from gateway.store.raters import Vote
from tests.gateway.comparing.voting import LETTERS, comparison, votes


def _rated(said: str, **values: Any) -> dict[str, Any]:
    """Return the standing where three raters all say the same of each item."""
    given = votes(*(f"r{r} {n} {letter}" for n, letter in enumerate(said) for r in range(3)))
    made = comparison(**{"items": len(said)} | values)
    return standing(made, dict.fromkeys(range(len(said)), False), given)


def test_before_the_first_vote_nothing_is_shown() -> None:
    found = standing(comparison(), dict.fromkeys(range(100), False), [])
    assert (found["verdict"], found["shown"], found["agreement"]) == ("INCONCLUSIVE", None, None)
    assert found["reason"] == "No item is decided yet: each takes 3 votes that count."
    assert found["preference"] == {"value": 0.0, "low": -1.0, "high": 1.0}
    assert found["left_share"] is None
    json.dumps(found, allow_nan=False)


@pytest.mark.parametrize(
    ("said", "verdict", "shown"),
    [("c" * 20, "PASS", {"better", "not_worse"}), ("b" * 20, "FAIL", {"worse"})],
)
def test_a_clear_case_gets_its_verdict(said: str, verdict: str, shown: set[str]) -> None:
    found = _rated(said)
    assert found["verdict"] == verdict
    assert found["shown"] in shown
    assert found["shown_at"] < 20
    assert found["reason"].startswith("m-2 is ")
    assert found["decided"] == 20
    assert found["votes"] == 60


def test_too_few_are_inconclusive_and_it_says_how_many_more() -> None:
    found = _rated("cbtcbtcbtcbt", items=40)
    assert found["verdict"] == "INCONCLUSIVE"
    assert found["consensus"] == {
        "candidate": 4, "baseline": 4, "tie": 4, "both_bad": 0, "split": 0,
    }  # fmt: skip
    assert found["missing"] > 100
    assert "28 items wait for votes" in found["reason"]
    assert f"about {found['missing']:,} more" in found["reason"]
    assert "no item is left to vote on" in _rated("cbtcbtcbtcbt")["reason"]
    assert found["win_rate"]["value"] == 0.5


def test_criteria_agreement_and_sides_are_told() -> None:
    chance = random.Random(4)
    given = [
        Vote(
            "c", item, f"r{rater}", BASELINE if item % 2 else CANDIDATE, CANDIDATE,
            {"accuracy": CANDIDATE, "tone": chance.choice((CANDIDATE, BASELINE, TIE))},
        )
        for item in range(40)
        for rater in range(3)
    ]  # fmt: skip
    made = comparison(criteria=["accuracy", "tone"])
    found = standing(made, dict.fromkeys(range(40), False), given)
    assert found["agreement"] is None  # all said the same of all: chance could not go wrong
    assert found["criteria"]["accuracy"]["preference"]["value"] == 1.0
    assert abs(found["criteria"]["tone"]["agreement"]) < 0.2
    assert abs(found["criteria"]["tone"]["preference"]["value"]) < 0.4
    assert found["left_share"] == 0.5


def test_the_votes_of_who_fails_the_gold_items_do_not_count() -> None:
    golds = dict.fromkeys(range(20), False) | dict.fromkeys(range(20, 23), True)
    lines = [f"r{r} {g} c" for r in range(3) for g in range(20, 23)]
    lines += [f"bad {g} b" for g in range(20, 23)]
    lines += [f"{r} {n} {'b' if r == 'bad' else 'c'}" for n in range(20)
              for r in ("bad", "r0", "r1", "r2")]  # fmt: skip
    found = standing(comparison(items=20, golds=3), golds, votes(*lines))
    assert found["verdict"] == "PASS"
    assert found["raters"]["bad"] == {
        "votes": 20, "golds": 3, "right": 0, "accuracy": 0.0, "counts": False,
        "why": "0 of 3 gold items right, 70% are asked for",
    }  # fmt: skip
    assert found["raters"]["r0"]["counts"]
    assert found["consensus"]["candidate"] == 20
    assert found["votes"] == 80
    few = standing(comparison(), golds, votes("new 20 c"))
    assert few["raters"]["new"]["why"] == "1 of 3 gold items answered so far"


def test_a_long_curve_is_thinned_and_keeps_its_end() -> None:
    found = _rated("cbt" * 200)
    assert len(found["curve"]) <= 201
    assert found["curve"][-1][0] == 600
    assert found["curve"][-1][2] > found["curve"][0][2]


def test_raters_at_random_seldom_get_a_verdict() -> None:
    chance, runs, wrong = random.Random(12), 60, 0
    made: Comparison = comparison(items=40)
    for _ in range(runs):
        given = votes(*(f"r{r} {n} {chance.choice(list(LETTERS))}"
                        for n in range(40) for r in range(3)))  # fmt: skip
        found = standing(made, dict.fromkeys(range(40), False), given)
        wrong += found["shown"] in ("better", "worse")
    assert wrong / runs <= 0.1
