"""The desk without HTTP: raters at once, what it writes, when it closes."""

import shutil
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from gateway.rating.desk import Desk, Done, Sheet, text_of
from gateway.store.comparisons import Comparison, Comparisons, Item
from gateway.store.database import Database
from gateway.store.raters import Invite, Raters


@pytest.fixture
def database(empty_store: Path, tmp_path: Path) -> Iterator[Database]:
    shutil.copy(empty_store, tmp_path / "x.db")
    opened = Database(f"sqlite:///{tmp_path / 'x.db'}")
    yield opened
    opened.close()


def _made(database: Database, items: int, **fields: object) -> Comparison:
    asked = [{"role": "user", "content": "?"}]
    every = [Item(0, asked, f"{n} OLD", f"{n} NEW") for n in range(items)]
    made = Comparison(name="c", baseline="m-1", candidate="m-2", **fields)  # type: ignore[arg-type]
    return Comparisons(database).add(made, every)


def _rater(database: Database, comparison: Comparison, name: str) -> Invite:
    raters = Raters(database)
    return raters.begin(raters.invite(comparison.id, name, by="ada")[0])


def _rate(database: Database, comparison: Comparison, name: str) -> int:
    """Vote on all that is shown, for the new release."""
    desk, invite, done = Desk(database), _rater(database, comparison, name), 0
    while isinstance(sheet := desk.look(comparison, invite), Sheet):
        side = "left" if "NEW" in sheet.left else "right"
        desk.say(comparison, invite, sheet.place, side, {}, "")
        done += 1
    return done


def test_raters_at_once_leave_a_standing_with_all_votes(database: Database) -> None:
    comparison = _made(database, 12, stops_early=False)
    with ThreadPoolExecutor(3) as pool:
        done = list(pool.map(lambda name: _rate(database, comparison, name), "abc"))
    assert done == [12, 12, 12]
    found = Comparisons(database).get(comparison.id)
    assert found is not None
    assert found.standing is not None
    assert (found.standing["votes"], found.standing["decided"]) == (36, 12)
    assert found.standing == Desk(database).reckon(comparison.id)


def test_what_three_have_decided_is_not_shown_to_a_fourth(database: Database) -> None:
    comparison = _made(database, 5, stops_early=False)
    for name in "abc":
        _rate(database, comparison, name)
    assert Desk(database).look(comparison, _rater(database, comparison, "d")) == Done(0, None)


def test_raters_who_stop_half_way_have_decided_as_much_as_they_can(database: Database) -> None:
    comparison = _made(database, 40, stops_early=False)
    desk = Desk(database)
    for name in "abc":
        invite = _rater(database, comparison, name)
        for _ in range(20):
            sheet = desk.look(comparison, invite)
            assert isinstance(sheet, Sheet)
            desk.say(comparison, invite, sheet.place, "tie", {}, "")
    assert desk.reckon(comparison.id)["decided"] == 20


def test_it_closes_itself_only_where_it_may(database: Database) -> None:
    for stops_early in (True, False):
        comparison = _made(database, 16, stops_early=stops_early)
        for name in "ab":
            _rate(database, comparison, name)
        desk, invite = Desk(database), _rater(database, comparison, "c")
        for _ in range(8):
            sheet = desk.look(comparison, invite)
            assert isinstance(sheet, Sheet)
            side = "left" if "NEW" in sheet.left else "right"
            desk.say(comparison, invite, sheet.place, side, {}, "")
            found = Comparisons(database).get(comparison.id)
            assert found is not None
            if found.closed_at is not None:
                break
        assert found is not None
        assert found.standing is not None
        assert found.standing["verdict"] == "PASS"
        assert (found.closed_at is not None) == stops_early


def test_a_vote_taken_back_leaves_the_standing(database: Database) -> None:
    comparison = _made(database, 3)
    desk, invite = Desk(database), _rater(database, comparison, "a")
    sheet = desk.look(comparison, invite)
    assert isinstance(sheet, Sheet)
    desk.say(comparison, invite, sheet.place, "tie", {}, "")
    assert desk.take_back(comparison, invite, sheet.place)
    assert not desk.take_back(comparison, invite, sheet.place)
    found = Comparisons(database).get(comparison.id)
    assert found is not None
    assert found.standing is not None
    assert found.standing["votes"] == 0
    assert desk.look(comparison, invite, sheet.place) == sheet


def test_turns_are_read_whatever_they_hold() -> None:
    assert text_of({"content": "a"}) == "a"
    assert text_of({"content": [{"type": "text", "text": "a"}, {"type": "file"}]}) == "a\n[file]"
    assert text_of({"content": None, "tool_calls": [{}]}) == "[calls a tool]"
    assert text_of({}) == ""
