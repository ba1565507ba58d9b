import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from examples.loop.accounts import account
from gateway.store.database import Database
from gateway.store.releases import Release, Releases, Target
from gateway.store.traffic import Traffic, TrafficRecord


@pytest.fixture
def store(tmp_path: Path) -> str:
    """A store in which `production` moves from one release to another, a second apart."""
    url = f"sqlite:///{tmp_path / 'driftgate.db'}"
    database = Database(url)
    database.migrate()
    releases = Releases(database)
    for id in ("old", "new", "shadow"):
        releases.register(Release(id, "m", "", "", {}, time.time()))
    releases.point("production", [Target("old", 1.0, "live"), Target("shadow", 0.5, "shadow")])
    database.close()
    return url


def _line(id: str, release: str = "old", at: float | None = None, **more: Any) -> dict[str, Any]:
    at = time.time() if at is None else at
    return {"id": id, "at": at, "seconds": 0.1, "release": release, "finish": "stop"} | more


def _record(url: str, line: dict[str, Any], **more: Any) -> None:
    given: dict[str, Any] = dict.fromkeys(TrafficRecord.__dataclass_fields__)
    given |= {
        "completion_id": line["id"], "created_at": line["at"], "operation": "chat",
        "alias": "production", "release": line["release"], "duration_s": 0.1, "outcome": "done",
        "status": 200, "metadata": {},
    }  # fmt: skip
    database = Database(url)
    Traffic(database).add([TrafficRecord(**given | more)])
    database.close()


def test_whole_answers_of_the_right_release_are_clean(store: str) -> None:
    line = _line("a")
    _record(store, line)
    assert account([line], store).clean


@pytest.mark.parametrize(
    ("change", "found"),
    [
        (lambda line: line | {"error": "APITimeoutError"}, "lost"),
        (lambda line: line | {"finish": None}, "truncated"),
        (lambda line: line | {"release": "new"}, "wrong_release"),
        (lambda line: line | {"release": "shadow"}, "wrong_release"),
        (lambda line: line | {"id": "unknown"}, "unrecorded"),
    ],
)
def test_each_way_to_fail_is_counted(
    store: str, change: Callable[[dict[str, Any]], dict[str, Any]], found: str
) -> None:
    line = _line("a")
    _record(store, change(line) | {"id": "a"})
    accounts = account([change(line)], store)
    assert not accounts.clean
    assert getattr(accounts, found) == [change(line)]


def test_after_a_move_both_releases_are_right_for_as_long_as_workers_take(store: str) -> None:
    database = Database(store)
    Releases(database).point("production", [Target("new", 1.0, "live")])
    (moved, _) = Releases(database).moves("production")
    database.close()
    lines = [
        _line("before", "new", moved.at - 5),
        _line("just after", "old", moved.at + 1),
        _line("after", "new", moved.at + 1),
        _line("long after", "old", moved.at + 5),
    ]
    wrong = account(lines, store).wrong_release
    assert [line["id"] for line in wrong] == ["before", "long after"]


def test_a_kill_explains_what_was_cut_and_no_wrong_release(store: str) -> None:
    lines = [
        _line("under way", at=99.0, seconds=2.0, error="APIConnectionError"),
        _line("until it was back", at=200.0, error="InternalServerError"),
        _line("long after", at=500.0, error="InternalServerError"),
        _line("before", at=90.0, error="APIConnectionError"),
        _line("wrong", "shadow", at=100.0),
    ]
    _record(store, lines[-1])
    accounts = account(lines, store)
    assert len(accounts.lost) == 4
    left = accounts.beside([100.0])
    assert [line["id"] for line in left.lost] == ["long after", "before"]
    assert [line["id"] for line in left.wrong_release] == ["wrong"]
