from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from gateway.store.database import Database
from gateway.store.traffic import Traffic, TrafficRecord
from monitoring.requests import PROBE
from training.asking import Asked, Question
from training.comparing import ask_both, recent, shadowed

_RECORD = TrafficRecord(
    "c-0", 1.0, "chat", None, "production", "m-1", None, [{"role": "user", "content": "?"}], None,
    {"choices": [{"message": {"content": "old"}}]}, "stop", 1, 1, None, 0.1, None, None, None,
    "done", 200, {}, None, None,
)  # fmt: skip


@pytest.fixture
def database(empty_store: Path, tmp_path: Path) -> Iterator[Database]:
    (tmp_path / "x.db").write_bytes(empty_store.read_bytes())
    opened = Database(f"sqlite:///{tmp_path / 'x.db'}")
    yield opened
    opened.close()


class _Both:
    """Answers for two releases, by a function of release and question."""

    def __init__(self, answer: Callable[[str, str], Asked]) -> None:
        self._answer = answer
        self.asked: list[tuple[str, str]] = []

    def ask_many(self, questions: Sequence[Question], concurrency: int = 4) -> list[Asked]:
        found = [(each.model, str(each.messages[-1]["content"])) for each in questions]
        self.asked += found
        return [self._answer(model, text) for model, text in found]


def _turns(text: str) -> list[dict[str, str]]:
    return [{"role": "user", "content": text}]


def test_both_are_asked_and_what_is_the_same_or_failed_is_told() -> None:
    def answer(model: str, text: str) -> Asked:
        if text == "q3" and model == "m-2":
            return Asked("", 503, None, 0.1, error="http 503")
        if text == "q4" and model == "m-2":
            return Asked("x", 200, "m-1", 0.1)
        return Asked("same " if text == "q5" else f"{model} {text}", 200, model, 0.1)

    told: list[int] = []
    asker = _Both(answer)
    both = ask_both(asker, [_turns(f"q{n}") for n in range(6)], "m-1", "m-2", told=told.append)
    assert [(i.messages, i.baseline, i.candidate) for i in both.items] == [
        (_turns(f"q{n}"), f"m-1 q{n}", f"m-2 q{n}") for n in range(3)
    ]
    assert both.same == 1
    assert both.failed == ("m-2: http 503", "m-2: m-1 answered in its place")
    assert told == [4, 6]
    assert len(asker.asked) == 12


def test_what_people_asked_lately_is_asked_once_each(database: Database) -> None:
    records = [
        replace(_RECORD, completion_id=f"c-{n}", created_at=float(n), messages=_turns(text))
        for n, text in enumerate(("a", "b", "a", "c"))
    ]
    records += [
        replace(_RECORD, completion_id="p", created_at=9.0, messages=_turns("probe"),
                metadata={PROBE: "x"}),
        replace(_RECORD, completion_id="s", created_at=9.0, messages=_turns("copy"), shadow_of="c"),
        replace(_RECORD, completion_id="o", created_at=9.0, messages=_turns("o"), alias="other"),
        replace(_RECORD, completion_id="t", created_at=9.0, messages=None),
    ]  # fmt: skip
    Traffic(database).add(records)
    assert recent(database, "production", 10) == [_turns(text) for text in ("c", "a", "b")]
    assert recent(database, "production", 2) == [_turns("c"), _turns("a")]
    assert recent(database, "nobody", 2) == []


def test_mirrored_requests_have_both_answers_already(database: Database) -> None:
    def pair(n: int, old: str, new: str | None, release: str = "m-1") -> list[TrafficRecord]:
        first = replace(
            _RECORD, completion_id=f"f-{n}", messages=_turns(f"q{n}"), release=release,
            answer={"choices": [{"message": {"content": old}}]},
        )  # fmt: skip
        answer = None if new is None else {"choices": [{"message": {"content": new}}]}
        copy = replace(
            first, completion_id=f"s-{n}", created_at=2.0 + n, release="m-2", shadow_of=f"f-{n}",
            answer=answer,
        )  # fmt: skip
        return [first, copy]

    Traffic(database).add(
        [*pair(0, "x", "y"), *pair(1, "x", " x"), *pair(2, "x", None), *pair(3, "x", "y", "m-0")]
    )
    both = shadowed(database, "production", "m-1", "m-2", 50)
    assert [(i.messages, i.baseline, i.candidate) for i in both.items] == [(_turns("q0"), "x", "y")]
    assert both.same == 1
    assert len(both.failed) == 2
