from gateway.comparing.assigning import open_places, order
from gateway.store.comparisons import BASELINE, CANDIDATE
from tests.gateway.comparing.voting import comparison, invite

_GOLDS = {number: number % 10 == 9 for number in range(60)}


def test_each_side_is_shown_as_often_over_raters_and_over_items() -> None:
    made = comparison()
    shown = [order(made, invite(f"r{n}", n), _GOLDS) for n in range(4)]
    lefts = [{place.item: place.left for place in places} for places in shown]
    for item in _GOLDS:
        assert sorted(left[item] for left in lefts) == [BASELINE] * 2 + [CANDIDATE] * 2
    for left in lefts:
        assert list(left.values()).count(CANDIDATE) == 30
    assert all(place.right != place.left for place in shown[0])


def test_raters_have_orders_of_their_own_which_stay() -> None:
    made = comparison()
    first, second = (order(made, invite(id, 0), _GOLDS) for id in ("a", "b"))
    assert first == order(made, invite("a", 0), _GOLDS)
    assert [place.item for place in first] != [place.item for place in second]
    assert sorted(place.item for place in first) == list(range(60))
    other = order(comparison(seed="other"), invite("a", 0), _GOLDS)
    assert [place.item for place in other] != [place.item for place in first]


def test_gold_items_come_early_and_are_not_the_first() -> None:
    made = comparison()
    orders = [order(made, invite(f"r{n}", n), _GOLDS) for n in range(60)]
    early = [[_GOLDS[place.item] for place in places[:6]] for places in orders]
    assert all(sum(golds) == 3 for golds in early)
    first = sum(golds[0] for golds in early)
    assert 15 < first < 45
    # The rest of them is anywhere.
    places = [n for each in orders for n, place in enumerate(each[6:]) if _GOLDS[place.item]]
    assert min(places) < 5
    assert max(places) > 48


def test_what_has_votes_enough_is_not_asked_but_gold_items_are() -> None:
    places = order(comparison(), invite("a"), _GOLDS)
    full = {number for number in _GOLDS if number < 30}
    left = open_places(places, _GOLDS, {59}, {}, full)
    items = {places[index].item for index in left}
    assert items == set(range(30, 59)) | {9, 19, 29}
    assert len(left) == len(items)


def test_what_others_have_begun_comes_first_and_gold_items_in_their_turn() -> None:
    places = order(comparison(), invite("a"), _GOLDS)
    given = {3: 2, 11: 1, 12: 1}
    voted: list[int] = []
    while left := open_places(places, _GOLDS, voted, given, ()):
        voted.append(places[left[0]].item)
    assert sorted(voted) == sorted(_GOLDS)
    first, *others = [item for item in voted if not _GOLDS[item]][:3]
    assert (first, set(others)) == (3, {11, 12})
    turns = [n for n, place in enumerate(places) if _GOLDS[place.item]]
    assert [n for n, item in enumerate(voted) if _GOLDS[item]] == turns
