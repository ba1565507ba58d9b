from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import pytest

from gateway.store.comparisons import Comparison, ComparisonInvalid, Comparisons, Item
from gateway.store.database import Database


def _items(count: int, golds: int = 0) -> list[Item]:
    def item(number: int, gold: bool) -> Item:
        asked = [{"role": "user", "content": f"Frage {number}?\x00"}]
        return Item(0, asked, f"old {number} gold={gold}", f"new {number}", gold)

    return [item(n, False) for n in range(count)] + [item(n, True) for n in range(golds)]


def _comparison(**values: Any) -> Comparison:
    known: dict[str, Any] = {"name": "Bank", "baseline": "m-1", "candidate": "m-2"}
    return Comparison(**known | values)


def test_a_comparison_is_read_back_with_its_items(database: Database) -> None:
    comparisons = Comparisons(database)
    made = comparisons.add(_comparison(alias="production"), _items(5, golds=2))
    assert comparisons.get(made.id) == made
    assert (made.items, made.golds, made.version, made.standing) == (5, 2, 0, None)
    items = comparisons.items(made.id)
    assert [item.number for item in items] == list(range(7))
    assert sorted((i.baseline, i.gold) for i in items) == sorted(
        [(f"old {n} gold=False", False) for n in range(5)]
        + [(f"old {n} gold=True", True) for n in range(2)]
    )
    assert comparisons.golds(made.id) == {item.number: item.gold for item in items}
    assert comparisons.item(made.id, 3) == items[3]
    assert comparisons.item(made.id, 7) is None
    assert "\x00" not in str(items)
    assert comparisons.get("cmp-0") is None


def test_gold_items_do_not_lie_together(database: Database) -> None:
    comparisons = Comparisons(database)
    made = comparisons.add(_comparison(), _items(200, golds=20))
    places = [number for number, gold in comparisons.golds(made.id).items() if gold]
    assert min(places) < 100 < max(places)


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"name": " "}, "`name`"),
        ({"candidate": "m-1"}, "`candidate` must be another"),
        ({"criteria": ["tone", "tone"]}, "`criteria`"),
        ({"criteria": [""]}, "`criteria`"),
        ({"raters": 2}, "`raters` is from 3"),
        ({"margin": 0.0}, "`margin`"),
        ({"alpha": 1.0}, "`alpha`"),
        ({"gold_accuracy": 1.1}, "`gold_accuracy`"),
    ],
)
def test_what_makes_no_sense_is_refused_by_its_field(
    database: Database, values: dict[str, Any], said: str
) -> None:
    with pytest.raises(ComparisonInvalid, match=said):
        Comparisons(database).add(_comparison(**values), _items(3))
    assert Comparisons(database).page() == ([], False)


def test_gold_items_alone_compare_nothing(database: Database) -> None:
    with pytest.raises(ComparisonInvalid, match="`items`"):
        Comparisons(database).add(_comparison(), _items(0, golds=3))


def test_the_comparisons_of_two_releases_are_found(database: Database) -> None:
    comparisons = Comparisons(database)
    older = comparisons.add(_comparison(created_at=1.0), _items(1))
    newer = comparisons.add(_comparison(created_at=2.0), _items(1))
    comparisons.add(_comparison(candidate="m-3", created_at=3.0), _items(1))
    assert comparisons.between("m-1", "m-2") == [newer, older]
    assert comparisons.between("m-2", "m-1") == []


def test_pages_go_from_the_newest_to_the_oldest(database: Database) -> None:
    comparisons = Comparisons(database)
    made = [
        comparisons.add(_comparison(alias="a" if n % 2 else None, created_at=float(n)), _items(1))
        for n in range(5)
    ]
    first, more = comparisons.page(limit=3)
    assert [one.id for one in first] == [one.id for one in made[:1:-1]]
    assert more
    rest, more = comparisons.page(after=first[-1].id)
    assert [one.id for one in rest] == [made[1].id, made[0].id]
    assert not more
    assert [one.id for one in comparisons.page(alias="a")[0]] == [made[3].id, made[1].id]
    with pytest.raises(KeyError):
        comparisons.page(after="cmp-0")


def test_a_standing_of_an_older_version_is_not_written(database: Database) -> None:
    comparisons = Comparisons(database)
    made = comparisons.add(_comparison(), _items(1))
    assert not comparisons.conclude(made.id, 1, {"verdict": "PASS"})
    assert comparisons.conclude(made.id, 0, {"verdict": "INCONCLUSIVE"})
    assert comparisons.get(made.id) == replace(made, standing={"verdict": "INCONCLUSIVE"})


def test_of_two_who_close_it_one_does(database: Database) -> None:
    comparisons = Comparisons(database)
    made = comparisons.add(_comparison(), _items(1))
    with ThreadPoolExecutor(2) as pool:
        done = list(
            pool.map(lambda by: comparisons.close(made.id, by=by, why="enough"), ("ada", "bob"))
        )
    assert sorted(done) == [False, True]
    closed = comparisons.get(made.id)
    assert closed is not None
    assert closed.closed_at is not None
    assert closed.closed_by == ("ada" if done[0] else "bob")
