from collections.abc import Callable

from gateway.store.corrections import Corrections
from gateway.store.database import Database
from gateway.store.feedback import Feedback, FeedbackLog
from gateway.store.traffic import Traffic, TrafficRecord


def test_corrections_come_with_what_was_asked(
    database: Database, record: Callable[..., TrafficRecord]
) -> None:
    Traffic(database).add([record("a")])
    log = FeedbackLog(database)
    log.add(Feedback("1", "a", "k1", 1.0, None, None, "yes", None, {}))
    log.add(Feedback("2", "a", "k2", 2.0, 0.2, None, "no", None, {}))
    log.add(Feedback("3", "a", "k2", 3.0, 1.0, None, None, None, {}))
    log.add(Feedback("4", "forgotten", "k2", 4.0, None, None, "gone", None, {}))
    corrections = Corrections(database)
    newest, oldest = corrections.latest(10)
    assert (newest.said.id, oldest.said.id) == ("2", "1")
    assert (newest.alias, newest.messages) == ("production", record("a").messages)
    assert [each.said.id for each in corrections.latest(1)] == ["2"]
    assert corrections.counts() == (3, 1, 1)
    assert corrections.withdraw("2")
    assert not corrections.withdraw("2")
    assert corrections.counts() == (2, 1, 0)


def test_an_empty_store_has_none(database: Database) -> None:
    assert Corrections(database).latest(5) == []
    assert Corrections(database).counts() == (0, 0, 0)
