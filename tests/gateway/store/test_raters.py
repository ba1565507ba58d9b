import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from gateway.store.comparisons import BASELINE, CANDIDATE, TIE, Comparison, Comparisons, Item
from gateway.store.database import Database
from gateway.store.raters import ComparisonClosed, Raters, Vote


@pytest.fixture
def comparison(database: Database) -> Comparison:
    asked = [{"role": "user", "content": "?"}]
    items = [Item(0, asked, "old", "new") for _ in range(4)]
    made = Comparison(name="Bank", baseline="m-1", candidate="m-2")
    return Comparisons(database).add(made, items)


def test_an_invite_is_known_by_its_token_which_is_not_stored(
    database: Database, comparison: Comparison
) -> None:
    raters = Raters(database)
    made, token = raters.invite(comparison.id, " Ada ", by="key 0123abcd", lasts_s=3600)
    assert raters.by_token(token) == made == raters.get(made.id)
    assert raters.invites(comparison.id) == [made]
    assert made.name == "Ada"
    assert token.encode() not in made.digest
    for other in ("", token[:-1], token + "a", "\ud800", made.id):
        assert raters.by_token(other) is None
    assert made.is_open(time.time())
    assert not made.is_open(made.expires_at)
    assert raters.revoke(made.id)
    assert not raters.revoke(made.id)
    revoked = raters.by_token(token)
    assert revoked is not None
    assert not revoked.is_open(time.time())


@pytest.mark.parametrize(("name", "lasts_s"), [("", 3600), ("x" * 101, 3600), ("Ada", 59)])
def test_an_invite_has_a_name_and_an_end(
    database: Database, comparison: Comparison, name: str, lasts_s: float
) -> None:
    with pytest.raises(ValueError):
        Raters(database).invite(comparison.id, name, by="ada", lasts_s=lasts_s)


def test_raters_get_their_places_in_the_order_in_which_they_begin(
    database: Database, comparison: Comparison
) -> None:
    raters = Raters(database)
    invites = [raters.invite(comparison.id, f"r{n}", by="ada")[0] for n in range(4)]
    with ThreadPoolExecutor(4) as pool:
        begun = list(pool.map(raters.begin, invites))
    assert sorted(one.place for one in begun if one.place is not None) == [0, 1, 2, 3]
    again = raters.begin(begun[2])
    assert again == begun[2]
    assert again.opened_at is not None


def test_a_vote_that_is_given_twice_changes_nothing(
    database: Database, comparison: Comparison
) -> None:
    raters = Raters(database)
    first = Vote(comparison.id, 2, "inv-a", BASELINE, CANDIDATE, {"accuracy": TIE}, "gut\x00", 5.0)
    with ThreadPoolExecutor(4) as pool:
        done = list(pool.map(lambda _: raters.vote(first), range(4)))
    assert sorted(done) == [False, False, False, True]
    assert not raters.vote(Vote(comparison.id, 2, "inv-a", BASELINE, BASELINE))
    assert raters.vote(
        Vote(comparison.id, 2, "inv-b", CANDIDATE, BASELINE, note="x" * 9000, at=6.0)
    )
    votes, version = raters.votes(comparison.id)
    assert [(v.invite, v.choice, v.criteria) for v in votes] == [
        ("inv-a", CANDIDATE, {"accuracy": TIE}), ("inv-b", BASELINE, {}),
    ]  # fmt: skip
    assert [len(v.note) for v in votes] == [4, 2000]
    assert version == 6


def test_only_the_last_vote_of_a_rater_is_taken_back(
    database: Database, comparison: Comparison
) -> None:
    raters = Raters(database)
    for item, at in ((0, 1.0), (1, 2.0), (2, 3.0)):
        raters.vote(Vote(comparison.id, item, "inv-a", BASELINE, TIE, at=at))
    raters.vote(Vote(comparison.id, 2, "inv-b", BASELINE, TIE, at=4.0))
    assert raters.take_back(comparison.id, "inv-a", 1) is None
    taken = raters.take_back(comparison.id, "inv-a", 2)
    assert taken is not None
    assert (taken.item, taken.at) == (2, 3.0)
    assert raters.take_back(comparison.id, "inv-a", 2) is None
    assert [(v.invite, v.item) for v in raters.votes(comparison.id)[0]] == [
        ("inv-a", 0), ("inv-a", 1), ("inv-b", 2),
    ]  # fmt: skip


def test_what_is_closed_takes_no_vote_and_gives_none_back(
    database: Database, comparison: Comparison
) -> None:
    raters = Raters(database)
    raters.vote(Vote(comparison.id, 0, "inv-a", BASELINE, TIE))
    Comparisons(database).close(comparison.id, by="ada", why="enough")
    with pytest.raises(ComparisonClosed):
        raters.vote(Vote(comparison.id, 1, "inv-a", BASELINE, TIE))
    with pytest.raises(ComparisonClosed):
        raters.take_back(comparison.id, "inv-a", 0)
    with pytest.raises(ComparisonClosed):
        raters.vote(Vote("cmp-0", 0, "inv-a", BASELINE, TIE))
    assert len(raters.votes(comparison.id)[0]) == 1
    with pytest.raises(KeyError):
        raters.votes("cmp-0")


def test_a_choice_is_one_of_four(database: Database, comparison: Comparison) -> None:
    for choice, criteria in (("left", {}), (TIE, {"accuracy": "better"})):
        with pytest.raises(ValueError, match="candidate, baseline, tie, both_bad"):
            Raters(database).vote(Vote(comparison.id, 0, "i", BASELINE, choice, criteria))
