from dataclasses import replace

import pytest

from gateway.store.database import Database, StoreError
from gateway.store.feedback import Feedback, FeedbackLog

_FEEDBACK = Feedback("f1", "c1", "0123abcd", 2.0, 0.25, "wrong", "right", "hm", {"a": "1"})


def test_feedback_of_a_completion_by_age(database: Database) -> None:
    log = FeedbackLog(database)
    early = Feedback("f2", "c1", None, 1.0, None, None, None, None, {})
    for feedback in (_FEEDBACK, early, replace(_FEEDBACK, id="f3", completion_id="c2")):
        log.add(feedback)
    assert log.of("c1") == [early, _FEEDBACK]
    assert log.of("nope") == []


def test_an_id_is_used_once(database: Database) -> None:
    log = FeedbackLog(database)
    log.add(_FEEDBACK)
    with pytest.raises(StoreError):
        log.add(replace(_FEEDBACK, score=1.0))
    assert log.of("c1") == [_FEEDBACK]


def test_any_text_can_be_written(database: Database) -> None:
    log = FeedbackLog(database)
    log.add(replace(_FEEDBACK, comment="a\x00b", correction="\ud800", metadata={"k\x00": "v"}))
    assert log.of("c1")[0].comment == "a\ufffdb"
