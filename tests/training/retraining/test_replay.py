"""What a replay leaves out, and says so; the gateway's answers are made up here."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self

import pytest

from gateway.store.database import Database
from gateway.store.engines import Engine, Engines, EngineState
from gateway.store.examples import Example, Message
from gateway.store.policies import Policies
from gateway.store.releases import Release
from tests.training.conftest import Home
from training.asking import Asked, Question
from training.attribution import Attribution
from training.data.collecting import Collected
from training.loop import LoopSettings
from training.retraining import replay as replaying
from training.retraining.replay import Places, replay

_SERVING = Release("tuned", "m", "", "", {}, 1.0, base_release="base")


class Asker:
    """Knows nothing of what drifted without documents."""

    def __init__(self, *_: Any, **__: Any) -> None: ...

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def ask_many(self, questions: Sequence[Question], concurrency: int = 4) -> list[Asked]:
        return [
            Asked("x" if q.retrieval == "always" else "?", 200, "tuned", 0.1) for q in questions
        ]


def _replayed(
    database: Database, monkeypatch: pytest.MonkeyPatch, *, grounded: int, plain: int
) -> Attribution:
    monkeypatch.setattr(replaying, "GatewayAsker", Asker)
    rows = tuple(
        Example((Message("user", source), Message("assistant", "x")), source=source)
        for source in (
            *(f"grounded {n}" for n in range(grounded)),
            *(f"plain {n}" for n in range(plain)),
        )
    )
    sources = frozenset(row.source for row in rows if row.source.startswith("grounded"))
    places = Places(Path("home"), "http://127.0.0.1:9")
    collected = Collected(new=rows, grounded=sources)
    return replay(
        database, places, "production", _SERVING, LoopSettings(), collected, purpose="p", seed=1
    )


def test_what_cannot_be_asked_is_named(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    database = home.database
    left_out = _replayed(database, monkeypatch, grounded=0, plain=30).left_out
    assert left_out[0] == "base, which it was made from, is not served"
    assert left_out[1] == "`production` has no documents: there is no retrieval to switch on"
    Engines(database).put(
        Engine("base", "here", "base", "unix:e", EngineState.READY, None, 0, None, 1.0)
    )
    Policies(database).put("alias", "production", {"vector_store_ids": ["vs_1"]})
    assert not set(left_out[:2]) & set(
        _replayed(database, monkeypatch, grounded=0, plain=30).left_out
    )


@pytest.mark.parametrize(("plain", "told"), [(30, None), (5, "7 questions")])
def test_questions_that_documents_failed_at_are_owned_up_to(
    home: Home, monkeypatch: pytest.MonkeyPatch, plain: int, told: str | None
) -> None:
    left_out = _replayed(home.database, monkeypatch, grounded=100, plain=plain).left_out
    about = [each for each in left_out if "documents may be underrated" in each]
    if told is None:
        assert about == []
    else:
        assert told in about[0]
