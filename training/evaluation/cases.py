"""The questions of an evaluation and what is known about their answers.

Test rows are training rows (`gateway.store.examples`). A truth row is a JSON object a line:

    {"question": "When do you close?", "accepted": ["10 pm", "22:00"], "forbidden": ["midnight"]}

with, besides `question` (or `messages`), any of: `accepted` (one of them must be said), `facts`
(all of them must be), `forbidden` (none may be), `unanswerable` (true: only "I do not know" is
right), `context` (what the answer must rest on, for a judge), `slice`.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gateway.store.examples import Example, RowError, read_jsonl
from training.evaluation.answerers.base import Question

ALL = "all"
_SHOWN = 20
_LISTS = ("accepted", "facts", "forbidden")
_TRUTH_FIELDS = {*_LISTS, "question", "messages", "unanswerable", "context", "slice", "id"}


class CaseError(ValueError):
    """A file of cases that cannot be used; the message names file, line and field."""


@dataclass(frozen=True, slots=True)
class Case:
    """A test row: what is asked, and the answer that is expected."""

    id: str
    messages: tuple[Mapping[str, Any], ...]
    reference: str
    slice: str

    def question(self, max_tokens: int) -> Question:
        """Return what is asked."""
        return Question(self.id, self.messages, max_tokens)

    @property
    def text(self) -> str:
        """Return the last turn, for people."""
        return str(self.messages[-1]["content"])


@dataclass(frozen=True, slots=True)
class TruthCase:
    """A question whose true answer is known."""

    id: str
    messages: tuple[Mapping[str, Any], ...]
    accepted: tuple[str, ...]
    facts: tuple[str, ...]
    forbidden: tuple[str, ...]
    unanswerable: bool
    context: str
    slice: str

    def question(self, max_tokens: int) -> Question:
        """Return what is asked."""
        return Question(self.id, self.messages, max_tokens)

    @property
    def text(self) -> str:
        """Return the last turn, for people."""
        return str(self.messages[-1]["content"])


def read_cases(path: Path) -> list[Case]:
    """Read test rows; rows without a slice are in the slice `all`.

    Raises:
        CaseError: The file is missing or empty, or rows cannot be used; they are named.
    """
    rows = _existing(path)
    bad = [row for row in rows if isinstance(row, RowError)]
    good = [row for row in rows if isinstance(row, Example)]
    bad += [
        RowError(row.line, "no_text", "the answer is a tool call; only text is evaluated")
        for row in good
        if not row.answer.strip()
    ]
    if bad:
        named = "\n".join(f"  {error}" for error in bad[:_SHOWN])
        more = f"\n  and {len(bad) - _SHOWN} more" if len(bad) > _SHOWN else ""
        raise CaseError(f"{path}: {len(bad)} rows cannot be used:\n{named}{more}")
    if not good:
        raise CaseError(f"{path} has no rows")
    return [
        Case(
            f"test:{row.line}",
            tuple(message.as_dict() for message in row.prompt),
            row.answer,
            row.slice or ALL,
        )
        for row in good
    ]


def read_truth(path: Path) -> list[TruthCase]:
    """Read the truth set.

    Raises:
        CaseError: A row has no question, or nothing by which its answer could be judged.
    """
    cases = [_truth(row, path, line) for line, row in read_objects(path)]
    if not cases:
        raise CaseError(f"{path} has no rows")
    return cases


def read_objects(path: Path) -> list[tuple[int, dict[str, Any]]]:
    """Read a file of one JSON object a line, with the number of each line.

    Raises:
        CaseError: The file cannot be read, or a line is no JSON object.
    """
    rows = []
    try:
        lines = path.read_bytes().splitlines()
    except OSError as error:
        raise CaseError(f"{path} cannot be read: {error.strerror}") from error
    for number, raw in enumerate(lines, 1):
        if not raw.strip():
            continue
        try:
            row = json.loads(raw)
        except (ValueError, RecursionError) as error:
            raise CaseError(f"{path}, line {number}: this is not JSON ({error})") from error
        if not isinstance(row, dict):
            raise CaseError(f"{path}, line {number}: a row must be a JSON object")
        rows.append((number, row))
    return rows


def _existing(path: Path) -> list[Example | RowError]:
    try:
        return list(read_jsonl(path))
    except OSError as error:
        raise CaseError(f"{path} cannot be read: {error.strerror}") from error


def _truth(row: dict[str, Any], path: Path, line: int) -> TruthCase:
    def wrong(reason: str) -> CaseError:
        return CaseError(f"{path}, line {line}: {reason}")

    unknown = sorted(set(row) - _TRUTH_FIELDS)
    if unknown:
        raise wrong(f"unknown field `{unknown[0]}`; known: {', '.join(sorted(_TRUTH_FIELDS))}")
    for name in _LISTS:
        if not _is_texts(row.get(name, [])):
            raise wrong(f"`{name}` must be a list of texts")
    for name in ("context", "slice"):
        if not isinstance(row.get(name, ""), str):
            raise wrong(f"`{name}` must be text")
    unanswerable = row.get("unanswerable", False)
    if not isinstance(unanswerable, bool):
        raise wrong("`unanswerable` must be true or false")
    if not (unanswerable or any(row.get(name) for name in _LISTS) or row.get("context")):
        raise wrong(
            "nothing to judge by: give `accepted`, `facts`, `forbidden`, `unanswerable`, `context`"
        )
    messages: Any = row.get("messages")
    if messages is None and isinstance(row.get("question"), str) and row["question"].strip():
        messages = [{"role": "user", "content": row["question"]}]
    if not _is_messages(messages):
        raise wrong(
            "`question` must be text, or `messages` a list of turns that ends with a user's"
        )
    lists = {name: tuple(row.get(name, ())) for name in _LISTS}
    return TruthCase(
        id=f"truth:{row.get('id', line)}",
        messages=tuple(messages),
        unanswerable=unanswerable,
        context=row.get("context", ""),
        slice=row.get("slice") or ALL,
        **lists,
    )


def _is_texts(value: object) -> bool:
    return isinstance(value, list) and all(isinstance(v, str) and v.strip() for v in value)


def _is_messages(value: object) -> bool:
    return (
        isinstance(value, list)
        and bool(value)
        and all(isinstance(m, dict) and isinstance(m.get("content"), str) for m in value)
        and value[-1].get("role") == "user"
    )
