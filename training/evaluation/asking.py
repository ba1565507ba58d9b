"""Asks a system all questions and keeps the answers, so that a second run only asks the rest.

Each answer is a line of JSON, appended as it comes, under the digest of all that it depends on:
the system, the messages, the sampling, the length. A changed question or model is asked anew; an
answer that failed is asked again.
"""

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from training.evaluation.answerers.base import Answer, Answerer, Question, Sampling

Asked = Callable[[str, int, int], None]


class AnswerLog:
    """The answers of one system in a file; a torn last line, left by a kill, is cut off."""

    def __init__(self, path: Path) -> None:
        self._path = path
        path.parent.mkdir(parents=True, exist_ok=True)
        self._known = self._read()

    def get(self, key: str) -> Answer | None:
        """Return the answer under a key, or None."""
        return self._known.get(key)

    def add(self, key: str, answer: Answer) -> None:
        """Append an answer; it is in the file when this returns."""
        with self._path.open("ab") as file:
            file.write(json.dumps({"key": key, **answer.as_dict()}).encode() + b"\n")
        self._known[key] = answer

    def _read(self) -> dict[str, Answer]:
        if not self._path.exists():
            return {}
        raw = self._path.read_bytes()
        whole = raw.rfind(b"\n") + 1
        if whole != len(raw):
            with self._path.open("r+b") as file:
                file.truncate(whole)
        known = {}
        for line in raw[:whole].splitlines():
            row: dict[str, Any] = json.loads(line)
            key = row.pop("key")
            known[key] = Answer(**row)
        return known


def ask(
    name: str,
    answerer: Answerer,
    questions: Sequence[Question],
    sampling: Sampling,
    log: AnswerLog,
    on_progress: Asked,
) -> Mapping[str, Answer]:
    """Return the answers of a system by question id, asking only those that the log lacks.

    Args:
        name: The system's, for `on_progress(name, done, total)`.
        answerer: What is asked.
        questions: All of them, with ids of their own.
        sampling: Part of what an answer depends on.
        log: Where answers are kept.
        on_progress: Told after each answer.

    Raises:
        AnswererError: No question can be answered.
    """
    keys = {question.id: key_of(answerer.fingerprint, question, sampling) for question in questions}
    answers: dict[str, Answer] = {}
    open_questions = []
    for question in questions:
        known = log.get(keys[question.id])
        if known is None:
            open_questions.append(question)
        else:
            # The same prompt may stand under another id now.
            answers[question.id] = _renamed(known, question.id)
    on_progress(name, len(answers), len(questions))
    for answer in answerer.answer(open_questions):
        answers[answer.id] = answer
        if not answer.error:
            log.add(keys[answer.id], answer)
        on_progress(name, len(answers), len(questions))
    return answers


def key_of(fingerprint: str, question: Question, sampling: Sampling) -> str:
    """Return the digest of all that an answer depends on."""
    parts = [
        fingerprint,
        [dict(message) for message in question.messages],
        question.max_tokens,
        [sampling.temperature, sampling.seed],
    ]
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:32]


def _renamed(answer: Answer, id: str) -> Answer:
    return Answer(**{**answer.as_dict(), "id": id})
