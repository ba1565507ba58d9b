"""Answers are kept, and only what is missing is asked again."""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from training.evaluation.answerers.base import Answer, Question, Sampling
from training.evaluation.asking import AnswerLog, ask

QUESTIONS = [Question(f"q{n}", ({"role": "user", "content": str(n)},), 8) for n in range(5)]


class Parrot:
    """Answers with the question; stops or fails where it is told to."""

    served = False

    def __init__(self, fingerprint: str = "p", stop_at: str = "", fail: str = "") -> None:
        self.fingerprint = fingerprint
        self.asked: list[str] = []
        self._stop_at = stop_at
        self._fail = fail

    def answer(self, questions: Sequence[Question]) -> Iterator[Answer]:
        for question in questions:
            if question.id == self._stop_at:
                raise KeyboardInterrupt
            self.asked.append(question.id)
            failed = question.id == self._fail
            yield Answer(question.id, "" if failed else "x", error="broken" if failed else "")


def run(parrot: Parrot, path: Path, questions: Sequence[Question] = QUESTIONS) -> dict[str, Answer]:
    log = AnswerLog(path)
    return dict(ask("s", parrot, questions, Sampling(), log, lambda *_: None))


def test_a_second_run_goes_on(tmp_path: Path) -> None:
    path = tmp_path / "answers" / "s.jsonl"
    with pytest.raises(KeyboardInterrupt):
        run(Parrot(stop_at="q3"), path)
    second = Parrot()
    assert set(run(second, path)) == {q.id for q in QUESTIONS}
    assert second.asked == ["q3", "q4"]
    third = Parrot()
    run(third, path)
    assert third.asked == []


def test_a_torn_last_line_is_cut_off(tmp_path: Path) -> None:
    path = tmp_path / "s.jsonl"
    run(Parrot(), path)
    whole = path.read_bytes()
    path.write_bytes(whole[:-9])  # as a kill in the middle of a write leaves it
    again = Parrot()
    assert len(run(again, path)) == 5
    assert again.asked == ["q4"]
    assert len([json.loads(line) for line in path.read_text().splitlines()]) == 5


def test_failed_answers_are_asked_again(tmp_path: Path) -> None:
    path = tmp_path / "s.jsonl"
    assert run(Parrot(fail="q2"), path)["q2"].error == "broken"
    again = Parrot()
    assert run(again, path)["q2"].text == "x"
    assert again.asked == ["q2"]


def test_another_model_or_question_is_asked_anew(tmp_path: Path) -> None:
    path = tmp_path / "s.jsonl"
    run(Parrot(), path)
    other = Parrot("another checkpoint")
    run(other, path)
    assert len(other.asked) == 5
    changed = [*QUESTIONS[:4], Question("q4", ({"role": "user", "content": "new"},), 8)]
    parrot = Parrot()
    run(parrot, path, changed)
    assert parrot.asked == ["q4"]


def test_an_answer_follows_its_question_to_another_id(tmp_path: Path) -> None:
    path = tmp_path / "s.jsonl"
    run(Parrot(), path)
    moved = [Question("moved", QUESTIONS[0].messages, 8)]
    assert run(Parrot(stop_at="moved"), path, moved)["moved"].id == "moved"
