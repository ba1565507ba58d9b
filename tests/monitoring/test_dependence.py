"""The ledger of what an alias needs its documents for, before and after a promotion."""

import itertools
import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from gateway.store.database import Database
from gateway.store.feedback import Feedback, FeedbackLog
from gateway.store.releases import Releases, Target
from gateway.store.traffic import Traffic
from monitoring.commands.monitor import app
from monitoring.dependence import OTHER, Entry, dependence, ledger, share
from tests.monitoring.traffic import record
from tests.monitoring.watched import register

_NUMBERS = itertools.count()  # so that ids differ
_PASSAGE = {"collection": "bank", "document": "lost-card", "passage": 0, "score": 0.9}


@pytest.fixture
def database(empty_store: Path, tmp_path: Path) -> Iterator[Database]:
    shutil.copy(empty_store, tmp_path / "driftgate.db")
    opened = Database(f"sqlite:///{tmp_path / 'driftgate.db'}")
    for release in ("old", "new"):
        register(opened, release)
    yield opened
    opened.close()


def _ask(
    database: Database, release: str, count: int, score: float | None = None, **notes: Any
) -> None:
    """Log requests that ended so, and scores of their answers."""
    known = {"mode": "auto", "outcome": "plain", "reason": "none", "topic": "bank/cards"}
    records = [
        record(
            f"c{next(_NUMBERS)}", 1000.0, "x", alias="production", release=release,
            retrieval=known | notes,
        )
        for _ in range(count)
    ]  # fmt: skip
    Traffic(database).add(records)
    if score is not None:
        for each in records:
            said = Feedback(
                f"f{each.completion_id}", each.completion_id, None, 1.0, score, None, None,
                None, {},
            )  # fmt: skip
            FeedbackLog(database).add(said)


def _only(database: Database) -> Entry:
    (entry,) = ledger(database, "production", "old", "new")
    return entry


_GROUNDED: dict[str, Any] = {
    "outcome": "grounded", "reason": "health", "passages": [_PASSAGE], "supported": 1,
}  # fmt: skip


def test_what_was_learnt_may_leave_the_index(database: Database) -> None:
    _ask(database, "old", 100, **_GROUNDED)
    _ask(database, "new", 120)
    _ask(database, "new", 40, score=1.0, outcome="held_out")
    entry = _only(database)
    assert (entry.before.needed.count, entry.before.needed.of) == (100, 100)
    assert entry.after.needed.count == 0
    assert entry.after.needed.high < 0.05
    assert entry.verdict == "may leave", entry.why
    assert entry.documents == {"bank/lost-card": 100}


def test_without_scores_nothing_is_proven_and_it_says_how_many_are_missing(
    database: Database,
) -> None:
    _ask(database, "new", 160)
    entry = _only(database)
    assert entry.verdict == "unproven"
    assert entry.why == "17 more scores could show that answers without it are right"
    assert share(0, 17).high < 0.2 <= share(0, 16).high


def test_few_requests_prove_nothing(database: Database) -> None:
    _ask(database, "new", 20, score=1.0)
    entry = _only(database)
    assert (entry.verdict, entry.why) == (
        "unproven", "52 more requests could show that it is not needed",
    )  # fmt: skip
    assert share(0, 72).high < 0.05 <= share(0, 71).high


def test_what_is_still_asked_for_with_reason_is_needed(database: Database) -> None:
    _ask(database, "new", 100)
    _ask(database, "new", 30, reason="freshness", outcome="grounded")
    entry = _only(database)
    assert (entry.verdict, entry.why) == ("needed", "30 of 130 requests had a reason to retrieve")
    assert entry.after.reasons == {"none": 100, "freshness": 30}


def test_wrong_answers_without_it_keep_it(database: Database) -> None:
    _ask(database, "new", 160, score=0.0)
    entry = _only(database)
    assert (entry.verdict, entry.why) == (
        "needed", "0 of 160 scored answers without it were right",
    )  # fmt: skip


def test_who_asks_always_says_nothing_about_need(database: Database) -> None:
    _ask(database, "new", 50, **_GROUNDED | {"reason": "always"})
    entry = _only(database)
    assert (entry.after.needed.of, entry.after.needed.high) == (0, 1.0)
    assert entry.after.used.count == 50
    assert entry.verdict == "unproven"


def test_failures_and_other_aliases_are_left_out_and_other_topics_are_kept_apart(
    database: Database,
) -> None:
    _ask(database, "new", 5, outcome="failed", reason="timeout")
    _ask(database, "new", 3, topic="")
    _ask(database, "new", 4, topic="bank/fees")
    found = {each.topic: each for each in ledger(database, "production", "old", "new")}
    assert {topic: each.after.requests for topic, each in found.items()} == {
        "bank/fees": 4, OTHER: 3,
    }  # fmt: skip
    assert found[OTHER].verdict == "-"
    assert ledger(database, "another", "old", "new") == []


def test_a_rollout_can_keep_it(database: Database) -> None:
    for number in range(70):
        _ask(database, "new", 1, topic=f"bank/{number}", **_GROUNDED)
    found = dependence(database, "production", "old", "new")
    assert found["may_leave"] == []
    assert len(found["topics"]) == 50
    assert len(json.dumps(found)) < 50_000


def test_the_command_finds_what_was_before(
    database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DRIFTGATE_HOME", str(tmp_path))
    monkeypatch.setenv("COLUMNS", "300")
    releases, run = Releases(database), CliRunner().invoke
    done = run(app, ["dependence", "production"])
    assert (done.exit_code, done.stderr) == (2, "There is no alias production.\n")
    releases.point("production", [Target("old", 1.0, "live")])
    done = run(app, ["dependence", "production"])
    assert done.exit_code == 2
    assert "has served nothing before old" in done.stderr
    releases.point("production", [Target("new", 1.0, "live")])
    assert "had a request with retrieval" in run(app, ["dependence", "production"]).output
    _ask(database, "old", 100, **_GROUNDED)
    _ask(database, "new", 160, score=1.0)
    done = run(app, ["dependence", "production"])
    assert done.exit_code == 0, done.output
    assert "production: old → new" in done.output
    assert "100 of 100, 96% to 100%" in done.output
    assert "bank/lost-card (100)" in done.output
    done = run(app, ["dependence", "production", "--json"])
    assert json.loads(done.output)["may_leave"] == ["bank/cards"]
