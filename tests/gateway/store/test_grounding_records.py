"""Policies, calibrations, health and the benefit of retrieval in the store."""

import shutil
import time
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest

from gateway.grounding.reading import BooksReader
from gateway.store.benefits import Benefits
from gateway.store.database import Database
from gateway.store.feedback import Feedback, FeedbackLog
from gateway.store.health import Healths
from gateway.store.policies import Policies
from gateway.store.traffic import Traffic, TrafficRecord


@pytest.fixture
def database(empty_store: Path, tmp_path: Path) -> Iterator[Database]:
    shutil.copy(empty_store, tmp_path / "x.db")
    database = Database(f"sqlite:///{tmp_path / 'x.db'}")
    yield database
    database.close()


def _answered(database: Database, id: str, **notes: Any) -> None:
    values: dict[str, Any] = {field.name: None for field in fields(TrafficRecord)}
    values |= {
        "completion_id": id, "created_at": 1.0, "operation": "chat", "alias": "m", "release": "r",
        "duration_s": 1.0, "outcome": "done", "status": 200, "metadata": {}, "retrieval": notes,
    }  # fmt: skip
    Traffic(database).add([TrafficRecord(**values)])


def _scored(database: Database, number: int, completion: str, score: float | None) -> None:
    said = Feedback(f"f{number}", completion, None, float(number), score, None, None, None, {})
    FeedbackLog(database).add(said)


def test_scores_of_drawn_answers_count_once_and_switch_a_harmful_topic_off(
    database: Database,
) -> None:
    number = 0
    for place in range(60):
        for outcome, score in (("grounded", 0.1), ("held_out", 0.9)):
            id = f"{outcome}{place}"
            _answered(database, id, topic="t", drawn=True, outcome=outcome)
            number += 1
            _scored(database, number, id, score)
    _answered(database, "chosen", topic="t", outcome="grounded")  # nobody drew
    _scored(database, number + 1, "chosen", 1.0)
    _scored(database, number + 2, "grounded0", 1.0)  # a second opinion
    benefits = Benefits(database)
    switched: list[str] = []
    while found := benefits.count(1000.0, limit=50):
        switched += found
    benefits.count(1000.0)
    assert switched == ["t"]
    (topic,) = benefits.all()
    assert topic.benefit.off
    assert topic.benefit.grounded.count == topic.benefit.plain.count == 60
    assert topic.benefit.difference == pytest.approx(-0.8)


def test_feedback_that_may_still_be_on_its_way_waits(database: Database) -> None:
    _answered(database, "c", topic="t", drawn=True, outcome="grounded")
    _scored(database, 100, "c", 1.0)
    benefits = Benefits(database)
    benefits.count(101.0)
    assert benefits.all() == []
    benefits.count(110.0)
    assert benefits.all()[0].benefit.grounded.count == 1


def test_policies_and_health_are_replaced(database: Database) -> None:
    policies = Policies(database)
    policies.put("alias", "m", {"mode": "auto"})
    policies.put("alias", "m", {"mode": "off"})
    assert [p.fields for p in policies.all()] == [{"mode": "off"}]
    assert policies.remove("alias", "m")
    assert not policies.remove("alias", "m")
    healths = Healths(database)
    healths.put("m", "WARN", {})
    healths.put("m", "DEGRADED", {"e": 3})
    (health,) = healths.all()
    assert (health.state, health.evidence) == ("DEGRADED", {"e": 3})
    assert health.since <= time.time()
    with pytest.raises(ValueError, match="state"):
        healths.put("m", "POORLY", {})


def test_a_policy_that_cannot_be_read_keeps_nothing_else_from_being_read(
    database: Database,
) -> None:
    policies = Policies(database)
    policies.put("alias", "bad", {"mode": "someday"})
    policies.put("alias", "good", {"mode": "auto"})
    books = BooksReader(database, dict).read().books
    assert list(books.policies) == [("alias", "good")]


def test_what_is_done_about_a_state_leaves_it_in_force(database: Database) -> None:
    healths = Healths(database)
    healths.put("m", "DEGRADED", {"topics": ["Loans"]})
    during = healths.put("m", "RETRAINING", {"request": "rtr-1"})
    assert (during.acting, during.evidence["topics"]) == ("DEGRADED", ["Loans"])
    canary = healths.put("m", "CANARY", {"rollout": "rlt-1"})
    assert (canary.acting, canary.evidence["rollout"]) == ("DEGRADED", "rlt-1")
    assert healths.put("m", "HEALTHY", {}).acting == "HEALTHY"
    assert healths.put("new", "CANARY", {}).acting == "HEALTHY"
