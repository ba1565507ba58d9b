import pytest

from gateway.comparing.consensus import SPLIT, Decided, consensus, majority
from gateway.store.comparisons import CANDIDATE
from gateway.store.raters import Vote
from tests.gateway.comparing.voting import votes

_PLAIN = dict.fromkeys(range(10), False)
_GOLDS = _PLAIN | {7: True, 8: True, 9: True}


@pytest.mark.parametrize(
    ("said", "choice", "sign"),
    [
        ("ccb", "candidate", 1),
        ("bcb", "baseline", -1),
        ("ttc", "tie", 0),
        ("xxb", "both_bad", 0),
        ("cbt", SPLIT, 0),
        ("ctx", SPLIT, 0),
    ],
)
def test_two_of_three_decide(said: str, choice: str, sign: int) -> None:
    given = votes(*(f"r{n} 0 {letter}" for n, letter in enumerate(said)))
    assert consensus(given[:2], _PLAIN, 3, 0.7).decided == []
    decided = consensus(given, _PLAIN, 3, 0.7).decided
    assert [(one.item, one.choice, one.sign) for one in decided] == [(0, choice, sign)]


def test_a_fourth_vote_does_not_change_what_three_decided() -> None:
    given = votes("a 0 c", "b 0 c", "d 0 b", "e 0 b", "f 0 b")
    assert consensus(given, _PLAIN, 3, 0.7).decided[0].choice == "candidate"
    assert consensus(given, _PLAIN, 5, 0.7).decided[0].choice == "baseline"


def test_more_than_half_is_needed() -> None:
    assert majority(["candidate", "candidate", "baseline", "baseline"], 4) == SPLIT
    assert majority(["candidate", "candidate", "candidate", "baseline"], 4) == "candidate"
    assert majority([], 3) == SPLIT


def test_a_rater_counts_once_the_gold_items_are_right_and_so_do_earlier_votes() -> None:
    others = votes("a 7 c", "a 8 c", "a 9 c", "b 7 c", "b 8 c", "b 9 c", "a 0 c", "b 0 c")
    late = votes("d 0 b", "d 1 c", "d 7 c", "d 8 b", "d 9 c")
    assert consensus([*others, *late[:4]], _GOLDS, 3, 0.6).decided == []
    found = consensus([*others, *late], _GOLDS, 3, 0.6)
    assert [one.item for one in found.decided] == [0]
    assert [vote.invite for vote in found.decided[0].votes] == ["a", "b", "d"]
    assert found.raters["d"].accuracy == pytest.approx(2 / 3)
    assert consensus([*others, *late], _GOLDS, 3, 0.7).decided == []


def test_who_gets_gold_items_wrong_is_left_out_of_what_comes() -> None:
    many = dict.fromkeys(range(6), False) | dict.fromkeys(range(6, 12), True)
    good = [f"{r} {g} c" for r in "abd" for g in (6, 7, 8)]
    begun = [*good, "a 0 c", "b 0 c", "d 0 c", "d 1 b"]
    wrong = ["d 9 b", "d 10 b", "d 11 b"]
    after = ["a 1 c", "b 1 c", "d 2 b", "a 2 c", "b 2 c"]
    found = consensus(votes(*begun, *wrong, *after), many, 3, 0.7)
    # What was decided stays; nothing is decided with their help any more.
    assert [one.item for one in found.decided] == [0]
    assert len(found.by_item[1]) == 3
    replaced = consensus(
        votes(*begun, *wrong, *after, *(f"e {g} c" for g in (6, 7, 8)), "e 1 b", "e 2 c"),
        many, 3, 0.7,
    )  # fmt: skip
    assert [(one.item, one.choice) for one in replaced.decided] == [
        (0, "candidate"), (1, "candidate"), (2, "candidate"),
    ]  # fmt: skip


def test_a_criterion_is_decided_where_most_said_something() -> None:
    def vote(rater: str, **criteria: str) -> Vote:
        return Vote("c", 0, rater, CANDIDATE, CANDIDATE, criteria)

    decided = Decided(0, CANDIDATE, (vote("a", tone="tie"), vote("b", tone="tie"), vote("c")))
    assert decided.on("tone") == "tie"
    assert decided.on("accuracy") is None
    lone = Decided(0, CANDIDATE, (vote("a", tone="tie"), vote("b"), vote("c")))
    assert lone.on("tone") is None
